// Sixteen int32 lanes of the 16-bit forms with AVX-512 VNNI; wide256.hpp is its twin.
#pragma once

#include <immintrin.h>

#include "kernels/arithmetic.hpp"
#include "kernels/kernel.hpp"

namespace openbpu::kernels {
namespace {

struct Wide {
  // An int32 vector type: gcc 12 spills accumulators of __m512i (docs/kernels.md, AVX-512).
  typedef std::int32_t R __attribute__((vector_size(64), aligned(64)));
  static constexpr Isa kIsa = Isa::Avx512Vnni;
  static constexpr std::int32_t kWords = 16;

  OPENBPU_INLINE __m512i raw(R v) { return reinterpret_cast<__m512i>(v); }
  OPENBPU_INLINE R of(__m512i v) { return reinterpret_cast<R>(v); }

  OPENBPU_INLINE R load(const void* p) { return of(_mm512_loadu_si512(p)); }
  OPENBPU_INLINE R zero() { return of(_mm512_setzero_si512()); }
  OPENBPU_INLINE R set(std::int32_t v) { return of(_mm512_set1_epi32(v)); }
  OPENBPU_INLINE R add(R a, R b) { return of(_mm512_add_epi32(raw(a), raw(b))); }
  OPENBPU_INLINE R subtract(R a, R b) { return of(_mm512_sub_epi32(raw(a), raw(b))); }
  OPENBPU_INLINE R maximum(R a, R b) { return of(_mm512_max_epi32(raw(a), raw(b))); }
  OPENBPU_INLINE R multiply(R a, R b) { return of(_mm512_mullo_epi32(raw(a), raw(b))); }
  OPENBPU_INLINE R clamp(R v, R lo, R hi) { return of(_mm512_min_epi32(_mm512_max_epi32(raw(v), raw(lo)), raw(hi))); }

  OPENBPU_INLINE R broadcast_pair(const std::uint8_t* p) {
    std::int32_t pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return set(pair);
  }
  OPENBPU_INLINE R dot(R acc, R x, R w) { return of(_mm512_dpwssd_epi32(raw(acc), raw(x), raw(w))); }

  OPENBPU_INLINE R pairs(R a, R b) {
    return of(_mm512_mask_blend_epi16(0xaaaaaaaa, raw(a), _mm512_slli_epi32(raw(b), 16)));
  }
  OPENBPU_INLINE R high_bytes(R v) { return of(_mm512_srai_epi16(raw(v), 8)); }
  OPENBPU_INLINE R low_bytes(R v) { return of(_mm512_and_si512(raw(v), raw(set(0xff00ff)))); }
  OPENBPU_INLINE R gather_pairs(const void* words, R i) { return of(_mm512_i32gather_epi32(raw(i), words, 2)); }
  OPENBPU_INLINE R extend_low(R v) { return of(_mm512_srai_epi32(_mm512_slli_epi32(raw(v), 16), 16)); }
  OPENBPU_INLINE R and_(R a, R b) { return of(_mm512_and_si512(raw(a), raw(b))); }
  OPENBPU_INLINE R xor_(R a, R b) { return of(_mm512_xor_si512(raw(a), raw(b))); }
  OPENBPU_INLINE R shift_right(R v, std::int32_t n) { return of(_mm512_sra_epi32(raw(v), _mm_cvtsi32_si128(n))); }
  // Both halves of words without a sign.
  OPENBPU_INLINE R low_part(R v) { return of(_mm512_and_si512(raw(v), raw(set(0xffff)))); }
  OPENBPU_INLINE R high_part(R v) { return of(_mm512_srli_epi32(raw(v), 16)); }

  OPENBPU_INLINE R widen16(const std::uint8_t* p) {
    return of(_mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
  }
  OPENBPU_INLINE R widen8(const std::uint8_t* p) {
    return of(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }

  static constexpr std::int32_t half_of(std::int32_t i) { return i % 2; }
  static constexpr std::int32_t place_of(std::int32_t i) { return i / 2; }

  static constexpr std::uint64_t kOffset = 0;
  OPENBPU_INLINE R scale_half(R v, const std::int64_t* m, const std::int64_t* bias, const std::int64_t* sh) {
    const __m512i sum = _mm512_add_epi64(_mm512_mul_epi32(raw(v), raw(load(m))), raw(load(bias)));
    return of(_mm512_srav_epi64(sum, raw(load(sh))));
  }
  template <int kShift>
  OPENBPU_INLINE R scale_two_halves(R a, const std::int64_t* ma, R b, const std::int64_t* mb, const std::int64_t* bias,
                                    const std::int64_t* sh) {
    const __m512i high = _mm512_slli_epi64(_mm512_mul_epi32(raw(a), raw(load(ma))), kShift);
    const __m512i low = _mm512_add_epi64(_mm512_mul_epi32(raw(b), raw(load(mb))), raw(load(bias)));
    return of(_mm512_srav_epi64(_mm512_add_epi64(high, low), raw(load(sh))));
  }
  template <int kShift>
  OPENBPU_INLINE R scale_four_halves(R a0, R b0, const std::int64_t* m0, R a1, R b1, const std::int64_t* m1,
                                     const std::int64_t* bias, const std::int64_t* sh) {
    const __m512i first = raw(load(m0)), second = raw(load(m1));
    const __m512i high = _mm512_add_epi64(_mm512_mul_epi32(raw(a0), first), _mm512_mul_epi32(raw(a1), second));
    const __m512i low = _mm512_add_epi64(_mm512_mul_epi32(raw(b0), first), _mm512_mul_epi32(raw(b1), second));
    const __m512i sum = _mm512_add_epi64(_mm512_add_epi64(_mm512_slli_epi64(high, kShift), low), raw(load(bias)));
    return of(_mm512_srav_epi64(sum, raw(load(sh))));
  }
  OPENBPU_INLINE R join_halves(R even, R odd) {
    return of(_mm512_mask_blend_epi32(0xaaaa, raw(even), _mm512_slli_epi64(raw(odd), 32)));
  }
  OPENBPU_INLINE R second_half(R v) { return of(_mm512_srli_epi64(raw(v), 32)); }

  OPENBPU_INLINE void store16(std::uint8_t* p, R v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtsepi32_epi16(raw(v)));
  }
  // The low bytes of kWords values.
  OPENBPU_INLINE void store8(std::uint8_t* p, R v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(raw(v)));
  }
  OPENBPU_INLINE void store32(void* p, R v) { _mm512_storeu_si512(p, raw(v)); }

  OPENBPU_INLINE R steps_of(const void* floats, float scale) {
    const __m512 q = _mm512_div_ps(_mm512_loadu_ps(floats), _mm512_set1_ps(scale));
    const __m512 clean = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(q, q, _CMP_ORD_Q), q);
    return of(
        _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(clean, _mm512_set1_ps(-32768.0F)), _mm512_set1_ps(32767.0F))));
  }
  OPENBPU_INLINE void store_reals(void* floats, R v, float scale) {
    _mm512_storeu_ps(floats, _mm512_mul_ps(_mm512_cvtepi32_ps(raw(v)), _mm512_set1_ps(scale)));
  }
};

}  // namespace
}  // namespace openbpu::kernels
