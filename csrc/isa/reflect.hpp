// The .def tables as data: for the disassembler, the verifier, the Python view and the documentation.
#pragma once

#include "isa/isa.hpp"

namespace openbpu::isa {

enum class FieldKind : u8 { u8_, u16_, u32_, u64_, i16_, i32_, i64_, f64_ };

// Bytes of one value.
constexpr u16 field_size(FieldKind kind) {
  switch (kind) {
    case FieldKind::u8_:
      return 1;
    case FieldKind::u16_:
    case FieldKind::i16_:
      return 2;
    case FieldKind::u32_:
    case FieldKind::i32_:
      return 4;
    case FieldKind::u64_:
    case FieldKind::i64_:
    case FieldKind::f64_:
      return 8;
  }
  return 0;
}

struct FieldInfo {
  const char* name;
  FieldKind kind;
  u16 offset;
  u16 count;
  const char* doc;
};

enum class RecordId : u8 {
#define RECORD(name, size, doc) name,
#define FIELD(record, offset, type, name, count, doc)
#define RECORD_END(name)
#include "isa/records.def"
#undef RECORD
#undef FIELD
#undef RECORD_END
};

struct RecordInfo {
  const char* name;
  u16 size;
  const char* doc;
  const FieldInfo* fields;
  u16 field_count;
};

#define RECORD(name, size, doc) inline constexpr FieldInfo k##name##Fields[] = {
#define FIELD(record, offset, type, name, count, doc) {#name, FieldKind::type##_, offset, count, doc},
#define RECORD_END(name) \
  }                      \
  ;
#include "isa/records.def"
#undef RECORD
#undef FIELD
#undef RECORD_END

inline constexpr RecordInfo kRecords[] = {
#define RECORD(name, size, doc) {#name, size, doc, k##name##Fields, sizeof(k##name##Fields) / sizeof(FieldInfo)},
#define FIELD(record, offset, type, name, count, doc)
#define RECORD_END(name)
#include "isa/records.def"
#undef RECORD
#undef FIELD
#undef RECORD_END
};

// Operand bits of an instruction.
enum Operand : u8 { A = 1, B = 2, O = 4, W = 8, T = 16, M = 32 };

enum class AuxKind : u8 {
  None,
  Conv,
  Pool,
  MatMul,
  Softmax,
  Norm,
  Cmp,
  Reduce,
  Resize,
  GridSample,
  RoiResize,
  CpuCall
};

struct InstructionInfo {
  const char* name;
  Op op;
  Queue queue;
  u8 operands;
  AuxKind aux;
  const char* summary;
};

inline constexpr InstructionInfo kInstructions[] = {
#define INSTRUCTION(name, opcode, queue, operands, aux, summary) \
  {#name, Op::name, Queue::queue, operands, AuxKind::aux, summary},
#include "isa/instructions.def"
#undef INSTRUCTION
};

struct FormatInfo {
  const char* name;
  Format format;
  const char* dims;
  const char* layout;
};

inline constexpr FormatInfo kFormats[] = {
#define FORMAT(name, number, dims, layout) {#name, Format::name, dims, layout},
#include "isa/formats.def"
#undef FORMAT
};

struct FlagInfo {
  const char* name;
  u8 mask;
  const char* doc;
};

inline constexpr FlagInfo kFlags[] = {
#define FLAG(name, bit, doc) {#name, 1u << bit, doc},
#include "isa/flags.def"
#undef FLAG
};

// Null for an operation code that is not in the table.
constexpr const InstructionInfo* find_instruction(u8 opcode) {
  for (const InstructionInfo& info : kInstructions)
    if (static_cast<u8>(info.op) == opcode) return &info;
  return nullptr;
}

// The record behind Instruction.aux, or null.
constexpr const RecordInfo* aux_record(AuxKind kind) {
  switch (kind) {
    case AuxKind::None:
      return nullptr;
    case AuxKind::Conv:
      return &kRecords[static_cast<int>(RecordId::ConvAux)];
    case AuxKind::Pool:
      return &kRecords[static_cast<int>(RecordId::PoolAux)];
    case AuxKind::MatMul:
      return &kRecords[static_cast<int>(RecordId::MatMulAux)];
    case AuxKind::Softmax:
      return &kRecords[static_cast<int>(RecordId::SoftmaxAux)];
    case AuxKind::Norm:
      return &kRecords[static_cast<int>(RecordId::NormAux)];
    case AuxKind::Cmp:
      return &kRecords[static_cast<int>(RecordId::CmpAux)];
    case AuxKind::Reduce:
      return &kRecords[static_cast<int>(RecordId::ReduceAux)];
    case AuxKind::Resize:
      return &kRecords[static_cast<int>(RecordId::ResizeAux)];
    case AuxKind::GridSample:
      return &kRecords[static_cast<int>(RecordId::GridSampleAux)];
    case AuxKind::RoiResize:
      return &kRecords[static_cast<int>(RecordId::RoiResizeAux)];
    case AuxKind::CpuCall:
      return &kRecords[static_cast<int>(RecordId::CpuCallAux)];
  }
  return nullptr;
}

// No byte of a record lies outside its fields: padding by the compiler would go unwritten and unverified.
constexpr bool records_have_no_gaps() {
  for (const RecordInfo& record : kRecords) {
    u16 end = 0;
    for (u16 f = 0; f < record.field_count; ++f) {
      const FieldInfo& field = record.fields[f];
      if (field.offset != end) return false;
      end = static_cast<u16>(end + field.count * field_size(field.kind));
    }
    if (end != record.size) return false;
  }
  return true;
}
static_assert(records_have_no_gaps(), "records.def: bytes between fields or at the end of a record");

constexpr bool opcodes_are_unique() {
  for (const InstructionInfo& a : kInstructions)
    for (const InstructionInfo& b : kInstructions)
      if (&a != &b && a.op == b.op) return false;
  return true;
}
static_assert(opcodes_are_unique(), "instructions.def: two instructions share an operation code");

constexpr bool formats_are_unique() {
  for (const FormatInfo& a : kFormats)
    for (const FormatInfo& b : kFormats)
      if (&a != &b && a.format == b.format) return false;
  return true;
}
static_assert(formats_are_unique(), "formats.def: two formats share a number");

constexpr bool flags_are_unique() {
  for (const FlagInfo& a : kFlags)
    for (const FlagInfo& b : kFlags)
      if (&a != &b && (a.mask & b.mask) != 0) return false;
  return true;
}
static_assert(flags_are_unique(), "flags.def: two flags share a bit");

}  // namespace openbpu::isa
