// 3 x 3 depthwise convolution, dilation 1, over 64 channels of a pixel or, where 32 or 16 are left, over those of two
// or four pixels in as many parts of the row.
//
// Four input rows are interleaved byte by byte, so that a 32-bit lane holds four rows of one channel: a "quad" of four
// vectors per column. One vpdpbusd then does a kernel column. With stride 1 the quad serves two output rows: weights
// (w0, w1, w2, 0) and (0, w0, w1, w2). Columns roll through registers, so each is read and interleaved once; pixels are
// computed in twos, so that a weight is loaded once for both. Rows and columns outside the input are read from a pixel
// of zero points.
//
// Lane 4 l + j of vector q holds byte 16 l + 4 q + j: vpackssdw and vpacksswb of the results restore the order.
#include "kernels/dwconv/dwconv_rows.hpp"
#include "kernels/x86/avx512.hpp"

namespace openbpu::kernels {
namespace {

using namespace avx512;

constexpr std::int32_t kChannels = 64;
constexpr std::int32_t kRowWeights = 3 * 4 * 64;  // bytes for one output row: kernel columns, vectors

// A block as packed; behind it the weights of each output row.
struct Block {
  Channels64 constants;
  std::int32_t channels;
  std::int32_t parts;  // of the row in a register: 1, 2 or 4
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
         p.kernel_w == 3 && p.dilation_h == 1 && p.dilation_w == 1 && p.stride_h == p.stride_w && p.stride_w <= 2 &&
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
      const std::int32_t c = byte_of_lane(i / 4) % (kChannels / block.parts), ky = i % 4 - r;
      *to = c < block.channels && ky >= 0 && ky < 3 ? weight_at(p, first + c, ky * 3 + kx) : std::int8_t{0};
    }
}

void pack_block(const DwConvParams& p, const Layout& l, std::int32_t first, std::uint8_t* to) {
  auto* block = reinterpret_cast<Block*>(to);
  *block = {};
  block->channels = min(kChannels, p.out.c - first);
  block->parts = block->channels <= 16 ? 4 : block->channels <= 32 ? 2 : 1;
  const std::int32_t width = kChannels / block->parts;
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
  std::int32_t ahead[3];      // the further parts of a register are read that many columns,
  std::int64_t bytes[3];      // that many bytes ahead
  const std::uint8_t* zeros;  // a row of zero points
};

// Part i of a register; Checked: it may lie left or right of the input.
template <bool Checked>
OPENBPU_INLINE const std::uint8_t* part_of(const Columns& c, const std::uint8_t* row, std::int32_t i) {
  const std::int32_t x = c.x + (i == 0 ? 0 : c.ahead[i - 1]);
  if (Checked && static_cast<std::uint32_t>(x) >= static_cast<std::uint32_t>(c.width)) return c.zeros;
  return row + c.x * c.step + (i == 0 ? 0 : c.bytes[i - 1]);
}

template <int Parts, bool Checked>
OPENBPU_INLINE __m512i read(const Columns& c, const std::uint8_t* row) {
  if constexpr (Parts == 1) {
    return load_once(part_of<Checked>(c, row, 0));
  } else if constexpr (Parts == 2) {
    const auto half = [&](std::int32_t i) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(part_of<Checked>(c, row, i)));
    };
    return _mm512_inserti64x4(_mm512_castsi256_si512(half(0)), half(1), 1);
  } else {
    const auto quarter = [&](std::int32_t i) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(part_of<Checked>(c, row, i)));
    };
    const __m512i low = _mm512_inserti32x4(_mm512_castsi128_si512(quarter(0)), quarter(1), 1);
    return _mm512_inserti32x4(_mm512_inserti32x4(low, quarter(2), 2), quarter(3), 3);
  }
}

