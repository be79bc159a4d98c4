// Depthwise convolution over 16 channels at a time: two taps are multiplied and added in int16, then added to the int32
// accumulators: per 32 products four smull / smlal and four saddw. Two products of -128 and -128 would leave int16;
// taps of which a channel has two weights of -128 are terms of their own.
#include "kernels/arm/rq8.hpp"
#include "kernels/dwconv/dwconv_window.hpp"

namespace openbpu::kernels {
namespace {

constexpr std::int32_t kChannels = 16;

// 16 channels as packed; behind it the terms.
struct Block {
  Rq8Block rq;
  std::int32_t terms;
  std::int32_t reserved[7];
};
static_assert(sizeof(Block) == 256);

// Two taps, or one and nothing.
struct Term {
  std::int8_t weights[2][kChannels];
  std::int32_t taps[2];
  std::int32_t reserved[6];
};
static_assert(sizeof(Term) == 64);

struct Layout {
  DwWindow window;
  std::int32_t blocks, taps;
  std::size_t block_bytes;
};

Layout lay_out(const DwConvParams& p) {
  const std::int32_t taps = p.kernel_h * p.kernel_w;
  return {window_of(p), ceil_div(p.out.c, kChannels), taps,
          sizeof(Block) + static_cast<std::size_t>(taps) * sizeof(Term)};
}

bool accepts(const DwConvParams& p) { return p.flip == 0 && p.in.sc == 1 && p.out.sc == 1; }

Plan plan(const DwConvParams& p) {
  const Layout l = lay_out(p);
  return plan_window(p, static_cast<std::size_t>(l.blocks) * l.block_bytes);
}

std::int32_t tap_offset(const DwConvParams& p, const Layout& l, std::int32_t tap) {
  return (tap / p.kernel_w * l.window.columns + tap % p.kernel_w * p.dilation_w) * p.in.c;
}

const std::int8_t* weights_of(const DwConvParams& p, const Layout& l, std::int32_t block, std::int32_t tap) {
  return p.weights + (std::int64_t{block} * l.taps + tap) * kChannels;
}

bool fit_together(const std::int8_t* a, const std::int8_t* b) {
  bool fit = true;
  for (std::int32_t i = 0; i < kChannels; ++i) fit = fit && (a[i] != -128 || b[i] != -128);
  return fit;
}

void pack_block(const DwConvParams& p, const Layout& l, std::int32_t index, std::uint8_t* to) {
  auto* block = reinterpret_cast<Block*>(to);
  *block = {};
  for (std::int32_t i = 0; i < kChannels; ++i) {
    const std::int32_t c = index * kChannels + i;
    const bool there = c < p.out.c;
    set_channel(&block->rq, i, there ? p.rq.B[c] : 0, there ? p.rq.m[c] : std::int16_t{16384}, there ? p.rq.s[c] : 0,
                p.rq.L);
  }
  auto* term = reinterpret_cast<Term*>(block + 1);
  for (std::int32_t tap = 0; tap < l.taps; ++term, ++block->terms) {
    const std::int8_t* w = weights_of(p, l, index, tap);
    const bool pair = tap + 1 < l.taps && fit_together(w, weights_of(p, l, index, tap + 1));
    *term = {};
    __builtin_memcpy(term->weights[0], w, kChannels);
    if (pair) __builtin_memcpy(term->weights[1], weights_of(p, l, index, tap + 1), kChannels);
    term->taps[0] = tap_offset(p, l, tap);
    term->taps[1] = tap_offset(p, l, pair ? tap + 1 : tap);
    tap += pair ? 2 : 1;
  }
}

void pack(const DwConvParams& p, std::uint8_t* packed) {
  const Layout l = lay_out(p);
  for (std::int32_t i = 0; i < l.blocks; ++i) pack_block(p, l, i, packed + static_cast<std::size_t>(i) * l.block_bytes);
}

OPENBPU_INLINE int8x16_t load(const void* p) { return vld1q_s8(static_cast<const std::int8_t*>(p)); }

#define OPENBPU_PIXELS(X) X(0) X(1) X(2)

// P neighbouring pixels, 16 channels.
template <int P>
OPENBPU_INLINE void tile(const Block& block, const std::uint8_t* in, std::int64_t step, const Rq8& rq,
                         std::uint8_t* out, std::int64_t out_step, std::int32_t channels) {
#define OPENBPU_DECLARE(i)                                                                \
  int32x4_t c##i##0 = vld1q_s32(block.rq.start), c##i##1 = vld1q_s32(block.rq.start + 4); \
  int32x4_t c##i##2 = vld1q_s32(block.rq.start + 8), c##i##3 = vld1q_s32(block.rq.start + 12);
  OPENBPU_PIXELS(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE
  const auto* term = reinterpret_cast<const Term*>(&block + 1);
  for (const Term* end = term + block.terms; term < end; ++term) {
    const int8x16_t wa = load(term->weights[0]), wb = load(term->weights[1]);
    const std::uint8_t *a = in + term->taps[0], *b = in + term->taps[1];
#define OPENBPU_STEP(i)                                                                                           \
  if constexpr (i < P) {                                                                                          \
    const int8x16_t xa = load(a + i * step), xb = load(b + i * step);                                             \
    const int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(xa), vget_low_s8(wa)), vget_low_s8(xb), vget_low_s8(wb)); \
    const int16x8_t high = vmlal_high_s8(vmull_high_s8(xa, wa), xb, wb);                                          \
    c##i##0 = vaddw_s16(c##i##0, vget_low_s16(low));                                                              \
    c##i##1 = vaddw_high_s16(c##i##1, low);                                                                       \
    c##i##2 = vaddw_s16(c##i##2, vget_low_s16(high));                                                             \
    c##i##3 = vaddw_high_s16(c##i##3, high);                                                                      \
  }
    OPENBPU_PIXELS(OPENBPU_STEP)
#undef OPENBPU_STEP
  }
  const Rq8Registers k = load_registers(block.rq, rq);
#define OPENBPU_FINISH(i) \
  if constexpr (i < P) store_channels(out + i * out_step, requantise(c##i##0, c##i##1, c##i##2, c##i##3, k), channels);
  OPENBPU_PIXELS(OPENBPU_FINISH)
#undef OPENBPU_FINISH
}

#undef OPENBPU_PIXELS

// One output row, 16 channels.
void run_row(const DwConvParams& p, const Block& block, const std::uint8_t* in, std::uint8_t* out,
             std::int32_t channels) {
  const std::int64_t step = std::int64_t{p.stride_w} * p.in.c, out_step = p.out.sw;
  std::int32_t left = p.out.w;
  for (; left >= 3; left -= 3, in += 3 * step, out += 3 * out_step)
    tile<3>(block, in, step, p.rq, out, out_step, channels);
  if (left == 2) tile<2>(block, in, step, p.rq, out, out_step, channels);
  if (left == 1) tile<1>(block, in, step, p.rq, out, out_step, channels);
}

void run(const DwConvParams& p, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin,
         std::int32_t end) {
  const Layout l = lay_out(p);
  const std::int64_t in_row = std::int64_t{p.stride_h} * l.window.columns * p.in.c;
  for_each_window(p, l.window, scratch, begin, end, [&](std::uint8_t* out, std::int32_t rows) {
    for (std::int32_t row = 0; row < rows; ++row)
      for (std::int32_t i = 0; i < l.blocks; ++i) {
        const auto& block = *reinterpret_cast<const Block*>(packed + static_cast<std::size_t>(i) * l.block_bytes);
        run_row(p, block, scratch + row * in_row + i * kChannels, out + row * p.out.sh + i * kChannels,
                min(kChannels, p.out.c - i * kChannels));
      }
  });
}

}  // namespace

const Row<DwConvParams> kDwConvNeon{"dwconv_neon_16", Isa::Neon, accepts, plan, pack, run, region};

}  // namespace openbpu::kernels
