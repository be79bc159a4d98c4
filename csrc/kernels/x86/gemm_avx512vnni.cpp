#include "kernels/x86/gemm_avx512vnni.hpp"

#include "kernels/x86/avx512.hpp"

namespace openbpu::kernels::avx512 {
namespace {

// A block as packed: this header, the offsets i32[steps] (rounded up to 64 bytes), then i8[vectors][16][4] per step.
struct Block {
  Channels64 constants;
  std::int32_t channels, steps, blocks;
};

constexpr std::size_t kHeader = (sizeof(Block) + 63) / 64 * 64;

std::size_t offsets_bytes(std::int32_t steps) { return align64(static_cast<std::size_t>(steps) * 4); }

// Every block takes the room of a full one, so that its place is known without a directory.
std::size_t block_bytes(std::int32_t steps) {
  return kHeader + offsets_bytes(steps) + static_cast<std::size_t>(steps) * kBlock * 4;
}

// Channel of lane i of vector q of a block with that many vectors.
std::int32_t channel_of(std::int32_t vectors, std::int32_t q, std::int32_t i) {
  if (vectors == 4) return 16 * (i / 4) + 4 * q + i % 4;
  if (vectors >= 2 && q < 2) return 8 * (i / 4) + 4 * q + i % 4;
  return 16 * q + i;
}

// Channel of word i of the two halves of m after vpackssdw: [half][32].
std::int32_t word_of(std::int32_t vectors, std::int32_t i) {
  if (vectors != 4) return i;
  const std::int32_t half = i / 32, lane = i % 32 / 8, word = i % 8;
  return 16 * lane + 8 * half + word;
}

void pack_block(const GemmSource& source, std::int32_t index, std::uint8_t* to) {
  auto* block = reinterpret_cast<Block*>(to);
  const GemmChannels channels = source.channels(source.params, index);
  const std::int32_t vectors = ceil_div(channels.count, 16);
  std::int32_t sum[kBlock] = {};
  auto* offsets = reinterpret_cast<std::int32_t*>(to + kHeader);
  std::int8_t* weights = reinterpret_cast<std::int8_t*>(to + kHeader + offsets_bytes(source.steps));
  alignas(64) std::int8_t cell[kBlock * 4];
  for (std::int32_t step = 0; step < source.steps; ++step) {
    offsets[step] = source.step(source.params, index, step, cell);
    for (std::int32_t q = 0; q < vectors; ++q)
      for (std::int32_t i = 0; i < 16; ++i) {
        const std::int32_t c = channel_of(vectors, q, i);
        __builtin_memcpy(weights + i * 4 + q * 64, cell + c * 4, 4);
        for (std::int32_t j = 0; j < 4; ++j) sum[c] += cell[c * 4 + j];
      }
    weights += vectors * 64;
  }
  block->channels = channels.count;
  block->steps = source.steps;
  block->blocks = source.blocks;
  block->constants = {};
  for (std::int32_t q = 0; q < 4; ++q)
    for (std::int32_t i = 0; i < 16; ++i) {
      const std::int32_t lane = 16 * q + i, c = q < vectors ? channel_of(vectors, q, i) : kBlock;
      if (c < channels.count) pack_lane(lane, channels.B[c], sum[c], channels.s[c], source.L, &block->constants);
      const std::int32_t word = word_of(vectors, lane);
      if (word < channels.count)
        pack_word(lane, channels.B[word], channels.m[word], channels.s[word], source.L, &block->constants);
    }
}

OPENBPU_INLINE Acc start(const std::int32_t* p) { return reinterpret_cast<Acc>(load(p)); }

// One tile's constants.
struct Context {
  const Block& block;
  const std::int32_t* offsets;
  const std::int8_t* weights;
  std::int32_t steps;
  Clamp clamp;
  const std::int8_t* next;  // a quarter of the next block's weights
};

// Stores of one pixel: V vectors of accumulators to up to 16 V bytes.
template <bool Shifted>
OPENBPU_INLINE void store4(std::uint8_t* out, Acc a0, Acc a1, Acc a2, Acc a3, const Context& k, std::uint64_t mask) {
  _mm512_mask_storeu_epi8(out, mask, requantise64<Shifted>(a0, a1, a2, a3, k.block.constants, k.clamp));
}

template <bool Shifted>
OPENBPU_INLINE void store2(std::uint8_t* out, Acc a0, Acc a1, const Context& k, std::uint64_t mask) {
  const Channels64& c = k.block.constants;
  const __m512i t = _mm512_packs_epi32(shift(a0, c.shift), shift(a1, c.shift + 16));
  const __m256i y = _mm512_cvtsepi16_epi8(multiply<Shifted>(t, c, 0, k.clamp.L));
  _mm256_mask_storeu_epi8(out, static_cast<__mmask32>(mask), finish(y, k.clamp));
}

// `first` is the block's first lane of the vector: 0 or 32.
template <bool Shifted>
OPENBPU_INLINE void store1(std::uint8_t* out, Acc a0, std::int32_t first, const Context& k, std::uint64_t mask) {
  const Channels64& c = k.block.constants;
  const __m256i t = multiply<Shifted>(_mm512_cvtsepi32_epi16(shift(a0, c.shift + first)), c, first, k.clamp.L);
  _mm_mask_storeu_epi8(out, static_cast<__mmask16>(mask), finish(_mm256_cvtsepi16_epi8(t), k.clamp));
}

#define OPENBPU_ROWS6(X) X(0) X(1) X(2) X(3) X(4) X(5)
#define OPENBPU_ROWS8(X) OPENBPU_ROWS6(X) X(6) X(7)
#define OPENBPU_ROWS12(X) OPENBPU_ROWS8(X) X(8) X(9) X(10) X(11)

// Rows at and beyond P read row 0 and store nothing: a tail tile is a full one with fewer pixels, so that one tile per
// width needs no second loop.

// The pixels of a tile of 64 or 48 channels: any, so that a tile may run over the end of a line.
struct Pixels {
  const std::uint8_t* in[8];
  std::uint8_t* out[8];
};

// The weights of the next block come into the second-level cache while this one is computed, a line per step.
OPENBPU_INLINE void prefetch(const std::int8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }

template <int P, bool Shifted>
void tile64(const Context& k, const Pixels& pixels) {
  const Block& b = k.block;
  const Acc s0 = start(b.constants.start), s1 = start(b.constants.start + 16), s2 = start(b.constants.start + 32),
            s3 = start(b.constants.start + 48);
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
  const std::uint64_t mask = low_lanes(b.channels);
#define OPENBPU_STORE(i) \
  if constexpr (i < P) store4<Shifted>(pixels.out[i], c##i##0, c##i##1, c##i##2, c##i##3, k, mask);
  OPENBPU_ROWS6(OPENBPU_STORE)
#undef OPENBPU_STORE
}

// One pixel and 64 channels: three sums per vector, because four alone would wait for one another.
template <bool Shifted>
void single64(const Context& k, const Pixels& pixels) {
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
#define OPENBPU_SUM(v) start(b.constants.start + 16 * v) + c0##v + c1##v + c2##v
  store4<Shifted>(pixels.out[0], OPENBPU_SUM(0), OPENBPU_SUM(1), OPENBPU_SUM(2), OPENBPU_SUM(3), k,
                  low_lanes(b.channels));
#undef OPENBPU_SUM
}

template <int P, bool Shifted>
void tile48(const Context& k, const Pixels& pixels) {
  const Block& b = k.block;
  const Acc s0 = start(b.constants.start), s1 = start(b.constants.start + 16), s2 = start(b.constants.start + 32);
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
  const std::uint64_t mask = low_lanes(b.channels - 32);
#define OPENBPU_STORE(i)                                                    \
  if constexpr (i < P) {                                                    \
    store2<Shifted>(pixels.out[i], c##i##0, c##i##1, k, ~std::uint64_t{0}); \
    store1<Shifted>(pixels.out[i] + 32, c##i##2, 32, k, mask);              \
  }
  OPENBPU_ROWS8(OPENBPU_STORE)
#undef OPENBPU_STORE
}

// The narrow tiles take neighbouring pixels: of twelve rows, every third has an address in a register, the others are
// once or twice the pixel stride away.
template <int P>
OPENBPU_INLINE std::int64_t row_offset(int i, std::int64_t pixel) {
  return i < P ? i * pixel : 0;
}

template <int P, bool Shifted>
void tile32(const Context& k, const std::uint8_t* in, std::int64_t pixel, std::uint8_t* out, std::int64_t out_pixel) {
  const Block& b = k.block;
  const Acc s0 = start(b.constants.start), s1 = start(b.constants.start + 16);
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
  const std::uint64_t mask = low_lanes(b.channels);
#define OPENBPU_STORE(i) \
  if constexpr (i < P) store2<Shifted>(out + i * out_pixel, c##i##0, c##i##1, k, mask);
  OPENBPU_ROWS12(OPENBPU_STORE)
#undef OPENBPU_STORE
}

template <int P, bool Shifted>
void tile16(const Context& k, const std::uint8_t* in, std::int64_t pixel, std::uint8_t* out, std::int64_t out_pixel) {
  const Acc s0 = start(k.block.constants.start);
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
  const std::uint64_t mask = low_lanes(k.block.channels);
#define OPENBPU_STORE(i) \
  if constexpr (i < P) store1<Shifted>(out + i * out_pixel, c##i##0, 0, k, mask);
  OPENBPU_ROWS12(OPENBPU_STORE)
#undef OPENBPU_STORE
}

using Tile = void (*)(const Context&, const Pixels&);
using LineTile = void (*)(const Context&, const std::uint8_t*, std::int64_t, std::uint8_t*, std::int64_t);

// Tiles by number of pixels.
template <bool S>
constexpr Tile kTile64[7] = {nullptr,      single64<S>,  tile64<2, S>, tile64<3, S>,
                             tile64<4, S>, tile64<5, S>, tile64<6, S>};
template <bool S>
constexpr Tile kTile48[9] = {nullptr,      tile48<1, S>, tile48<2, S>, tile48<3, S>, tile48<4, S>,
                             tile48<5, S>, tile48<6, S>, tile48<7, S>, tile48<8, S>};
template <bool S>
constexpr LineTile kTile32[13] = {nullptr,       tile32<1, S>,  tile32<2, S>, tile32<3, S>, tile32<4, S>,
                                  tile32<5, S>,  tile32<6, S>,  tile32<7, S>, tile32<8, S>, tile32<9, S>,
                                  tile32<10, S>, tile32<11, S>, tile32<12, S>};
template <bool S>
constexpr LineTile kTile16[13] = {nullptr,       tile16<1, S>,  tile16<2, S>, tile16<3, S>, tile16<4, S>,
                                  tile16<5, S>,  tile16<6, S>,  tile16<7, S>, tile16<8, S>, tile16<9, S>,
                                  tile16<10, S>, tile16<11, S>, tile16<12, S>};

// Pixels of tile `index` where `all` are cut into `tiles` tiles of nearly equal size: a small last one would leave most
// of the multipliers idle while its few sums wait for one another.
OPENBPU_INLINE std::int32_t share(std::int32_t all, std::int32_t tiles, std::int32_t index) {
  return all / tiles + (index < all % tiles);
}

// Tiles over all lines as one sequence of pixels. `next` is the next block's weights or, without one, this block's.
void run_pixels(Context context, const Tile* tile, std::int32_t most, const GemmLines& lines, const std::int8_t* next) {
  const std::int32_t all = lines.lines * lines.pixels, tiles = ceil_div(all, most);
  const std::int64_t in_jump = lines.in_line - lines.pixels * lines.in_pixel;
  const std::int64_t out_jump = lines.out_line - lines.pixels * lines.out_pixel;
  const std::uint8_t* in = lines.in;
  std::uint8_t* out = lines.out;
  std::int32_t left = lines.pixels;  // on the line
  Pixels pixels;
  for (std::int32_t index = 0; index < tiles; ++index) {
    const std::int32_t count = share(all, tiles, index);
    for (std::int32_t i = 0; i < count; ++i) {
      if (left == 0) {
        left = lines.pixels;
        in += in_jump;
        out += out_jump;
      }
      --left;
      pixels.in[i] = in;
      pixels.out[i] = out;
      in += lines.in_pixel;
      out += lines.out_pixel;
    }
    context.next = next + std::int64_t{index % 4} * context.steps * 64;
    tile[count](context, pixels);
  }
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

template <bool S>
void run_block(const Context& context, const GemmLines& lines, const std::int8_t* next) {
  const std::int32_t width = ceil_div(context.block.channels, 16);
  if (width == 4) return run_pixels(context, kTile64<S>, 6, lines, next);
  if (width == 3) return run_pixels(context, kTile48<S>, 8, lines, next);
  for (std::int32_t line = 0; line < lines.lines; ++line)
    run_line(context, width == 2 ? kTile32<S> : kTile16<S>, lines.in + line * lines.in_line,
             lines.out + line * lines.out_line, lines);
}

}  // namespace

std::size_t gemm_packed_bytes(const GemmSource& source) {
  return static_cast<std::size_t>(source.blocks) * block_bytes(source.steps);
}

void gemm_pack(const GemmSource& source, std::uint8_t* packed) {
  for (std::int32_t block = 0; block < source.blocks; ++block)
    pack_block(source, block, packed + static_cast<std::size_t>(block) * block_bytes(source.steps));
}

void gemm_run(const std::uint8_t* packed, std::int32_t block_index, const GemmLines& lines, const Rq8& rq) {
  const std::int32_t steps = reinterpret_cast<const Block*>(packed)->steps;  // equal in all blocks
  const std::uint8_t* start = packed + static_cast<std::size_t>(block_index) * block_bytes(steps);
  const auto& block = *reinterpret_cast<const Block*>(start);
  const std::size_t header = kHeader + offsets_bytes(steps);
  const auto* weights = reinterpret_cast<const std::int8_t*>(start + header);
  const Context context{
      block,  reinterpret_cast<const std::int32_t*>(start + kHeader), weights, steps, make_clamp(rq.L, rq.lo, rq.hi),
      weights};
  const std::int8_t* next = block_index + 1 < block.blocks ? weights + block_bytes(steps) : weights;
  (rq.L > 0 ? run_block<true> : run_block<false>)(context, lines, next);
}

}  // namespace openbpu::kernels::avx512
