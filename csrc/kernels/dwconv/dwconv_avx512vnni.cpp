// Depthwise convolution over 64 channels at a time, in two passes per group of output rows.
//
// Pass 1 interleaves the input rows under the kernel, four by four, so that a 32-bit lane holds four rows of one
// channel: a "quad" of four vectors per column. Rows and columns outside the input become the zero point.
// Pass 2 takes, per output pixel, one vpdpbusd per kernel column and vector. A quad holds more rows than one output row
// needs: with the kernel shifted by r rows (weights zero elsewhere) the same quads give further output rows, two of a
// 3 x 3 kernel, four of a 5 x 5 one. Interleaving costs 8 shuffles per column, shared by all of these.
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

// 64 channels as packed. Behind it, for each output row of a group: the number of its terms and their offsets (rounded
// up to 64 bytes), then their weights.
using Block = Channels64;
constexpr std::size_t kHeader = (sizeof(Block) + 63) / 64 * 64;

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

std::int32_t most_terms(const DwConvParams& p, const Layout& l) { return p.kernel_w * l.groups; }

std::size_t offsets_bytes(const DwConvParams& p, const Layout& l) {
  return align64(4 * static_cast<std::size_t>(1 + most_terms(p, l)));
}

std::size_t row_bytes(const DwConvParams& p, const Layout& l) {
  return offsets_bytes(p, l) + static_cast<std::size_t>(most_terms(p, l)) * kQuadBytes;
}

