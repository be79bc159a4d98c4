// Depthwise convolution over 32 channels at a time, in two passes per output row.
//
// Pass 1 interleaves the input rows under the kernel, four by four, so that a 32-bit lane holds four rows of one
// channel: a "quad" of four vectors per column and four rows. Rows and columns outside the input become the zero point.
// Pass 2 takes, per output pixel, one vpmaddubsw + vpmaddwd + vpaddd per kernel column and vector: three useful
// products per lane for a 3 x 3 kernel. Interleaving costs 8 shuffles per column, shared by kernel_w / stride_w pixels.
//
// Vector v of a quad holds channels 4v .. 4v + 3 and 16 + 4v .. 16 + 4v + 3: vpackssdw and vpacksswb of the four
// results restore the order.
#include "kernels/dwconv/dwconv_rows.hpp"
#include "kernels/x86/avx2.hpp"

namespace openbpu::kernels {
namespace {

using namespace avx2;

constexpr std::int32_t kChannels = 32;
constexpr std::int32_t kQuadBytes = 4 * 32;
constexpr std::int32_t kSegmentBytes = 16384;  // of quads, so that they stay in the first-level cache

// 32 channels as packed; behind it the terms as in x86/gemm_avx2.cpp: offsets i32 (rounded up to 64 bytes), the weights
// of plain terms, weights and masks of complemented terms. A term is a kernel column times four kernel rows; its offset
// is that of the quad from the first quad under the pixel.
struct Block {
  std::int32_t start[32], low[32], shift[32];  // in the order of the vectors
  std::int16_t m[32];                          // in the order of vpackssdw
  std::int32_t plain, complemented;
  std::int32_t reserved[14];
};
static_assert(sizeof(Block) == 512);

// Everything that follows from the parameters.
struct Layout {
  std::int32_t blocks;
  std::int32_t groups, terms;     // groups of four kernel rows; terms = kernel_w * groups
  std::int32_t segment, columns;  // output pixels per segment, input columns under them
};

Layout lay_out(const DwConvParams& p) {
  Layout l{};
  l.blocks = ceil_div(p.out.c, kChannels);
  l.groups = ceil_div(p.kernel_h, 4);
  l.terms = p.kernel_w * l.groups;
  const std::int32_t border = (p.kernel_w - 1) * p.dilation_w;
  const std::int32_t room = kSegmentBytes / (kQuadBytes * l.groups) - border;
  l.segment = min(p.out.w, max(8, room / p.stride_w));
  l.columns = (l.segment - 1) * p.stride_w + border + 1;
  return l;
}

// At most every term complemented, and a plain one beside it for pairs (-128, -128).
std::size_t block_bytes(const Layout& l) {
  const auto terms = static_cast<std::size_t>(l.terms);
  return sizeof(Block) + align64(2 * terms * 4) + 3 * terms * kQuadBytes;
}

bool accepts(const DwConvParams& p) { return p.flip == 0x80 && p.in.sc == 1 && p.out.sc == 1; }

// One unit is 32 channels of one output row.
Plan plan(const DwConvParams& p) {
  const Layout l = lay_out(p);
  return {static_cast<std::size_t>(l.blocks) * block_bytes(l),
          static_cast<std::size_t>(l.columns) * static_cast<std::size_t>(l.groups) * kQuadBytes,
          p.out.n * p.out.h * l.blocks};
}

// Which kernel rows stand in the slots of a quad, four per group; two neighbouring slots are a pair, whose products
// vpmaddubsw adds. Rows stand alone in a pair while there is room; otherwise an outer row meets the opposite outer row.
// The free slot beside a row that stands alone repeats the first row of such a double pair and can take a part of its
// weight: so nearly all pairs of a 3 x 3 kernel are safe (x86/avx2.hpp) without complemented activations.
struct Slots {
  std::int32_t kernel_h, pairs, doubles;

