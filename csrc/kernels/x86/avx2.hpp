// What the AVX2 kernels share: loads, the exact u8 * s8 dot product, the RQ8 epilogue.
//
// vpmaddubsw adds two products u8 * s8 in a saturating int16. With u <= 255 the sum of a pair stays inside int16 as
// long as neither the positive nor the negative weights of the pair exceed 128 in sum (255 * 128 = 32640). A pair with
// two large weights of one sign is made safe by complementing one byte: u * w = (255 - u) * (-w) + 255 * w. The
// complement is an exclusive-or of the activations with a mask that stands beside the weights, 255 * w goes into the
// start value of the accumulator, and the two weights of the pair now have opposite signs. A pair (-128, -128) has no
// such form; its second weight is moved to a vector of its own.
// Against the other exact route, vpmaddwd of int16, this takes three or four instructions per 32 products instead of
// four, half the loads, and no widened copy of the activations.
#pragma once

#include <immintrin.h>

#include "kernels/arithmetic.hpp"

namespace openbpu::kernels::avx2 {

OPENBPU_INLINE __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
OPENBPU_INLINE void store(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

// Four bytes in every lane.
OPENBPU_INLINE __m256i broadcast4(const std::uint8_t* p) {
  std::int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return _mm256_set1_epi32(four);
}

// acc[i] += sum of x[4i + j] * w[4i + j] over j; the pairs of w must be safe (above).
OPENBPU_INLINE __m256i dot(__m256i acc, __m256i x, __m256i w) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(x, w), _mm256_set1_epi16(1)));
}

// All bits of a pair of bytes set where that pair of weights is not safe.
OPENBPU_INLINE __m256i unsafe_pairs(__m256i w) {
  const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi8(1), bound = _mm256_set1_epi16(128);
  const __m256i positive = _mm256_maddubs_epi16(_mm256_max_epi8(w, zero), one);
  // The negative of -128 is the unsigned byte 128.
  const __m256i negative = _mm256_maddubs_epi16(_mm256_sub_epi8(zero, _mm256_min_epi8(w, zero)), one);
  return _mm256_cmpgt_epi16(_mm256_max_epi16(positive, negative), bound);
}

// The weights of activations complemented where mask is set: negated there. -128 stays -128.
OPENBPU_INLINE __m256i negate(__m256i w, __m256i mask) { return _mm256_sub_epi8(_mm256_xor_si256(w, mask), mask); }

// Whether all pairs of w are safe for activations complemented by mask.
OPENBPU_INLINE bool safe_under(__m256i w, __m256i mask) {
  const __m256i lost = _mm256_and_si256(mask, _mm256_cmpeq_epi8(w, _mm256_set1_epi8(-128)));
  const __m256i bad = _mm256_or_si256(lost, unsafe_pairs(negate(w, mask)));
  return _mm256_testz_si256(bad, bad) != 0;
}

// A vector of weights split into a part for complemented activations and a rest.
struct SafeWeights {
  __m256i main;  // weights of x ^ mask
  __m256i mask;  // 0xff where the activation is complemented
  __m256i rest;  // weights of x; zero unless there are pairs (-128, -128)
};

OPENBPU_INLINE SafeWeights make_safe(__m256i w) {
  const __m256i lowest = _mm256_set1_epi8(-128), odd = _mm256_set1_epi16(static_cast<std::int16_t>(0xff00));
  const __m256i is_lowest = _mm256_cmpeq_epi8(w, lowest);
  const __m256i both = _mm256_cmpeq_epi16(is_lowest, _mm256_set1_epi16(-1));
  const __m256i rest = _mm256_and_si256(_mm256_and_si256(w, both), odd);
  const __m256i unsafe = _mm256_andnot_si256(both, unsafe_pairs(w));
  // The odd byte is complemented, unless it is -128, whose negative is no int8.
  const __m256i odd_lowest = _mm256_srai_epi16(is_lowest, 15);
  const __m256i mask = _mm256_and_si256(unsafe, _mm256_xor_si256(odd_lowest, odd));
  return {negate(_mm256_sub_epi8(w, rest), mask), mask, rest};
}

