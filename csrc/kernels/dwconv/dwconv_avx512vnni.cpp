// Depthwise convolution of any kernel over 64 channels at a time; made for 5 x 5.
//
// vpdpbusd adds four products into a 32-bit lane, so four input bytes of one channel go into a lane: a "quad" of four
// vectors holds them for 64 channels. Two shapes of quads:
//   tall    four rows of one column. The kernel, moved down by r rows with zeros elsewhere, finds further output rows
//   in
//           the same quads: two of a 3 x 3 kernel (weights w0 w1 w2 0 and 0 w0 w1 w2), four of a 5 x 5 one on two
//           quads.
//   square  two rows of two columns, where both strides are 2: every quad is made once, and serves all the pixels whose
//           kernels it lies under, with other weights for each.
//
// Quads are interleaved into a buffer in the first-level cache shortly before they are read. A tile is two sets of four
// pixels (tall: one below the other; square: side by side), computed 16 channels at a time: a weight loaded serves the
// pixels of a set, a quad all pixels that it lies under, and eight accumulators leave room for both.
//
// Lane 4 l + j of vector q holds channel 16 l + 4 q + j. After narrowing, dword p of 128-bit lane l holds four channels
// of pixel p; unpacking those of the four vectors gives the pixels their 64 channels in order. Where 32 or 16 channels
// are left, a vector holds them for two or four parts of the row.
#include "kernels/dwconv/dwconv_quads_avx512.hpp"
#include "kernels/dwconv/dwconv_rows.hpp"