// The next column; the last of its rows is not read if only Rows == 1 output row is made of it.
template <int Rows, int Parts, bool Checked>
OPENBPU_INLINE Quad next(Columns& c) {
  const __m512i r0 = read<Parts, Checked>(c, c.row[0]), r1 = read<Parts, Checked>(c, c.row[1]);
  const __m512i r2 = read<Parts, Checked>(c, c.row[2]), r3 = Rows == 1 ? r2 : read<Parts, Checked>(c, c.row[3]);
  const __m512i low01 = _mm512_unpacklo_epi8(r0, r1), high01 = _mm512_unpackhi_epi8(r0, r1);
  const __m512i low23 = _mm512_unpacklo_epi8(r2, r3), high23 = _mm512_unpackhi_epi8(r2, r3);
  ++c.x;
  return {_mm512_unpacklo_epi16(low01, low23), _mm512_unpackhi_epi16(low01, low23),
          _mm512_unpacklo_epi16(high01, high23), _mm512_unpackhi_epi16(high01, high23)};
}

// Where the results of a group of rows go.
struct Target {
  std::uint8_t* at;
  std::int64_t row, pixel, ahead[3];
  std::int32_t pixels;
  std::uint64_t mask;
  const Clamp* limits;  // null: all int8
};

template <int Parts>
OPENBPU_INLINE void write(std::uint8_t* at, const Target& to, __m512i y) {
  if constexpr (Parts == 1) {
    _mm512_mask_storeu_epi8(at, to.mask, y);
  } else if constexpr (Parts == 2) {
    const auto lanes = static_cast<__mmask32>(to.mask);
    _mm256_mask_storeu_epi8(at, lanes, _mm512_castsi512_si256(y));
    _mm256_mask_storeu_epi8(at + to.ahead[0], lanes, _mm512_extracti64x4_epi64(y, 1));
  } else {
    const auto lanes = static_cast<__mmask16>(to.mask);
    _mm_mask_storeu_epi8(at, lanes, _mm512_castsi512_si128(y));
    _mm_mask_storeu_epi8(at + to.ahead[0], lanes, _mm512_extracti32x4_epi32(y, 1));
    _mm_mask_storeu_epi8(at + to.ahead[1], lanes, _mm512_extracti32x4_epi32(y, 2));
    _mm_mask_storeu_epi8(at + to.ahead[2], lanes, _mm512_extracti32x4_epi32(y, 3));
  }
}

#define OPENBPU_VECTORS(X) X(0) X(1) X(2) X(3)

// finish() without registers for limits, which few operators have.
OPENBPU_INLINE __m512i finished(__m512i y, const Target& to) {
  const Clamp* limits = to.limits;
  asm volatile("" : "+r"(limits));  // or they would be loaded before the loop
  if (limits) y = _mm512_min_epi8(_mm512_max_epi8(y, limits->lo), limits->hi);
  return _mm512_xor_si512(y, _mm512_set1_epi8(-128));
}