// Start value of eight accumulators from B, the sums of all weights and the sums of the complemented weights, so that
// the accumulator of the stored bytes (value + 128, partly complemented) ends at acc + (B >> L).
OPENBPU_INLINE __m256i start_value(__m256i B, std::int32_t L, __m256i sum, __m256i complemented) {
  const __m256i high = _mm256_sra_epi32(B, _mm_cvtsi32_si128(L));
  const __m256i offset = _mm256_slli_epi32(sum, 7);
  const __m256i constant = _mm256_sub_epi32(_mm256_slli_epi32(complemented, 8), complemented);
  return _mm256_add_epi32(_mm256_sub_epi32(high, offset), constant);
}

// The bits of B that B >> L drops.
OPENBPU_INLINE __m256i low_bits(__m256i B, std::int32_t L) {
  return _mm256_and_si256(B, _mm256_set1_epi32((1 << L) - 1));
}

// What the epilogue needs for a whole operator.
struct Clamp {
  __m256i lo, hi;  // int8
  __m128i L;
  bool shifted;  // L > 0
};

OPENBPU_INLINE Clamp make_clamp(std::int32_t L, std::int32_t lo, std::int32_t hi) {
  return {_mm256_set1_epi8(static_cast<char>(lo)), _mm256_set1_epi8(static_cast<char>(hi)), _mm_cvtsi32_si128(L),
          L > 0};
}

// (acc << L) + B, then >> s. acc holds acc + (B >> L), low the other bits of B.
OPENBPU_INLINE __m256i scale(__m256i acc, const std::int32_t* low, const std::int32_t* shift, const Clamp& c) {
  if (c.shifted) acc = _mm256_add_epi32(_mm256_sll_epi32(acc, c.L), load(low));
  return _mm256_srav_epi32(acc, load(shift));
}

// Sixteen t (saturated) times m, >> 22.
OPENBPU_INLINE __m256i multiply(__m256i t, __m256i m) { return _mm256_srai_epi16(_mm256_mulhi_epi16(t, m), 6); }

// Two vectors of int16 to clamped bytes as stored; per 128-bit lane eight of a, then eight of b.
OPENBPU_INLINE __m256i narrow(__m256i a, __m256i b, const Clamp& c) {
  const __m256i y = _mm256_min_epi8(_mm256_max_epi8(_mm256_packs_epi16(a, b), c.lo), c.hi);
  return _mm256_xor_si256(y, _mm256_set1_epi8(-128));
}

// Epilogue constants of 16 channels whose accumulators are two vectors: channels 0-3, 8-11 and 4-7, 12-15, which
// vpackssdw brings into order. low and shift follow the vectors, m the channels.
struct Constants16 {
  const std::int32_t* low;
  const std::int32_t* shift;
  const std::int16_t* m;
};

// 16 channels of one pixel, before clamping.
OPENBPU_INLINE __m256i requantise16(__m256i acc0, __m256i acc1, const Constants16& k, const Clamp& c) {
  const __m256i t = _mm256_packs_epi32(scale(acc0, k.low, k.shift, c), scale(acc1, k.low + 8, k.shift + 8, c));
  return multiply(t, load(k.m));
}

// 16 channels of two pixels as stored, the first pixel in the low half.
OPENBPU_INLINE __m256i narrow16(__m256i first, __m256i second, const Clamp& c) {
  return _mm256_permute4x64_epi64(narrow(first, second, c), 0xd8);
}

// The first n < 16 bytes of v. Out of line: channel tails are rare.
[[maybe_unused]] static __attribute__((noinline)) void store_tail(std::uint8_t* p, __m128i v, std::int32_t n) {
  alignas(16) std::uint8_t bytes[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(bytes), v);
  for (std::int32_t i = 0; i < n; ++i) p[i] = bytes[i];
}

// The first n <= 16 bytes of v.
OPENBPU_INLINE void store_first(std::uint8_t* p, __m128i v, std::int32_t n) {
  if (n == 16)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), v);
  else if (n == 8)
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), v);
  else
    store_tail(p, v, n);
}

}  // namespace openbpu::kernels::avx2