namespace openbpu::kernels {
namespace {

using namespace avx512;

constexpr std::int32_t kChannels = 64, kVectors = kQuadVectors, kSet = 4;
constexpr std::int32_t kCacheBytes = 24576;  // of quads, so that they stay in the first-level cache
constexpr std::int32_t kSquareRows = 8;      // output rows of a unit

// As packed; behind it the weights i8[pairs of output rows][vectors][terms][rows][64]. A term is a quad under the
// kernel.
struct Block {
  Channels<kVectors * 32> constants;  // words: [vectors][4 lanes of 128 bits][2 pixels][4 channels]
  std::int32_t channels;
  std::int32_t parts;  // of the row in a vector: 1, 2 or 4
};

constexpr std::size_t kHeader = (sizeof(Block) + 63) / 64 * 64;

// Everything that follows from the parameters.
struct Layout {
  bool square;
  std::int32_t blocks;
  std::int32_t kernel_rows, kernel_columns;  // in quads
  std::int32_t column_step, pixel_step;      // quads from one kernel column, one pixel to the next
  std::int32_t rows;                         // output rows that are made of the same quads
  std::int32_t unit_rows, row_units;
  std::int32_t segment, columns;  // output pixels per segment, quads under them
};

Layout lay_out(const DwConvParams& p) {
  Layout l{};
  l.square = p.stride_h == 2 && p.stride_w == 2 && p.dilation_h == 1 && p.dilation_w == 1;
  l.blocks = ceil_div(p.out.c, kChannels);
  l.kernel_rows = ceil_div(p.kernel_h, l.square ? 2 : 4);
  l.kernel_columns = l.square ? ceil_div(p.kernel_w, 2) : p.kernel_w;
  l.column_step = p.dilation_w;
  l.pixel_step = l.square ? 1 : p.stride_w;
  l.rows = l.square || p.dilation_h > 1 ? 1 : (4 * l.kernel_rows - p.kernel_h) / p.stride_h + 1;
  l.unit_rows = l.square ? kSquareRows : l.rows;
  l.row_units = ceil_div(p.out.h, l.unit_rows);
  const std::int32_t border = (l.kernel_columns - 1) * l.column_step;
  const std::int32_t room = max(8, (kCacheBytes / (kQuadBytes * l.kernel_rows) - border) / l.pixel_step);
  const std::int32_t even = ceil_div(p.out.w, ceil_div(p.out.w, room));
  l.segment = min(p.out.w, ceil_div(even, 2 * kSet) * 2 * kSet);
  // A tile reads the quads of all its pixels, also of those that it does not store.
  l.columns = (ceil_div(l.segment, 2 * kSet) * 2 * kSet - 1) * l.pixel_step + border + 1;
  return l;
}

std::size_t pair_bytes(const Layout& l) {
  return static_cast<std::size_t>(l.kernel_rows * l.kernel_columns) * kQuadBytes * (l.square ? 1 : 2);
}

std::size_t block_bytes(const Layout& l) {
  return kHeader + static_cast<std::size_t>(ceil_div(l.rows, 2)) * pair_bytes(l);
}

std::int64_t quad_row_bytes(const Layout& l) { return std::int64_t{l.columns} * kQuadBytes; }

bool accepts(const DwConvParams& p) {
  return p.flip == 0x80 && p.in.sc == 1 && p.out.sc == 1 && p.rq.L <= kMaxDoublings;
}

// Scratch: 64 zero points, then the quads.
constexpr std::size_t kZeros = 64;

// One unit is 64 channels of some output rows.
Plan plan(const DwConvParams& p) {
  const Layout l = lay_out(p);
  return {static_cast<std::size_t>(l.blocks) * block_bytes(l),
          kZeros + static_cast<std::size_t>(l.kernel_rows) * static_cast<std::size_t>(quad_row_bytes(l)),
          p.out.n * l.row_units * l.blocks};
}

// ---- packing

// Channel of lane i of vector q.
std::int32_t channel_of(std::int32_t q, std::int32_t i) { return 16 * (i / 4) + 4 * q + i % 4; }

// The weights of a tap for the channels of a block, once for each part; zero outside the kernel.
__m512i tap_weights(const DwConvParams& p, const Block& block, std::int32_t first, std::int32_t ky, std::int32_t kx) {
  alignas(64) std::int8_t weights[kChannels] = {};
  if (ky < 0 || ky >= p.kernel_h || kx < 0 || kx >= p.kernel_w) return load(weights);
  const std::int64_t taps = std::int64_t{p.kernel_h} * p.kernel_w, tap = std::int64_t{ky} * p.kernel_w + kx;
  const std::int32_t lines = ceil_div(block.channels, 16);  // of 16 channels
  for (std::int32_t i = 0; i < 4; ++i) {
    const std::int32_t line = i % (4 / block.parts);
    if (line < lines) __builtin_memcpy(weights + 16 * i, p.weights + ((first / 16 + line) * taps + tap) * 16, 16);
  }
  return load(weights);
}

// The weights of the quad in row j and column i of the kernel for output row r.
void quad_weights(const DwConvParams& p, const Layout& l, const Block& block, std::int32_t first, std::int32_t j,
                  std::int32_t i, std::int32_t r, std::uint8_t* to) {
  Bytes64 w[4];
  for (std::int32_t b = 0; b < 4; ++b)
    w[b].v = l.square ? tap_weights(p, block, first, 2 * j + b / 2, 2 * i + b % 2)
                      : tap_weights(p, block, first, r < l.rows ? 4 * j + b - r * p.stride_h : -1, i);
  store_quad(w[0], w[1], w[2], w[3], to);
}

// Writes the weights, and for each lane the sum of its channel's.
void pack_weights(const DwConvParams& p, const Layout& l, const Block& block, std::int32_t first, std::int8_t* to,
                  std::int32_t* sums) {
  const std::int32_t terms = l.kernel_rows * l.kernel_columns, lines = l.square ? 1 : 2;
  Acc sum[kVectors] = {};
  for (std::int32_t r = 0; r < ceil_div(l.rows, lines) * lines; ++r)
    for (std::int32_t term = 0; term < terms; ++term) {
      alignas(64) std::uint8_t quad[kQuadBytes];
      quad_weights(p, l, block, first, term / l.kernel_columns, term % l.kernel_columns, r, quad);
      for (std::int32_t q = 0; q < kVectors; ++q) {
        const __m512i w = load(quad + 64 * q);
        if (r == 0) sum[q] = dot(sum[q], _mm512_set1_epi8(1), w);
        const std::int64_t line = ((std::int64_t{r / lines} * kVectors + q) * terms + term) * lines + r % lines;
        _mm512_storeu_si512(to + line * 64, w);
      }
    }
  for (std::int32_t q = 0; q < kVectors; ++q) _mm512_storeu_si512(sums + 16 * q, reinterpret_cast<__m512i>(sum[q]));
}

void pack_block(const DwConvParams& p, const Layout& l, std::int32_t first, std::uint8_t* to) {
  auto* block = reinterpret_cast<Block*>(to);
  *block = {};
  block->channels = min(kChannels, p.out.c - first);
  block->parts = block->channels <= 16 ? 4 : block->channels <= 32 ? 2 : 1;
  std::int32_t sums[kChannels];
  pack_weights(p, l, *block, first, reinterpret_cast<std::int8_t*>(to + kHeader), sums);
  const std::int32_t width = kChannels / block->parts;
  for (std::int32_t lane = 0; lane < kChannels; ++lane) {
    const std::int32_t local = channel_of(lane / 16, lane % 16) % width, c = first + local;
    if (local < block->channels) pack_lane(lane, p.rq.B[c], sums[lane], p.rq.s[c], p.rq.L, &block->constants);
  }
  for (std::int32_t word = 0; word < kVectors * 32; ++word) {
    const std::int32_t local = channel_of(word / 32, word % 32 / 8 * 4 + word % 4) % width, c = first + local;
    if (local < block->channels) pack_word(word, p.rq.B[c], p.rq.m[c], p.rq.s[c], p.rq.L, &block->constants);
  }
}

void pack(const DwConvParams& p, std::uint8_t* packed) {
  const Layout l = lay_out(p);
  for (std::int32_t i = 0; i < l.blocks; ++i)
    pack_block(p, l, i * kChannels, packed + static_cast<std::size_t>(i) * block_bytes(l));
}

// ---- tiles

// Pixels of one or two output rows of a block, and the quads under them.
struct Pixels {
  const Block& block;
  const std::int8_t* weights;
  std::int32_t kernel_rows, kernel_columns;
  std::int64_t column_step, pixel_step, row_step;  // of quads, in bytes
  const std::uint8_t* quads;
  std::int32_t first_row;  // the row of quads, of kernel_rows in a ring, under the first row of the kernel
  std::uint8_t* out;
  std::int64_t out_row, out_pixel, out_part[4];
  std::uint64_t mask;  // channels to write
  std::int32_t count;
};

template <int D>
using Constants = Epilogue<D, kVectors * 32>;

// Four pixels of the 16 channels of vector q as bytes.
template <int D>
OPENBPU_INLINE __m512i narrow(const Acc (&c)[kSet], std::int32_t q, const Constants<D>& e) {
  const std::int32_t* s = e.channels.shift + 16 * q;
  const __m512i low = multiply(_mm512_packs_epi32(shift(c[0], s), shift(c[1], s)), 32 * q, e);
  const __m512i high = multiply(_mm512_packs_epi32(shift(c[2], s), shift(c[3], s)), 32 * q, e);
  return finish(_mm512_packs_epi16(low, high), e);
}

// One pixel of each part of the row.
void write_parts(const Pixels& p, __m512i y, std::uint8_t* to) {
  if (p.block.parts == 2) {
    const auto lanes = static_cast<__mmask32>(p.mask);
    _mm256_mask_storeu_epi8(to, lanes, _mm512_castsi512_si256(y));
    _mm256_mask_storeu_epi8(to + p.out_part[1], lanes, _mm512_extracti64x4_epi64(y, 1));
  } else {
    const auto lanes = static_cast<__mmask16>(p.mask);
    _mm_mask_storeu_epi8(to, lanes, _mm512_castsi512_si128(y));
    _mm_mask_storeu_epi8(to + p.out_part[1], lanes, _mm512_extracti32x4_epi32(y, 1));
    _mm_mask_storeu_epi8(to + p.out_part[2], lanes, _mm512_extracti32x4_epi32(y, 2));
    _mm_mask_storeu_epi8(to + p.out_part[3], lanes, _mm512_extracti32x4_epi32(y, 3));
  }
}

void write_some(const Pixels& p, __m512i y0, __m512i y1, __m512i y2, __m512i y3, std::uint8_t* out,
                std::int32_t count) {
  const __m512i y[] = {y0, y1, y2, y3};
  for (std::int32_t i = 0; i < min(count, kSet); ++i, out += p.out_pixel) {
    if (p.block.parts == 1)
      _mm512_mask_storeu_epi8(out, p.mask, y[i]);
    else
      write_parts(p, y[i], out);
  }
}

// What narrow() gives for the four vectors, to `count` pixels.
OPENBPU_INLINE void write_set(const Pixels& p, const __m512i (&y)[kVectors], std::uint8_t* out, std::int32_t count) {
  const __m512i low01 = _mm512_unpacklo_epi32(y[0], y[1]), high01 = _mm512_unpackhi_epi32(y[0], y[1]);
  const __m512i low23 = _mm512_unpacklo_epi32(y[2], y[3]), high23 = _mm512_unpackhi_epi32(y[2], y[3]);
  const __m512i y0 = _mm512_unpacklo_epi64(low01, low23), y1 = _mm512_unpackhi_epi64(low01, low23);
  const __m512i y2 = _mm512_unpacklo_epi64(high01, high23), y3 = _mm512_unpackhi_epi64(high01, high23);
  const std::int64_t step = p.out_pixel;
  if (count >= 4 && p.block.parts == 1) {
    const std::uint64_t mask = p.mask;
    _mm512_mask_storeu_epi8(out, mask, y0);
    _mm512_mask_storeu_epi8(out + step, mask, y1);
    _mm512_mask_storeu_epi8(out + 2 * step, mask, y2);
    _mm512_mask_storeu_epi8(out + 3 * step, mask, y3);
    return;
  }
  write_some(p, y0, y1, y2, y3, out, count);
}

// Quads of a kernel whose columns and pixels are neighbours; no rows: any kernel.
template <bool Square, int Rows, int Columns>
struct Kernel {
  static constexpr bool kSquare = Square;
  static constexpr int kRows = Rows, kColumns = Columns, kLines = Square ? 1 : 2;  // lines of weights per term
};

#define OPENBPU_SET(X) X(0) X(1) X(2) X(3)

// One row of the kernel: every quad is loaded once, for all pixels that it lies under.
template <class K, bool Both>
OPENBPU_INLINE void add_row(const std::uint8_t* quads, const std::int8_t* weights, Acc (&a)[kSet], Acc (&b)[kSet]) {
  constexpr int kColumns = K::kColumns;
  __m512i wa[5], wb[5];
#define OPENBPU_WEIGHTS(i)                                                                   \
  if constexpr (i < kColumns) {                                                              \
    wa[i] = load_once(weights + K::kLines * 64 * i);                                         \
    if constexpr (!K::kSquare && Both) wb[i] = load_once(weights + K::kLines * 64 * i + 64); \
  }
  OPENBPU_SET(OPENBPU_WEIGHTS)
  OPENBPU_WEIGHTS(4)
#undef OPENBPU_WEIGHTS
#define OPENBPU_PIXEL(c, i)                                            \
  if constexpr (c >= i && c - i < kColumns) {                          \
    a[i] = dot(a[i], x, wa[c - i]);                                    \
    if constexpr (!K::kSquare && Both) b[i] = dot(b[i], x, wb[c - i]); \
  }                                                                    \
  if constexpr (K::kSquare && Both && c >= i + kSet && c - i - kSet < kColumns) b[i] = dot(b[i], x, wa[c - i - kSet]);
#define OPENBPU_COLUMN(c)                                                           \
  if constexpr (c < kColumns + kSet - 1 + (K::kSquare && Both ? kSet : 0)) {        \
    const __m512i x = load_once(quads + c * kQuadBytes);                            \
    OPENBPU_PIXEL(c, 0) OPENBPU_PIXEL(c, 1) OPENBPU_PIXEL(c, 2) OPENBPU_PIXEL(c, 3) \
  }
  OPENBPU_SET(OPENBPU_COLUMN)
  OPENBPU_COLUMN(4)
  OPENBPU_COLUMN(5) OPENBPU_COLUMN(6) OPENBPU_COLUMN(7) OPENBPU_COLUMN(8) OPENBPU_COLUMN(9)
#undef OPENBPU_COLUMN
#undef OPENBPU_PIXEL
}

// The same for any kernel.
template <class K, bool Both>
OPENBPU_INLINE void add_any_row(const Pixels& p, const std::uint8_t* x, const std::int8_t* w, Acc (&a)[kSet],
                                Acc (&b)[kSet]) {
  const std::int64_t next = p.pixel_step;
  for (std::int32_t i = 0; i < p.kernel_columns; ++i, x += p.column_step, w += K::kLines * 64) {
    const __m512i wa = load_once(w), wb = K::kSquare ? wa : load_once(w + 64);
#define OPENBPU_STEP(i)                                                                  \
  {                                                                                      \
    const __m512i xa = load_once(x + i * next);                                          \
    a[i] = dot(a[i], xa, wa);                                                            \
    if constexpr (Both && !K::kSquare) b[i] = dot(b[i], xa, wb);                         \
    if constexpr (Both && K::kSquare) b[i] = dot(b[i], load(x + (kSet + i) * next), wa); \
  }
    OPENBPU_SET(OPENBPU_STEP)
#undef OPENBPU_STEP
  }
}

#undef OPENBPU_SET

// Vector q of set a and, if Both, of set b: (tall) the row below, (square) the pixels beside.
template <class K, bool Both, int D>
OPENBPU_INLINE void quarter(const Pixels& p, const std::uint8_t* quads, const Constants<D>& e, std::int32_t q,
                            __m512i* ya, __m512i* yb) {
  const std::int32_t rows = K::kRows ? K::kRows : p.kernel_rows;
  const std::int64_t row_weights = std::int64_t{K::kRows ? K::kColumns : p.kernel_columns} * K::kLines * 64;
  const std::int8_t* w = p.weights + q * rows * row_weights;
  const auto start = reinterpret_cast<Acc>(load_once(e.channels.start + 16 * q));
  Acc a[kSet] = {start, start, start, start}, b[kSet] = {start, start, start, start};
  std::int32_t row = K::kSquare ? p.first_row : 0;
#pragma GCC unroll 3
  for (std::int32_t j = 0; j < rows; ++j, w += row_weights) {
    const std::uint8_t* x = quads + 64 * q + row * p.row_step;
    if (++row == rows) row = 0;
    if constexpr (K::kRows > 0)
      add_row<K, Both>(x, w, a, b);
    else
      add_any_row<K, Both>(p, x, w, a, b);
  }
  *ya = narrow(a, q, e);
  if constexpr (Both) *yb = narrow(b, q, e);
}

// At most four or, if Both, eight pixels; `left` are left of the row.
template <class K, bool Both, int D>
OPENBPU_INLINE void tile(const Pixels& p, const std::uint8_t* quads, std::uint8_t* out, std::int32_t left,
                         const Constants<D>& e) {
  __m512i a[kVectors], b[kVectors];
  quarter<K, Both>(p, quads, e, 0, &a[0], &b[0]);
  quarter<K, Both>(p, quads, e, 1, &a[1], &b[1]);
  quarter<K, Both>(p, quads, e, 2, &a[2], &b[2]);
  quarter<K, Both>(p, quads, e, 3, &a[3], &b[3]);
  write_set(p, a, out, left);
  if constexpr (Both && K::kSquare) write_set(p, b, out + kSet * p.out_pixel, left - kSet);
  if constexpr (Both && !K::kSquare) write_set(p, b, out + p.out_row, left);
}

template <class K, bool Both, int D>
void run_pixels(const Pixels& p, const Clamp& clamp) {
  const auto e = Constants<D>::make(p.block.constants, clamp);
  constexpr std::int32_t kPixels = K::kSquare && Both ? 2 * kSet : kSet;
  const std::uint8_t* quads = p.quads;
  std::uint8_t* out = p.out;
  for (std::int32_t left = p.count; left > 0; left -= kPixels) {
    if (K::kSquare && Both && left <= kSet)
      tile<K, false>(p, quads, out, left, e);
    else
      tile<K, Both>(p, quads, out, left, e);
    quads += kPixels * p.pixel_step;
    out += kPixels * p.out_pixel;
  }
}

using Run = void (*)(const Pixels&, const Clamp&);

// Tall: for one and two rows; square: twice the same.
struct Kind {
  Run one, two;
};

template <class K, int D>
constexpr Kind kKind{run_pixels<K, K::kSquare, D>, run_pixels<K, true, D>};

template <class K>
Kind kind_for(std::int32_t doublings) {
  if constexpr (K::kRows > 0)
    if (doublings == 0) return kKind<K, 0>;
  return kKind<K, kAny>;
}

Kind kind_of(const Layout& l, std::int32_t doublings) {
  const auto is = [&](std::int32_t rows, std::int32_t columns) {
    return l.column_step == 1 && l.pixel_step == 1 && l.kernel_rows == rows && l.kernel_columns == columns;
  };
  if (l.square && is(3, 3)) return kind_for<Kernel<true, 3, 3>>(doublings);
  if (l.square) return kind_for<Kernel<true, 0, 0>>(doublings);
  if (is(2, 5)) return kind_for<Kernel<false, 2, 5>>(doublings);
  return kind_for<Kernel<false, 0, 0>>(doublings);
}

// ---- units

// What a block's pixels of a segment have in common: those from `first` on of each part of the row.
struct Segment {
  const DwConvParams& p;
  const Layout& l;
  const Block& block;
  std::int32_t n, c;
  std::uint8_t* quads;
  QuadColumns columns[4];  // by part

