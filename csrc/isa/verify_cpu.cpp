// What must hold before a CPUCALL may run.
#include <algorithm>

#include "isa/cpu_call.hpp"
#include "isa/verify_detail.hpp"
#include "operators/rules.hpp"

namespace openbpu::isa::detail {
namespace {

// Bytes that an operand covers.
struct Range {
  u8 region, port;
  u64 begin, end;
  bool output;
};

bool before(const Range& a, const Range& b) {
  return std::tie(a.region, a.port, a.begin) < std::tie(b.region, b.port, b.begin);
}

Status check_place(const Word& w, const CpuTensor& t, u64 bytes, bool written, const std::string& where) {
  const auto region = static_cast<Region>(t.region);
  if (written && region == Region::Const) return illegal(where, "CONST is never written");
  if (written && region == Region::In) return illegal(where, "IN is never written");
  if (!written && region == Region::Out) return illegal(where, "OUT is never read");
  if (region == Region::In || region == Region::Out) {
    const bool input = region == Region::In;
    if (t.port >= (input ? w.entry.inputs : w.entry.outputs)) return illegal(where, "no such port", t.port);
    const Port& port = w.sections.ports[w.entry.first_port + (input ? 0 : w.entry.inputs) + t.port];
    if (t.dtype != port.dtype) return illegal(where, "must have the type of its port", t.dtype);
  }
  const u64 size = region_bytes(w, region, t.port);
  if (t.base > size || bytes > size - t.base)
    return illegal(where, "must lie inside its region; its end", static_cast<i64>(t.base + bytes));
  return {};
}

// No byte is written by an operand and touched by another.
Status check_sharing(std::vector<Range>& ranges, const std::string& where) {
  std::sort(ranges.begin(), ranges.end(), before);
  const Range *furthest = nullptr, *furthest_output = nullptr;  // of the same region, by end
  for (const Range& range : ranges) {
    for (const Range* other : {furthest, furthest_output})
      if (other && other->region == range.region && other->port == range.port && range.begin < other->end &&
          (range.output || other->output))
        return illegal(where, "outputs must not share bytes with other operands; the end of one",
                       static_cast<i64>(other->end));
    const auto reaches_further = [&](const Range* other) {
      return !other || other->region != range.region || other->port != range.port || range.end > other->end;
    };
    if (reaches_further(furthest)) furthest = &range;
    if (range.output && reaches_further(furthest_output)) furthest_output = &range;
  }
  return {};
}

}  // namespace

Status check_cpu_call(const Word& w) {
  Result<CpuCall> decoded = decode_cpu_call(w.i, w.sections, w.where);
  if (!decoded.ok()) return decoded.status();
  const CpuCall& cpu = decoded.value();
  const std::string name = w.where + " " + cpu.call.kernel->name;
  std::vector<Range> ranges;
  bool external = false;
  for (std::size_t k = 0; k < cpu.tensors.size(); ++k) {
    const CpuTensor& record = cpu.records[k];
    if (record.dtype == 0) continue;
    const bool output = cpu.is_output(k);
    const std::string where =
        name + (output ? ", output " : ", input ") + std::to_string(output ? k - cpu.call.inputs.size() : k);
    const u64 bytes = static_cast<u64>(cpu.tensors[k].bytes());
    if (Status status = check_place(w, record, bytes, output, where); !status.ok()) return status;
    ranges.push_back({record.region, record.port, record.base, record.base + bytes, output});
    const auto region = static_cast<Region>(record.region);
    external = external || region == Region::Ddr || region == Region::In || region == Region::Out;
  }
  if (has(w.i, Flag::DDR_OPERAND) != external)
    return w.field("flags", "DDR_OPERAND must be set exactly if an operand lies in DDR, IN or OUT", w.i.flags);
  if (Status status = check_sharing(ranges, name); !status.ok()) return status;
  if (const operators::Fault found = operators::check(cpu.call)) return illegal(name + ", " + found.where, found.rule);
  return {};
}

}  // namespace openbpu::isa::detail
