// The RQ8 epilogue in NEON registers (docs/numerics.md): acc << L and >> s are one shift by L - s, to either side;
// (t * m) >> 22 is sqdmulh, which shifts by 15, then sqshrn by 7. m <= 32767, so that sqdmulh never saturates.
#pragma once

#include <arm_neon.h>

#include "kernels/arithmetic.hpp"
#include "kernels/kernel.hpp"

namespace openbpu::kernels {
namespace {

// Constants of 16 channels. The accumulators begin at `start`, B >> L plus what the operator adds; `rest` is what the
// bits of B below L, which the start drops, are worth after the shift: nothing where s >= L.
struct Rq8Block {
  std::int32_t start[16], shift[16], rest[16];
  std::int16_t m[16];
};

OPENBPU_INLINE void set_channel(Rq8Block* block, std::int32_t i, std::int32_t B, std::int16_t m, std::int32_t s,
                                std::int32_t L) {
  block->start[i] = B >> L;
  block->shift[i] = L - s;
  block->rest[i] = s < L ? (B & ((1 << L) - 1)) >> s : 0;
  block->m[i] = m;
}

// The same in registers, with the clamp. Tiles load them before their first store, which could alias the block.
struct Rq8Registers {
  int32x4_t shift0, shift1, shift2, shift3, rest0, rest1, rest2, rest3;
  int16x8_t m0, m1;
  int8x16_t lo, hi;
};

OPENBPU_INLINE Rq8Registers load_registers(const Rq8Block& b, const Rq8& rq) {
  return {vld1q_s32(b.shift),
          vld1q_s32(b.shift + 4),
          vld1q_s32(b.shift + 8),
          vld1q_s32(b.shift + 12),
          vld1q_s32(b.rest),
          vld1q_s32(b.rest + 4),
          vld1q_s32(b.rest + 8),
          vld1q_s32(b.rest + 12),
          vld1q_s16(b.m),
          vld1q_s16(b.m + 8),
          vdupq_n_s8(static_cast<std::int8_t>(rq.lo)),
          vdupq_n_s8(static_cast<std::int8_t>(rq.hi))};
}

OPENBPU_INLINE int32x4_t scale(int32x4_t acc, int32x4_t shift, int32x4_t rest) {
  return vaddq_s32(vshlq_s32(acc, shift), rest);
}

// Sixteen accumulators to bytes, in the order of the channels.
OPENBPU_INLINE int8x16_t requantise(int32x4_t c0, int32x4_t c1, int32x4_t c2, int32x4_t c3, const Rq8Registers& k) {
  const int16x8_t t0 = vqmovn_high_s32(vqmovn_s32(scale(c0, k.shift0, k.rest0)), scale(c1, k.shift1, k.rest1));
  const int16x8_t t1 = vqmovn_high_s32(vqmovn_s32(scale(c2, k.shift2, k.rest2)), scale(c3, k.shift3, k.rest3));
  const int16x8_t y0 = vqdmulhq_s16(t0, k.m0), y1 = vqdmulhq_s16(t1, k.m1);
  const int8x16_t y = vqshrn_high_n_s16(vqshrn_n_s16(y0, 7), y1, 7);
  return vminq_s8(vmaxq_s8(y, k.lo), k.hi);
}

// The first n <= 8 bytes of v. Nothing is called: a call would drive accumulators out of their registers.
OPENBPU_INLINE void store_bytes(std::uint8_t* p, int8x8_t v, std::int32_t n) {
  std::uint64_t bytes = vget_lane_u64(vreinterpret_u64_s8(v), 0);
  if (n >= 8)
    __builtin_memcpy(p, &bytes, sizeof bytes);
  else
    for (std::int32_t i = 0; i < n; ++i, bytes >>= 8) p[i] = static_cast<std::uint8_t>(bytes);
}

// The first n <= 16 bytes of v.
OPENBPU_INLINE void store_channels(std::uint8_t* p, int8x16_t v, std::int32_t n) {
  if (n == 16) return vst1q_u8(p, vreinterpretq_u8_s8(v));
  store_bytes(p, vget_low_s8(v), n);
  store_bytes(p + 8, vget_high_s8(v), n - 8);
}

}  // namespace
}  // namespace openbpu::kernels
