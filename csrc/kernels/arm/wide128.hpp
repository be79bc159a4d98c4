// Four int32 lanes of the 16-bit forms with NEON; x86/wide256.hpp is its twin.
#pragma once

#include <arm_neon.h>

#include "kernels/arithmetic.hpp"
#include "kernels/kernel.hpp"

namespace openbpu::kernels {
namespace {

struct Wide {
  using R = int32x4_t;
  static constexpr Isa kIsa = Isa::Neon;
  static constexpr std::int32_t kWords = 4;

  OPENBPU_INLINE R load(const void* p) { return vreinterpretq_s32_u8(vld1q_u8(static_cast<const std::uint8_t*>(p))); }
  OPENBPU_INLINE R zero() { return vdupq_n_s32(0); }
  OPENBPU_INLINE R set(std::int32_t v) { return vdupq_n_s32(v); }
  OPENBPU_INLINE R add(R a, R b) { return vaddq_s32(a, b); }
  OPENBPU_INLINE R subtract(R a, R b) { return vsubq_s32(a, b); }
  OPENBPU_INLINE R maximum(R a, R b) { return vmaxq_s32(a, b); }
  OPENBPU_INLINE R multiply(R a, R b) { return vmulq_s32(a, b); }
  OPENBPU_INLINE R clamp(R v, R lo, R hi) { return vminq_s32(vmaxq_s32(v, lo), hi); }

  OPENBPU_INLINE R broadcast_pair(const std::uint8_t* p) {
    std::int32_t pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return vdupq_n_s32(pair);
  }
  OPENBPU_INLINE R dot(R acc, R x, R w) {
    const int16x8_t a = vreinterpretq_s16_s32(x), b = vreinterpretq_s16_s32(w);
    return vaddq_s32(acc, vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b)));
  }

