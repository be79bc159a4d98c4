// Interpolation between the entries of a table of int16 or uint16 (clauses LUT16 and SOFTMAX). Needs Wide of
// x86/wide256.hpp, x86/wide512.hpp or arm/wide128.hpp.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {
namespace {

// Entries stand 2^shift apart, shift 0 .. 7.
struct WideTable {
  const void* entries;
  std::int32_t shift;
  Wide::R part, half;

  WideTable(const void* entries_, std::int32_t shift_)
      : entries(entries_), shift(shift_), part(Wide::set((1 << shift_) - 1)), half(Wide::set(1 << shift_ >> 1)) {}
};

// At x, 0 .. 65535 in every lane.
template <bool kSigned>
OPENBPU_INLINE Wide::R interpolated(const WideTable& t, Wide::R x) {
  const Wide::R pair = Wide::gather_pairs(t.entries, Wide::shift_right(x, t.shift));
  const Wide::R first = kSigned ? Wide::extend_low(pair) : Wide::low_part(pair);
  const Wide::R second = kSigned ? Wide::shift_right(pair, 16) : Wide::high_part(pair);
  const Wide::R more = Wide::multiply(Wide::subtract(second, first), Wide::and_(x, t.part));
  return Wide::add(first, Wide::shift_right(Wide::add(more, t.half), t.shift));
}

}  // namespace
}  // namespace openbpu::kernels
