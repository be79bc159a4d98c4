// Products of int16: a tile of 4 pixels by 2 registers of weights. Needs Wide of x86/wide256.hpp, x86/wide512.hpp or
// arm/wide128.hpp.
//
// A step is a pair of activations of each pixel, and for every lane a pair of weights: both products are added to an
// int32. Whoever packs weights sees to it that sums hold.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {
namespace {

constexpr std::int32_t kBlock16 = 2 * Wide::kWords, kTile16 = 4;
constexpr std::size_t kStepBytes = 4 * kBlock16;

// Sums of 4 pixels by 2 registers.
struct Sums16 {
  Wide::R a0, a1, b0, b1, c0, c1, d0, d1;
};

// Over steps [begin, end) of packed weights; offset(step) is that of a pair of activations, in bytes from the pixel.
template <class Offset>
OPENBPU_INLINE Sums16 sums16(const std::uint8_t* weights, Offset offset, const std::uint8_t* const* in,
                             std::int32_t begin, std::int32_t end) {
  const std::uint8_t *pa = in[0], *pb = in[1], *pc = in[2], *pd = in[3];
  Wide::R a0 = Wide::zero(), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
  const std::uint8_t* w = weights + static_cast<std::size_t>(begin) * kStepBytes;
  for (std::int32_t step = begin; step < end; ++step, w += kStepBytes) {
    const std::int32_t at = offset(step);
    const Wide::R w0 = Wide::load(w), w1 = Wide::load(w + kStepBytes / 2);
    Wide::R x = Wide::broadcast_pair(pa + at);
    a0 = Wide::dot(a0, x, w0);
    a1 = Wide::dot(a1, x, w1);
    x = Wide::broadcast_pair(pb + at);
    b0 = Wide::dot(b0, x, w0);
    b1 = Wide::dot(b1, x, w1);
    x = Wide::broadcast_pair(pc + at);
    c0 = Wide::dot(c0, x, w0);
    c1 = Wide::dot(c1, x, w1);
    x = Wide::broadcast_pair(pd + at);
    d0 = Wide::dot(d0, x, w0);
    d1 = Wide::dot(d1, x, w1);
  }
  return {a0, a1, b0, b1, c0, c1, d0, d1};
}

OPENBPU_INLINE void store_sums16(const Sums16& s, std::int32_t* to) {
  const Wide::R all[8] = {s.a0, s.a1, s.b0, s.b1, s.c0, s.c1, s.d0, s.d1};
#pragma GCC unroll 8
  for (std::int32_t i = 0; i < 8; ++i) Wide::store32(to + i * Wide::kWords, all[i]);
}

}  // namespace
}  // namespace openbpu::kernels
