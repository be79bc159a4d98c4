// One AVX2 register under the names that the element-wise kernels use; vec512.hpp is its twin.
#pragma once

#include <immintrin.h>

#include "kernels/arithmetic.hpp"

namespace openbpu::kernels {
namespace {

struct Vec {
  using R = __m256i;
  using F = __m256;
  using Byte = std::uint8_t;  // a stored byte as a number: value + kOffset
  static constexpr std::uint8_t kFlip = 0x80;
  static constexpr std::int32_t kBytes = 32, kWords = 8, kOffset = 128;
  static constexpr Isa kIsa = Isa::Avx2;

  OPENBPU_INLINE R load(const void* p) { return _mm256_loadu_si256(static_cast<const R*>(p)); }
  OPENBPU_INLINE void store(void* p, R v) { _mm256_storeu_si256(static_cast<R*>(p), v); }
  // The first n bytes, 0 < n < kBytes; no other byte of memory is touched, what is not loaded is 0.
  OPENBPU_INLINE R load_first(const void* p, std::int32_t n) {
    alignas(32) std::uint8_t bytes[kBytes] = {};
    __builtin_memcpy(bytes, p, static_cast<std::size_t>(n));
    return load(bytes);
  }
  OPENBPU_INLINE void store_first(void* p, R v, std::int32_t n) {
    alignas(32) std::uint8_t bytes[kBytes];
    store(bytes, v);
    __builtin_memcpy(p, bytes, static_cast<std::size_t>(n));
  }
  OPENBPU_INLINE R zero() { return _mm256_setzero_si256(); }
  OPENBPU_INLINE R set8(std::int32_t v) { return _mm256_set1_epi8(static_cast<char>(v)); }
  OPENBPU_INLINE R set16(std::int32_t v) { return _mm256_set1_epi16(static_cast<std::int16_t>(v)); }
  OPENBPU_INLINE R set32(std::int32_t v) { return _mm256_set1_epi32(v); }
  OPENBPU_INLINE R set64(std::uint64_t v) { return _mm256_set1_epi64x(static_cast<long long>(v)); }
  // Sixteen bytes in every 128-bit lane.
  OPENBPU_INLINE R table16(const void* p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  }

  OPENBPU_INLINE R low8(R a, R b) { return _mm256_unpacklo_epi8(a, b); }
  OPENBPU_INLINE R high8(R a, R b) { return _mm256_unpackhi_epi8(a, b); }
  OPENBPU_INLINE R low16(R a, R b) { return _mm256_unpacklo_epi16(a, b); }
  OPENBPU_INLINE R high16(R a, R b) { return _mm256_unpackhi_epi16(a, b); }
  OPENBPU_INLINE R narrow32(R a, R b) { return _mm256_packs_epi32(a, b); }
  OPENBPU_INLINE R narrow16(R a, R b) { return _mm256_packs_epi16(a, b); }

