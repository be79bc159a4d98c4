#include "isa/verify.hpp"

#include <cmath>
#include <cstring>

#include "isa/verify_detail.hpp"

namespace openbpu::isa {
namespace {

using detail::illegal;

constexpr u64 kMaxInstructions = u64{1} << 24;
constexpr u32 kMaxPorts = 256;

Status check_name(u32 offset, const Sections& s, const std::string& where) {
  if (offset >= s.strings.size()) return illegal(where + ", field name", "must lie in section STRINGS", offset);
  if (s.strings[s.strings.size() - 1] != 0) return illegal("section STRINGS", "must end with a zero byte");
  return {};
}

Status check_port(const Port& port, const Sections& s, const std::string& where) {
  if (Status status = check_name(port.name, s, where); !status.ok()) return status;
  const std::size_t element = element_size(static_cast<DType>(port.dtype <= 7 ? port.dtype : 0));
  if (element == 0) return illegal(where + ", field dtype", "must be 1..7", port.dtype);
  if (port.rank > 8) return illegal(where + ", field rank", "must be 0..8", port.rank);
  u64 bytes = element;
  for (u32 i = 0; i < 8; ++i) {
    if ((port.shape[i] == 0) != (i >= port.rank))
      return illegal(where + ", field shape", "used extents must be positive and unused ones zero", port.shape[i]);
    if (i < port.rank) bytes *= port.shape[i];
    if (bytes > u64{1} << 40) return illegal(where + ", field shape", "a port has at most 2^40 bytes");
  }
  if (port.bytes != bytes)
    return illegal(where + ", field bytes", "must follow from shape and type", static_cast<i64>(port.bytes));
  if (!std::isfinite(port.scale) || port.scale < 0)
    return illegal(where + ", field scale", "must be finite and not negative");
  for (u32 word : port.reserved1)
    if (word != 0) return illegal(where, "reserved bytes must be zero");
  for (u64 word : port.reserved2)
    if (word != 0) return illegal(where, "reserved bytes must be zero");
  return port.reserved0 == 0 ? Status{} : illegal(where, "reserved bytes must be zero");
}

Status check_entry(const Entry& entry, const Sections& s, u64 arena_limit, const std::string& where) {
  if (Status status = check_name(entry.name, s, where); !status.ok()) return status;
  if (entry.instructions < 1 || entry.instructions > kMaxInstructions || entry.first_instruction > s.code.size() ||
      entry.instructions > s.code.size() - entry.first_instruction)
    return illegal(where + ", field instructions", "must be a range of section CODE", entry.instructions);
  if (entry.inputs > kMaxPorts || entry.outputs > kMaxPorts || entry.first_port > s.ports.size() ||
      entry.inputs + entry.outputs > s.ports.size() - entry.first_port)
    return illegal(where + ", field inputs", "ports must be a range of section PORT, at most 256 of a direction",
                   entry.inputs);
  for (u32 i = 0; i < entry.inputs + entry.outputs; ++i)
    if (s.ports[entry.first_port + i].direction != (i < entry.inputs ? 0 : 1))
      return illegal("section PORT, port " + std::to_string(entry.first_port + i) + ", field direction",
                     "inputs come first, then outputs");
  if (entry.ddr_bytes > arena_limit || entry.sram_bytes > arena_limit)
    return illegal(where + ", field ddr_bytes", "an arena has at most the bytes that the caller allows",
                   static_cast<i64>(entry.ddr_bytes));
  for (u64 word : entry.reserved0)
    if (word != 0) return illegal(where, "reserved bytes must be zero");
  return {};
}

// Retired instructions per queue, in the order of Instruction.wait.
int wait_slot(Queue queue) {
  switch (queue) {
    case Queue::Ld:
      return 0;
    case Queue::St:
      return 1;
    case Queue::Mac:
      return 2;
    case Queue::Vec:
      return 3;
    case Queue::Ctrl:
    case Queue::Cpu:
      return -1;
  }
  return -1;
}

Status check_code(const Entry& entry, const Sections& s) {
  u32 issued[4] = {};
  u64 total = 0;
  for (u32 k = 0; k < entry.instructions; ++k) {
    const Instruction& instruction = s.code[entry.first_instruction + k];
    const std::string where = "section CODE, instruction " + std::to_string(entry.first_instruction + k);
    if (Status status = detail::check_instruction(instruction, entry, s, where); !status.ok()) return status;
    for (int q = 0; q < 4; ++q)
      if (instruction.wait[q] > issued[q])
        return illegal(where + ", field wait", "must name earlier instructions only", instruction.wait[q]);
    if ((static_cast<Op>(instruction.op) == Op::END) != (k + 1 == entry.instructions))
      return illegal(where, "END must be the last instruction of an entry, and only the last");
    const int slot = wait_slot(find_instruction(instruction.op)->queue);
    if (slot >= 0) ++issued[slot];
    total += macs(instruction, s);
  }
  if (entry.macs != total)
    return illegal("section ENTRY, field macs", "must be the sum over the instructions", static_cast<i64>(entry.macs));
  return {};
}

}  // namespace

Status verify(const Sections& s, u64 arena_limit) {
  const auto at = [](const char* section, const char* item, std::size_t i) {
    return std::string("section ") + section + ", " + item + " " + std::to_string(i);
  };
  if (s.entries.empty()) return illegal("section ENTRY", "a file has at least one entry");
  if (s.surfaces.size() >= kNoId)
    return illegal("section SURF", "at most 65534 surfaces", static_cast<i64>(s.surfaces.size()));
  if (s.consts.size() >= kNoId)
    return illegal("section CREC", "at most 65534 constants", static_cast<i64>(s.consts.size()));
  for (std::size_t i = 0; i < s.ports.size(); ++i)
    if (Status status = check_port(s.ports[i], s, at("PORT", "port", i)); !status.ok()) return status;
  for (std::size_t i = 0; i < s.surfaces.size(); ++i)
    if (Status status = detail::check_surface(s.surfaces[i], at("SURF", "surface", i)); !status.ok()) return status;
  for (std::size_t i = 0; i < s.consts.size(); ++i)
    if (Status status = detail::check_const(s.consts[i], s, at("CREC", "constant", i)); !status.ok()) return status;
  for (std::size_t i = 0; i < s.entries.size(); ++i) {
    if (Status status = check_entry(s.entries[i], s, arena_limit, at("ENTRY", "entry", i)); !status.ok()) return status;
    if (Status status = check_code(s.entries[i], s); !status.ok()) return status;
  }
  return {};
}

u64 macs(const Instruction& instruction, const Sections& s) {
  const InstructionInfo* info = find_instruction(instruction.op);
  if (!info || info->queue != Queue::Mac) return 0;
  const Surface& in = s.surfaces[instruction.in0];
  const Surface& out = s.surfaces[instruction.out];
  const u64 outputs = u64{out.n} * instruction.box_h * instruction.box_w * instruction.box_n;
  if (info->aux != AuxKind::Conv) return outputs * in.c;
  const auto& g = *reinterpret_cast<const ConvAux*>(s.aux.data() + instruction.aux);
  const u64 taps = u64{g.kernel_h} * g.kernel_w;
  if (info->op == Op::TCONV2D) return u64{in.n} * in.h * in.w * in.c * taps * (out.c / g.groups);
  return outputs * taps * (in.c / g.groups);
}

}  // namespace openbpu::isa
