// 16 floats in two registers of AVX2.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace openbpu::kernels::cpu {
namespace {

struct Lanes {
  __m256 lo, hi;
};
struct Mask {
  __m256 lo, hi;
};

inline Lanes spread(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline __m256i first(std::int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n < 0 ? 0 : n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline Lanes load(const float* p, std::int64_t n) {
  return {_mm256_maskload_ps(p, first(n)), _mm256_maskload_ps(p + 8, first(n - 8))};
}
inline void store(float* p, Lanes x) {
  _mm256_storeu_ps(p, x.lo);
  _mm256_storeu_ps(p + 8, x.hi);
}
inline void store(float* p, Lanes x, std::int64_t n) {
  _mm256_maskstore_ps(p, first(n), x.lo);
  _mm256_maskstore_ps(p + 8, first(n - 8), x.hi);
}
inline Lanes operator+(Lanes a, Lanes b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
inline Lanes operator-(Lanes a, Lanes b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
inline Lanes operator*(Lanes a, Lanes b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
inline Lanes operator/(Lanes a, Lanes b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
inline Lanes fma(Lanes a, Lanes b, Lanes c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
inline Lanes smaller(Lanes a, Lanes b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
inline Lanes larger(Lanes a, Lanes b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
inline Lanes root(Lanes x) { return {_mm256_sqrt_ps(x.lo), _mm256_sqrt_ps(x.hi)}; }
inline Lanes nearest(Lanes x) {
  return {_mm256_round_ps(x.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(x.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline Lanes below(Lanes x) { return {_mm256_floor_ps(x.lo), _mm256_floor_ps(x.hi)}; }
inline Lanes above(Lanes x) { return {_mm256_ceil_ps(x.lo), _mm256_ceil_ps(x.hi)}; }
inline Lanes absolute(Lanes x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.lo), _mm256_andnot_ps(sign, x.hi)};
}
inline Lanes with_sign(Lanes x, Lanes s) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_andnot_ps(sign, x.lo), _mm256_and_ps(sign, s.lo)),
          _mm256_or_ps(_mm256_andnot_ps(sign, x.hi), _mm256_and_ps(sign, s.hi))};
}
inline Mask operator<(Lanes a, Lanes b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
inline Mask operator==(Lanes a, Lanes b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ)};
}
inline Mask is_nan(Lanes a) {
  return {_mm256_cmp_ps(a.lo, a.lo, _CMP_UNORD_Q), _mm256_cmp_ps(a.hi, a.hi, _CMP_UNORD_Q)};
}
inline Lanes choose(Mask m, Lanes a, Lanes b) {
  return {_mm256_blendv_ps(b.lo, a.lo, m.lo), _mm256_blendv_ps(b.hi, a.hi, m.hi)};
}
inline __m256 power_of_two(__m256 n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvttps_epi32(n), _mm256_set1_epi32(127)), 23));
}
inline Lanes power_of_two(Lanes n) { return {power_of_two(n.lo), power_of_two(n.hi)}; }
// x * 2^n for whole n of -151 to 129, rounded once: the first factor leaves the normal range never.
inline Lanes scaled(Lanes x, Lanes n) {
  const Lanes half = below(n * spread(0.5f));
  return x * power_of_two(half) * power_of_two(n - half);
}
inline __m256 split(__m256 x, __m256& exponent) {
  const __m256i bits = _mm256_castps_si256(x);
  exponent = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(bits, 23), _mm256_set1_epi32(126)));
  return _mm256_castsi256_ps(
      _mm256_or_si256(_mm256_and_si256(bits, _mm256_set1_epi32(0x007FFFFF)), _mm256_set1_epi32(0x3F000000)));
}
inline Lanes split(Lanes x, Lanes& exponent) { return {split(x.lo, exponent.lo), split(x.hi, exponent.hi)}; }
inline void to_array(Lanes x, float (&to)[16]) { store(to, x); }
// 1 or 0 for each lane, n bytes.
inline void store_flags(std::uint8_t* p, Mask m, std::int64_t n) {
  const __m256i mixed = _mm256_packs_epi32(_mm256_castps_si256(m.lo), _mm256_castps_si256(m.hi));
  const __m256i words = _mm256_permute4x64_epi64(mixed, 0xD8);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  const __m128i flags = _mm_and_si128(bytes, _mm_set1_epi8(1));
  if (n == 16)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), flags);
  else
    std::memcpy(p, &flags, static_cast<std::size_t>(n));
}
// Towards zero, n of them; what the conversion gives outside of the type, the lowest, is mended above and for
// not-a-number.
inline void store_integers(std::int32_t* p, Lanes x, std::int64_t n) {
  const auto half = [&](std::int32_t* to, __m256 v, __m256i written) {
    const __m256 above = _mm256_cmp_ps(v, _mm256_set1_ps(2147483648.0f), _CMP_GE_OQ);
    const __m256i held = _mm256_xor_si256(_mm256_cvttps_epi32(v), _mm256_castps_si256(above));
    const __m256 ordered = _mm256_cmp_ps(v, v, _CMP_ORD_Q);
    _mm256_maskstore_epi32(to, written, _mm256_and_si256(held, _mm256_castps_si256(ordered)));
  };
  half(p, x.lo, first(n));
  half(p + 8, x.hi, first(n - 8));
}
inline Lanes gathered(const float* p, const std::int32_t* places) {
  const auto half = [p](const std::int32_t* from) {
    return _mm256_i32gather_ps(p, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)), 4);
  };
  return {half(places), half(places + 8)};
}
// p[place] and p[place + 1].
inline void gather_both(const float* p, const std::int32_t* places, Lanes& a, Lanes& b) {
  const auto* pairs = reinterpret_cast<const double*>(p);
  const auto quarter = [pairs](const std::int32_t* from) {
    const __m128i at = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    const __m256d all = _mm256_castsi256_pd(_mm256_set1_epi64x(-1));  // without it gcc sees an unset operand
    return _mm256_castpd_ps(_mm256_mask_i32gather_pd(_mm256_setzero_pd(), pairs, at, all, 4));
  };
  const auto half = [&](const std::int32_t* from, __m256& u, __m256& v) {
    const __m256 low = quarter(from), high = quarter(from + 4);
    const auto ordered = [](__m256 mixed) {
      return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xD8));
    };
    u = ordered(_mm256_shuffle_ps(low, high, 0x88));
    v = ordered(_mm256_shuffle_ps(low, high, 0xDD));
  };
  half(places, a.lo, b.lo);
  half(places + 8, a.hi, b.hi);
}
// Every second one of 32 floats.
inline Lanes evens(const float* p) {
  const auto half = [](const float* from) {
    const __m256 mixed = _mm256_shuffle_ps(_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8), 0x88);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xD8));
  };
  return {half(p), half(p + 16)};
}
// a and b in turns, 32 floats.
inline void store_turns(float* p, Lanes a, Lanes b) {
  const auto half = [](float* to, __m256 x, __m256 y) {
    const __m256 low = _mm256_unpacklo_ps(x, y), high = _mm256_unpackhi_ps(x, y);
    _mm256_storeu_ps(to, _mm256_permute2f128_ps(low, high, 0x20));
    _mm256_storeu_ps(to + 8, _mm256_permute2f128_ps(low, high, 0x31));
  };
  half(p, a.lo, b.lo);
  half(p + 16, a.hi, b.hi);
}

}  // namespace
}  // namespace openbpu::kernels::cpu
