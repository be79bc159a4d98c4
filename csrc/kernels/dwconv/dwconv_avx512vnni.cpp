// Depthwise convolution of any kernel over 64 channels at a time, in two passes per group of output rows.
//
// Pass 1 interleaves the input rows under the kernel, four by four, so that a 32-bit lane holds four rows of one
// channel: a "quad" of four vectors per column. Rows and columns outside the input become the zero point.
// Pass 2 takes, per output pixel, one vpdpbusd per quad and vector. Quads hold more rows than one output row needs:
// with the kernel shifted by r rows (weights zero elsewhere) the same quads give further output rows, four of a 5 x 5
// kernel. Tiles of two rows by three pixels use every vector loaded two or three times.
//
// Lane 4 l + j of vector q holds channel 16 l + 4 q + j: vpackssdw and vpacksswb of the results restore the order.
#include "kernels/dwconv/dwconv_rows.hpp"
#include "kernels/x86/avx512.hpp"

namespace openbpu::kernels {
namespace {

using namespace avx512;

constexpr std::int32_t kChannels = 64;
constexpr std::int32_t kQuadBytes = 4 * 64;
constexpr std::int32_t kSegmentBytes = 24576;  // of quads, so that they stay in the first-level cache

// 64 channels as packed; behind it the weights i8[pairs of output rows][kernel columns][groups][4 vectors][2 rows][64].
using Block = Channels64;
constexpr std::size_t kHeader = (sizeof(Block) + 63) / 64 * 64;
constexpr std::int32_t kTermBytes = 2 * kQuadBytes;  // weights of a quad for two output rows

// Everything that follows from the parameters.
struct Layout {
  std::int32_t blocks;
  std::int32_t groups;            // of four input rows
  std::int32_t rows, row_groups;  // output rows that share the quads; groups of output rows per image
  std::int32_t segment, columns;  // output pixels per segment, input columns under them
};

Layout lay_out(const DwConvParams& p) {
  Layout l{};
  l.blocks = ceil_div(p.out.c, kChannels);
  l.groups = ceil_div(p.kernel_h, 4);
  l.rows = p.dilation_h == 1 ? (4 * l.groups - p.kernel_h) / p.stride_h + 1 : 1;
  l.row_groups = ceil_div(p.out.h, l.rows);
  const std::int32_t border = (p.kernel_w - 1) * p.dilation_w;
  const std::int32_t room = kSegmentBytes / (kQuadBytes * l.groups) - border;
  l.segment = min(p.out.w, max(8, room / p.stride_w));
  l.columns = (l.segment - 1) * p.stride_w + border + 1;
  return l;
}

std::size_t pair_bytes(const DwConvParams& p, const Layout& l) {
  return static_cast<std::size_t>(p.kernel_w * l.groups) * kTermBytes;
}

std::size_t block_bytes(const DwConvParams& p, const Layout& l) {
  return kHeader + static_cast<std::size_t>(ceil_div(l.rows, 2)) * pair_bytes(p, l);
}

bool accepts(const DwConvParams& p) {
  return p.flip == 0x80 && p.in.sc == 1 && p.out.sc == 1 && p.rq.L <= kMaxDoublings;
}

// One unit is 64 channels of one group of output rows.
Plan plan(const DwConvParams& p) {
  const Layout l = lay_out(p);
  return {static_cast<std::size_t>(l.blocks) * block_bytes(p, l),
          static_cast<std::size_t>(l.columns) * static_cast<std::size_t>(l.groups) * kQuadBytes,
          p.out.n * l.row_groups * l.blocks};
}

std::int32_t channel_of(std::int32_t lane) { return lane % 16 / 4 * 16 + lane / 16 * 4 + lane % 4; }
std::int32_t packed_channel_of(std::int32_t word) { return word % 32 / 8 * 16 + word / 32 * 8 + word % 8; }

std::int8_t weight_at(const DwConvParams& p, std::int32_t channel, std::int32_t ky, std::int32_t kx) {
  const std::int64_t taps = std::int64_t{p.kernel_h} * p.kernel_w;
  return p.weights[(channel / 16 * taps + ky * p.kernel_w + kx) * 16 + channel % 16];
}

// Input row `slot` of the quads is kernel row slot - r * stride_h of output row r of the group.
void pack_weights(const DwConvParams& p, const Layout& l, std::int32_t c, std::int8_t* to) {
  for (std::int32_t pair = 0; pair < l.rows; pair += 2)
    for (std::int32_t term = 0; term < p.kernel_w * l.groups; ++term)
      for (std::int32_t i = 0; i < kTermBytes; ++i, ++to) {
        const std::int32_t slot = term % l.groups * 4 + i % 4, r = pair + i / 64 % 2;
        const std::int32_t channel = c + channel_of(i / 128 * 16 + i % 64 / 4), ky = slot - r * p.stride_h;
        const bool used = channel < p.out.c && r < l.rows && ky >= 0 && ky < p.kernel_h;
        *to = used ? weight_at(p, channel, ky, term / l.groups) : std::int8_t{0};
      }
}

void pack_block(const DwConvParams& p, const Layout& l, std::int32_t c, std::uint8_t* to) {
  auto* block = reinterpret_cast<Block*>(to);
  *block = {};
  for (std::int32_t i = 0; i < kChannels; ++i) {
    const std::int32_t lane = c + channel_of(i), packed = c + packed_channel_of(i);
    std::int32_t sum = 0;
    for (std::int32_t tap = 0; lane < p.out.c && tap < p.kernel_h * p.kernel_w; ++tap)
      sum += weight_at(p, lane, tap / p.kernel_w, tap % p.kernel_w);
    if (lane < p.out.c) pack_lane(i, p.rq.B[lane], sum, p.rq.s[lane], p.rq.L, block);
    if (packed < p.out.c) pack_word(i, p.rq.B[packed], p.rq.m[packed], p.rq.s[packed], p.rq.L, block);
  }
  pack_weights(p, l, c, reinterpret_cast<std::int8_t*>(to + kHeader));
}

void pack(const DwConvParams& p, std::uint8_t* packed) {
  const Layout l = lay_out(p);
  for (std::int32_t i = 0; i < l.blocks; ++i)
    pack_block(p, l, i * kChannels, packed + static_cast<std::size_t>(i) * block_bytes(p, l));
}

// ---- pass 1

// A row of pixels to interleave; step 0 repeats the zero point for a row outside the input.
struct Source {
  const std::uint8_t* at;
  std::int64_t step;
};

// Columns of one group of four rows to quads, `stride` bytes apart.
void interleave(Source a, Source b, Source c, Source d, std::int32_t columns, std::uint8_t* to, std::int64_t stride) {
  for (; columns > 0; --columns, to += stride) {
    const __m512i ra = load(a.at), rb = load(b.at), rc = load(c.at), rd = load(d.at);
    const __m512i ab_low = _mm512_unpacklo_epi8(ra, rb), ab_high = _mm512_unpackhi_epi8(ra, rb);
    const __m512i cd_low = _mm512_unpacklo_epi8(rc, rd), cd_high = _mm512_unpackhi_epi8(rc, rd);
    _mm512_store_si512(to, _mm512_unpacklo_epi16(ab_low, cd_low));
    _mm512_store_si512(to + 64, _mm512_unpackhi_epi16(ab_low, cd_low));
    _mm512_store_si512(to + 128, _mm512_unpacklo_epi16(ab_high, cd_high));
    _mm512_store_si512(to + 192, _mm512_unpackhi_epi16(ab_high, cd_high));
    a.at += a.step;
    b.at += b.step;
    c.at += c.step;
    d.at += d.step;
  }
}

// `columns` columns from input column x0 on, under the output rows from oy on, for the channels from c on.
void make_quads(const DwConvParams& p, const Layout& l, std::int32_t n, std::int32_t oy, std::int32_t x0,
                std::int32_t columns, std::int32_t c, std::uint8_t* quads) {
  alignas(64) std::uint8_t zeros[64];
  const __m512i zero = _mm512_set1_epi8(static_cast<char>(static_cast<std::uint8_t>(p.in_zero) ^ p.flip));
  _mm512_store_si512(zeros, zero);
  const std::int32_t left = min(columns, max(0, -x0)), right = max(left, min(columns, p.in.w - x0));
  const std::int64_t column_bytes = std::int64_t{l.groups} * kQuadBytes;
  for (std::int64_t i = 0; i < left * column_bytes; i += 64) _mm512_store_si512(quads + i, zero);
  for (std::int64_t i = right * column_bytes; i < columns * column_bytes; i += 64) _mm512_store_si512(quads + i, zero);
  const auto row = [&](std::int32_t slot) -> Source {
    const std::int32_t y = oy * p.stride_h - p.pad_top + slot * p.dilation_h;
    if (y < 0 || y >= p.in.h) return {zeros, 0};
    return {p.in.data + n * p.in.sn + y * p.in.sh + (x0 + left) * p.in.sw + c, p.in.sw};
  };
  for (std::int32_t g = 0; g < l.groups; ++g)
    interleave(row(g * 4), row(g * 4 + 1), row(g * 4 + 2), row(g * 4 + 3), right - left,
               quads + left * column_bytes + g * kQuadBytes, column_bytes);
}

// ---- pass 2

// Two output rows of a group: where their pixels come from and go to.
struct RowPair {
  const Block& block;
  const std::int8_t* weights;
  std::int32_t columns, groups;  // of the kernel, of input rows
  std::int64_t column_step;      // from one kernel column's quads to the next
  const std::uint8_t* quads;
  std::int64_t pixel_step;  // from one output pixel's quads to the next
  std::uint8_t* out;
  std::int64_t out_row, out_pixel;
  std::int32_t rows, pixels;  // rows: 1 or 2 are stored
  std::uint64_t mask;
};

#define OPENBPU_OUTPUTS(X) X(0, 0) X(0, 1) X(0, 2) X(1, 0) X(1, 1) X(1, 2)

// Both rows of `Pixels` pixels from pixel x on.
template <int Pixels, int D>
OPENBPU_INLINE void tile(const RowPair& pair, const Clamp& clamp, std::int32_t x) {
  const std::uint8_t* quads = pair.quads + x * pair.pixel_step;
  const std::int64_t next1 = Pixels > 1 ? pair.pixel_step : 0, next2 = Pixels > 2 ? 2 * pair.pixel_step : 0;
  const std::int8_t* w = pair.weights;
  const auto start = [&](int v) { return reinterpret_cast<Acc>(load(pair.block.start + 16 * v)); };
#define OPENBPU_DECLARE(r, i) \
  Acc c##r##i##0 = start(0), c##r##i##1 = start(1), c##r##i##2 = start(2), c##r##i##3 = start(3);
  OPENBPU_OUTPUTS(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE
  for (std::int32_t kx = 0; kx < pair.columns; ++kx, quads += pair.column_step)
    for (std::int32_t g = 0; g < pair.groups; ++g, w += kTermBytes) {
      const std::uint8_t* q = quads + g * kQuadBytes;
#define OPENBPU_VECTOR(v)                                                        \
  {                                                                              \
    const __m512i w0 = load_once(w + 128 * v), w1 = load_once(w + 128 * v + 64); \
    const __m512i x0 = load(q + 64 * v);                                         \
    c00##v = dot(c00##v, x0, w0);                                                \
    c10##v = dot(c10##v, x0, w1);                                                \
    if constexpr (Pixels > 1) {                                                  \
      const __m512i x1 = load(q + next1 + 64 * v);                               \
      c01##v = dot(c01##v, x1, w0);                                              \
      c11##v = dot(c11##v, x1, w1);                                              \
    }                                                                            \
    if constexpr (Pixels > 2) {                                                  \
      const __m512i x2 = load(q + next2 + 64 * v);                               \
      c02##v = dot(c02##v, x2, w0);                                              \
      c12##v = dot(c12##v, x2, w1);                                              \
    }                                                                            \
  }
      OPENBPU_VECTOR(0)
      OPENBPU_VECTOR(1)
      OPENBPU_VECTOR(2)
      OPENBPU_VECTOR(3)
#undef OPENBPU_VECTOR
    }
  const auto e = Epilogue<D>::make(pair.block, clamp);
  std::uint8_t* out = pair.out + x * pair.out_pixel;
#define OPENBPU_STORE(r, i)                                                         \
  if (i < Pixels && r < pair.rows)                                                  \
    _mm512_mask_storeu_epi8(out + r * pair.out_row + i * pair.out_pixel, pair.mask, \
                            requantise64(c##r##i##0, c##r##i##1, c##r##i##2, c##r##i##3, e));
  OPENBPU_OUTPUTS(OPENBPU_STORE)
#undef OPENBPU_STORE
}

#undef OPENBPU_OUTPUTS

template <int D>
void run_pair(const RowPair& pair, const Clamp& clamp) {
  std::int32_t x = 0;
  for (; x + 3 <= pair.pixels; x += 3) tile<3, D>(pair, clamp, x);
  if (x + 2 == pair.pixels) tile<2, D>(pair, clamp, x);
  if (x + 1 == pair.pixels) tile<1, D>(pair, clamp, x);
}

using RunPair = void (*)(const RowPair&, const Clamp&);

// By doublings().
constexpr RunPair kRunPair[] = {run_pair<0>, run_pair<1>, run_pair<2>, run_pair<3>, run_pair<kAny>};

void run(const DwConvParams& p, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin,
         std::int32_t end) {
  const Layout l = lay_out(p);
  const Clamp clamp = make_clamp(p.rq.L, p.rq.lo, p.rq.hi);
  const std::int64_t column = std::int64_t{l.groups} * kQuadBytes;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t c = unit % l.blocks * kChannels, oy = unit / l.blocks % l.row_groups * l.rows;
    const std::int32_t n = unit / l.blocks / l.row_groups, rows = min(l.rows, p.out.h - oy);
    const std::uint8_t* start = packed + static_cast<std::size_t>(unit % l.blocks) * block_bytes(p, l);
    for (std::int32_t ox = 0; ox < p.out.w; ox += l.segment) {
      const std::int32_t pixels = min(l.segment, p.out.w - ox);
      const std::int32_t columns = (pixels - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w + 1;
      make_quads(p, l, n, oy, ox * p.stride_w - p.pad_left, columns, c, scratch);
      for (std::int32_t r = 0; r < rows; r += 2) {
        const RowPair pair{
            *reinterpret_cast<const Block*>(start),
            reinterpret_cast<const std::int8_t*>(start + kHeader) + static_cast<std::size_t>(r / 2) * pair_bytes(p, l),
            p.kernel_w,
            l.groups,
            p.dilation_w * column,
            scratch,
            p.stride_w * column,
            p.out.data + n * p.out.sn + (oy + r) * p.out.sh + ox * p.out.sw + c,
            p.out.sh,
            p.out.sw,
            min(2, rows - r),
            pixels,
            low_lanes(p.out.c - c)};
        kRunPair[doublings(p.rq.L)](pair, clamp);
      }
    }
  }
}

Region region(const DwConvParams& p, std::int32_t unit) {
  const Layout l = lay_out(p);
  const std::int32_t c = unit % l.blocks * kChannels, y = unit / l.blocks % l.row_groups * l.rows;
  return {unit / l.blocks / l.row_groups, y,    min(l.rows, p.out.h - y), 0, p.out.w, c,
          min(kChannels, p.out.c - c),    false};
}

}  // namespace

const Row<DwConvParams> kDwConvAvx512Vnni{"dwconv_avx512vnni_64", Isa::Avx512Vnni, accepts, plan, pack, run, region};

}  // namespace openbpu::kernels
