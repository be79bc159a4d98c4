// What the AVX-512 VNNI kernels share: loads, masks, the RQ8 epilogue in registers.
//
// Activations are stored as u8 = value + 128, weights are s8: vpdpbusd multiplies them as they are. The offset 128 *
// sum(w) is taken off the accumulator's start value when weights are packed, so that the loops pay nothing for it.
#pragma once

#include <immintrin.h>

#include "kernels/x86/arithmetic.hpp"

namespace openbpu::kernels::avx512 {

using x86::align64;
using x86::ceil_div;
using x86::max;
using x86::min;

OPENBPU_INLINE __m512i load(const void* p) { return _mm512_loadu_si512(p); }

// An accumulator. The intrinsics see it as __m512i, which is 64-bit lanes to gcc 12: a variable of that type is carried
// through a loop twice, once as either, and spilled in every turn.
using Acc = std::int32_t __attribute__((vector_size(64)));

// acc[i] + sum of x[4 i + j] * w[4 i + j] over j.
OPENBPU_INLINE Acc dot(Acc acc, __m512i x, __m512i w) {
  return reinterpret_cast<Acc>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(acc), x, w));
}

// Four bytes in every lane.
OPENBPU_INLINE __m512i broadcast4(const std::uint8_t* p) {
  std::int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return _mm512_set1_epi32(four);
}

// The lowest n of 64, 32 or 16 lanes; n may be larger or negative.
OPENBPU_INLINE std::uint64_t low_lanes(std::int32_t n) {
  return n >= 64 ? ~std::uint64_t{0} : n <= 0 ? 0 : (std::uint64_t{1} << n) - 1;
}

// RQ8 for a whole operator: L and the clamp.
struct Clamp {
  __m512i lo, hi;  // bytes as stored
  __m128i L;
};

OPENBPU_INLINE Clamp make_clamp(std::int32_t L, std::int32_t lo, std::int32_t hi) {
  return {_mm512_set1_epi8(static_cast<char>(lo)), _mm512_set1_epi8(static_cast<char>(hi)), _mm_cvtsi32_si128(L)};
}

// Accumulators hold acc + (B >> L); `low` the bits of B that the shift drops. Gives ((acc << L) + B) >> s. Shifted is
// L > 0: a branch here would cost the tiles their registers.
template <bool Shifted>
OPENBPU_INLINE __m512i scale(Acc accumulator, __m512i s, const std::int32_t* low, const Clamp& c) {
  auto acc = reinterpret_cast<__m512i>(accumulator);
  if constexpr (Shifted) acc = _mm512_add_epi32(_mm512_sll_epi32(acc, c.L), load(low));
  return _mm512_srav_epi32(acc, s);
}

// (t * m) >> 22 of saturated t.
OPENBPU_INLINE __m512i multiply(__m512i t, __m512i m) { return _mm512_srai_epi16(_mm512_mulhi_epi16(t, m), 6); }
OPENBPU_INLINE __m256i multiply(__m256i t, __m256i m) { return _mm256_srai_epi16(_mm256_mulhi_epi16(t, m), 6); }

// int8 values, clamped, as stored.
OPENBPU_INLINE __m512i finish(__m512i y, const Clamp& c) {
  y = _mm512_min_epi8(_mm512_max_epi8(y, c.lo), c.hi);
  return _mm512_xor_si512(y, _mm512_set1_epi8(-128));
}
OPENBPU_INLINE __m256i finish(__m256i y, const Clamp& c) {
  y = _mm256_min_epi8(_mm256_max_epi8(y, _mm512_castsi512_si256(c.lo)), _mm512_castsi512_si256(c.hi));
  return _mm256_xor_si256(y, _mm256_set1_epi8(-128));
}
OPENBPU_INLINE __m128i finish(__m128i y, const Clamp& c) {
  y = _mm_min_epi8(_mm_max_epi8(y, _mm512_castsi512_si128(c.lo)), _mm512_castsi512_si128(c.hi));
  return _mm_xor_si128(y, _mm_set1_epi8(-128));
}

}  // namespace openbpu::kernels::avx512