std::size_t block_bytes(const DwConvParams& p, const Layout& l) {
  return kHeader + static_cast<std::size_t>(l.rows) * row_bytes(p, l);
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

// Kernel row that input row `slot` of the quads is for output row r of the group; outside 0 .. kernel_h - 1: none.
std::int32_t kernel_row(const DwConvParams& p, std::int32_t slot, std::int32_t r) { return slot - r * p.stride_h; }

void pack_terms(const DwConvParams& p, const Layout& l, std::int32_t c, std::int32_t r, std::uint8_t* to) {
  auto* count = reinterpret_cast<std::int32_t*>(to);
  auto* weights = reinterpret_cast<std::int8_t*>(to + offsets_bytes(p, l));
  *count = 0;
  for (std::int32_t kx = 0; kx < p.kernel_w; ++kx)
    for (std::int32_t g = 0; g < l.groups; ++g) {
      if (kernel_row(p, 4 * g + 3, r) < 0 || kernel_row(p, 4 * g, r) >= p.kernel_h) continue;
      count[1 + (*count)++] = (kx * p.dilation_w * l.groups + g) * kQuadBytes;
      for (std::int32_t i = 0; i < kQuadBytes; ++i, ++weights) {
        const std::int32_t channel = c + channel_of(i / 4), ky = kernel_row(p, 4 * g + i % 4, r);
        *weights = channel < p.out.c && ky >= 0 && ky < p.kernel_h ? weight_at(p, channel, ky, kx) : std::int8_t{0};
      }
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
  for (std::int32_t r = 0; r < l.rows; ++r)
    pack_terms(p, l, c, r, to + kHeader + static_cast<std::size_t>(r) * row_bytes(p, l));
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

// Where a row of pixels comes from and goes to.
struct Row64 {
  const std::uint8_t* quads;
  std::int64_t step;
  std::uint8_t* out;
  std::int64_t out_step;
  std::int32_t pixels;
  std::uint64_t mask;
};

// Three terms, as in a 3 x 3 kernel: their weights stay in registers.
template <int D>
void row_of_three(const Block& b, const std::int32_t* offset, const std::int8_t* w, const Clamp& clamp, Row64 r) {
  const auto e = Epilogue<D>::make(b, clamp);
  const __m512i w00 = load(w), w01 = load(w + 64), w02 = load(w + 128), w03 = load(w + 192);
  const __m512i w10 = load(w + 256), w11 = load(w + 320), w12 = load(w + 384), w13 = load(w + 448);
  const __m512i w20 = load(w + 512), w21 = load(w + 576), w22 = load(w + 640), w23 = load(w + 704);
  const std::int64_t o0 = offset[0], o1 = offset[1], o2 = offset[2];
  for (; r.pixels > 0; --r.pixels, r.quads += r.step, r.out += r.out_step) {
    const std::uint8_t *x0 = r.quads + o0, *x1 = r.quads + o1, *x2 = r.quads + o2;
#define OPENBPU_VECTOR(v)                                   \
  Acc a##v = reinterpret_cast<Acc>(load(b.start + 16 * v)); \
  a##v = dot(a##v, load(x0 + 64 * v), w0##v);               \
  a##v = dot(a##v, load(x1 + 64 * v), w1##v);               \
  a##v = dot(a##v, load(x2 + 64 * v), w2##v);
    OPENBPU_VECTOR(0)
    OPENBPU_VECTOR(1)
    OPENBPU_VECTOR(2)
    OPENBPU_VECTOR(3)
#undef OPENBPU_VECTOR
    _mm512_mask_storeu_epi8(r.out, r.mask, requantise64(a0, a1, a2, a3, e));
  }
}

// Any number of terms, two pixels at a time so that a term's weights are loaded once for both; the last pixel of an odd
// row is computed twice.
template <int D>
void row_of_many(const Block& b, std::int32_t terms, const std::int32_t* offset, const std::int8_t* w,
                 const Clamp& clamp, Row64 r) {
  const auto e = Epilogue<D>::make(b, clamp);
  while (r.pixels > 0) {
    const std::int64_t next = r.pixels > 1 ? r.step : 0, next_out = r.pixels > 1 ? r.out_step : 0;
#define OPENBPU_START(v) reinterpret_cast<Acc>(load(b.start + 16 * v))
    Acc a0 = OPENBPU_START(0), a1 = OPENBPU_START(1), a2 = OPENBPU_START(2), a3 = OPENBPU_START(3);
    Acc b0 = a0, b1 = a1, b2 = a2, b3 = a3;
#undef OPENBPU_START
    const std::int8_t* weight = w;
    for (std::int32_t k = 0; k < terms; ++k, weight += kQuadBytes) {
      const std::uint8_t* x = r.quads + offset[k];
#define OPENBPU_VECTOR(v)                     \
  const __m512i w##v = load(weight + 64 * v); \
  a##v = dot(a##v, load(x + 64 * v), w##v);   \
  b##v = dot(b##v, load(x + next + 64 * v), w##v);
      OPENBPU_VECTOR(0)
      OPENBPU_VECTOR(1)
      OPENBPU_VECTOR(2)
      OPENBPU_VECTOR(3)
#undef OPENBPU_VECTOR
    }
    _mm512_mask_storeu_epi8(r.out, r.mask, requantise64(a0, a1, a2, a3, e));
    _mm512_mask_storeu_epi8(r.out + next_out, r.mask, requantise64(b0, b1, b2, b3, e));
    r.pixels -= 2;
    r.quads += 2 * r.step;
    r.out += 2 * r.out_step;
  }
}

template <int D>
void run_row(const Block& block, const std::uint8_t* packed_row, std::size_t weights_at, const Clamp& clamp,
             const Row64& row) {
  const auto* count = reinterpret_cast<const std::int32_t*>(packed_row);
  const auto* weights = reinterpret_cast<const std::int8_t*>(packed_row + weights_at);
  if (*count == 3)
    row_of_three<D>(block, count + 1, weights, clamp, row);
  else
    row_of_many<D>(block, *count, count + 1, weights, clamp, row);
}

using RunRow = void (*)(const Block&, const std::uint8_t*, std::size_t, const Clamp&, const Row64&);

// By doublings().
constexpr RunRow kRunRow[] = {run_row<0>, run_row<1>, run_row<2>, run_row<3>, run_row<kAny>};

void run(const DwConvParams& p, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin,
         std::int32_t end) {
  const Layout l = lay_out(p);
  const Clamp clamp = make_clamp(p.rq.L, p.rq.lo, p.rq.hi);
  const RunRow row_of_l = kRunRow[doublings(p.rq.L)];
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t c = unit % l.blocks * kChannels, oy = unit / l.blocks % l.row_groups * l.rows;
    const std::int32_t n = unit / l.blocks / l.row_groups;
    const std::uint8_t* start = packed + static_cast<std::size_t>(unit % l.blocks) * block_bytes(p, l);
    const auto& block = *reinterpret_cast<const Block*>(start);
    for (std::int32_t ox = 0; ox < p.out.w; ox += l.segment) {
      const std::int32_t pixels = min(l.segment, p.out.w - ox);
      const std::int32_t columns = (pixels - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w + 1;
      make_quads(p, l, n, oy, ox * p.stride_w - p.pad_left, columns, c, scratch);
      for (std::int32_t r = 0; r < min(l.rows, p.out.h - oy); ++r) {
        const Row64 row{scratch,
                        std::int64_t{p.stride_w} * l.groups * kQuadBytes,
                        p.out.data + n * p.out.sn + (oy + r) * p.out.sh + ox * p.out.sw + c,
                        p.out.sw,
                        pixels,
                        low_lanes(p.out.c - c)};
        row_of_l(block, start + kHeader + static_cast<std::size_t>(r) * row_bytes(p, l), offsets_bytes(p, l), clamp,
                 row);
      }
    }
  }
}

}  // namespace

const Row<DwConvParams> kDwConvAvx512Vnni{"dwconv_avx512vnni_64", Isa::Avx512Vnni, accepts, plan, pack, run};

}  // namespace openbpu::kernels
