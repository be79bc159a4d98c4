// 16 floats in a register of AVX-512.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace openbpu::kernels::cpu {
namespace {

struct Lanes {
  __m512 v;
};
using Mask = __mmask16;

inline Lanes spread(float x) { return {_mm512_set1_ps(x)}; }
inline __mmask16 first(std::int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
inline Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline Lanes load(const float* p, std::int64_t n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
inline void store(float* p, Lanes x) { _mm512_storeu_ps(p, x.v); }
inline void store(float* p, Lanes x, std::int64_t n) { _mm512_mask_storeu_ps(p, first(n), x.v); }
inline Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Lanes operator*(Lanes a, Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Lanes operator/(Lanes a, Lanes b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Lanes smaller(Lanes a, Lanes b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Lanes larger(Lanes a, Lanes b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Lanes root(Lanes x) { return {_mm512_sqrt_ps(x.v)}; }
inline Lanes nearest(Lanes x) { return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline Lanes below(Lanes x) { return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
inline Lanes above(Lanes x) { return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)}; }
inline Lanes absolute(Lanes x) { return {_mm512_abs_ps(x.v)}; }
inline Lanes with_sign(Lanes x, Lanes s) {
  const __m512 sign = _mm512_set1_ps(-0.0f);
  return {_mm512_or_ps(_mm512_andnot_ps(sign, x.v), _mm512_and_ps(sign, s.v))};
}
inline Mask operator<(Lanes a, Lanes b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
inline Mask operator==(Lanes a, Lanes b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ); }
inline Mask is_nan(Lanes a) { return _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q); }
inline Lanes choose(Mask m, Lanes a, Lanes b) { return {_mm512_mask_blend_ps(m, b.v, a.v)}; }
// x * 2^n for whole n, rounded once.
inline Lanes scaled(Lanes x, Lanes n) { return {_mm512_scalef_ps(x.v, n.v)}; }
inline Lanes split(Lanes x, Lanes& exponent) {
  const __m512i bits = _mm512_castps_si512(x.v);
  exponent.v = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_srli_epi32(bits, 23), _mm512_set1_epi32(126)));
  return {_mm512_castsi512_ps(
      _mm512_or_si512(_mm512_and_si512(bits, _mm512_set1_epi32(0x007FFFFF)), _mm512_set1_epi32(0x3F000000)))};
}
inline void to_array(Lanes x, float (&to)[16]) { store(to, x); }
// 1 or 0 for each lane, n bytes.
inline void store_flags(std::uint8_t* p, Mask m, std::int64_t n) {
  _mm_mask_storeu_epi8(p, first(n), _mm_maskz_set1_epi8(m, 1));
}
// Towards zero, n of them; what the conversion gives outside of the type, the lowest, is mended above and for
// not-a-number.
inline void store_integers(std::int32_t* p, Lanes x, std::int64_t n) {
  const __mmask16 above = _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(2147483648.0f), _CMP_GE_OQ);
  const __m512i held = _mm512_mask_set1_epi32(_mm512_cvttps_epi32(x.v), above, 2147483647);
  _mm512_mask_storeu_epi32(p, first(n), _mm512_maskz_mov_epi32(static_cast<__mmask16>(~is_nan(x)), held));
}
inline Lanes gathered(const float* p, const std::int32_t* places) {
  return {_mm512_i32gather_ps(_mm512_loadu_si512(places), p, 4)};
}
// p[place] and p[place + 1].
inline void gather_both(const float* p, const std::int32_t* places, Lanes& a, Lanes& b) {
  const auto half = [p](const std::int32_t* from) {
    const __m256i at = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return _mm512_castpd_ps(_mm512_i32gather_pd(at, p, 4));
  };
  const __m512 low = half(places), high = half(places + 8);
  const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  a.v = _mm512_permutex2var_ps(low, evens, high);
  b.v = _mm512_permutex2var_ps(low, _mm512_add_epi32(evens, _mm512_set1_epi32(1)), high);
}
// Every second one of 32 floats.
inline Lanes evens(const float* p) {
  const __m512i places = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return {_mm512_permutex2var_ps(_mm512_loadu_ps(p), places, _mm512_loadu_ps(p + 16))};
}
// a and b in turns, 32 floats.
inline void store_turns(float* p, Lanes a, Lanes b) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  _mm512_storeu_ps(p, _mm512_permutex2var_ps(a.v, low, b.v));
  _mm512_storeu_ps(p + 16, _mm512_permutex2var_ps(a.v, _mm512_add_epi32(low, _mm512_set1_epi32(8)), b.v));
}

}  // namespace
}  // namespace openbpu::kernels::cpu