  OPENBPU_INLINE R add8(R a, R b) { return _mm256_add_epi8(a, b); }
  OPENBPU_INLINE R sub8(R a, R b) { return _mm256_sub_epi8(a, b); }
  OPENBPU_INLINE R adds_u8(R a, R b) { return _mm256_adds_epu8(a, b); }
  OPENBPU_INLINE R add16(R a, R b) { return _mm256_add_epi16(a, b); }
  OPENBPU_INLINE R add32(R a, R b) { return _mm256_add_epi32(a, b); }
  OPENBPU_INLINE R sub16(R a, R b) { return _mm256_sub_epi16(a, b); }
  OPENBPU_INLINE R sub32(R a, R b) { return _mm256_sub_epi32(a, b); }
  OPENBPU_INLINE R madd16(R a, R b) { return _mm256_madd_epi16(a, b); }
  // a + b * c in words that hold int16; c from half_word().
  OPENBPU_INLINE std::int32_t half_word(std::int32_t v) { return v & 0xFFFF; }
  OPENBPU_INLINE R mul_add16(R a, R b, R c) { return add32(a, madd16(b, c)); }
  OPENBPU_INLINE R mul32(R a, R b) { return _mm256_mullo_epi32(a, b); }
  OPENBPU_INLINE R mul_u32_64(R a, R b) { return _mm256_mul_epu32(a, b); }
  OPENBPU_INLINE R add64(R a, R b) { return _mm256_add_epi64(a, b); }
  template <int N>
  OPENBPU_INLINE R shift_right_u64(R a) {
    return _mm256_srli_epi64(a, N);
  }
  OPENBPU_INLINE R shift_left_64_by_32(R a) { return _mm256_slli_epi64(a, 32); }
  OPENBPU_INLINE R shift_right32(R a, std::int32_t n) { return _mm256_sra_epi32(a, _mm_cvtsi32_si128(n)); }
  OPENBPU_INLINE R shift_left32(R a, std::int32_t n) { return _mm256_sll_epi32(a, _mm_cvtsi32_si128(n)); }
  OPENBPU_INLINE R shift_right_u32(R a, std::int32_t n) { return _mm256_srl_epi32(a, _mm_cvtsi32_si128(n)); }
  OPENBPU_INLINE R and_(R a, R b) { return _mm256_and_si256(a, b); }
  OPENBPU_INLINE R or_(R a, R b) { return _mm256_or_si256(a, b); }
  OPENBPU_INLINE R xor_(R a, R b) { return _mm256_xor_si256(a, b); }
  OPENBPU_INLINE R min8(R a, R b) { return _mm256_min_epi8(a, b); }
  OPENBPU_INLINE R max8(R a, R b) { return _mm256_max_epi8(a, b); }
  OPENBPU_INLINE R max_stored(R a, R b) { return _mm256_max_epu8(a, b); }
  // The largest stored byte: the processor finds the smallest of eight words.
  OPENBPU_INLINE std::int32_t highest(R v) {
    const __m128i most = _mm_max_epu8(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    const __m128i bytes = _mm_xor_si128(most, _mm_set1_epi8(-1));
    const __m128i words = _mm_min_epu8(bytes, _mm_srli_epi16(bytes, 8));
    return 255 - (_mm_cvtsi128_si32(_mm_minpos_epu16(words)) & 255);
  }
  OPENBPU_INLINE R min16(R a, R b) { return _mm256_min_epi16(a, b); }
  OPENBPU_INLINE R max16(R a, R b) { return _mm256_max_epi16(a, b); }
  // Bytes in the upper halves of words.
  OPENBPU_INLINE R upper_bytes(R v) { return _mm256_srai_epi16(v, 8); }
  OPENBPU_INLINE R min32(R a, R b) { return _mm256_min_epi32(a, b); }
  OPENBPU_INLINE R max32(R a, R b) { return _mm256_max_epi32(a, b); }
  OPENBPU_INLINE R shuffle(R table, R index) { return _mm256_shuffle_epi8(table, index); }
  OPENBPU_INLINE R gather32(const std::uint32_t* base, R index) {
    return _mm256_i32gather_epi32(reinterpret_cast<const int*>(base), index, 4);
  }

  // kWords stored bytes to int32 and back (low bytes of every word).
  OPENBPU_INLINE R widen(const std::uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  OPENBPU_INLINE void store_low_bytes(std::uint8_t* p, R v) {
    const R bytes = _mm256_shuffle_epi8(v, _mm256_set1_epi32(0x0c080400));
    const std::int32_t low = _mm256_extract_epi32(bytes, 0), high = _mm256_extract_epi32(bytes, 4);
    __builtin_memcpy(p, &low, 4);
    __builtin_memcpy(p + 4, &high, 4);
  }

  OPENBPU_INLINE F load_float(const void* p) { return _mm256_loadu_ps(static_cast<const float*>(p)); }
  // The first n floats; n may be larger than kWords.
  OPENBPU_INLINE void store_floats(void* p, F v, std::int32_t n) {
    if (n >= 8) return _mm256_storeu_ps(static_cast<float*>(p), v);
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_ps(static_cast<float*>(p), _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes), v);
  }
  OPENBPU_INLINE F set_float(float v) { return _mm256_set1_ps(v); }
  OPENBPU_INLINE F divide(F a, F b) { return _mm256_div_ps(a, b); }
  OPENBPU_INLINE F multiply(F a, F b) { return _mm256_mul_ps(a, b); }
  // NaN becomes 0.
  OPENBPU_INLINE F clean(F a) { return _mm256_and_ps(a, _mm256_cmp_ps(a, a, _CMP_ORD_Q)); }
  OPENBPU_INLINE F clamp(F a, F lo, F hi) { return _mm256_min_ps(_mm256_max_ps(a, lo), hi); }
  OPENBPU_INLINE R to_int(F a) { return _mm256_cvtps_epi32(a); }  // round half to even
  OPENBPU_INLINE F to_float(R a) { return _mm256_cvtepi32_ps(a); }
};

// Sums over bytes as stored, u = x + 128: of u, and of u * u.
struct Moments {
  Vec::R sum = Vec::zero(), square = Vec::zero();
};

OPENBPU_INLINE void add_moments(Moments& m, Vec::R stored) {
  const Vec::R low = Vec::low8(stored, Vec::zero()), high = Vec::high8(stored, Vec::zero());
  m.sum = _mm256_add_epi64(m.sum, _mm256_sad_epu8(stored, Vec::zero()));
  m.square = Vec::add32(m.square, Vec::add32(Vec::madd16(low, low), Vec::madd16(high, high)));
}

// The sums of the n values and of their squares; bytes that were 0 as stored do not count.
OPENBPU_INLINE void total(const Moments& m, std::int32_t n, std::int64_t& s1, std::int64_t& s2) {
  alignas(32) std::int64_t sums[4];
  alignas(32) std::uint32_t squares[8];
  Vec::store(sums, m.sum);
  Vec::store(squares, m.square);
  const std::int64_t sum = sums[0] + sums[1] + sums[2] + sums[3];
  std::int64_t square = 0;
  for (const std::uint32_t part : squares) square += part;
  s1 = sum - 128 * std::int64_t{n};
  s2 = square - 256 * sum + 16384 * std::int64_t{n};
}

}  // namespace
}  // namespace openbpu::kernels

#include "kernels/x86/vec_lanes.hpp"  // needs Vec
