// 3 x 3 depthwise convolution, dilation 1, over 64 channels of a pixel or, where 32 or fewer are left, over 32 channels
// of two pixels, half a row apart.
//
// Four input rows are interleaved byte by byte, so that a 32-bit lane holds four rows of one channel: a "quad" of four
// vectors per column. One vpdpbusd then does a kernel column. With stride 1 the quad serves two output rows: weights
// (w0, w1, w2, 0) and (0, w0, w1, w2). Columns roll through registers, so each is read and interleaved once; rows and
// columns outside the input are read from a pixel of zero points.
//
// Lane 4 l + j of vector q holds byte 16 l + 4 q + j: vpackssdw and vpacksswb of the results restore the order.
#include "kernels/dwconv/dwconv_rows.hpp"
#include "kernels/x86/avx512.hpp"

namespace openbpu::kernels {
namespace {

using namespace avx512;

constexpr std::int32_t kChannels = 64, kHalf = 32;
constexpr std::int32_t kRowWeights = 3 * 4 * 64;  // bytes for one output row: kernel columns, vectors

// A block as packed; behind it the weights of each output row.
struct Block {
  Channels64 constants;
  std::int32_t channels;
  bool paired;
};

constexpr std::size_t kHeader = (sizeof(Block) + 63) / 64 * 64;

struct Layout {
  std::int32_t rows, row_groups;  // output rows that share quads; groups of them per image
  std::int32_t blocks;
  std::size_t block_bytes;
};

Layout lay_out(const DwConvParams& p) {
  const std::int32_t rows = p.stride_h == 1 ? 2 : 1;
  return {rows, ceil_div(p.out.h, rows), ceil_div(p.out.c, kChannels),
          kHeader + static_cast<std::size_t>(rows) * kRowWeights};
}

bool accepts(const DwConvParams& p) {
  return p.flip == 0x80 && p.in.sc == 1 && p.out.sc == 1 && p.rq.L <= kMaxDoublings && p.kernel_h == 3 &&
         p.kernel_w == 3 && p.dilation_h == 1 && p.dilation_w == 1 && p.stride_h <= 2 && p.stride_w <= 2 &&
         p.pad_left <= (p.stride_w == 1 ? 2 : 1);
}

// A row outside the input.
std::size_t zero_row_bytes(const DwConvParams& p) {
  return align64(static_cast<std::size_t>(p.in.w * p.in.sw) + kSlack);
}

Plan plan(const DwConvParams& p) {
  const Layout l = lay_out(p);
  return {static_cast<std::size_t>(l.blocks) * l.block_bytes, zero_row_bytes(p), p.out.n * l.row_groups * l.blocks};
}

std::int32_t byte_of_lane(std::int32_t lane) { return lane % 16 / 4 * 16 + lane / 16 * 4 + lane % 4; }
std::int32_t byte_of_word(std::int32_t word) { return word % 32 / 8 * 16 + word / 32 * 8 + word % 8; }

std::int8_t weight_at(const DwConvParams& p, std::int32_t channel, std::int32_t tap) {
  return p.weights[(channel / 16 * 9 + tap) * 16 + channel % 16];
}

// Weights of output row r of a group: kernel row ky stands in byte ky + r of every lane.
void pack_row(const DwConvParams& p, const Block& block, std::int32_t first, std::int32_t r, std::int8_t* to) {
  for (std::int32_t kx = 0; kx < 3; ++kx)
    for (std::int32_t i = 0; i < 4 * kChannels; ++i, ++to) {
      const std::int32_t byte = byte_of_lane(i / 4), c = block.paired ? byte % kHalf : byte, ky = i % 4 - r;
      *to = c < block.channels && ky >= 0 && ky < 3 ? weight_at(p, first + c, ky * 3 + kx) : std::int8_t{0};
    }
}

void pack_block(const DwConvParams& p, const Layout& l, std::int32_t first, std::uint8_t* to) {
  auto* block = reinterpret_cast<Block*>(to);
  *block = {};
  block->channels = min(kChannels, p.out.c - first);
  block->paired = block->channels <= kHalf;
  const std::int32_t width = block->paired ? kHalf : kChannels;
  for (std::int32_t i = 0; i < kChannels; ++i) {
    const std::int32_t c = byte_of_lane(i) % width, packed = byte_of_word(i) % width;
    std::int32_t sum = 0;
    for (std::int32_t tap = 0; c < block->channels && tap < 9; ++tap) sum += weight_at(p, first + c, tap);
    if (c < block->channels) pack_lane(i, p.rq.B[first + c], sum, p.rq.s[first + c], p.rq.L, &block->constants);
    if (packed < block->channels)
      pack_word(i, p.rq.B[first + packed], p.rq.m[first + packed], p.rq.s[first + packed], p.rq.L, &block->constants);
  }
  auto* weights = reinterpret_cast<std::int8_t*>(to + kHeader);
  for (std::int32_t r = 0; r < l.rows; ++r) pack_row(p, *block, first, r, weights + r * kRowWeights);
}

void pack(const DwConvParams& p, std::uint8_t* packed) {
  const Layout l = lay_out(p);
  for (std::int32_t i = 0; i < l.blocks; ++i)
    pack_block(p, l, i * kChannels, packed + static_cast<std::size_t>(i) * l.block_bytes);
}

// A column of four input rows.
struct Quad {
  __m512i v0, v1, v2, v3;
};

// Reads the columns of four rows from left to right.
struct Columns {
  const std::uint8_t* row[4];  // at column 0; rows outside the input point to a row of zero points
  std::int64_t step;           // to the next column
  std::int32_t x, width;
  std::int32_t second;        // paired: the second half of a register is read that many columns ahead
  const std::uint8_t* zeros;  // a row of zero points
};

// Checked: either half may lie left or right of the input.
template <bool Paired, bool Checked>
OPENBPU_INLINE __m512i read(const Columns& c, const std::uint8_t* row) {
  const auto width = static_cast<std::uint32_t>(c.width);
  const std::uint8_t* at = row + c.x * c.step;
  if (Checked && static_cast<std::uint32_t>(c.x) >= width) at = c.zeros;
  if constexpr (!Paired) return load(at);
  const std::uint8_t* second = row + (c.x + c.second) * c.step;
  if (Checked && static_cast<std::uint32_t>(c.x + c.second) >= width) second = c.zeros;
  const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(second));
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

template <bool Paired, bool Checked>
OPENBPU_INLINE Quad next(Columns& c) {
  const __m512i r0 = read<Paired, Checked>(c, c.row[0]), r1 = read<Paired, Checked>(c, c.row[1]);
  const __m512i r2 = read<Paired, Checked>(c, c.row[2]), r3 = read<Paired, Checked>(c, c.row[3]);
  const __m512i low01 = _mm512_unpacklo_epi8(r0, r1), high01 = _mm512_unpackhi_epi8(r0, r1);
  const __m512i low23 = _mm512_unpacklo_epi8(r2, r3), high23 = _mm512_unpackhi_epi8(r2, r3);
  ++c.x;
  return {_mm512_unpacklo_epi16(low01, low23), _mm512_unpackhi_epi16(low01, low23),
          _mm512_unpacklo_epi16(high01, high23), _mm512_unpackhi_epi16(high01, high23)};
}

// Where the results of a group of rows go.
struct Target {
  std::uint8_t* at;
  std::int64_t row, pixel, second;
  std::int32_t pixels;
  std::uint64_t mask;
};

template <bool Paired>
OPENBPU_INLINE void write(std::uint8_t* at, const Target& to, __m512i y) {
  if constexpr (Paired) {
    _mm256_mask_storeu_epi8(at, static_cast<__mmask32>(to.mask), _mm512_castsi512_si256(y));
    _mm256_mask_storeu_epi8(at + to.second, static_cast<__mmask32>(to.mask), _mm512_extracti64x4_epi64(y, 1));
  } else {
    _mm512_mask_storeu_epi8(at, to.mask, y);
  }
}

template <int D>
OPENBPU_INLINE __m512i three_columns(const std::int8_t* w, const Quad& left, const Quad& centre, const Quad& right,
                                     const Epilogue<D>& e) {
#define OPENBPU_VECTOR(q)                                            \
  Acc a##q = reinterpret_cast<Acc>(load(e.channels.start + 16 * q)); \
  a##q = dot(a##q, left.v##q, load(w + 64 * q));                     \
  a##q = dot(a##q, centre.v##q, load(w + 256 + 64 * q));             \
  a##q = dot(a##q, right.v##q, load(w + 512 + 64 * q));
  OPENBPU_VECTOR(0)
  OPENBPU_VECTOR(1)
  OPENBPU_VECTOR(2)
  OPENBPU_VECTOR(3)
#undef OPENBPU_VECTOR
  return requantise64(a0, a1, a2, a3, e);
}

// The last two columns read.
struct Rolling {
  Quad left, centre;
};

template <int Stride, int Rows, bool Paired, int D, bool Checked>
OPENBPU_INLINE void run_pixels(const Epilogue<D>& e, const std::int8_t* weights, std::int32_t pixels, Rolling& rolling,
                               Columns& from, Target& to) {
  for (; pixels > 0; --pixels, to.at += to.pixel) {
    if constexpr (Stride == 2) rolling.centre = next<Paired, Checked>(from);
    const Quad right = next<Paired, Checked>(from);
    const auto& [left, centre] = rolling;
    write<Paired>(to.at, to, three_columns(weights, left, centre, right, e));
    if constexpr (Rows == 2)
      write<Paired>(to.at + to.row, to, three_columns(weights + kRowWeights, left, centre, right, e));
    rolling.left = Stride == 1 ? centre : right;
    rolling.centre = right;
  }
}

template <int Stride, int Rows, bool Paired, int D>
void run_group(const Channels64& constants, const std::int8_t* weights, const Clamp& clamp, Columns from, Target to) {
  const auto e = Epilogue<D>::make(constants, clamp);
  Rolling rolling;
  rolling.left = rolling.centre = next<Paired, true>(from);
  if constexpr (Stride == 1) rolling.centre = next<Paired, true>(from);
  const std::int32_t inner = max(0, min(to.pixels, (from.width - from.x - from.second) / Stride));
  run_pixels<Stride, Rows, Paired, D, false>(e, weights, inner, rolling, from, to);
  run_pixels<Stride, Rows, Paired, D, true>(e, weights, to.pixels - inner, rolling, from, to);
}

using Group = void (*)(const Channels64&, const std::int8_t*, const Clamp&, Columns, Target);

// By [paired][doublings].
template <int Stride, int Rows>
constexpr Group kGroups[2][5] = {
    {run_group<Stride, Rows, false, 0>, run_group<Stride, Rows, false, 1>, run_group<Stride, Rows, false, 2>,
     run_group<Stride, Rows, false, 3>, run_group<Stride, Rows, false, kAny>},
    {run_group<Stride, Rows, true, 0>, run_group<Stride, Rows, true, 1>, run_group<Stride, Rows, true, 2>,
     run_group<Stride, Rows, true, 3>, run_group<Stride, Rows, true, kAny>}};

Group group_of(std::int32_t stride, std::int32_t rows, bool paired, std::int32_t L) {
  if (rows == 2) return (stride == 1 ? kGroups<1, 2> : kGroups<2, 2>)[paired][doublings(L)];
  return (stride == 1 ? kGroups<1, 1> : kGroups<2, 1>)[paired][doublings(L)];
}

Columns columns_of(const DwConvParams& p, std::int32_t n, std::int32_t oy, std::int32_t c, std::int32_t second,
                   const std::uint8_t* zeros) {
  Columns columns{{}, p.in.sw, -p.pad_left, p.in.w, second, zeros};
  for (std::int32_t i = 0; i < 4; ++i) {
    const std::int32_t y = oy * p.stride_h - p.pad_top + i;
    columns.row[i] = y >= 0 && y < p.in.h ? p.in.data + n * p.in.sn + y * p.in.sh + c : zeros;
  }
  return columns;
}

void run(const DwConvParams& p, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin,
         std::int32_t end) {
  const Layout l = lay_out(p);
  const Clamp clamp = make_clamp(p.rq.L, p.rq.lo, p.rq.hi);
  __builtin_memset(scratch, static_cast<std::uint8_t>(p.in_zero) ^ p.flip, zero_row_bytes(p));
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t index = unit % l.blocks, c = index * kChannels;
    const std::int32_t oy = unit / l.blocks % l.row_groups * l.rows, n = unit / l.blocks / l.row_groups;
    const std::uint8_t* start = packed + static_cast<std::size_t>(index) * l.block_bytes;
    const auto& block = *reinterpret_cast<const Block*>(start);
    const std::int32_t pixels = block.paired ? ceil_div(p.out.w, 2) : p.out.w;
    const std::int32_t ahead = block.paired ? p.out.w - pixels : 0;
    const Target to{p.out.data + n * p.out.sn + oy * p.out.sh + c,
                    p.out.sh,
                    p.out.sw,
                    ahead * p.out.sw,
                    pixels,
                    low_lanes(block.channels)};
    group_of(p.stride_w, min(l.rows, p.out.h - oy), block.paired, p.rq.L)(
        block.constants, reinterpret_cast<const std::int8_t*>(start + kHeader), clamp,
        columns_of(p, n, oy, c, ahead * p.stride_w, scratch), to);
  }
}

Region region(const DwConvParams& p, std::int32_t unit) {
  const Layout l = lay_out(p);
  const std::int32_t c = unit % l.blocks * kChannels, y = unit / l.blocks % l.row_groups * l.rows;
  return {unit / l.blocks / l.row_groups, y,    min(l.rows, p.out.h - y), 0, p.out.w, c,
          min(kChannels, p.out.c - c),    false};
}

}  // namespace

const Row<DwConvParams> kDwConv3x3Avx512Vnni{
    "dwconv_avx512vnni_3x3", Isa::Avx512Vnni, accepts, plan, pack, run, region};

}  // namespace openbpu::kernels
