// Eight int32 lanes of the 16-bit forms with AVX2; wide512.hpp and arm/wide128.hpp are its twins.
#pragma once

#include <immintrin.h>

#include "kernels/arithmetic.hpp"
#include "kernels/kernel.hpp"

namespace openbpu::kernels {
namespace {

struct Wide {
  using R = __m256i;
  static constexpr Isa kIsa = Isa::Avx2;
  static constexpr std::int32_t kWords = 8;

  OPENBPU_INLINE R load(const void* p) { return _mm256_loadu_si256(static_cast<const R*>(p)); }
  OPENBPU_INLINE R zero() { return _mm256_setzero_si256(); }
  OPENBPU_INLINE R set(std::int32_t v) { return _mm256_set1_epi32(v); }
  OPENBPU_INLINE R add(R a, R b) { return _mm256_add_epi32(a, b); }
  OPENBPU_INLINE R subtract(R a, R b) { return _mm256_sub_epi32(a, b); }
  OPENBPU_INLINE R maximum(R a, R b) { return _mm256_max_epi32(a, b); }
  OPENBPU_INLINE R multiply(R a, R b) { return _mm256_mullo_epi32(a, b); }
  OPENBPU_INLINE R clamp(R v, R lo, R hi) { return _mm256_min_epi32(_mm256_max_epi32(v, lo), hi); }

  // Two int16 in every lane.
  OPENBPU_INLINE R broadcast_pair(const std::uint8_t* p) {
    std::int32_t pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return _mm256_set1_epi32(pair);
  }
  // acc + x0 * w0 + x1 * w1 in every lane; exact, because weights are int8.
  OPENBPU_INLINE R dot(R acc, R x, R w) { return _mm256_add_epi32(acc, _mm256_madd_epi16(x, w)); }

  // The low words of two registers as pairs.
  OPENBPU_INLINE R pairs(R a, R b) { return _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa); }
  // Both bytes of the words of pairs: v = 256 * high + low, high with the sign.
  OPENBPU_INLINE R high_bytes(R v) { return _mm256_srai_epi16(v, 8); }
  OPENBPU_INLINE R low_bytes(R v) { return _mm256_and_si256(v, set(0xff00ff)); }
  // Words i and i + 1 of memory in the halves of every lane.
  OPENBPU_INLINE R gather_pairs(const void* words, R i) {
    return _mm256_i32gather_epi32(static_cast<const int*>(words), i, 2);
  }
  OPENBPU_INLINE R extend_low(R v) { return _mm256_srai_epi32(_mm256_slli_epi32(v, 16), 16); }
  OPENBPU_INLINE R and_(R a, R b) { return _mm256_and_si256(a, b); }
  OPENBPU_INLINE R xor_(R a, R b) { return _mm256_xor_si256(a, b); }
  OPENBPU_INLINE R shift_right(R v, std::int32_t n) { return _mm256_sra_epi32(v, _mm_cvtsi32_si128(n)); }
  // Both halves of words without a sign.
  OPENBPU_INLINE R low_part(R v) { return _mm256_and_si256(v, set(0xffff)); }
  OPENBPU_INLINE R high_part(R v) { return _mm256_srli_epi32(v, 16); }

  OPENBPU_INLINE R widen16(const std::uint8_t* p) {
    return _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  OPENBPU_INLINE R widen8(const std::uint8_t* p) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }

  // Where lane i stands in a Scale.
  static constexpr std::int32_t half_of(std::int32_t i) { return i % 2; }
  static constexpr std::int32_t place_of(std::int32_t i) { return i / 2; }

  // AVX2 has no arithmetic shift of 64 bits: 2^63 is added before the shift and what became of it taken off behind.
  static constexpr std::uint64_t kOffset = std::uint64_t{1} << 63;
  OPENBPU_INLINE R scale_half(R v, const std::int64_t* m, const std::int64_t* bias, const std::int64_t* sh) {
    return shift_half(_mm256_add_epi64(_mm256_mul_epi32(v, load(m)), load(bias)), sh);
  }
  // a * ma * 2^kShift + b * mb + bias, modulo 2^64, shifted.
  template <int kShift>
  OPENBPU_INLINE R scale_two_halves(R a, const std::int64_t* ma, R b, const std::int64_t* mb, const std::int64_t* bias,
                                    const std::int64_t* sh) {
    const R high = _mm256_slli_epi64(_mm256_mul_epi32(a, load(ma)), kShift);
    return shift_half(_mm256_add_epi64(_mm256_add_epi64(high, _mm256_mul_epi32(b, load(mb))), load(bias)), sh);
  }
  // (a0 * m0 + a1 * m1) * 2^kShift + b0 * m0 + b1 * m1 + bias, shifted.
  template <int kShift>
  OPENBPU_INLINE R scale_four_halves(R a0, R b0, const std::int64_t* m0, R a1, R b1, const std::int64_t* m1,
                                     const std::int64_t* bias, const std::int64_t* sh) {
    const R first = load(m0), second = load(m1);
    const R high = _mm256_add_epi64(_mm256_mul_epi32(a0, first), _mm256_mul_epi32(a1, second));
    const R low = _mm256_add_epi64(_mm256_mul_epi32(b0, first), _mm256_mul_epi32(b1, second));
    return shift_half(_mm256_add_epi64(_mm256_add_epi64(_mm256_slli_epi64(high, kShift), low), load(bias)), sh);
  }
  OPENBPU_INLINE R shift_half(R sum, const std::int64_t* sh) {
    const R offset = _mm256_set1_epi64x(static_cast<long long>(kOffset)), shift = load(sh);
    return _mm256_sub_epi64(_mm256_srlv_epi64(sum, shift), _mm256_srlv_epi64(offset, shift));
  }
  OPENBPU_INLINE R join_halves(R even, R odd) { return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa); }
  OPENBPU_INLINE R second_half(R v) { return _mm256_srli_epi64(v, 32); }

  // kWords values that fit int16, in order.
  OPENBPU_INLINE void store16(std::uint8_t* p, R v) {
    const R packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(v, v), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
  }
  // The low bytes of kWords values.
  OPENBPU_INLINE void store8(std::uint8_t* p, R v) {
    const R bytes = _mm256_shuffle_epi8(v, _mm256_set1_epi32(0x0c080400));
    const std::int32_t low = _mm256_extract_epi32(bytes, 0), high = _mm256_extract_epi32(bytes, 4);
    __builtin_memcpy(p, &low, 4);
    __builtin_memcpy(p + 4, &high, 4);
  }
  OPENBPU_INLINE void store32(void* p, R v) { _mm256_storeu_si256(static_cast<R*>(p), v); }

  // Eight floats over the scale, NaN as 0, rounded half to even and clamped to int16.
  OPENBPU_INLINE R steps_of(const void* floats, float scale) {
    const __m256 q = _mm256_div_ps(_mm256_loadu_ps(static_cast<const float*>(floats)), _mm256_set1_ps(scale));
    const __m256 clean = _mm256_and_ps(q, _mm256_cmp_ps(q, q, _CMP_ORD_Q));
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(clean, _mm256_set1_ps(-32768.0F)), _mm256_set1_ps(32767.0F)));
  }
  OPENBPU_INLINE void store_reals(void* floats, R v, float scale) {
    _mm256_storeu_ps(static_cast<float*>(floats), _mm256_mul_ps(_mm256_cvtepi32_ps(v), _mm256_set1_ps(scale)));
  }
};

}  // namespace
}  // namespace openbpu::kernels
