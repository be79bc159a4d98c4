// One NEON register under the names that the element-wise kernels use; x86/vec256.hpp and x86/vec512.hpp are its twins.
#pragma once

#include <arm_neon.h>

#include "kernels/arithmetic.hpp"
#include "kernels/kernel.hpp"

namespace openbpu::kernels {
namespace {

struct Vec {
  using R = int8x16_t;
  using F = float32x4_t;
  using Byte = std::int8_t;
  static constexpr std::uint8_t kFlip = 0;
  static constexpr std::int32_t kBytes = 16, kWords = 4, kOffset = 0;
  static constexpr Isa kIsa = Isa::Neon;

  OPENBPU_INLINE int16x8_t h(R v) { return vreinterpretq_s16_s8(v); }
  OPENBPU_INLINE int32x4_t s(R v) { return vreinterpretq_s32_s8(v); }
  OPENBPU_INLINE uint64x2_t d(R v) { return vreinterpretq_u64_s8(v); }
  OPENBPU_INLINE R r(int16x8_t v) { return vreinterpretq_s8_s16(v); }
  OPENBPU_INLINE R r(int32x4_t v) { return vreinterpretq_s8_s32(v); }
  OPENBPU_INLINE R r(uint64x2_t v) { return vreinterpretq_s8_u64(v); }

  OPENBPU_INLINE R load(const void* p) { return vld1q_s8(static_cast<const std::int8_t*>(p)); }
  OPENBPU_INLINE void store(void* p, R v) { vst1q_s8(static_cast<std::int8_t*>(p), v); }
  // The first n bytes, 0 < n < kBytes; no other byte of memory is touched, what is not loaded is 0.
  OPENBPU_INLINE R load_first(const void* p, std::int32_t n) {
    alignas(16) std::uint8_t bytes[kBytes] = {};
    __builtin_memcpy(bytes, p, static_cast<std::size_t>(n));
    return load(bytes);
  }
  OPENBPU_INLINE void store_first(void* p, R v, std::int32_t n) {
    alignas(16) std::uint8_t bytes[kBytes];
    store(bytes, v);
    __builtin_memcpy(p, bytes, static_cast<std::size_t>(n));
  }
  OPENBPU_INLINE R zero() { return vdupq_n_s8(0); }
  OPENBPU_INLINE R set8(std::int32_t v) { return vdupq_n_s8(static_cast<std::int8_t>(v)); }
  OPENBPU_INLINE R set16(std::int32_t v) { return r(vdupq_n_s16(static_cast<std::int16_t>(v))); }
  OPENBPU_INLINE R set32(std::int32_t v) { return r(vdupq_n_s32(v)); }
  OPENBPU_INLINE R set64(std::uint64_t v) { return r(vdupq_n_u64(v)); }
  OPENBPU_INLINE R table16(const void* p) { return load(p); }

  OPENBPU_INLINE R low8(R a, R b) { return vzip1q_s8(a, b); }
  OPENBPU_INLINE R high8(R a, R b) { return vzip2q_s8(a, b); }
  OPENBPU_INLINE R narrow32(R a, R b) { return r(vqmovn_high_s32(vqmovn_s32(s(a)), s(b))); }
  OPENBPU_INLINE R narrow16(R a, R b) { return vqmovn_high_s16(vqmovn_s16(h(a)), h(b)); }

