#include <cstring>

#include "isa/access.hpp"
#include "isa/verify_detail.hpp"

namespace openbpu::isa::detail {
namespace {

bool reaches_caller_memory(Op op, bool input) {
  return op == Op::COPY || op == Op::LOAD || op == Op::STORE || op == Op::QUANTIZE || op == Op::DEQUANTIZE ||
         ((op == Op::GATHER || op == Op::GRIDSAMPLE || op == Op::CSC || op == Op::ROIRESIZE) && input) ||
         (op == Op::ARGMAX && !input);
}

Status check_port_surface(const Word& w, const char* name, const Surface& surface) {
  const bool input = region(surface) == Region::In;
  if (!reaches_caller_memory(w.info.op, input))
    return w.field(
        name,
        "only COPY, LOAD, STORE, QUANTIZE, DEQUANTIZE, CSC, ROIRESIZE, indices and coordinates access IN and OUT");
  if (surface.port >= (input ? w.entry.inputs : w.entry.outputs)) return w.field(name, "no such port", surface.port);
  const Port& port = w.sections.ports[w.entry.first_port + (input ? 0 : w.entry.inputs) + surface.port];
  return surface.dtype == port.dtype ? Status{} : w.field(name, "must have the type of its port", surface.dtype);
}

// Direction, port, bounds.
Status check_place(const Word& w, const char* name, const Surface& surface, bool written) {
  if (written && region(surface) == Region::Const) return w.field(name, "CONST is never written");
  if (written && region(surface) == Region::In) return w.field(name, "IN is never written");
  if (region(surface) == Region::Home) return w.field(name, "HOME is no memory");
  if (!written && region(surface) == Region::Out) return w.field(name, "OUT is never read");
  if (is_caller_memory(surface))
    if (Status status = check_port_surface(w, name, surface); !status.ok()) return status;
  const u64 size = region_bytes(w, region(surface), surface.port), reach = surface_reach(surface);
  if (surface.base > size || reach > size - surface.base)
    return w.field(name, "must lie inside its region; the end of the surface", static_cast<i64>(surface.base + reach));
  if (written && !is_injective(surface)) return w.field(name, "elements of an output must not share bytes");
  return {};
}

// Bytes in SRAM to which LDW brought weights.
Status check_loaded_weights(const Word& w) {
  if (w.i.in1 >= w.sections.surfaces.size()) return w.field("in1", "must be an id of the file", w.i.in1);
  const Surface& loaded = w.in1();
  if (region(loaded) != Region::Sram) return w.field("in1", "loaded weights lie in SRAM", loaded.region);
  if (dtype(loaded) != DType::U8) return w.field("in1", "loaded weights are uint8", loaded.dtype);
  if (loaded.roll_h != 0) return w.field("in1", "loaded weights do not roll", loaded.roll_h);
  return check_place(w, "in1", loaded, false);
}

// Ids are set exactly where the table says, and lead to surfaces that lie inside their region.
Status check_operands(const Word& w) {
  struct Slot {
    const char* name;
    u16 id;
    Operand bit;
    std::size_t count;
  };
  const std::size_t surfaces = w.sections.surfaces.size(), consts = w.sections.consts.size();
  const Slot slots[] = {{"in0", w.i.in0, A, surfaces},   {"in1", w.i.in1, B, surfaces},
                        {"out", w.i.out, O, surfaces},   {"weight", w.i.weight, W, consts},
                        {"table", w.i.table, T, consts}, {"in2", w.i.in2, M, surfaces}};
  bool ddr = false;
  for (const Slot& slot : slots) {
    if (slot.bit == B && w.uses(W) && w.info.queue == Queue::Mac && slot.id != kNoId) {
      if (Status status = check_loaded_weights(w); !status.ok()) return status;
      continue;
    }
    if (!w.uses(slot.bit)) {
      if (slot.bit == M ? slot.id != 0 : slot.id != kNoId)
        return w.field(slot.name, slot.bit == M ? "must be zero" : "must be none (65535)", slot.id);
      continue;
    }
    if (slot.id >= slot.count) return w.field(slot.name, "must be an id of the file", slot.id);
    if (slot.bit == W || slot.bit == T) continue;
    const Surface& surface = w.sections.surfaces[slot.id];
    if (Status status = check_place(w, slot.name, surface, slot.bit == O); !status.ok()) return status;
    ddr = ddr || region(surface) == Region::Ddr || is_caller_memory(surface);
  }
  if (w.info.op != Op::CPUCALL && has(w.i, Flag::DDR_OPERAND) != ddr)
    return w.field("flags", "DDR_OPERAND must be set exactly if an operand lies in DDR, IN or OUT", w.i.flags);
  return {};
}

Status check_flags(const Word& w) {
  u8 known = 0;
  for (const FlagInfo& flag : kFlags) known = static_cast<u8>(known | flag.mask);
  if (w.i.flags & ~known) return w.field("flags", "unknown bits", w.i.flags);
  if (has(w.i, Flag::COUNT_PAD) && w.info.op != Op::AVGPOOL)
    return w.field("flags", "COUNT_PAD belongs to AVGPOOL", w.i.flags);
  return {};
}

// Fields that the operation does not use are zero, so that later versions may give them a meaning.
Status check_fields(const Word& w) {
  const Op op = w.info.op;
  const bool rq8 = w.info.queue == Queue::Mac, sums = op == Op::ADD || op == Op::SUB;
  const bool norms = op == Op::LAYERNORM || op == Op::RMSNORM;
  const bool scales = op == Op::MUL || op == Op::REDUCE,
             shifts = sums || scales || norms || op == Op::DIV || op == Op::CSC;
  const bool clamps = rq8 || (shifts && op != Op::CSC) || op == Op::RESCALE || op == Op::SOFTMAX || op == Op::AVGPOOL ||
                      op == Op::MAX || op == Op::MIN;
  if (Status status = check_flags(w); !status.ok()) return status;
  const bool wide = w.wide(), wide_result = wide && dtype(w.out()) == DType::I16;  // scaled by a table
  if ((!rq8 || wide) && w.i.L != 0) return w.field("L", "must be zero", w.i.L);
  if (w.i.L > 15) return w.field("L", "must be 0..15", w.i.L);
  if ((!shifts || (wide && !norms)) && w.i.sh != 0) return w.field("sh", "must be zero", w.i.sh);
  if ((!sums || wide) && w.i.ma != 0) return w.field("ma", "must be zero", w.i.ma);
  if ((!sums || wide) && w.i.mb != 0) return w.field("mb", "must be zero", w.i.mb);
  const bool constant = (!wide && (sums || scales)) || op == Op::FILL || op == Op::LDW || op == Op::TRAP;
  if (!constant && w.i.C != 0) return w.field("C", "must be zero", w.i.C);
  if (!clamps && w.i.lo != 0) return w.field("lo", "must be zero", w.i.lo);
  if (!clamps && w.i.hi != 0) return w.field("hi", "must be zero", w.i.hi);
  if ((w.i.lo < -128 && !wide_result) || w.i.lo > w.i.hi)
    return w.field("lo", wide_result ? "must be at most hi" : "must be an int8 value, at most hi", w.i.lo);
  if (w.i.hi > 127 && !wide_result) return w.field("hi", "must be an int8 value", w.i.hi);
  return {};
}

Status check_aux(const Word& w) {
  const RecordInfo* record = aux_record(w.info.aux);
  if (!record) return w.i.aux == kNoAux ? Status{} : w.field("aux", "must be none", w.i.aux);
  const u64 size = w.sections.aux.size();
  if (w.i.aux % 8 != 0 || w.i.aux > size || record->size > size - w.i.aux)
    return w.field("aux", "must be a multiple of 8 with the record inside section AUX", w.i.aux);
  for (u16 f = 0; f < record->field_count; ++f) {
    const FieldInfo& field = record->fields[f];
    if (std::strncmp(field.name, "reserved", 8) != 0) continue;
    for (int byte = field.offset; byte < field.offset + field.count * field_size(field.kind); ++byte)
      if (const u8 value = w.sections.aux[w.i.aux + static_cast<u32>(byte)])
        return w.field("aux", "reserved bytes of the operator record must be zero", value);
  }
  return {};
}

Status check_box(const Word& w) {
  struct Range {
    const char *start_name, *extent_name;
    u32 start, extent, limit;
  };
  const Surface none{};
  const Surface& out = w.uses(O) ? w.out() : none;
  for (const Range& r :
       {Range{"box_y", "box_h", w.i.box_y, w.i.box_h, out.h}, Range{"box_x", "box_w", w.i.box_x, w.i.box_w, out.w},
        Range{"box_c", "box_n", w.i.box_c, w.i.box_n, out.c}}) {
    if (!w.uses(O)) {
      if (r.start != 0) return w.field(r.start_name, "must be zero without an output", r.start);
      if (r.extent != 0) return w.field(r.extent_name, "must be zero without an output", r.extent);
    } else if (r.extent < 1 || r.start + r.extent > r.limit) {
      return w.field(r.extent_name, "the box must hold something and lie inside out; its end", r.start + r.extent);
    }
  }
  if (w.info.queue == Queue::Mac && w.i.box_c % 16 != 0) return w.field("box_c", "must be a multiple of 16", w.i.box_c);
  return {};
}

// Output and operands share no byte, but for element-wise operators that work in place.
Status check_overlap(const Word& w) {
  if (!w.uses(O)) return {};
  const Op op = w.info.op;
  const bool in_place = op == Op::ADD || op == Op::SUB || op == Op::MUL || op == Op::LUT8 || op == Op::RESCALE ||
                        op == Op::MAX || op == Op::MIN || op == Op::LUT16;
  const Surface& out = w.out();
  const auto clash = [&](const Surface& in) {
    const bool same = in.base == out.base && same_extents(in, out) && in.stride_n == out.stride_n &&
                      in.stride_h == out.stride_h && in.stride_w == out.stride_w && in.stride_c == out.stride_c;
    return may_overlap(in, out) && !(in_place && same);
  };
  if (w.uses(A) && clash(w.in0())) return w.field("in0", "must not share bytes with out");
  if ((w.uses(B) || (w.uses(W) && w.i.in1 != kNoId)) && clash(w.in1()))
    return w.field("in1", "must not share bytes with out");
  if (w.uses(M) && clash(w.in2())) return w.field("in2", "must not share bytes with out");
  return {};
}

}  // namespace

u64 region_bytes(const Word& w, Region region, u8 port) {
  switch (region) {
    case Region::Const:
      return w.sections.constants.size();
    case Region::Ddr:
      return w.entry.ddr_bytes;
    case Region::Sram:
      return w.entry.sram_bytes;
    case Region::In:
      return w.sections.ports[w.entry.first_port + port].bytes;
    case Region::Out:
      return w.sections.ports[w.entry.first_port + w.entry.inputs + port].bytes;
    case Region::Home:
      break;
  }
  return 0;
}

Status check_word(const Word& word) {
  for (const auto check : {check_operands, check_fields, check_aux, check_box, check_overlap})
    if (Status status = check(word); !status.ok()) return status;
  return {};
}

Status check_rolls(const Word& w) {
  if (w.uses(O) && w.out().roll_h != 0 && w.i.box_y / w.out().roll_h != (w.i.box_y + w.i.box_h - 1u) / w.out().roll_h)
    return w.field("box_h", "a box of a rolling surface must not wrap; its last row", w.i.box_y + w.i.box_h - 1);
  struct Slot {
    const char* name;
    Operand bit;
    u16 id;
  };
  for (const Slot& slot : {Slot{"in0", A, w.i.in0}, Slot{"in1", B, w.i.in1}, Slot{"in2", M, w.i.in2}}) {
    if (!w.uses(slot.bit) || w.sections.surfaces[slot.id].roll_h == 0) continue;
    const Rows rows = input_rows(w.i, w.sections, slot.bit);
    if (rows.end == rows.first) return w.field(slot.name, "the box must need a row of a rolling surface", w.i.box_y);
    if (rows.end - rows.first > w.sections.surfaces[slot.id].roll_h)
      return w.field(slot.name, "a rolling surface must hold all rows that the box needs", rows.end - rows.first);
  }
  if (!w.uses(W) || w.i.in1 == kNoId || w.info.queue != Queue::Mac) return {};
  const u64 bytes = surface_reach(w.in1()), needed = weight_range(w.i, w.sections).size;
  const Surface& s = w.in1();
  if (bytes != u64{s.n} * s.h * s.w * s.c) return w.field("in1", "loaded weights must be dense");
  return bytes == needed ? Status{}
                         : w.field("in1", "must have the bytes of the weights of the box", static_cast<i64>(needed));
}

}  // namespace openbpu::isa::detail
