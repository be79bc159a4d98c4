// One AVX-512 register under the names that the element-wise kernels use; vec256.hpp is its twin.
#pragma once

#include <immintrin.h>

#include "kernels/arithmetic.hpp"

namespace openbpu::kernels {
namespace {

struct Vec {
  using R = __m512i;
  using F = __m512;
  using Byte = std::uint8_t;  // a stored byte as a number: value + kOffset
  static constexpr std::uint8_t kFlip = 0x80;
  static constexpr std::int32_t kBytes = 64, kWords = 16, kOffset = 128;
  static constexpr Isa kIsa = Isa::Avx512Vnni;

  OPENBPU_INLINE R load(const void* p) { return _mm512_loadu_si512(p); }
  OPENBPU_INLINE void store(void* p, R v) { _mm512_storeu_si512(p, v); }
  // The first n bytes, 0 < n < kBytes; no other byte of memory is touched, what is not loaded is 0.
  OPENBPU_INLINE __mmask64 first(std::int32_t n) { return ~std::uint64_t{0} >> (kBytes - n); }
  OPENBPU_INLINE R load_first(const void* p, std::int32_t n) { return _mm512_maskz_loadu_epi8(first(n), p); }
  OPENBPU_INLINE void store_first(void* p, R v, std::int32_t n) { _mm512_mask_storeu_epi8(p, first(n), v); }
  OPENBPU_INLINE R zero() { return _mm512_setzero_si512(); }
  OPENBPU_INLINE R set8(std::int32_t v) { return _mm512_set1_epi8(static_cast<char>(v)); }
  OPENBPU_INLINE R set16(std::int32_t v) { return _mm512_set1_epi16(static_cast<std::int16_t>(v)); }
  OPENBPU_INLINE R set32(std::int32_t v) { return _mm512_set1_epi32(v); }
  OPENBPU_INLINE R set64(std::uint64_t v) { return _mm512_set1_epi64(static_cast<long long>(v)); }
  // Sixteen bytes in every 128-bit lane.
  OPENBPU_INLINE R table16(const void* p) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  }

  OPENBPU_INLINE R low8(R a, R b) { return _mm512_unpacklo_epi8(a, b); }
  OPENBPU_INLINE R high8(R a, R b) { return _mm512_unpackhi_epi8(a, b); }
  OPENBPU_INLINE R low16(R a, R b) { return _mm512_unpacklo_epi16(a, b); }
  OPENBPU_INLINE R high16(R a, R b) { return _mm512_unpackhi_epi16(a, b); }
  OPENBPU_INLINE R narrow32(R a, R b) { return _mm512_packs_epi32(a, b); }
  OPENBPU_INLINE R narrow16(R a, R b) { return _mm512_packs_epi16(a, b); }