  OPENBPU_INLINE R sub8(R a, R b) { return vsubq_s8(a, b); }
  OPENBPU_INLINE R add32(R a, R b) { return r(vaddq_s32(s(a), s(b))); }
  OPENBPU_INLINE R sub32(R a, R b) { return r(vsubq_s32(s(a), s(b))); }
  // a + b * c in words that hold int16; c from half_word().
  OPENBPU_INLINE std::int32_t half_word(std::int32_t v) { return v; }
  OPENBPU_INLINE R mul_add16(R a, R b, R c) { return r(vmlaq_s32(s(a), s(b), s(c))); }
  OPENBPU_INLINE R mul32(R a, R b) { return r(vmulq_s32(s(a), s(b))); }
  OPENBPU_INLINE R mul_u32_64(R a, R b) { return r(vmull_u32(vmovn_u64(d(a)), vmovn_u64(d(b)))); }
  OPENBPU_INLINE R add64(R a, R b) { return r(vaddq_u64(d(a), d(b))); }
  template <int N>
  OPENBPU_INLINE R shift_right_u64(R a) {
    return r(vshrq_n_u64(d(a), N));
  }
  OPENBPU_INLINE R shift_left_64_by_32(R a) { return r(vshlq_n_u64(d(a), 32)); }
  OPENBPU_INLINE R shift_right32(R a, std::int32_t n) { return r(vshlq_s32(s(a), vdupq_n_s32(-n))); }
  OPENBPU_INLINE R shift_left32(R a, std::int32_t n) { return r(vshlq_s32(s(a), vdupq_n_s32(n))); }
  OPENBPU_INLINE R and_(R a, R b) { return vandq_s8(a, b); }
  OPENBPU_INLINE R or_(R a, R b) { return vorrq_s8(a, b); }
  OPENBPU_INLINE R xor_(R a, R b) { return veorq_s8(a, b); }
  OPENBPU_INLINE R min8(R a, R b) { return vminq_s8(a, b); }
  OPENBPU_INLINE R max8(R a, R b) { return vmaxq_s8(a, b); }
  OPENBPU_INLINE R max_stored(R a, R b) { return vmaxq_s8(a, b); }
  OPENBPU_INLINE std::int32_t highest(R v) { return vmaxvq_s8(v); }  // the largest stored byte
  OPENBPU_INLINE R min32(R a, R b) { return r(vminq_s32(s(a), s(b))); }
  OPENBPU_INLINE R max32(R a, R b) { return r(vmaxq_s32(s(a), s(b))); }
  OPENBPU_INLINE R shuffle(R table, R index) { return vqtbl1q_s8(table, vreinterpretq_u8_s8(index)); }
  OPENBPU_INLINE R gather32(const std::uint32_t* base, R index) {
    const std::uint32_t words[] = {base[vgetq_lane_s32(s(index), 0)], base[vgetq_lane_s32(s(index), 1)],
                                   base[vgetq_lane_s32(s(index), 2)], base[vgetq_lane_s32(s(index), 3)]};
    return load(words);
  }

  // kWords stored bytes to int32 and back (low bytes of every word).
  OPENBPU_INLINE R widen(const std::uint8_t* p) {
    std::int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    const int8x8_t bytes = vreinterpret_s8_s32(vdup_n_s32(four));
    return r(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
  }
  OPENBPU_INLINE void store_low_bytes(std::uint8_t* p, R v) {
    const int16x4_t words = vmovn_s32(s(v));
    const std::int32_t four = vget_lane_s32(vreinterpret_s32_s8(vmovn_s16(vcombine_s16(words, words))), 0);
    __builtin_memcpy(p, &four, sizeof four);
  }

  OPENBPU_INLINE F load_float(const void* p) { return vld1q_f32(static_cast<const float*>(p)); }
  // The first n floats; n may be larger than kWords.
  OPENBPU_INLINE void store_floats(void* p, F v, std::int32_t n) {
    if (n >= kWords) return vst1q_f32(static_cast<float*>(p), v);
    float floats[kWords];
    vst1q_f32(floats, v);
    __builtin_memcpy(p, floats, static_cast<std::size_t>(n) * 4);
  }
  OPENBPU_INLINE F set_float(float v) { return vdupq_n_f32(v); }
  OPENBPU_INLINE F divide(F a, F b) { return vdivq_f32(a, b); }
  OPENBPU_INLINE F multiply(F a, F b) { return vmulq_f32(a, b); }
  // NaN becomes 0.
  OPENBPU_INLINE F clean(F a) { return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), vceqq_f32(a, a))); }
  OPENBPU_INLINE F clamp(F a, F lo, F hi) { return vminq_f32(vmaxq_f32(a, lo), hi); }
  OPENBPU_INLINE R to_int(F a) { return r(vcvtnq_s32_f32(a)); }  // round half to even
  OPENBPU_INLINE F to_float(R a) { return vcvtq_f32_s32(s(a)); }
};

using Bytes16 = Vec;

// Four registers of words, in the order that narrow32() and narrow16() restore to that of bytes.
struct Words {
  Vec::R r0, r1, r2, r3;
};

// Bytes as stored, one per word.
OPENBPU_INLINE Words words_of(Vec::R stored) {
  const int16x8_t low = vmovl_s8(vget_low_s8(stored)), high = vmovl_high_s8(stored);
  return {Vec::r(vmovl_s16(vget_low_s16(low))), Vec::r(vmovl_high_s16(low)), Vec::r(vmovl_s16(vget_low_s16(high))),
          Vec::r(vmovl_high_s16(high))};
}

