// Largest, smallest, sum and index of the largest over vectors of channels; included by the file of each ISA, which
// supplies Vec.
#pragma once

#include <cstring>

#include "kernels/highest_vector.hpp"
#include "kernels/reduce/reduce_rows.hpp"
#include "kernels/vector_runs.hpp"

namespace openbpu::kernels {
namespace {

template <class Params>
Plan plan_pixels(const Params& p) {
  return {0, 0, pixel_units(p)};
}

bool simple(const ReduceParams& p) { return p.flip == Vec::kFlip && p.kind <= Reduction::Sum; }

OPENBPU_INLINE std::uint8_t scaled_sum(const ReduceParams& p, std::int64_t sum) {
  const std::int64_t half = (std::int64_t{1} << (p.sh - 1)) + p.zero * (std::int64_t{1} << p.sh);
  const std::int64_t y = (sum * p.m + half) >> p.sh;
  return static_cast<std::uint8_t>(static_cast<std::uint8_t>(min64(max64(y, p.lo), p.hi)) ^ p.flip);
}

OPENBPU_INLINE std::uint8_t clamped(const ReduceParams& p, std::int32_t stored) {
  const std::int32_t value = static_cast<std::int8_t>(static_cast<std::uint8_t>(stored) ^ p.flip);
  return static_cast<std::uint8_t>(static_cast<std::uint8_t>(min(max(value, p.lo), p.hi)) ^ p.flip);
}

OPENBPU_INLINE std::int64_t total(const std::uint8_t* in, std::int32_t n) {
  Vec::R sum = Vec::zero();
  std::int32_t i = 0;
  for (; i + Vec::kWords <= n; i += Vec::kWords) sum = Vec::add32(sum, Vec::widen(in + i));
  alignas(64) std::int32_t lanes[Vec::kWords];
  Vec::store(lanes, sum);
  std::int64_t result = 0;
  for (const std::int32_t lane : lanes) result += lane;
  for (; i < n; ++i) result += static_cast<Vec::Byte>(in[i]);
  return result;
}

void run_reduce(const ReduceParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const std::int32_t n = p.in.c;
  if (p.kind == Reduction::Largest)
    return for_each_pixel(p, begin, end,
                          [&](const std::uint8_t* in, std::uint8_t* out) { *out = clamped(p, highest<false>(in, n)); });
  if (p.kind == Reduction::Smallest)
    return for_each_pixel(p, begin, end,
                          [&](const std::uint8_t* in, std::uint8_t* out) { *out = clamped(p, ~highest<true>(in, n)); });
  const std::int64_t offset = std::int64_t{n} * (p.in_zero + Vec::kOffset);
  for_each_pixel(p, begin, end,
                 [&](const std::uint8_t* in, std::uint8_t* out) { *out = scaled_sum(p, total(in, n) - offset); });
}

void run_argmax(const ArgMaxParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const auto n = static_cast<std::size_t>(p.in.c);
  for_each_pixel(p, begin, end, [&](const std::uint8_t* in, std::uint8_t* out) {
    const std::int32_t top = highest<false>(in, p.in.c);
    const void* first = std::memchr(in, static_cast<std::uint8_t>(top), n);
    const std::int64_t index = static_cast<const std::uint8_t*>(first) - in;
    std::memcpy(out, &index, sizeof index);
  });
}

}  // namespace
}  // namespace openbpu::kernels