  OPENBPU_INLINE R add8(R a, R b) { return _mm512_add_epi8(a, b); }
  OPENBPU_INLINE R sub8(R a, R b) { return _mm512_sub_epi8(a, b); }
  OPENBPU_INLINE R adds_u8(R a, R b) { return _mm512_adds_epu8(a, b); }
  OPENBPU_INLINE R add16(R a, R b) { return _mm512_add_epi16(a, b); }
  OPENBPU_INLINE R add32(R a, R b) { return _mm512_add_epi32(a, b); }
  OPENBPU_INLINE R sub16(R a, R b) { return _mm512_sub_epi16(a, b); }
  OPENBPU_INLINE R sub32(R a, R b) { return _mm512_sub_epi32(a, b); }
  OPENBPU_INLINE R madd16(R a, R b) { return _mm512_madd_epi16(a, b); }
  // a + b * c in words that hold int16; c from half_word().
  OPENBPU_INLINE std::int32_t half_word(std::int32_t v) { return v & 0xFFFF; }
  OPENBPU_INLINE R mul_add16(R a, R b, R c) { return _mm512_dpwssd_epi32(a, b, c); }
  OPENBPU_INLINE R mul32(R a, R b) { return _mm512_mullo_epi32(a, b); }
  OPENBPU_INLINE R mul_u32_64(R a, R b) { return _mm512_mul_epu32(a, b); }
  OPENBPU_INLINE R add64(R a, R b) { return _mm512_add_epi64(a, b); }
  template <int N>
  OPENBPU_INLINE R shift_right_u64(R a) {
    return _mm512_srli_epi64(a, N);
  }
  OPENBPU_INLINE R shift_left_64_by_32(R a) { return _mm512_slli_epi64(a, 32); }
  OPENBPU_INLINE R shift_right32(R a, std::int32_t n) { return _mm512_sra_epi32(a, _mm_cvtsi32_si128(n)); }
  OPENBPU_INLINE R shift_left32(R a, std::int32_t n) { return _mm512_sll_epi32(a, _mm_cvtsi32_si128(n)); }
  OPENBPU_INLINE R shift_right_u32(R a, std::int32_t n) { return _mm512_srl_epi32(a, _mm_cvtsi32_si128(n)); }
  OPENBPU_INLINE R and_(R a, R b) { return _mm512_and_si512(a, b); }
  OPENBPU_INLINE R or_(R a, R b) { return _mm512_or_si512(a, b); }
  OPENBPU_INLINE R xor_(R a, R b) { return _mm512_xor_si512(a, b); }
  OPENBPU_INLINE R min8(R a, R b) { return _mm512_min_epi8(a, b); }
  OPENBPU_INLINE R max8(R a, R b) { return _mm512_max_epi8(a, b); }
  OPENBPU_INLINE R max_stored(R a, R b) { return _mm512_max_epu8(a, b); }
  // The largest stored byte: the processor finds the smallest of eight words.
  OPENBPU_INLINE std::int32_t highest(R v) {
    const __m256i half = _mm256_max_epu8(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    const __m128i most = _mm_max_epu8(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    const __m128i bytes = _mm_xor_si128(most, _mm_set1_epi8(-1));
    const __m128i words = _mm_min_epu8(bytes, _mm_srli_epi16(bytes, 8));
    return 255 - (_mm_cvtsi128_si32(_mm_minpos_epu16(words)) & 255);
  }
  OPENBPU_INLINE R min16(R a, R b) { return _mm512_min_epi16(a, b); }
  OPENBPU_INLINE R max16(R a, R b) { return _mm512_max_epi16(a, b); }
  // Bytes in the upper halves of words.
  OPENBPU_INLINE R upper_bytes(R v) { return _mm512_srai_epi16(v, 8); }
  OPENBPU_INLINE R min32(R a, R b) { return _mm512_min_epi32(a, b); }
  OPENBPU_INLINE R max32(R a, R b) { return _mm512_max_epi32(a, b); }
  OPENBPU_INLINE R shuffle(R table, R index) { return _mm512_shuffle_epi8(table, index); }
  OPENBPU_INLINE R gather32(const std::uint32_t* base, R index) { return _mm512_i32gather_epi32(index, base, 4); }

  // kWords stored bytes to int32 and back (low bytes of every word).
  OPENBPU_INLINE R widen(const std::uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  OPENBPU_INLINE void store_low_bytes(std::uint8_t* p, R v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
  }

  OPENBPU_INLINE F load_float(const void* p) { return _mm512_loadu_ps(static_cast<const float*>(p)); }
  // The first n floats; n may be larger than kWords.
  OPENBPU_INLINE void store_floats(void* p, F v, std::int32_t n) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>(n >= 16 ? 0xFFFF : (1 << n) - 1), v);
  }
  OPENBPU_INLINE F set_float(float v) { return _mm512_set1_ps(v); }
  OPENBPU_INLINE F divide(F a, F b) { return _mm512_div_ps(a, b); }
  OPENBPU_INLINE F multiply(F a, F b) { return _mm512_mul_ps(a, b); }
  // NaN becomes 0.
  OPENBPU_INLINE F clean(F a) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a); }
  OPENBPU_INLINE F clamp(F a, F lo, F hi) { return _mm512_min_ps(_mm512_max_ps(a, lo), hi); }
  OPENBPU_INLINE R to_int(F a) { return _mm512_cvtps_epi32(a); }  // round half to even
  OPENBPU_INLINE F to_float(R a) { return _mm512_cvtepi32_ps(a); }
};

// Sums over bytes as stored, u = x + 128: of u, and of u * x.
struct Moments {
  Vec::R sum = Vec::zero(), square = Vec::zero();
};

OPENBPU_INLINE void add_moments(Moments& m, Vec::R stored) {
  m.sum = _mm512_dpbusd_epi32(m.sum, stored, Vec::set8(1));
  m.square = _mm512_dpbusd_epi32(m.square, stored, Vec::xor_(stored, Vec::set8(-128)));
}

// The sums of the n values and of their squares; bytes that were 0 as stored do not count.
OPENBPU_INLINE void total(const Moments& m, std::int32_t n, std::int64_t& s1, std::int64_t& s2) {
  s1 = std::int64_t{_mm512_reduce_add_epi32(m.sum)} - 128 * std::int64_t{n};
  s2 = std::int64_t{_mm512_reduce_add_epi32(m.square)} - 128 * s1;
}

}  // namespace
}  // namespace openbpu::kernels

#include "kernels/x86/vec_lanes.hpp"  // needs Vec
