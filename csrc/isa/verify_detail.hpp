// Pieces of the verifier, one file each: surfaces, constants, instructions.
#pragma once

#include <string>

#include "isa/reflect.hpp"
#include "isa/verify.hpp"

namespace openbpu::isa::detail {

inline Status illegal(std::string where, std::string rule) {
  return {Code::Illegal, std::move(where), std::move(rule)};
}

inline Status illegal(std::string where, const char* rule, i64 seen) {
  return illegal(std::move(where), std::string(rule) + "; it is " + std::to_string(seen));
}

// ---- surfaces

// Strides, extents and quantisation of a surface on its own. Extents are 1..65535.
Status check_surface(const Surface& surface, const std::string& where);

// Bytes from base to one past the last element.
u64 surface_reach(const Surface& surface);

// True if no two elements share a byte.
bool is_injective(const Surface& surface);

// True if the surfaces may share a byte; exact for channel, column and row slices of one buffer.
bool may_overlap(const Surface& a, const Surface& b);

bool same_extents(const Surface& a, const Surface& b);

// ---- constants

// Bounds, size and padding of an item, and what its format demands of the values.
Status check_const(const Const& item, const Sections& sections, const std::string& where);

template <class T>
const T* items(const Const& item, const Sections& sections) {
  return reinterpret_cast<const T*>(sections.constants.data() + item.offset);
}

// The parts of an RQ8 item: B i32[c16], m i16[c16], s u8[c16].
struct Rq8View {
  const i32* B;
  const i16* m;
  const u8* s;
};
Rq8View rq8_view(const Const& item, const Sections& sections);

// Sum of |w| of output channel c of CONV_WEIGHTS (group-major) or DW_WEIGHTS.
u64 weight_magnitude(const Const& item, const Sections& sections, u32 channel);

// ---- instructions

// One instruction of an entry whose arenas have the given sizes.
Status check_instruction(const Instruction& instruction, const Entry& entry, const Sections& sections,
                         const std::string& where);

}  // namespace openbpu::isa::detail
