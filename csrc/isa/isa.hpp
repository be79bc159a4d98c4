// The instruction set as C++ types, all derived from the .def tables beside this file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace openbpu::isa {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
using f64 = double;

// Records are read from files in place. MSVC, which lacks these macros, has little-endian targets only.
#ifdef __BYTE_ORDER__
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the host must be little endian");
#endif

constexpr u16 kIsaVersion = 1;
constexpr u16 kNumericsVersion = 1;
constexpr u16 kNoId = 0xFFFF;
constexpr u32 kNoAux = 0xFFFFFFFF;

// Bits of Port.flags.
constexpr u8 kPortStrides = 1;  // rows may have gaps, as the application says
constexpr u8 kPortSize = 2;     // an image of any size up to the shape, in its upper left
constexpr u8 kPortRegion = 4;   // regions of interest in the ports before it

enum class Queue : u8 { Ctrl, Ld, St, Mac, Vec, Cpu };
// Home is no memory: its surfaces name elements of logical tensors, so that copies of them are known to be copies.
enum class Region : u8 { Const, Ddr, Sram, In, Out, Home };
// Surfaces have types up to Bool, ports all but Bf16, operands of CPUCALL all.
enum class DType : u8 { None, I8, U8, I16, I32, F32, I64, Bool, U16, U32, U64, F16, F64, Bf16 };
enum class Layout : u8 { Nhwc, Strided };

enum class Op : u8 {
#define INSTRUCTION(name, opcode, queue, operands, aux, summary) name = opcode,
#include "isa/instructions.def"
#undef INSTRUCTION
};

enum class Format : u8 {
#define FORMAT(name, number, dims, layout) name = number,
#include "isa/formats.def"
#undef FORMAT
};

enum class Flag : u8 {
#define FLAG(name, bit, doc) name = 1u << bit,
#include "isa/flags.def"
#undef FLAG
};

#define RECORD(name, size, doc) struct name {
#define FIELD(record, offset, type, name, count, doc) FieldType<type, count> name;
#define RECORD_END(name) \
  }                      \
  ;
template <class T, int N>
struct FieldTypeOf {
  using type = T[N];
};
template <class T>
struct FieldTypeOf<T, 1> {
  using type = T;
};
template <class T, int N>
using FieldType = typename FieldTypeOf<T, N>::type;
#include "isa/records.def"
#undef RECORD
#undef FIELD
#undef RECORD_END

// A field that overlaps another, a gap or a wrong size stops the build here.
#define RECORD(name, size, doc)                                                   \
  static_assert(sizeof(name) == (size), #name ": size differs from records.def"); \
  static_assert(std::is_trivially_copyable_v<name> && std::is_standard_layout_v<name>, #name);
#define FIELD(record, offset, type, name, count, doc) \
  static_assert(offsetof(record, name) == (offset), #record "." #name ": offset differs from records.def");
#define RECORD_END(name)
#include "isa/records.def"
#undef RECORD
#undef FIELD
#undef RECORD_END

constexpr std::size_t element_size(DType type) {
  switch (type) {
    case DType::I8:
    case DType::U8:
    case DType::Bool:
      return 1;
    case DType::I16:
    case DType::U16:
    case DType::F16:
    case DType::Bf16:
      return 2;
    case DType::I32:
    case DType::U32:
    case DType::F32:
      return 4;
    case DType::I64:
    case DType::U64:
    case DType::F64:
      return 8;
    case DType::None:
      return 0;
  }
  return 0;
}

inline bool has(const Instruction& instruction, Flag flag) { return (instruction.flags & static_cast<u8>(flag)) != 0; }

}  // namespace openbpu::isa
