// Depthwise 3 x 3 of stride 1 by sdot, two output rows and 8 channels at a time. Four input rows are interleaved byte
// by byte to quads: a 32-bit lane holds four rows of one channel, and one sdot does a kernel column. A quad serves both
// output rows: weights w0 w1 w2 0 and 0 w0 w1 w2. Three columns of quads stay in registers, so that each is read and
// interleaved once: 6 vectors of quads, 12 of weights.
#include "kernels/arm/rq8.hpp"
#include "kernels/dwconv/dwconv_window.hpp"

namespace openbpu::kernels {
namespace {

constexpr std::int32_t kChannels = 8;

// 8 channels as packed: weights [output row][kernel column][channel][4 rows].
struct Block {
  Rq8Block rq;  // the first half
  std::int8_t weights[2][3][kChannels][4];
  std::int8_t reserved[32];
};
static_assert(sizeof(Block) == 448);

std::int32_t blocks_of(const DwConvParams& p) { return ceil_div(p.out.c, kChannels); }

bool accepts(const DwConvParams& p) {
  return p.flip == 0 && p.in.sc == 1 && p.out.sc == 1 && p.kernel_h == 3 && p.kernel_w == 3 && p.stride_h == 1 &&
         p.stride_w == 1 && p.dilation_h == 1 && p.dilation_w == 1;
}

Plan plan(const DwConvParams& p) { return plan_window(p, static_cast<std::size_t>(blocks_of(p)) * sizeof(Block)); }

void pack(const DwConvParams& p, std::uint8_t* packed) {
  auto* block = reinterpret_cast<Block*>(packed);
  for (std::int32_t c = 0; c < blocks_of(p) * kChannels; ++c) {
    Block& to = block[c / kChannels];
    const std::int32_t i = c % kChannels;
    if (i == 0) to = {};
    const bool there = c < p.out.c;
    set_channel(&to.rq, i, there ? p.rq.B[c] : 0, there ? p.rq.m[c] : std::int16_t{16384}, there ? p.rq.s[c] : 0,
                p.rq.L);
    for (std::int32_t tap = 0; there && tap < 9; ++tap) {
      const std::int8_t w = p.weights[(std::int64_t{c / 16} * 9 + tap) * 16 + c % 16];
      to.weights[0][tap % 3][i][tap / 3] = w;
      to.weights[1][tap % 3][i][tap / 3 + 1] = w;
    }
  }
}

// Four rows of 8 channels of one column.
struct Quads {
  int8x16_t low, high;
};

// Sixteen bytes are read, the first eight used.
OPENBPU_INLINE int8x16_t pairs(const std::uint8_t* a, const std::uint8_t* b) {
  return vreinterpretq_s8_u8(vzip1q_u8(vld1q_u8(a), vld1q_u8(b)));
}

OPENBPU_INLINE Quads load_quads(const std::uint8_t* a, const std::uint8_t* b, const std::uint8_t* c,
                                const std::uint8_t* d) {
  const int16x8_t ab = vreinterpretq_s16_s8(pairs(a, b)), cd = vreinterpretq_s16_s8(pairs(c, d));
  return {vreinterpretq_s8_s16(vzip1q_s16(ab, cd)), vreinterpretq_s8_s16(vzip2q_s16(ab, cd))};
}

// The constants are read anew for every pixel: registers are needed for weights and quads.
OPENBPU_INLINE int8x8_t requantise8(int32x4_t a, int32x4_t b, const Rq8Block& k, int8x8_t lo, int8x8_t hi) {
  const int32x4_t a1 = vaddq_s32(vshlq_s32(a, vld1q_s32(k.shift)), vld1q_s32(k.rest));
  const int32x4_t b1 = vaddq_s32(vshlq_s32(b, vld1q_s32(k.shift + 4)), vld1q_s32(k.rest + 4));
  const int16x8_t t = vqmovn_high_s32(vqmovn_s32(a1), b1);
  return vmin_s8(vmax_s8(vqshrn_n_s16(vqdmulhq_s16(t, vld1q_s16(k.m)), 7), lo), hi);
}

// Two output rows, or one, 8 channels. The fourth input row of one output row is not there.
template <bool Both>
void run_rows(const Block& block, const Rq8& rq, const std::uint8_t* in, std::int64_t in_row, std::int64_t pixel,
              std::int32_t width, std::uint8_t* out, std::int64_t out_row, std::int64_t out_pixel,
              std::int32_t channels) {
  const std::uint8_t *a = in, *b = a + in_row, *c = b + in_row, *d = Both ? c + in_row : c;
  const int8x8_t lo = vdup_n_s8(static_cast<std::int8_t>(rq.lo)), hi = vdup_n_s8(static_cast<std::int8_t>(rq.hi));
#define OPENBPU_WEIGHTS(row, x) \
  const int8x16_t w##row##x##0 = vld1q_s8(block.weights[row][x][0]), w##row##x##1 = vld1q_s8(block.weights[row][x][4]);
  OPENBPU_WEIGHTS(0, 0)
  OPENBPU_WEIGHTS(0, 1)
  OPENBPU_WEIGHTS(0, 2)
  OPENBPU_WEIGHTS(1, 0)
  OPENBPU_WEIGHTS(1, 1)
  OPENBPU_WEIGHTS(1, 2)
#undef OPENBPU_WEIGHTS
  Quads q0 = load_quads(a, b, c, d), q1 = load_quads(a + pixel, b + pixel, c + pixel, d + pixel);
  std::int64_t at = 2 * pixel;
  for (std::int32_t x = 0; x < width; ++x, at += pixel, out += out_pixel) {
    const Quads q2 = load_quads(a + at, b + at, c + at, d + at);
    const int32x4_t start0 = vld1q_s32(block.rq.start), start1 = vld1q_s32(block.rq.start + 4);
#define OPENBPU_ROW(row)                                                                                      \
  const int32x4_t s##row##0 =                                                                                 \
      vdotq_s32(vdotq_s32(vdotq_s32(start0, q0.low, w##row##00), q1.low, w##row##10), q2.low, w##row##20);    \
  const int32x4_t s##row##1 =                                                                                 \
      vdotq_s32(vdotq_s32(vdotq_s32(start1, q0.high, w##row##01), q1.high, w##row##11), q2.high, w##row##21); \
  store_bytes(out + row * out_row, requantise8(s##row##0, s##row##1, block.rq, lo, hi), channels);
    OPENBPU_ROW(0)
    if constexpr (Both) {
      OPENBPU_ROW(1)
    }
#undef OPENBPU_ROW
    q0 = q1;
    q1 = q2;
  }
}

void run(const DwConvParams& p, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin,
         std::int32_t end) {
  const DwWindow w = window_of(p);
  const auto* blocks = reinterpret_cast<const Block*>(packed);
  const std::int64_t in_row = std::int64_t{w.columns} * p.in.c;
  for_each_window(p, w, scratch, begin, end, [&](std::uint8_t* out, std::int32_t rows) {
    for (std::int32_t row = 0; row < rows; row += 2)
      for (std::int32_t i = 0; i < blocks_of(p); ++i) {
        const auto run_both = row + 1 < rows ? run_rows<true> : run_rows<false>;
        run_both(blocks[i], p.rq, scratch + row * in_row + i * kChannels, in_row, p.in.c, p.out.w,
                 out + row * p.out.sh + i * kChannels, p.out.sh, p.out.sw, min(kChannels, p.out.c - i * kChannels));
      }
  });
}

}  // namespace

const Row<DwConvParams> kDwConv3x3NeonDot{"dwconv_neondot_3x3", Isa::NeonDot, accepts, plan, pack, run, region};

}  // namespace openbpu::kernels