  OPENBPU_INLINE R pairs(R a, R b) { return vsliq_n_s32(a, b, 16); }
  OPENBPU_INLINE R high_bytes(R v) { return vreinterpretq_s32_s16(vshrq_n_s16(vreinterpretq_s16_s32(v), 8)); }
  OPENBPU_INLINE R low_bytes(R v) { return vandq_s32(v, set(0xff00ff)); }
  OPENBPU_INLINE R gather_pairs(const void* words, R i) {
    std::int32_t at[kWords], pairs[kWords];
    vst1q_s32(at, i);
    for (std::int32_t lane = 0; lane < kWords; ++lane)
      __builtin_memcpy(&pairs[lane], static_cast<const std::uint8_t*>(words) + 2 * std::int64_t{at[lane]}, 4);
    return vld1q_s32(pairs);
  }
  OPENBPU_INLINE R extend_low(R v) { return vshrq_n_s32(vshlq_n_s32(v, 16), 16); }
  OPENBPU_INLINE R and_(R a, R b) { return vandq_s32(a, b); }
  OPENBPU_INLINE R xor_(R a, R b) { return veorq_s32(a, b); }
  OPENBPU_INLINE R shift_right(R v, std::int32_t n) { return vshlq_s32(v, vdupq_n_s32(-n)); }
  // Both halves of words without a sign.
  OPENBPU_INLINE R low_part(R v) { return vandq_s32(v, set(0xffff)); }
  OPENBPU_INLINE R high_part(R v) { return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(v), 16)); }

  OPENBPU_INLINE R widen16(const std::uint8_t* p) { return vmovl_s16(vreinterpret_s16_u8(vld1_u8(p))); }
  OPENBPU_INLINE R widen8(const std::uint8_t* p) {
    std::uint32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)))));
  }

  static constexpr std::int32_t half_of(std::int32_t i) { return i / 2; }
  static constexpr std::int32_t place_of(std::int32_t i) { return i % 2; }

  static constexpr std::uint64_t kOffset = 0;
  OPENBPU_INLINE R scale_half(R v, const std::int64_t* m, const std::int64_t* bias, const std::int64_t* sh) {
    const int32x2_t factor = vmovn_s64(vld1q_s64(m));
    const int64x2_t sum = vaddq_s64(vmull_s32(vget_low_s32(v), factor), vld1q_s64(bias));
    return vreinterpretq_s32_s64(vshlq_s64(sum, vnegq_s64(vld1q_s64(sh))));
  }
  template <int kShift>
  OPENBPU_INLINE R scale_two_halves(R a, const std::int64_t* ma, R b, const std::int64_t* mb, const std::int64_t* bias,
                                    const std::int64_t* sh) {
    const int64x2_t high = vshlq_n_s64(vmull_s32(vget_low_s32(a), vmovn_s64(vld1q_s64(ma))), kShift);
    const int64x2_t low = vmlal_s32(vld1q_s64(bias), vget_low_s32(b), vmovn_s64(vld1q_s64(mb)));
    return vreinterpretq_s32_s64(vshlq_s64(vaddq_s64(high, low), vnegq_s64(vld1q_s64(sh))));
  }
  template <int kShift>
  OPENBPU_INLINE R scale_four_halves(R a0, R b0, const std::int64_t* m0, R a1, R b1, const std::int64_t* m1,
                                     const std::int64_t* bias, const std::int64_t* sh) {
    const int32x2_t first = vmovn_s64(vld1q_s64(m0)), second = vmovn_s64(vld1q_s64(m1));
    const int64x2_t high = vmlal_s32(vmull_s32(vget_low_s32(a0), first), vget_low_s32(a1), second);
    const int64x2_t low = vmlal_s32(vmlal_s32(vld1q_s64(bias), vget_low_s32(b0), first), vget_low_s32(b1), second);
    return vreinterpretq_s32_s64(vshlq_s64(vaddq_s64(vshlq_n_s64(high, kShift), low), vnegq_s64(vld1q_s64(sh))));
  }
  OPENBPU_INLINE R join_halves(R first, R second) {
    return vcombine_s32(vmovn_s64(vreinterpretq_s64_s32(first)), vmovn_s64(vreinterpretq_s64_s32(second)));
  }
  OPENBPU_INLINE R second_half(R v) { return vcombine_s32(vget_high_s32(v), vget_high_s32(v)); }

  OPENBPU_INLINE void store16(std::uint8_t* p, R v) { vst1_u8(p, vreinterpret_u8_s16(vqmovn_s32(v))); }
  // The low bytes of kWords values.
  OPENBPU_INLINE void store8(std::uint8_t* p, R v) {
    const int16x4_t words = vmovn_s32(v);
    const std::uint32_t four = vget_lane_u32(vreinterpret_u32_s8(vmovn_s16(vcombine_s16(words, words))), 0);
    __builtin_memcpy(p, &four, sizeof four);
  }
  OPENBPU_INLINE void store32(void* p, R v) { vst1q_s32(static_cast<std::int32_t*>(p), v); }

  OPENBPU_INLINE R steps_of(const void* floats, float scale) {
    const float32x4_t x = vreinterpretq_f32_u8(vld1q_u8(static_cast<const std::uint8_t*>(floats)));
    const float32x4_t q = vdivq_f32(x, vdupq_n_f32(scale));
    const float32x4_t clean = vbslq_f32(vceqq_f32(q, q), q, vdupq_n_f32(0.0F));
    return vcvtnq_s32_f32(vminq_f32(vmaxq_f32(clean, vdupq_n_f32(-32768.0F)), vdupq_n_f32(32767.0F)));
  }
  OPENBPU_INLINE void store_reals(void* floats, R v, float scale) {
    const float32x4_t x = vmulq_f32(vcvtq_f32_s32(v), vdupq_n_f32(scale));
    vst1q_u8(static_cast<std::uint8_t*>(floats), vreinterpretq_u8_f32(x));
  }
};

}  // namespace
}  // namespace openbpu::kernels
