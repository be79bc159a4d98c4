#include "isa/verify.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>

#include "isa/cpu_call.hpp"
#include "isa/verify_detail.hpp"
#include "operators/rules.hpp"
#include "support/utf8.hpp"

namespace openbpu::isa {
namespace {

using detail::illegal;

constexpr u64 kMaxInstructions = u64{1} << 24;
constexpr u32 kMaxPorts = 256;  // of one direction: Surface.port is a byte

std::string at(const char* section, const char* item, std::size_t i) {
  return std::string("section ") + section + ", " + item + " " + std::to_string(i);
}

template <std::size_t N, class T>
Status check_zero(const T (&words)[N], const std::string& where) {
  for (T word : words)
    if (word != 0) return illegal(where, "reserved bytes must be zero; some are", static_cast<i64>(word));
  return {};
}

// The bytes up to the next zero; section STRINGS ends with one.
std::string_view name_at(u32 offset, const Sections& s) {
  return reinterpret_cast<const char*>(s.strings.data() + offset);
}

Status check_name(u32 offset, const Sections& s, const std::string& where) {
  if (offset >= s.strings.size()) return illegal(where + ", field name", "must lie in section STR", offset);
  if (!is_utf8(name_at(offset, s))) return illegal(where + ", field name", "must be UTF-8");
  return {};
}

Status check_shape(const Port& port, u64 limit, const std::string& where) {
  if (port.rank > 8) return illegal(where + ", field rank", "must be 0..8", port.rank);
  u64 bytes = element_size(static_cast<DType>(port.dtype));
  for (u32 i = 0; i < 8; ++i) {
    if ((port.shape[i] == 0) != (i >= port.rank))
      return illegal(where + ", field shape", "used extents must be positive and unused ones zero; one", port.shape[i]);
    if (i >= port.rank) continue;
    if (port.shape[i] > limit / bytes)
      return illegal(where + ", field shape", "a port has at most the bytes that the caller allows",
                     static_cast<i64>(limit));
    bytes *= port.shape[i];
  }
  if (port.bytes != bytes)
    return illegal(where + ", field bytes", "must follow from shape and type", static_cast<i64>(port.bytes));
  return {};
}

// What only inputs of a camera have.
Status check_camera(const Port& port, const std::string& where) {
  if (port.flags == 0) return {};
  const auto type = static_cast<DType>(port.dtype);
  const bool picture = port.rank == 4 && (type == DType::I8 || type == DType::U8);
  const bool region = port.rank == 2 && type == DType::I32 && port.shape[1] == 4;
  if (port.direction != 0 || (port.flags == kPortRegion ? !region : !picture || port.flags > 3))
    return illegal(where + ", field flags", "must be 0, 1..3 of an input of bytes with rank 4, or 4 of int32 [n, 4]",
                   port.flags);
  return {};
}

Status check_port(const Port& port, const Sections& s, u64 limit, const std::string& where) {
  if (Status status = check_name(port.name, s, where); !status.ok()) return status;
  if (port.dtype >= static_cast<u8>(DType::Bf16) || port.dtype == 0)
    return illegal(where + ", field dtype", "must be 1..12", port.dtype);
  if (Status status = check_shape(port, limit, where); !status.ok()) return status;
  if (!std::isfinite(port.scale) || port.scale < 0)
    return illegal(where + ", field scale", "must be finite and not negative");
  if (Status status = detail::check_zero_point(port.zero_point, static_cast<DType>(port.dtype), where); !status.ok())
    return status;
  if (Status status = check_camera(port, where); !status.ok()) return status;
  if (Status status = check_zero(port.reserved1, where); !status.ok()) return status;
  return check_zero(port.reserved2, where);
}

// Directions, and names that tell the ports apart.
Status check_ports_of(const Entry& entry, const Sections& s) {
  std::set<std::string_view> names[2];
  for (u32 i = 0; i < entry.inputs + entry.outputs; ++i) {
    const Port& port = s.ports[entry.first_port + i];
    const std::string where = at("PORT", "port", entry.first_port + i);
    if (port.direction != (i < entry.inputs ? 0 : 1))
      return illegal(where + ", field direction", "inputs (0) come first, then outputs (1)", port.direction);
    if (!names[port.direction].insert(name_at(port.name, s)).second)
      return illegal(where + ", field name", "must differ from the other names of its direction");
  }
  return {};
}

// Entries divide sections CODE and PORT among them in order, so that each record is verified once.
struct Cursor {
  u32 instruction = 0, port = 0;
};

Status check_entry(const Entry& entry, const Sections& s, u64 limit, Cursor& next, const std::string& where) {
  if (Status status = check_name(entry.name, s, where); !status.ok()) return status;
  if (entry.first_instruction != next.instruction)
    return illegal(where + ", field first_instruction", "must follow the entry before", entry.first_instruction);
  if (entry.instructions < 1 || entry.instructions > s.code.size() - next.instruction)
    return illegal(where + ", field instructions", "must be a range of section CODE", entry.instructions);
  if (entry.first_port != next.port)
    return illegal(where + ", field first_port", "must follow the entry before", entry.first_port);
  if (entry.inputs > kMaxPorts) return illegal(where + ", field inputs", "must be at most 256", entry.inputs);
  if (entry.outputs > kMaxPorts) return illegal(where + ", field outputs", "must be at most 256", entry.outputs);
  if (entry.inputs + entry.outputs > s.ports.size() - next.port)
    return illegal(where + ", field outputs", "ports must be a range of section PORT", entry.outputs);
  if (entry.ddr_bytes > limit)
    return illegal(where + ", field ddr_bytes", "must be at most what the caller allows",
                   static_cast<i64>(entry.ddr_bytes));
  if (entry.sram_bytes > limit)
    return illegal(where + ", field sram_bytes", "must be at most what the caller allows",
                   static_cast<i64>(entry.sram_bytes));
  if (Status status = check_zero(entry.reserved0, where); !status.ok()) return status;
  next.instruction += entry.instructions;
  next.port += entry.inputs + entry.outputs;
  return check_ports_of(entry, s);
}

// Slot of Instruction.wait that counts the instructions which a queue has retired; -1 if none does.
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

Status check_instruction(const Instruction& instruction, const Entry& entry, const Sections& s, detail::Facts& facts,
                         const std::string& place) {
  const InstructionInfo* info = find_instruction(instruction.op);
  if (!info) return illegal(place + ", field op", "must be an operation of the instruction set", instruction.op);
  const std::string where = place + " (" + info->name + ")";
  const detail::Word word{instruction, *info, entry, s, where};
  if (Status status = detail::check_word(word); !status.ok()) return status;
  if (Status status = detail::check_operation(word, facts); !status.ok()) return status;
  return detail::check_rolls(word);
}

Status check_code(const Entry& entry, const Sections& s, detail::Facts& facts) {
  u32 issued[4] = {};
  for (u32 k = 0; k < entry.instructions; ++k) {
    const Instruction& instruction = s.code[entry.first_instruction + k];
    const std::string where = at("CODE", "instruction", entry.first_instruction + k);
    if (Status status = check_instruction(instruction, entry, s, facts, where); !status.ok()) return status;
    const InstructionInfo& info = *find_instruction(instruction.op);
    for (int q = 0; q < 4; ++q)
      if (instruction.wait[q] > issued[q])
        return illegal(where + " (" + info.name + "), field wait", "must name earlier instructions only",
                       instruction.wait[q]);
    if ((info.op == Op::END) != (k + 1 == entry.instructions))
      return illegal(where + ", field op", "END must be the last instruction of an entry, and only the last",
                     instruction.op);
    if (const int slot = wait_slot(info.queue); slot >= 0) ++issued[slot];
  }
  return {};
}

Status check_counts(const Sections& s) {
  const auto count = [](auto span) { return static_cast<i64>(span.size()); };
  if (s.entries.empty()) return illegal("section ENTRY", "a file has at least one entry");
  if (s.surfaces.size() >= kNoId) return illegal("section SURF", "at most 65534 surfaces", count(s.surfaces));
  if (s.consts.size() >= kNoId) return illegal("section CREC", "at most 65534 constants", count(s.consts));
  if (s.code.size() > kMaxInstructions) return illegal("section CODE", "at most 2^24 instructions", count(s.code));
  if (s.strings.empty() || s.strings[s.strings.size() - 1] != 0)
    return illegal("section STR", "must end with a zero byte");
  return {};
}

// The logical tensor that a surface shows.
Status check_home(const Surface& surface, const Sections& s, const std::string& where) {
  if (surface.home == 0) return {};
  if (surface.region != static_cast<u8>(Region::Ddr) && surface.region != static_cast<u8>(Region::Sram))
    return illegal(where + ", field home", "must be 0 outside DDR and SRAM", surface.home);
  if (surface.home > s.surfaces.size() || s.surfaces[surface.home - 1].region != static_cast<u8>(Region::Home))
    return illegal(where + ", field home", "must be 0 or 1 + the id of a surface in HOME", surface.home);
  const Surface& home = s.surfaces[surface.home - 1];
  return detail::same_extents(surface, home) && surface.dtype == home.dtype
             ? Status{}
             : illegal(where + ", field home", "must have the extents and the type of its home", surface.home);
}

Status check_records(const Sections& s, u64 limit) {
  for (std::size_t i = 0; i < s.ports.size(); ++i)
    if (Status status = check_port(s.ports[i], s, limit, at("PORT", "port", i)); !status.ok()) return status;
  for (std::size_t i = 0; i < s.surfaces.size(); ++i)
    if (Status status = detail::check_surface(s.surfaces[i], at("SURF", "surface", i)); !status.ok()) return status;
  for (std::size_t i = 0; i < s.surfaces.size(); ++i)
    if (Status status = check_home(s.surfaces[i], s, at("SURF", "surface", i)); !status.ok()) return status;
  for (std::size_t i = 0; i < s.consts.size(); ++i)
    if (Status status = detail::check_const(s.consts[i], s, at("CREC", "constant", i)); !status.ok()) return status;
  return {};
}

// Pairs (i, k) with position i * stride - pad + k * dilation inside [begin, begin + count).
u64 landing(u64 in, u32 kernel, i64 stride, i64 dilation, i64 pad, i64 begin, i64 count) {
  u64 pairs = 0;
  for (i64 k = 0; k < kernel; ++k) {
    const i64 offset = begin + pad - k * dilation;  // the first i with i * stride >= offset, and with offset + count
    const auto first_at_least = [&](i64 bound) { return bound <= 0 ? 0 : (bound + stride - 1) / stride; };
    const i64 limit = static_cast<i64>(in);
    pairs +=
        static_cast<u64>(std::min(first_at_least(offset + count), limit) - std::min(first_at_least(offset), limit));
  }
  return pairs;
}

u64 conv_macs(const Instruction& i, Op op, const Surface& in, const Surface& out, const ConvAux& g) {
  if (g.groups == 0 || g.stride_h == 0 || g.stride_w == 0) return 0;
  const u64 per_position = u64{in.c / g.groups} * i.box_n * out.n;
  if (op != Op::TCONV2D) return per_position * i.box_h * i.box_w * g.kernel_h * g.kernel_w;
  return per_position * landing(in.h, g.kernel_h, g.stride_h, g.dilation_h, g.pad_top, i.box_y, i.box_h) *
         landing(in.w, g.kernel_w, g.stride_w, g.dilation_w, g.pad_left, i.box_x, i.box_w);
}

}  // namespace

Status verify(const Sections& s, u64 memory_limit) {
  if (Status status = check_counts(s); !status.ok()) return status;
  if (Status status = check_records(s, memory_limit); !status.ok()) return status;
  detail::Facts facts(s);
  std::set<std::string_view> names;
  Cursor next;
  for (std::size_t i = 0; i < s.entries.size(); ++i) {
    const Entry& entry = s.entries[i];
    const std::string where = at("ENTRY", "entry", i);
    if (Status status = check_entry(entry, s, memory_limit, next, where); !status.ok()) return status;
    if (!names.insert(name_at(entry.name, s)).second)
      return illegal(where + ", field name", "must differ from the names of other entries");
    if (Status status = check_code(entry, s, facts); !status.ok()) return status;
    if (entry.macs != macs(entry, s))
      return illegal(where + ", field macs", "must be the sum over the instructions", static_cast<i64>(entry.macs));
  }
  if (next.instruction != s.code.size()) return illegal("section CODE", "instructions must belong to an entry");
  if (next.port != s.ports.size()) return illegal("section PORT", "ports must belong to an entry");
  return {};
}

u64 macs(const Instruction& i, const Sections& s) {
  const InstructionInfo* info = find_instruction(i.op);
  if (info && info->op == Op::CPUCALL) {
    const Result<CpuCall> decoded = decode_cpu_call(i, s, "");
    return decoded.ok() && !operators::check(decoded.value().call) ? operators::macs(decoded.value().call) : 0;
  }
  if (!info || info->queue != Queue::Mac || i.in0 >= s.surfaces.size() || i.out >= s.surfaces.size()) return 0;
  const Surface &in = s.surfaces[i.in0], &out = s.surfaces[i.out];
  if (info->aux != AuxKind::Conv) return u64{out.n} * i.box_h * i.box_w * i.box_n * in.c;
  if (i.aux % 8 != 0 || i.aux > s.aux.size() || sizeof(ConvAux) > s.aux.size() - i.aux) return 0;
  return conv_macs(i, info->op, in, out, *reinterpret_cast<const ConvAux*>(s.aux.data() + i.aux));
}

u64 macs(const Entry& entry, const Sections& s) {
  u64 total = 0;
  for (u64 k = entry.first_instruction; k < u64{entry.first_instruction} + entry.instructions && k < s.code.size();
       ++k) {
    const u64 more = macs(s.code[k], s);
    total = more > ~u64{0} - total ? ~u64{0} : total + more;
  }
  return total;
}

}  // namespace openbpu::isa