// Two pixels of one or two rows, made of columns a0, a1, a2 and b0, b1, b2. 32 channels at a time, so that few
// accumulators are alive beside the columns.
template <int Rows, int Parts, int D>
OPENBPU_INLINE void two_pixels(const std::int8_t* w, const Quad& a0, const Quad& a1, const Quad& a2, const Quad& b0,
                               const Quad& b1, const Quad& b2, const Epilogue<D>& e, const Target& to) {
#define OPENBPU_COLUMN(i, q)                                               \
  {                                                                        \
    const __m512i wq = load_once(w + 256 * i + 64 * q);                    \
    x##q = dot(x##q, a##i.v##q, wq);                                       \
    y##q = dot(y##q, b##i.v##q, wq);                                       \
    if constexpr (Rows == 2) {                                             \
      const __m512i below = load_once(w + kRowWeights + 256 * i + 64 * q); \
      u##q = dot(u##q, a##i.v##q, below);                                  \
      v##q = dot(v##q, b##i.v##q, below);                                  \
    }                                                                      \
  }
#define OPENBPU_VECTOR(q)                                                 \
  Acc x##q = reinterpret_cast<Acc>(load_once(e.channels.start + 16 * q)); \
  Acc y##q = x##q, u##q = x##q, v##q = x##q;                              \
  OPENBPU_COLUMN(0, q)                                                    \
  OPENBPU_COLUMN(1, q) OPENBPU_COLUMN(2, q) const __m512i s##q = load(e.channels.shift + 16 * q);
#define OPENBPU_WORDS(acc, p, q) \
  multiply(_mm512_packs_epi32(shifted(acc##p, s##p), shifted(acc##q, s##q)), m, low, 16 * p, e)
#define OPENBPU_HALF(name, p, q)                                                                \
  __m512i x_##name, y_##name, u_##name, v_##name;                                               \
  {                                                                                             \
    OPENBPU_VECTOR(p)                                                                           \
    OPENBPU_VECTOR(q)                                                                           \
    const __m512i m = load(e.channels.m + 16 * p), low = D ? load(e.channels.low + 16 * p) : m; \
    x_##name = OPENBPU_WORDS(x, p, q);                                                          \
    y_##name = OPENBPU_WORDS(y, p, q);                                                          \
    u_##name = Rows == 2 ? OPENBPU_WORDS(u, p, q) : x_##name;                                   \
    v_##name = Rows == 2 ? OPENBPU_WORDS(v, p, q) : x_##name;                                   \
  }
  const auto shifted = [](Acc acc, __m512i s) { return _mm512_srav_epi32(reinterpret_cast<__m512i>(acc), s); };
  OPENBPU_HALF(front, 0, 1)
  OPENBPU_HALF(back, 2, 3)
#undef OPENBPU_HALF
#undef OPENBPU_WORDS
#undef OPENBPU_VECTOR
#undef OPENBPU_COLUMN
  write<Parts>(to.at, to, finished(_mm512_packs_epi16(x_front, x_back), to));
  write<Parts>(to.at + to.pixel, to, finished(_mm512_packs_epi16(y_front, y_back), to));
  if constexpr (Rows == 2) {
    write<Parts>(to.at + to.row, to, finished(_mm512_packs_epi16(u_front, u_back), to));
    write<Parts>(to.at + to.row + to.pixel, to, finished(_mm512_packs_epi16(v_front, v_back), to));
  }
}

template <int D>
OPENBPU_INLINE __m512i one_pixel(const std::int8_t* w, const Quad& left, const Quad& centre, const Quad& right,
                                 const Epilogue<D>& e, const Target& to) {
#define OPENBPU_VECTOR(q)                                            \
  Acc a##q = reinterpret_cast<Acc>(load(e.channels.start + 16 * q)); \
  a##q = dot(a##q, left.v##q, load(w + 64 * q));                     \
  a##q = dot(a##q, centre.v##q, load(w + 256 + 64 * q));             \
  a##q = dot(a##q, right.v##q, load(w + 512 + 64 * q));
  OPENBPU_VECTORS(OPENBPU_VECTOR)
#undef OPENBPU_VECTOR
  const std::int32_t* s = e.channels.shift;
  const __m512i low = multiply(_mm512_packs_epi32(shift(a0, s), shift(a1, s + 16)), 0, e);
  const __m512i high = multiply(_mm512_packs_epi32(shift(a2, s + 32), shift(a3, s + 48)), 32, e);
  return finished(_mm512_packs_epi16(low, high), to);
}

#undef OPENBPU_VECTORS

// The last two columns read.
struct Rolling {
  Quad left, centre;
};

template <int Stride, int Rows, int Parts, int D, bool Checked>
OPENBPU_INLINE void run_pixels(const Epilogue<D>& e, const std::int8_t* weights, std::int32_t pixels, Rolling& rolling,
                               Columns& from, Target& to) {
  for (; !Checked && pixels > 1; pixels -= 2, to.at += 2 * to.pixel) {
    const Quad c0 = rolling.left;
    if constexpr (Stride == 1) {
      const Quad c1 = rolling.centre;
      const Quad c2 = next<Rows, Parts, Checked>(from), c3 = next<Rows, Parts, Checked>(from);
      two_pixels<Rows, Parts>(weights, c0, c1, c2, c1, c2, c3, e, to);
      rolling = {c2, c3};
    } else {
      const Quad c1 = next<Rows, Parts, Checked>(from), c2 = next<Rows, Parts, Checked>(from);
      const Quad c3 = next<Rows, Parts, Checked>(from), c4 = next<Rows, Parts, Checked>(from);
      two_pixels<Rows, Parts>(weights, c0, c1, c2, c2, c3, c4, e, to);
      rolling.left = c4;
    }
  }
  for (; pixels > 0; --pixels, to.at += to.pixel) {
    if constexpr (Stride == 2) rolling.centre = next<Rows, Parts, Checked>(from);
    const Quad right = next<Rows, Parts, Checked>(from);
    const auto& [left, centre] = rolling;
    write<Parts>(to.at, to, one_pixel(weights, left, centre, right, e, to));
    if constexpr (Rows == 2)
      write<Parts>(to.at + to.row, to, one_pixel(weights + kRowWeights, left, centre, right, e, to));
    rolling.left = Stride == 1 ? centre : right;
    rolling.centre = right;
  }
}

template <int Stride, int Rows, int Parts, int D>
void run_group(const Channels64& constants, const std::int8_t* weights, const Clamp& clamp, Columns from, Target to) {
  const auto e = Epilogue<D>::make(constants, clamp);
  Rolling rolling;
  rolling.left = rolling.centre = next<Rows, Parts, true>(from);
  if constexpr (Stride == 1) rolling.centre = next<Rows, Parts, true>(from);
  const std::int32_t last = Parts == 1 ? 0 : from.ahead[Parts - 2];
  const std::int32_t inner = max(0, min(to.pixels, (from.width - from.x - last) / Stride));
  run_pixels<Stride, Rows, Parts, D, false>(e, weights, inner, rolling, from, to);
  run_pixels<Stride, Rows, Parts, D, true>(e, weights, to.pixels - inner, rolling, from, to);
}

using Group = void (*)(const Channels64&, const std::int8_t*, const Clamp&, Columns, Target);

template <int Stride, int Rows, int Parts>
Group group_for(std::int32_t doublings) {
  return doublings == 0 ? run_group<Stride, Rows, Parts, 0> : run_group<Stride, Rows, Parts, kAny>;
}

template <int Stride, int Rows>
Group group_of(const Block& block) {
  const std::int32_t doublings = block.constants.doublings;
  if (block.parts == 1) return group_for<Stride, Rows, 1>(doublings);
  return block.parts == 2 ? group_for<Stride, Rows, 2>(doublings) : group_for<Stride, Rows, 4>(doublings);
}

Columns columns_of(const DwConvParams& p, std::int32_t n, std::int32_t oy, std::int32_t c, const std::uint8_t* zeros) {
  Columns columns{{}, p.in.sw, -p.pad_left, p.in.w, {}, {}, zeros};
  for (std::int32_t i = 0; i < 4; ++i) {
    const std::int32_t y = oy * p.stride_h - p.pad_top + i;
    columns.row[i] = y >= 0 && y < p.in.h ? p.in.data + n * p.in.sn + y * p.in.sh + c : zeros;
  }
  return columns;
}

void run(const DwConvParams& p, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin,
         std::int32_t end) {
  const Layout l = lay_out(p);
  const Clamp clamp = make_clamp(p.rq.lo, p.rq.hi);
  __builtin_memset(scratch, static_cast<std::uint8_t>(p.in_zero) ^ p.flip, zero_row_bytes(p));
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t index = unit % l.blocks, c = index * kChannels;
    const std::int32_t oy = unit / l.blocks % l.row_groups * l.rows, n = unit / l.blocks / l.row_groups;
    const std::uint8_t* start = packed + static_cast<std::size_t>(index) * l.block_bytes;
    const auto& block = *reinterpret_cast<const Block*>(start);
    Columns from = columns_of(p, n, oy, c, scratch);
    Target to{p.out.data + n * p.out.sn + oy * p.out.sh + c,
              p.out.sh,
              p.out.sw,
              {},
              ceil_div(p.out.w, block.parts),
              low_lanes(block.channels),
              p.rq.lo > -128 || p.rq.hi < 127 ? &clamp : nullptr};
    for (std::int32_t i = 1; i < block.parts; ++i) {  // the last part may overlap the one before
      const std::int32_t ahead = min(i * to.pixels, p.out.w - to.pixels);
      from.ahead[i - 1] = ahead * p.stride_w;
      from.bytes[i - 1] = from.ahead[i - 1] * p.in.sw;
      to.ahead[i - 1] = ahead * p.out.sw;
    }
    const bool both = min(l.rows, p.out.h - oy) == 2;
    const Group group = p.stride_w == 2 ? group_of<2, 1>(block) : both ? group_of<1, 2>(block) : group_of<1, 1>(block);
    group(block.constants, reinterpret_cast<const std::int8_t*>(start + kHeader), clamp, from, to);
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