  // The kernel row; even slots of pairs without a row repeat row 0 with weight 0.
  std::int32_t row(std::int32_t slot) const {
    const std::int32_t pair = slot / 2;
    if (pair >= kernel_h - doubles) return 0;
    if (slot % 2 == 0) return pair;
    if (pair < doubles) return kernel_h - 1 - pair;
    return pair - doubles < doubles ? pair - doubles : pair;
  }
};

Slots make_slots(std::int32_t kernel_h, std::int32_t groups) {
  return {kernel_h, 2 * groups, max(0, kernel_h - 2 * groups)};
}

// One kernel column of one channel.
struct Column {
  const std::int8_t* weights;  // of kernel row 0
  std::int32_t step;           // to the next row

  std::int32_t at(std::int32_t row) const { return weights[std::int64_t{row} * step]; }
};

// What the first row of double pair j hands to its repetition so that both pairs are safe; 0 if that cannot be.
std::int32_t handed_over(const Slots& slots, const Column& column, std::int32_t j) {
  const std::int32_t alone = slots.doubles + j;  // the pair with the repetition
  if (alone >= slots.kernel_h - slots.doubles) return 0;
  const std::int32_t a = column.at(j), b = column.at(slots.kernel_h - 1 - j), c = column.at(alone);
  const std::int32_t excess = (a < 0 ? -(a + b) : a + b) - 128;
  if ((a < 0) != (b < 0) || excess <= 0) return 0;
  const std::int32_t part = a < 0 ? -excess : excess;
  const bool safe = (c < 0) != (part < 0) || (c < 0 ? -c : c) + excess <= 128;
  return safe && part <= 127 ? part : 0;
}

std::int32_t weight_in_slot(const Slots& slots, const Column& column, std::int32_t slot) {
  const std::int32_t pair = slot / 2;
  if (pair >= slots.kernel_h - slots.doubles) return 0;
  if (pair < slots.doubles) return column.at(slots.row(slot)) - (slot % 2 == 0 ? handed_over(slots, column, pair) : 0);
  if (slot % 2 == 0) return column.at(pair);
  return pair - slots.doubles < slots.doubles ? handed_over(slots, column, pair - slots.doubles) : 0;
}

// Channel of int32 lane i (0..31) of the four vectors.
std::int32_t channel_of(std::int32_t i) { return i / 8 * 4 + i % 4 + i % 8 / 4 * 16; }

// Channel of int16 lane i (0..31) of the two vectors after vpackssdw.
std::int32_t packed_channel_of(std::int32_t i) { return i / 16 * 8 + i % 8 + i % 16 / 8 * 16; }

struct Quad {
  __m256i v0, v1, v2, v3;
};

Quad load_quad(const void* at) {
  const auto* p = static_cast<const std::int8_t*>(at);
  return {load(p), load(p + 32), load(p + 64), load(p + 96)};
}

// The weights of a term of the block whose first channel is c.
Quad read_term(const DwConvParams& p, const Layout& l, std::int32_t c, std::int32_t term) {
  const Slots slots = make_slots(p.kernel_h, l.groups);
  alignas(32) std::int8_t w[kQuadBytes] = {};
  for (std::int32_t i = 0; i < kQuadBytes; ++i) {
    const std::int32_t channel = c + channel_of(i / 4);
    if (channel >= p.out.c) continue;
    const std::int64_t first = std::int64_t{channel / 16} * p.kernel_h * p.kernel_w + term / l.groups;
    const Column column{p.weights + first * 16 + channel % 16, p.kernel_w * 16};
    w[i] = static_cast<std::int8_t>(weight_in_slot(slots, column, term % l.groups * 4 + i % 4));
  }
  return load_quad(w);
}

bool any(const Quad& q) {
  const __m256i v = _mm256_or_si256(_mm256_or_si256(q.v0, q.v1), _mm256_or_si256(q.v2, q.v3));
  return _mm256_testz_si256(v, v) == 0;
}

Quad dot_ones(const Quad& sum, const Quad& w) {
  const __m256i one = _mm256_set1_epi8(1);
  return {dot(sum.v0, one, w.v0), dot(sum.v1, one, w.v1), dot(sum.v2, one, w.v2), dot(sum.v3, one, w.v3)};
}

std::int8_t* store_quad(std::int8_t* to, const Quad& q) {
  store(to, q.v0);
  store(to + 32, q.v1);
  store(to + 64, q.v2);
  store(to + 96, q.v3);
  return to + kQuadBytes;
}

// A term as x86/avx2.hpp splits its weights.
struct Term {
  std::int32_t offset;
  Quad w, main, mask, rest, complemented;
};

Term make_term(const DwConvParams& p, const Layout& l, std::int32_t c, std::int32_t index) {
  const Quad w = read_term(p, l, c, index);
  const SafeWeights a = make_safe(w.v0), b = make_safe(w.v1), d = make_safe(w.v2), e = make_safe(w.v3);
  const std::int32_t offset = (index / l.groups * p.dilation_w * l.groups + index % l.groups) * kQuadBytes;
  return {offset,
          w,
          {a.main, b.main, d.main, e.main},
          {a.mask, b.mask, d.mask, e.mask},
          {a.rest, b.rest, d.rest, e.rest},
          {_mm256_and_si256(w.v0, a.mask), _mm256_and_si256(w.v1, b.mask), _mm256_and_si256(w.v2, d.mask),
           _mm256_and_si256(w.v3, e.mask)}};
}

void write_constants(const DwConvParams& p, std::int32_t c, const Quad& sum, const Quad& complemented, Block* block) {
  for (std::int32_t i = 0; i < kChannels; ++i) {
    const std::int32_t lane = c + channel_of(i), packed = c + packed_channel_of(i);
    block->start[i] = lane < p.out.c ? p.rq.B[lane] : 0;
    block->shift[i] = lane < p.out.c ? p.rq.s[lane] : 0;
    block->m[i] = packed < p.out.c ? p.rq.m[packed] : std::int16_t{16384};
  }
  const Quad B = load_quad(block->start);
  store(block->low, low_bits(B.v0, p.rq.L));
  store(block->low + 8, low_bits(B.v1, p.rq.L));
  store(block->low + 16, low_bits(B.v2, p.rq.L));
  store(block->low + 24, low_bits(B.v3, p.rq.L));
  store(block->start, start_value(B.v0, p.rq.L, sum.v0, complemented.v0));
  store(block->start + 8, start_value(B.v1, p.rq.L, sum.v1, complemented.v1));
  store(block->start + 16, start_value(B.v2, p.rq.L, sum.v2, complemented.v2));
  store(block->start + 24, start_value(B.v3, p.rq.L, sum.v3, complemented.v3));
}

void pack_block(const DwConvParams& p, const Layout& l, std::int32_t c, std::uint8_t* to) {
  auto* block = reinterpret_cast<Block*>(to);
  *block = Block{};
  for (std::int32_t i = 0; i < l.terms; ++i) {
    const Term term = make_term(p, l, c, i);
    block->complemented += any(term.mask);
    block->plain += (any(term.w) && !any(term.mask)) + any(term.rest);
  }
  auto* offset = reinterpret_cast<std::int32_t*>(to + sizeof(Block));
  std::int32_t* complemented_offset = offset + block->plain;
  const std::int32_t terms = block->plain + block->complemented;
  auto* plain = reinterpret_cast<std::int8_t*>(to + sizeof(Block) + align64(static_cast<std::size_t>(terms) * 4));
  std::int8_t* masked = plain + block->plain * kQuadBytes;

  const __m256i zero = _mm256_setzero_si256();
  Quad sum{zero, zero, zero, zero}, complemented = sum;
  for (std::int32_t i = 0; i < l.terms; ++i) {
    const Term term = make_term(p, l, c, i);
    sum = dot_ones(sum, term.w);
    if (any(term.mask)) {
      complemented = dot_ones(complemented, term.complemented);
      *complemented_offset++ = term.offset;
      masked = store_quad(store_quad(masked, term.main), term.mask);
    } else if (any(term.w)) {
      *offset++ = term.offset;
      plain = store_quad(plain, term.main);
    }
    if (any(term.rest)) {
      *offset++ = term.offset;
      plain = store_quad(plain, term.rest);
    }
  }
  write_constants(p, c, sum, complemented, block);
}

void pack(const DwConvParams& p, std::uint8_t* packed) {
  const Layout l = lay_out(p);
  for (std::int32_t i = 0; i < l.blocks; ++i)
    pack_block(p, l, i * kChannels, packed + static_cast<std::size_t>(i) * block_bytes(l));
}

// A row of pixels to interleave; step 0 repeats the zero point for a row outside the input.
struct Source {
  const std::uint8_t* at;
  std::int64_t step;
};

// Where row y of the input, from column x and channel c on, is read.
Source source_of(const DwConvParams& p, std::int32_t n, std::int32_t y, std::int32_t x, std::int32_t c,
                 const std::uint8_t* zeros) {
  if (y < 0 || y >= p.in.h) return {zeros, 0};
  return {p.in.data + n * p.in.sn + y * p.in.sh + x * p.in.sw + c, p.in.sw};
}

// Columns of one group of four rows to quads, `stride` bytes apart.
void interleave(Source a, Source b, Source c, Source d, std::int32_t columns, std::uint8_t* to, std::int64_t stride) {
  for (; columns > 0; --columns, to += stride) {
    const __m256i ra = load(a.at), rb = load(b.at), rc = load(c.at), rd = load(d.at);
    const __m256i ab_low = _mm256_unpacklo_epi8(ra, rb), ab_high = _mm256_unpackhi_epi8(ra, rb);
    const __m256i cd_low = _mm256_unpacklo_epi8(rc, rd), cd_high = _mm256_unpackhi_epi8(rc, rd);
    store(to, _mm256_unpacklo_epi16(ab_low, cd_low));
    store(to + 32, _mm256_unpackhi_epi16(ab_low, cd_low));
    store(to + 64, _mm256_unpacklo_epi16(ab_high, cd_high));
    store(to + 96, _mm256_unpackhi_epi16(ab_high, cd_high));
    a.at += a.step;
    b.at += b.step;
    c.at += c.step;
    d.at += d.step;
  }
}

void fill(std::uint8_t* to, std::int32_t columns, std::int32_t groups, __m256i value) {
  for (std::int32_t i = 0; i < columns * groups * 4; ++i) store(to + i * 32, value);
}

// Pass 1: `columns` columns from input column x0 on, under output row oy, for 32 channels from c on.
void make_quads(const DwConvParams& p, const Layout& l, std::int32_t n, std::int32_t oy, std::int32_t x0,
                std::int32_t columns, std::int32_t c, std::uint8_t* quads) {
  alignas(32) std::uint8_t zeros[32];
  const __m256i zero = _mm256_set1_epi8(static_cast<char>(static_cast<std::uint8_t>(p.in_zero) ^ p.flip));
  store(zeros, zero);
  const std::int32_t left = min(columns, max(0, -x0)), right = max(left, min(columns, p.in.w - x0));
  const std::int64_t column_bytes = std::int64_t{l.groups} * kQuadBytes;
  fill(quads, left, l.groups, zero);
  fill(quads + right * column_bytes, columns - right, l.groups, zero);
  const Slots slots = make_slots(p.kernel_h, l.groups);
  const auto row = [&](std::int32_t slot) {
    const std::int32_t y = oy * p.stride_h - p.pad_top + slots.row(slot) * p.dilation_h;
    return source_of(p, n, y, x0 + left, c, zeros);
  };
  for (std::int32_t g = 0; g < l.groups; ++g)
    interleave(row(g * 4), row(g * 4 + 1), row(g * 4 + 2), row(g * 4 + 3), right - left,
               quads + left * column_bytes + g * kQuadBytes, column_bytes);
}

// The four accumulators of a pixel to 32 bytes.
OPENBPU_INLINE __m256i finish(const Block& block, const Clamp& clamp, __m256i a0, __m256i a1, __m256i a2, __m256i a3) {
  const __m256i t0 =
      _mm256_packs_epi32(scale(a0, block.low, block.shift, clamp), scale(a1, block.low + 8, block.shift + 8, clamp));
  const __m256i t1 = _mm256_packs_epi32(scale(a2, block.low + 16, block.shift + 16, clamp),
                                        scale(a3, block.low + 24, block.shift + 24, clamp));
  return narrow(multiply(t0, load(block.m)), multiply(t1, load(block.m + 16)), clamp);
}

OPENBPU_INLINE void store_channels(std::uint8_t* out, __m256i y, std::int32_t channels) {
  if (channels == kChannels) {
    store(out, y);
    return;
  }
  store_first(out, _mm256_castsi256_si128(y), min(channels, 16));
  if (channels > 16) store_first(out + 16, _mm256_extracti128_si256(y, 1), channels - 16);
}

// acc + a term of one vector: activations at x, weights at w and their masks a quad further.
template <bool Complemented>
OPENBPU_INLINE __m256i add_term(__m256i acc, const std::uint8_t* x, const std::int8_t* w) {
  const __m256i activations = load(x);
  return dot(acc, Complemented ? _mm256_xor_si256(activations, load(w + kQuadBytes)) : activations, load(w));
}

// Offsets and weights of the terms of a block.
struct Terms {
  const std::int32_t* offset;
  const std::int8_t* weights;
  std::int32_t plain, all;
};

Terms terms_of(const Block& block) {
  const auto* offset = reinterpret_cast<const std::int32_t*>(&block + 1);
  const std::int32_t all = block.plain + block.complemented;
  return {offset, reinterpret_cast<const std::int8_t*>(offset) + align64(static_cast<std::size_t>(all) * 4),
          block.plain, all};
}

#define OPENBPU_VECTORS(X) X(0) X(1) X(2) X(3)

// Pass 2 for two neighbouring pixels (Pair) or one, any number of terms.
template <bool Pair>
OPENBPU_INLINE void pixels(const Block& block, const Terms& terms, const std::uint8_t* quads, std::int64_t step,
                           const Clamp& clamp, std::uint8_t* out, std::int64_t out_step, std::int32_t channels) {
#define OPENBPU_DECLARE(v) __m256i a##v = load(block.start + 8 * v), b##v = a##v;
  OPENBPU_VECTORS(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE
  const std::int8_t* w = terms.weights;
  std::int32_t k = 0;
#define OPENBPU_STEP(v)                                         \
  a##v = add_term<kComplemented>(a##v, x + 32 * v, w + 32 * v); \
  if constexpr (Pair) b##v = add_term<kComplemented>(b##v, x + step + 32 * v, w + 32 * v);
  for (; k < terms.plain; ++k, w += kQuadBytes) {
    constexpr bool kComplemented = false;
    const std::uint8_t* x = quads + terms.offset[k];
    OPENBPU_VECTORS(OPENBPU_STEP)
  }
  for (; k < terms.all; ++k, w += 2 * kQuadBytes) {
    constexpr bool kComplemented = true;
    const std::uint8_t* x = quads + terms.offset[k];
    OPENBPU_VECTORS(OPENBPU_STEP)
  }
#undef OPENBPU_STEP
  store_channels(out, finish(block, clamp, a0, a1, a2, a3), channels);
  if constexpr (Pair) store_channels(out + out_step, finish(block, clamp, b0, b1, b2, b3), channels);
}

// The same for three terms, as in a 3 x 3 kernel, Plain of them plain: without loops, vector by vector.
template <int Plain, bool Pair>
OPENBPU_INLINE void pixels3(const Block& block, const Terms& terms, const std::uint8_t* quads, std::int64_t step,
                            const Clamp& clamp, std::uint8_t* out, std::int64_t out_step, std::int32_t channels) {
  const std::uint8_t* x0 = quads + terms.offset[0];
  const std::uint8_t* x1 = quads + terms.offset[1];
  const std::uint8_t* x2 = quads + terms.offset[2];
  const std::int8_t* w0 = terms.weights;
  const std::int8_t* w1 = w0 + (Plain > 0 ? 1 : 2) * kQuadBytes;
  const std::int8_t* w2 = w1 + (Plain > 1 ? 1 : 2) * kQuadBytes;
#define OPENBPU_VECTOR(v)                                                                  \
  __m256i a##v = load(block.start + 8 * v), b##v = a##v;                                   \
  a##v = add_term<(Plain < 1)>(a##v, x0 + 32 * v, w0 + 32 * v);                            \
  if constexpr (Pair) b##v = add_term<(Plain < 1)>(b##v, x0 + step + 32 * v, w0 + 32 * v); \
  a##v = add_term<(Plain < 2)>(a##v, x1 + 32 * v, w1 + 32 * v);                            \
  if constexpr (Pair) b##v = add_term<(Plain < 2)>(b##v, x1 + step + 32 * v, w1 + 32 * v); \
  a##v = add_term<(Plain < 3)>(a##v, x2 + 32 * v, w2 + 32 * v);                            \
  if constexpr (Pair) b##v = add_term<(Plain < 3)>(b##v, x2 + step + 32 * v, w2 + 32 * v);
  OPENBPU_VECTORS(OPENBPU_VECTOR)
#undef OPENBPU_VECTOR
  store_channels(out, finish(block, clamp, a0, a1, a2, a3), channels);
  if constexpr (Pair) store_channels(out + out_step, finish(block, clamp, b0, b1, b2, b3), channels);
}

#undef OPENBPU_VECTORS

// Pass 2 for `count` pixels. Plain: as in pixels3(), or -1 for any number of terms.
template <int Plain>
void row_of_pixels(const Block& block, const std::uint8_t* quads, std::int64_t step, const Clamp& shared_clamp,
                   std::uint8_t* out, std::int64_t out_step, std::int32_t channels, std::int32_t count) {
  const Terms terms = terms_of(block);
  const Clamp clamp = shared_clamp;  // a copy, which stores to the output cannot alias
  for (; count >= 2; count -= 2, quads += 2 * step, out += 2 * out_step)
    if constexpr (Plain < 0)
      pixels<true>(block, terms, quads, step, clamp, out, out_step, channels);
    else
      pixels3<Plain, true>(block, terms, quads, step, clamp, out, out_step, channels);
  if (count == 0) return;
  if constexpr (Plain < 0)
    pixels<false>(block, terms, quads, step, clamp, out, out_step, channels);
  else
    pixels3<Plain, false>(block, terms, quads, step, clamp, out, out_step, channels);
}

using RowOfPixels = void (*)(const Block&, const std::uint8_t*, std::int64_t, const Clamp&, std::uint8_t*, std::int64_t,
                             std::int32_t, std::int32_t);

RowOfPixels row_of_pixels_for(const Block& block) {
  static constexpr RowOfPixels kThree[4] = {row_of_pixels<0>, row_of_pixels<1>, row_of_pixels<2>, row_of_pixels<3>};
  return block.plain + block.complemented == 3 ? kThree[block.plain] : row_of_pixels<-1>;
}

// 32 channels of one output row.
void run_row(const DwConvParams& p, const Layout& l, const Block& block, std::int32_t n, std::int32_t oy,
             std::int32_t c, std::uint8_t* quads) {
  const Clamp clamp = make_clamp(p.rq.L, p.rq.lo, p.rq.hi);
  const std::int64_t step = std::int64_t{p.stride_w} * l.groups * kQuadBytes;
  const std::int32_t channels = min(kChannels, p.out.c - c), border = l.columns - (l.segment - 1) * p.stride_w;
  const RowOfPixels pass2 = row_of_pixels_for(block);
  std::uint8_t* out = p.out.data + n * p.out.sn + oy * p.out.sh + c;
  for (std::int32_t x0 = 0; x0 < p.out.w; x0 += l.segment) {
    const std::int32_t count = min(l.segment, p.out.w - x0);
    make_quads(p, l, n, oy, x0 * p.stride_w - p.pad_left, (count - 1) * p.stride_w + border, c, quads);
    pass2(block, quads, step, clamp, out + x0 * p.out.sw, p.out.sw, channels, count);
  }
}

void run(const DwConvParams& p, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin,
         std::int32_t end) {
  const Layout l = lay_out(p);
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t i = unit % l.blocks, oy = unit / l.blocks % p.out.h, n = unit / l.blocks / p.out.h;
    const auto& block = *reinterpret_cast<const Block*>(packed + static_cast<std::size_t>(i) * block_bytes(l));
    run_row(p, l, block, n, oy, i * kChannels, scratch);
  }
}

Region region(const DwConvParams& p, std::int32_t unit) {
  const std::int32_t blocks = lay_out(p).blocks, c = unit % blocks * kChannels;
  return {unit / blocks / p.out.h, unit / blocks % p.out.h, 1, 0, p.out.w, c, min(kChannels, p.out.c - c), false};
}

}  // namespace

const Row<DwConvParams> kDwConvAvx2{"dwconv_avx2_32", Isa::Avx2, accepts, plan, pack, run, region};

}  // namespace openbpu::kernels
