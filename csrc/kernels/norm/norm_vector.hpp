// LAYERNORM and RMSNORM: sums of a row, its two factors, then one multiply-add for z and one for the result; included
// by the file of each ISA, which supplies Vec.
//
// Bytes hold value + kOffset: B' = B - kOffset * A. Gains and offsets are laid out when the engine is made, in the
// order in which Words hold the channels of a register.
#pragma once

#include "kernels/norm/norm_factors.hpp"
#include "kernels/norm/norm_rows.hpp"
#include "kernels/vector_runs.hpp"

namespace openbpu::kernels {
namespace {

bool accepts(const NormParams& p) { return p.flip == Vec::kFlip; }

Plan plan(const NormParams& p) {
  const auto blocks = static_cast<std::size_t>(ceil_div(p.in.c, Vec::kBytes));
  return {blocks * Vec::kBytes * 8, 0, pixel_units(p)};
}

// The channel of a register whose byte is word i of Words.
OPENBPU_INLINE std::int32_t channel_of_word(std::int32_t i) {
  const std::int32_t word = i % Vec::kWords;
  return word / 4 * 16 + i / Vec::kWords * 4 + word % 4;
}

// Per register of channels: four of offsets, four of gains; a gain's word is as mul_add16 wants it.
void pack(const NormParams& p, std::uint8_t* packed) {
  auto* words = reinterpret_cast<std::int32_t*>(packed);
  for (std::int32_t first = 0; first < p.in.c; first += Vec::kBytes, words += 2 * Vec::kBytes)
    for (std::int32_t i = 0; i < Vec::kBytes; ++i) {
      const std::int32_t channel = first + channel_of_word(i);
      words[i] = channel < p.in.c ? p.b[channel] : 0;
      words[Vec::kBytes + i] = channel < p.in.c ? Vec::half_word(p.g[channel]) : 0;
    }
}

OPENBPU_INLINE numerics::NormFactors row_factors(const NormParams& p, std::int64_t s1, std::int64_t s2) {
  const std::int32_t n = p.in.c;
  if (!p.centred) {
    s2 += std::int64_t{n} * p.in_zero * p.in_zero - 2 * p.in_zero * s1;
    s1 = std::int64_t{n} * p.in_zero;
  }
  const std::uint64_t V = static_cast<std::uint64_t>(n * s2 - (p.centred ? s1 * s1 : 0)) + p.eps;
  return factors_of(V, s1, n, p.F, numerics::kNorm8);
}

void run_pixel(const NormParams& p, const std::uint8_t* table, const std::uint8_t* in, std::uint8_t* out) {
  const std::int32_t n = p.in.c;
  Moments moments;
  for (std::int32_t i = 0; i < n; i += Vec::kBytes) add_moments(moments, load_run(in + i, n - i));
  std::int64_t s1, s2;
  total(moments, n, s1, s2);
  const numerics::NormFactors f = row_factors(p, s1, s2);
  const Vec::R A = Vec::set32(f.A), B = Vec::set32(static_cast<std::int32_t>(f.B) - Vec::kOffset * f.A);
  const Vec::R least = Vec::set32(-32768), most = Vec::set32(32767);
  const ByteClamp clamp(p.lo, p.hi);
  for (std::int32_t i = 0; i < n; i += Vec::kBytes, table += 8 * Vec::kBytes) {
    const Words x = words_of(load_run(in + i, n - i));
    const auto scaled = [&](Vec::R word, std::int32_t at) {
      const Vec::R z = Vec::min32(Vec::max32(Vec::shift_right32(Vec::mul_add16(B, word, A), f.t), least), most);
      const std::uint8_t* entry = table + at * 4 * Vec::kWords;
      return Vec::shift_right32(Vec::mul_add16(Vec::load(entry), z, Vec::load(entry + 4 * Vec::kBytes)), p.sh);
    };
    const Vec::R low = Vec::narrow32(scaled(x.r0, 0), scaled(x.r1, 1));
    const Vec::R high = Vec::narrow32(scaled(x.r2, 2), scaled(x.r3, 3));
    store_run(out + i, ByteClamp::apply_to(clamp, Vec::narrow16(low, high)), n - i);
  }
}

void run(const NormParams& p, const std::uint8_t* packed, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each_pixel(p, begin, end, [&](const std::uint8_t* in, std::uint8_t* out) { run_pixel(p, packed, in, out); });
}

}  // namespace
}  // namespace openbpu::kernels