  // Makes row j of the quads under output row oy.
  void make_row(std::int32_t oy, std::int32_t j) const {
    const std::uint8_t* row[4];
    for (std::int32_t b = 0; b < 4; ++b) {
      const std::int32_t below = l.square ? 2 * j + b / 2 : (4 * j + b) * p.dilation_h;
      const std::int32_t y = oy * p.stride_h - p.pad_top + below;
      row[b] = y >= 0 && y < p.in.h ? p.in.data + n * p.in.sn + y * p.in.sh + c : nullptr;
    }
    std::uint8_t* to = quads + j % l.kernel_rows * quad_row_bytes(l);
    if (block.parts == 1) return make_quads<Bytes64>(columns[0], row, to);
    for (std::int32_t k = 0; k < block.parts; ++k)
      (block.parts == 2 ? make_quads<Bytes32> : make_quads<Bytes16>)(columns[k], row, to + k * kChannels / block.parts);
  }
};

// Output rows from oy on that are made of the same quads.
void run_tall_rows(const Segment& s, Pixels pixels, std::int32_t oy, std::int32_t rows, const Kind& kind,
                   const Clamp& clamp) {
  for (std::int32_t j = 0; j < s.l.kernel_rows; ++j) s.make_row(oy, j);
  for (std::int32_t r = 0; r < rows; r += 2) {
    (r + 1 < rows ? kind.two : kind.one)(pixels, clamp);
    pixels.weights += pair_bytes(s.l);
    pixels.out += 2 * pixels.out_row;
  }
}

// Output rows of which each after the first needs one new row of quads.
void run_square_rows(const Segment& s, Pixels pixels, std::int32_t oy, std::int32_t rows, const Kind& kind,
                     const Clamp& clamp) {
  for (std::int32_t j = 0; j + 1 < s.l.kernel_rows; ++j) s.make_row(oy, j);
  for (std::int32_t r = 0; r < rows; ++r) {
    s.make_row(oy, r + s.l.kernel_rows - 1);
    pixels.first_row = r % s.l.kernel_rows;
    kind.two(pixels, clamp);
    pixels.out += pixels.out_row;
  }
}

// A block's output rows from oy on.
void run_unit(const DwConvParams& p, const Layout& l, const std::uint8_t* packed, std::int32_t n, std::int32_t oy,
              std::int32_t index, std::uint8_t* scratch, const Clamp& clamp) {
  const std::uint8_t* start = packed + static_cast<std::size_t>(index) * block_bytes(l);
  const auto& block = *reinterpret_cast<const Block*>(start);
  const Kind kind = kind_of(l, block.constants.doublings);
  const std::int32_t length = ceil_div(p.out.w, block.parts), c = index * kChannels;
  Segment s{p, l, block, n, c, scratch + kZeros, {}};
  Pixels pixels{block,
                reinterpret_cast<const std::int8_t*>(start + kHeader),
                l.kernel_rows,
                l.kernel_columns,
                std::int64_t{l.column_step} * kQuadBytes,
                std::int64_t{l.pixel_step} * kQuadBytes,
                quad_row_bytes(l),
                s.quads,
                0,
                p.out.data + n * p.out.sn + oy * p.out.sh + c,
                p.out.sh,
                p.out.sw,
                {},
                low_lanes(block.channels),
                0};
  for (std::int32_t first = 0; first < length; first += l.segment) {
    pixels.count = min(l.segment, length - first);
    const std::int32_t columns = (pixels.count - 1) * l.pixel_step + (l.kernel_columns - 1) * l.column_step + 1;
    for (std::int32_t k = 0; k < block.parts; ++k) {
      const std::int32_t part = min(k * length, p.out.w - length);  // its first pixel
      pixels.out_part[k] = part * p.out.sw;
      s.columns[k] = QuadColumns::make(l.square, (part + first) * p.stride_w - p.pad_left, columns, p.in, scratch);
    }
    (l.square ? run_square_rows : run_tall_rows)(s, pixels, oy, min(l.unit_rows, p.out.h - oy), kind, clamp);
    pixels.out += l.segment * p.out.sw;
  }
}

void run(const DwConvParams& p, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin,
         std::int32_t end) {
  const Layout l = lay_out(p);
  const Clamp clamp = make_clamp(p.rq.lo, p.rq.hi);
  __builtin_memset(scratch, static_cast<std::uint8_t>(p.in_zero) ^ p.flip, kZeros);
  for (std::int32_t unit = begin; unit < end; ++unit)
    run_unit(p, l, packed, unit / l.blocks / l.row_units, unit / l.blocks % l.row_units * l.unit_rows, unit % l.blocks,
             scratch, clamp);
}

Region region(const DwConvParams& p, std::int32_t unit) {
  const Layout l = lay_out(p);
  const std::int32_t c = unit % l.blocks * kChannels, y = unit / l.blocks % l.row_units * l.unit_rows;
  return {unit / l.blocks / l.row_units, y,    min(l.unit_rows, p.out.h - y), 0, p.out.w, c,
          min(kChannels, p.out.c - c),   false};
}

}  // namespace

const Row<DwConvParams> kDwConvAvx512Vnni{"dwconv_avx512vnni_64", Isa::Avx512Vnni, accepts, plan, pack, run, region};

}  // namespace openbpu::kernels
