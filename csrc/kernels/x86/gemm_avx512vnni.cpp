#include "kernels/x86/gemm_avx512vnni.hpp"

#include "kernels/pixels.hpp"
#include "kernels/x86/blocks_avx512.hpp"

namespace openbpu::kernels::avx512 {
namespace {

// Channel of lane i of vector q of a block with that many vectors.
std::int32_t channel_of(std::int32_t vectors, std::int32_t q, std::int32_t i) {
  if (vectors == 4) return 16 * (i / 4) + 4 * q + i % 4;
  if (vectors >= 2 && q < 2) return 8 * (i / 4) + 4 * q + i % 4;
  return 16 * q + i;
}

// Channel of word i after vpackssdw: of one vector with the same of another pixel, or of two vectors.
std::int32_t word_of(std::int32_t vectors, std::int32_t i) {
  if (vectors == 4) return 16 * (i % 32 / 8) + 8 * (i / 32) + i % 8;
  if (vectors == 1 || i >= 32) return i / 32 * 32 + 4 * (i % 32 / 8) + i % 4;
  return i;
}

// The weights of a step in the order of channel_of(): 128-bit lanes of the cell's four lines of 16 channels.
OPENBPU_INLINE void arrange(const std::int8_t* cell, std::int32_t vectors, __m512i* out) {
  const __m512i l0 = load(cell), l1 = load(cell + 64), l2 = load(cell + 128), l3 = load(cell + 192);
  const __m512i even01 = _mm512_shuffle_i32x4(l0, l1, 0x88), odd01 = _mm512_shuffle_i32x4(l0, l1, 0xdd);
  const __m512i even23 = _mm512_shuffle_i32x4(l2, l3, 0x88), odd23 = _mm512_shuffle_i32x4(l2, l3, 0xdd);
  const bool all = vectors == 4;
  out[0] = all ? _mm512_shuffle_i32x4(even01, even23, 0x88) : vectors == 1 ? l0 : even01;
  out[1] = all ? _mm512_shuffle_i32x4(odd01, odd23, 0x88) : odd01;
  out[2] = all ? _mm512_shuffle_i32x4(even01, even23, 0xdd) : l2;
  out[3] = _mm512_shuffle_i32x4(odd01, odd23, 0xdd);
}

// Offsets and weights; writes the sum of the weights of each lane, and per part that of weight times padding.
void pack_steps(const GemmSource& source, std::int32_t index, std::int32_t vectors, std::int32_t* left_out,
                std::int32_t* offsets, std::int8_t* weights, std::int32_t* sums) {
  const __m512i one = _mm512_set1_epi8(1), pad = _mm512_set1_epi8(static_cast<char>(source.pad));
  alignas(64) std::int8_t cell[kBlock * 4];
  Acc sum[4] = {};
  for (std::int32_t part = 0, step = 0; part < source.parts; ++part, left_out += kBlock) {
    Acc padded[4] = {};
    for (std::int32_t i = 0; i < source.steps / source.parts; ++i, ++step) {
      offsets[step] = source.step(source.params, index, step, cell);
      __m512i w[4];
      arrange(cell, vectors, w);
      for (std::int32_t q = 0; q < vectors; ++q, weights += 64) {
        _mm512_storeu_si512(weights, w[q]);
        sum[q] = dot(sum[q], one, w[q]);
        padded[q] = dot(padded[q], pad, w[q]);
      }
    }
    for (std::int32_t q = 0; q < 4; ++q) _mm512_storeu_si512(left_out + 16 * q, reinterpret_cast<__m512i>(padded[q]));
  }
  for (std::int32_t q = 0; q < 4; ++q) _mm512_storeu_si512(sums + 16 * q, reinterpret_cast<__m512i>(sum[q]));
}

void pack_block(const GemmSource& source, std::int32_t index, std::uint8_t* to) {
  auto* block = reinterpret_cast<Block*>(to);
  const GemmChannels channels = source.channels(source.params, index);
  const std::int32_t vectors = ceil_div(channels.count, 16);
  auto* left_out = reinterpret_cast<std::int32_t*>(to + kHeader);
  std::int32_t sum[kBlock];
  pack_steps(source, index, vectors, left_out, left_out + source.parts * kBlock,
             reinterpret_cast<std::int8_t*>(to + head_bytes(source.parts, source.steps)), sum);
  block->channels = channels.count;
  block->steps = source.steps;
  block->blocks = source.blocks;
  block->parts = source.parts;
  block->constants = {};
  for (std::int32_t lane = 0; lane < 16 * vectors; ++lane) {
    const std::int32_t c = channel_of(vectors, lane / 16, lane % 16);
    if (c < channels.count) pack_lane(lane, channels.B[c], sum[lane], channels.s[c], source.L, &block->constants);
  }
  for (std::int32_t word = 0; word < kBlock; ++word) {
    const std::int32_t c = word_of(vectors, word);
    if (c < channels.count) pack_word(word, channels.B[c], channels.m[c], channels.s[c], source.L, &block->constants);
  }
}

// One tile's constants.
struct Context {
  const Block& block;
  const std::int32_t* start;
  const std::int32_t* offsets;
  const std::int8_t* weights;
  std::int32_t steps;
  Clamp clamp;
  const std::int8_t* next;  // a quarter of the next block's weights
};

OPENBPU_INLINE Acc start(const Context& k, std::int32_t vector) {
  return reinterpret_cast<Acc>(load(k.start + 16 * vector));
}

#define OPENBPU_ROWS6(X) X(0) X(1) X(2) X(3) X(4) X(5)
#define OPENBPU_ROWS8(X) OPENBPU_ROWS6(X) X(6) X(7)
#define OPENBPU_ROWS12(X) OPENBPU_ROWS8(X) X(8) X(9) X(10) X(11)
#define OPENBPU_PAIRS8(X) X(0, 1) X(2, 3) X(4, 5) X(6, 7)
#define OPENBPU_PAIRS12(X) OPENBPU_PAIRS8(X) X(8, 9) X(10, 11)

// Rows at and beyond P read row 0 and store nothing: a tail tile is a full one with fewer pixels, so that one tile per
// width needs no second loop.

// The weights of the next block come into the second-level cache while this one is computed, a line per step.
OPENBPU_INLINE void prefetch(const std::int8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }

template <int P, int D>
void tile64(const Context& k, const kernels::Pixels<6>& pixels) {
  const Block& b = k.block;
  const Acc s0 = start(k, 0), s1 = start(k, 1), s2 = start(k, 2), s3 = start(k, 3);
#define OPENBPU_DECLARE(i)                               \
  const std::uint8_t* row##i = pixels.in[i < P ? i : 0]; \
  Acc c##i##0 = s0, c##i##1 = s1, c##i##2 = s2, c##i##3 = s3;
  OPENBPU_ROWS6(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE
  const std::int8_t* w = k.weights;
  const std::int8_t* const end = w + k.steps * 256;
  const std::int32_t* offset = k.offsets;
  const std::int8_t* next = k.next;
  do {
    const std::int64_t at = *offset++;
    prefetch(next);
    next += 64;
    const __m512i w0 = load(w), w1 = load(w + 64), w2 = load(w + 128), w3 = load(w + 192);
#define OPENBPU_STEP(i)                        \
  if constexpr (i < P) {                       \
    const __m512i x = broadcast4(row##i + at); \
    c##i##0 = dot(c##i##0, x, w0);             \
    c##i##1 = dot(c##i##1, x, w1);             \
    c##i##2 = dot(c##i##2, x, w2);             \
    c##i##3 = dot(c##i##3, x, w3);             \
  }
    OPENBPU_ROWS6(OPENBPU_STEP)
#undef OPENBPU_STEP
    w += 256;
  } while (w != end);
  const auto e = Epilogue<D>::make(k.block.constants, k.clamp);
  const std::uint64_t mask = low_lanes(b.channels);
#define OPENBPU_STORE(i) \
  if constexpr (i < P) store4(pixels.out[i], c##i##0, c##i##1, c##i##2, c##i##3, e, mask);
  OPENBPU_ROWS6(OPENBPU_STORE)
#undef OPENBPU_STORE
}

// One pixel and 64 channels: three sums per vector, because four alone would wait for one another.
template <int D>
void single64(const Context& k, const kernels::Pixels<6>& pixels) {
  const Block& b = k.block;
  const std::uint8_t* in = pixels.in[0];
  const std::int8_t* w = k.weights;
  const Acc zero{};
#define OPENBPU_DECLARE(i) Acc c##i##0 = zero, c##i##1 = zero, c##i##2 = zero, c##i##3 = zero;
  OPENBPU_DECLARE(0)
  OPENBPU_DECLARE(1)
  OPENBPU_DECLARE(2)
#undef OPENBPU_DECLARE
#define OPENBPU_STEP(i)                                     \
  {                                                         \
    const __m512i x = broadcast4(in + k.offsets[step + i]); \
    c##i##0 = dot(c##i##0, x, load(w + i * 256));           \
    c##i##1 = dot(c##i##1, x, load(w + i * 256 + 64));      \
    c##i##2 = dot(c##i##2, x, load(w + i * 256 + 128));     \
    c##i##3 = dot(c##i##3, x, load(w + i * 256 + 192));     \
  }
  std::int32_t step = 0;
  for (; step + 3 <= k.steps; step += 3, w += 768) {
    OPENBPU_STEP(0) OPENBPU_STEP(1) OPENBPU_STEP(2)
  }
  for (; step < k.steps; ++step, w += 256) OPENBPU_STEP(0)
#undef OPENBPU_STEP
  const auto e = Epilogue<D>::make(b.constants, k.clamp);
#define OPENBPU_SUM(v) start(k, v) + c0##v + c1##v + c2##v
  store4(pixels.out[0], OPENBPU_SUM(0), OPENBPU_SUM(1), OPENBPU_SUM(2), OPENBPU_SUM(3), e, low_lanes(b.channels));
#undef OPENBPU_SUM
}

template <int P, int D>
void tile48(const Context& k, const kernels::Pixels<8>& pixels) {
  const Block& b = k.block;
  const Acc s0 = start(k, 0), s1 = start(k, 1), s2 = start(k, 2);
#define OPENBPU_DECLARE(i)                               \
  const std::uint8_t* row##i = pixels.in[i < P ? i : 0]; \
  Acc c##i##0 = s0, c##i##1 = s1, c##i##2 = s2;
  OPENBPU_ROWS8(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE
  const std::int8_t* w = k.weights;
  const std::int8_t* const end = w + k.steps * 192;
  const std::int32_t* offset = k.offsets;
  const std::int8_t* next = k.next;
  do {
    const std::int64_t at = *offset++;
    prefetch(next);
    next += 64;
    const __m512i w0 = load(w), w1 = load(w + 64), w2 = load(w + 128);
#define OPENBPU_STEP(i)                        \
  if constexpr (i < P) {                       \
    const __m512i x = broadcast4(row##i + at); \
    c##i##0 = dot(c##i##0, x, w0);             \
    c##i##1 = dot(c##i##1, x, w1);             \
    c##i##2 = dot(c##i##2, x, w2);             \
  }
    OPENBPU_ROWS8(OPENBPU_STEP)
#undef OPENBPU_STEP
    w += 192;
  } while (w != end);
  const auto e = Epilogue<D>::make(k.block.constants, k.clamp);
  const std::uint64_t mask = low_lanes(b.channels - 32);
#define OPENBPU_STORE(i, j) \
  if constexpr (i < P)      \
    store2<(j < P)>(pixels.out[i], pixels.out[j], c##i##0, c##i##1, c##j##0, c##j##1, e, ~std::uint64_t{0});
  OPENBPU_PAIRS8(OPENBPU_STORE)
#undef OPENBPU_STORE
  store1<(P < 4 ? P : 4)>(pixels.out, c02, c12, c22, c32, 32, e, mask);
  if constexpr (P > 4) store1<(P > 4 ? P - 4 : 1)>(pixels.out + 4, c42, c52, c62, c72, 32, e, mask);
}

// The narrow tiles take neighbouring pixels: of twelve rows, every third has an address in a register, the others are
// once or twice the pixel stride away.
template <int P>
OPENBPU_INLINE std::int64_t row_offset(int i, std::int64_t pixel) {
  return i < P ? i * pixel : 0;
}

template <int P, int D>
void tile32(const Context& k, const std::uint8_t* in, std::int64_t pixel, std::uint8_t* out, std::int64_t out_pixel) {
  const Block& b = k.block;
  const Acc s0 = start(k, 0), s1 = start(k, 1);
#define OPENBPU_DECLARE(i)                                   \
  const std::uint8_t* row##i = in + row_offset<P>(i, pixel); \
  Acc c##i##0 = s0, c##i##1 = s1;
  OPENBPU_ROWS12(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE
  const std::int8_t* w = k.weights;
  const std::int8_t* const end = w + k.steps * 128;
  const std::int32_t* offset = k.offsets;
  do {
    const std::int64_t at = *offset++;
    const __m512i w0 = load(w), w1 = load(w + 64);
#define OPENBPU_STEP(i)                        \
  if constexpr (i < P) {                       \
    const __m512i x = broadcast4(row##i + at); \
    c##i##0 = dot(c##i##0, x, w0);             \
    c##i##1 = dot(c##i##1, x, w1);             \
  }
    OPENBPU_ROWS12(OPENBPU_STEP)
#undef OPENBPU_STEP
    w += 128;
  } while (w != end);
  const auto e = Epilogue<D>::make(k.block.constants, k.clamp);
  const std::uint64_t mask = low_lanes(b.channels);
#define OPENBPU_STORE(i, j) \
  if constexpr (i < P)      \
    store2<(j < P)>(out + i * out_pixel, out + j * out_pixel, c##i##0, c##i##1, c##j##0, c##j##1, e, mask);
  OPENBPU_PAIRS12(OPENBPU_STORE)
#undef OPENBPU_STORE
}

template <int P, int D>
void tile16(const Context& k, const std::uint8_t* in, std::int64_t pixel, std::uint8_t* out, std::int64_t out_pixel) {
  const Acc s0 = start(k, 0);
#define OPENBPU_DECLARE(i)                                   \
  const std::uint8_t* row##i = in + row_offset<P>(i, pixel); \
  Acc c##i##0 = s0;
  OPENBPU_ROWS12(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE
  const std::int8_t* w = k.weights;
  const std::int8_t* const end = w + k.steps * 64;
  const std::int32_t* offset = k.offsets;
  do {
    const std::int64_t at = *offset++;
    const __m512i w0 = load(w);
#define OPENBPU_STEP(i) \
  if constexpr (i < P) c##i##0 = dot(c##i##0, broadcast4(row##i + at), w0);
    OPENBPU_ROWS12(OPENBPU_STEP)
#undef OPENBPU_STEP
    w += 64;
  } while (w != end);
  const auto e = Epilogue<D>::make(k.block.constants, k.clamp);
  const std::uint64_t mask = low_lanes(k.block.channels);
#define OPENBPU_STORE(i, j, k, l)                                                                                    \
  if constexpr (i < P) {                                                                                             \
    std::uint8_t* const at[] = {out + i * out_pixel, out + j * out_pixel, out + k * out_pixel, out + l * out_pixel}; \
    store1<(P - i < 4 ? P - i : 4)>(at, c##i##0, c##j##0, c##k##0, c##l##0, 0, e, mask);                             \
  }
  OPENBPU_STORE(0, 1, 2, 3)
  OPENBPU_STORE(4, 5, 6, 7)
  OPENBPU_STORE(8, 9, 10, 11)
#undef OPENBPU_STORE
}

template <int Most>
using Tile = void (*)(const Context&, const kernels::Pixels<Most>&);
using LineTile = void (*)(const Context&, const std::uint8_t*, std::int64_t, std::uint8_t*, std::int64_t);

// Tiles by number of pixels.
template <int D>
constexpr Tile<6> kTile64[7] = {nullptr,      single64<D>,  tile64<2, D>, tile64<3, D>,
                                tile64<4, D>, tile64<5, D>, tile64<6, D>};
template <int D>
constexpr Tile<8> kTile48[9] = {nullptr,      tile48<1, D>, tile48<2, D>, tile48<3, D>, tile48<4, D>,
                                tile48<5, D>, tile48<6, D>, tile48<7, D>, tile48<8, D>};
template <int D>
constexpr LineTile kTile32[13] = {nullptr,       tile32<1, D>,  tile32<2, D>, tile32<3, D>, tile32<4, D>,
                                  tile32<5, D>,  tile32<6, D>,  tile32<7, D>, tile32<8, D>, tile32<9, D>,
                                  tile32<10, D>, tile32<11, D>, tile32<12, D>};
template <int D>
constexpr LineTile kTile16[13] = {nullptr,       tile16<1, D>,  tile16<2, D>, tile16<3, D>, tile16<4, D>,
                                  tile16<5, D>,  tile16<6, D>,  tile16<7, D>, tile16<8, D>, tile16<9, D>,
                                  tile16<10, D>, tile16<11, D>, tile16<12, D>};

// Tiles over all lines as one sequence of pixels. `next` is the next block's weights or, without one, this block's.
template <int Most>
void run_pixels(Context context, const Tile<Most>* tile, const GemmLines& lines, const std::int8_t* next) {
  for_each_tile<Most>(lines, [&](std::int32_t index, std::int32_t count, const kernels::Pixels<Most>& pixels) {
    context.next = next + std::int64_t{index % 4} * context.steps * 64;
    tile[count](context, pixels);
  });
}

void run_line(const Context& context, const LineTile* tile, const std::uint8_t* in, std::uint8_t* out,
              const GemmLines& lines) {
  const std::int32_t tiles = ceil_div(lines.pixels, 12);
  for (std::int32_t index = 0; index < tiles; ++index) {
    const std::int32_t count = share(lines.pixels, tiles, index);
    tile[count](context, in, lines.in_pixel, out, lines.out_pixel);
    in += count * lines.in_pixel;
    out += count * lines.out_pixel;
  }
}

template <int D>
void run_block(const Context& context, const GemmLines& lines, const std::int8_t* next) {
  const std::int32_t width = ceil_div(context.block.channels, 16);
  if (width == 4) return run_pixels<6>(context, kTile64<D>, lines, next);
  if (width == 3) return run_pixels<8>(context, kTile48<D>, lines, next);
  for (std::int32_t line = 0; line < lines.lines; ++line)
    run_line(context, width == 2 ? kTile32<D> : kTile16<D>, lines.in + line * lines.in_line,
             lines.out + line * lines.out_line, lines);
}

}  // namespace

std::size_t gemm_packed_bytes(const GemmSource& source) {
  return static_cast<std::size_t>(source.blocks) * block_bytes(source.parts, source.steps);
}

void gemm_pack(const GemmSource& source, std::uint8_t* packed) {
  const std::size_t bytes = block_bytes(source.parts, source.steps);
  for (std::int32_t block = 0; block < source.blocks; ++block)
    pack_block(source, block, packed + static_cast<std::size_t>(block) * bytes);
}

void gemm_run(const std::uint8_t* packed, std::int32_t block_index, const GemmLines& lines, const Rq8& rq) {
  const PackedBlock b = PackedBlock::at(packed, block_index);
  const Block& block = *b.header;
  alignas(64) std::int32_t start[kBlock];
  b.start_values(lines, start);

  const std::int32_t part_steps = block.steps / block.parts, skipped = lines.first_part * part_steps;
  const std::int32_t step_bytes = ceil_div(block.channels, 16) * 64;
  const Context context{block,
                        start,
                        b.offsets + skipped,
                        b.weights + std::int64_t{skipped} * step_bytes,
                        (lines.end_part - lines.first_part) * part_steps,
                        make_clamp(rq.lo, rq.hi),
                        b.weights};
  const std::int8_t* next = block_index + 1 < block.blocks ? b.weights + b.bytes : b.weights;
  static constexpr void (*kRun[])(const Context&, const GemmLines&, const std::int8_t*) = {
      run_block<0>, run_block<1>, run_block<2>, run_block<kAny>};
  kRun[doublings(block.constants.doublings)](context, lines, next);
}

}  // namespace openbpu::kernels::avx512