// Sums of values and of their squares.
struct Moments {
  int32x4_t sum = vdupq_n_s32(0), square = vdupq_n_s32(0);
};

OPENBPU_INLINE void add_moments(Moments& m, Vec::R x) {
  m.sum = vpadalq_s16(m.sum, vpaddlq_s8(x));
  m.square = vpadalq_s16(m.square, vmull_s8(vget_low_s8(x), vget_low_s8(x)));
  m.square = vpadalq_s16(m.square, vmull_high_s8(x, x));
}

OPENBPU_INLINE void total(const Moments& m, std::int32_t, std::int64_t& s1, std::int64_t& s2) {
  s1 = vaddlvq_s32(m.sum);
  s2 = vaddlvq_s32(m.square);
}

struct Factors {
  int16x4_t a, b;
};

OPENBPU_INLINE Factors make_factors(std::int32_t a, std::int32_t b) {
  return {vdup_n_s16(static_cast<std::int16_t>(a)), vdup_n_s16(static_cast<std::int16_t>(b))};
}

// Stored bytes: a * factor a + b * factor b + constant.
OPENBPU_INLINE Words weigh(Vec::R a, Vec::R b, Factors f, Vec::R constant) {
  const int16x8_t a0 = vmovl_s8(vget_low_s8(a)), a1 = vmovl_high_s8(a);
  const int16x8_t b0 = vmovl_s8(vget_low_s8(b)), b1 = vmovl_high_s8(b);
  const auto sum = [&](int16x4_t x, int16x4_t y) {
    return Vec::r(vmlal_s16(vmlal_s16(Vec::s(constant), x, f.a), y, f.b));
  };
  return {sum(vget_low_s16(a0), vget_low_s16(b0)), sum(vget_high_s16(a0), vget_high_s16(b0)),
          sum(vget_low_s16(a1), vget_low_s16(b1)), sum(vget_high_s16(a1), vget_high_s16(b1))};
}

// Stored bytes: (a - a_zero) * (b - b_zero); the zeros are words, as stored.
OPENBPU_INLINE Words products(Vec::R a, Vec::R b, Vec::R a_zero, Vec::R b_zero) {
  const int16x8_t a0 = vsubq_s16(vmovl_s8(vget_low_s8(a)), Vec::h(a_zero));
  const int16x8_t a1 = vsubq_s16(vmovl_high_s8(a), Vec::h(a_zero));
  const int16x8_t b0 = vsubq_s16(vmovl_s8(vget_low_s8(b)), Vec::h(b_zero));
  const int16x8_t b1 = vsubq_s16(vmovl_high_s8(b), Vec::h(b_zero));
  return {Vec::r(vmull_s16(vget_low_s16(a0), vget_low_s16(b0))), Vec::r(vmull_high_s16(a0, b0)),
          Vec::r(vmull_s16(vget_low_s16(a1), vget_low_s16(b1))), Vec::r(vmull_high_s16(a1, b1))};
}

// 256 entries by stored byte, as four tables of 64.
struct Tables {
  uint8x16x4_t t0, t1, t2, t3;
};

OPENBPU_INLINE Tables load_tables(const std::uint8_t* p) {
  return {vld1q_u8_x4(p), vld1q_u8_x4(p + 64), vld1q_u8_x4(p + 128), vld1q_u8_x4(p + 192)};
}

// An index outside a table's range leaves what is there.
OPENBPU_INLINE Vec::R look_up(Vec::R x, const Tables& t) {
  const uint8x16_t i = vreinterpretq_u8_s8(x), step = vdupq_n_u8(64);
  const uint8x16_t i1 = vsubq_u8(i, step), i2 = vsubq_u8(i1, step), i3 = vsubq_u8(i2, step);
  return vreinterpretq_s8_u8(vqtbx4q_u8(vqtbx4q_u8(vqtbx4q_u8(vqtbl4q_u8(t.t0, i), t.t1, i1), t.t2, i2), t.t3, i3));
}

// 64 entries; a byte of 64 or more gives 0.
struct Tables64 {
  uint8x16x4_t t;
};

OPENBPU_INLINE Tables64 load_tables64(const std::uint8_t* p) { return {vld1q_u8_x4(p)}; }

OPENBPU_INLINE Vec::R look_up(Vec::R x, const Tables64& tables) {
  return vreinterpretq_s8_u8(vqtbl4q_u8(tables.t, vreinterpretq_u8_s8(x)));
}

}  // namespace
}  // namespace openbpu::kernels
