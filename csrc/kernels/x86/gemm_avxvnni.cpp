#include "kernels/x86/gemm_avxvnni.hpp"

#include "kernels/pixels.hpp"
#include "kernels/x86/avx2.hpp"

namespace openbpu::kernels::avxvnni {
namespace {

using namespace avx2;

constexpr std::int32_t kChannels = 16, kMostPixels = 6, kStepBytes = 64;
using Pixels = kernels::Pixels<kMostPixels>;

// A block as packed; behind it what each part adds where it is left out, i32[parts][16], the offsets i32[steps]
// (rounded up to 64 bytes), then i8[2][8][4] per step. Vectors hold channels 0-3, 8-11 and 4-7, 12-15, which vpackssdw
// brings into order; m follows the channels, the rest the vectors.
struct Block {
  std::int32_t start[kChannels], low[kChannels], shift[kChannels];
  std::int16_t m[kChannels];
  std::int32_t channels, steps, blocks, parts;
  std::int32_t reserved[4];
};
static_assert(sizeof(Block) == 256);

// Bytes before the weights.
std::size_t head_bytes(std::int32_t parts, std::int32_t steps) {
  return sizeof(Block) + static_cast<std::size_t>(parts) * 64 + align64(static_cast<std::size_t>(steps) * 4);
}

std::size_t block_bytes(std::int32_t parts, std::int32_t steps) {
  return head_bytes(parts, steps) + static_cast<std::size_t>(steps) * kStepBytes;
}

// An accumulator, in lanes of 32 bits (x86/avx512.hpp).
using Acc = std::int32_t __attribute__((vector_size(32)));

OPENBPU_INLINE Acc accumulate(Acc acc, __m256i x, __m256i w) {
  return reinterpret_cast<Acc>(_mm256_dpbusd_avx_epi32(reinterpret_cast<__m256i>(acc), x, w));
}

struct Vectors {
  Acc v0, v1;
};

OPENBPU_INLINE void add_products(Vectors* sum, __m256i x, __m256i w0, __m256i w1) {
  *sum = {accumulate(sum->v0, x, w0), accumulate(sum->v1, x, w1)};
}

OPENBPU_INLINE void store_both(std::int32_t* to, const Vectors& v) {
  store(to, reinterpret_cast<__m256i>(v.v0));
  store(to + 8, reinterpret_cast<__m256i>(v.v1));
}

// Offsets and weights; gives the sums of the weights.
Vectors pack_steps(const GemmSource& source, std::int32_t index, std::int32_t* left_out, std::int32_t* offsets,
                   std::int8_t* weights) {
  const __m256i one = _mm256_set1_epi8(1), pad = _mm256_set1_epi8(static_cast<char>(source.pad));
  alignas(32) std::int8_t cell[kStepBytes];
  Vectors sum{};
  for (std::int32_t part = 0, step = 0; part < source.parts; ++part, left_out += kChannels) {
    Vectors padded{};
    for (std::int32_t i = 0; i < source.steps / source.parts; ++i, ++step, weights += kStepBytes) {
      offsets[step] = source.step(source.params, index, step, cell);
      const __m256i low = load(cell), high = load(cell + 32);
      const __m256i w0 = _mm256_permute2x128_si256(low, high, 0x20), w1 = _mm256_permute2x128_si256(low, high, 0x31);
      store(weights, w0);
      store(weights + 32, w1);
      add_products(&sum, one, w0, w1);
      add_products(&padded, pad, w0, w1);
    }
    store_both(left_out, padded);
  }
  return sum;
}

void pack_block(const GemmSource& source, std::int32_t index, std::uint8_t* to) {
  auto* block = reinterpret_cast<Block*>(to);
  *block = Block{};
  const GemmChannels channels = source.channels(source.params, index);
  block->channels = channels.count;
  block->steps = source.steps;
  block->blocks = source.blocks;
  block->parts = source.parts;
  auto* left_out = reinterpret_cast<std::int32_t*>(block + 1);
  const Vectors sum = pack_steps(source, index, left_out, left_out + source.parts * kChannels,
                                 reinterpret_cast<std::int8_t*>(to + head_bytes(source.parts, source.steps)));
  alignas(32) std::int32_t B[kChannels];
  for (std::int32_t i = 0; i < kChannels; ++i) {
    const std::int32_t lane = (i & 3) | (i & 4) << 1 | (i & 8) >> 1;  // channel of lane i of the vectors
    B[i] = lane < channels.count ? channels.B[lane] : 0;
    block->shift[i] = lane < channels.count ? channels.s[lane] : 0;
    block->m[i] = i < channels.count ? channels.m[i] : std::int16_t{16384};
  }
  const __m256i zero = _mm256_setzero_si256();
  store(block->start, start_value(load(B), source.L, reinterpret_cast<__m256i>(sum.v0), zero));
  store(block->start + 8, start_value(load(B + 8), source.L, reinterpret_cast<__m256i>(sum.v1), zero));
  store(block->low, low_bits(load(B), source.L));
  store(block->low + 8, low_bits(load(B + 8), source.L));
}

// A block as the tiles use it.
struct Job {
  const Block& block;
  const std::int32_t* offsets;
  const std::int8_t* weights;
  std::int32_t steps;
  Clamp clamp;
  Acc start0, start1;
  const std::int8_t* next;  // the next block's weights, fetched ahead
};

#define OPENBPU_PIXELS(X) X(0) X(1) X(2) X(3) X(4) X(5)

// Two pixels as stored; the second is not, unless Both.
template <bool Both>
OPENBPU_INLINE void store_two(std::uint8_t* const* out, __m256i first, __m256i second, const Job& job) {
  const __m256i y = narrow16(first, second, job.clamp);
  store_first(out[0], _mm256_castsi256_si128(y), job.block.channels);
  if constexpr (Both) store_first(out[1], _mm256_extracti128_si256(y, 1), job.block.channels);
}

// Rows at and beyond P read row 0 and store nothing.
template <int P>
void tile(const Job& job, const Pixels& pixels) {
#define OPENBPU_DECLARE(i)                               \
  const std::uint8_t* row##i = pixels.in[i < P ? i : 0]; \
  Acc c##i##0 = job.start0, c##i##1 = job.start1;
  OPENBPU_PIXELS(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE
  const std::int8_t* w = job.weights;
  const std::int8_t* const end = w + std::int64_t{job.steps} * kStepBytes;
  const std::int64_t ahead = job.next - w;
  const std::int32_t* offset = job.offsets;
  do {
    const std::int64_t at = *offset++;
    _mm_prefetch(reinterpret_cast<const char*>(w + ahead), _MM_HINT_T1);
    const __m256i w0 = load(w), w1 = load(w + 32);
#define OPENBPU_STEP(i)                        \
  if constexpr (i < P) {                       \
    const __m256i x = broadcast4(row##i + at); \
    c##i##0 = accumulate(c##i##0, x, w0);      \
    c##i##1 = accumulate(c##i##1, x, w1);      \
  }
    OPENBPU_PIXELS(OPENBPU_STEP)
#undef OPENBPU_STEP
    w += kStepBytes;
  } while (w != end);
  const Constants16 constants{job.block.low, job.block.shift, job.block.m};
#define OPENBPU_FINISH(i) \
  const __m256i t##i =    \
      requantise16(reinterpret_cast<__m256i>(c##i##0), reinterpret_cast<__m256i>(c##i##1), constants, job.clamp);
  OPENBPU_PIXELS(OPENBPU_FINISH)
#undef OPENBPU_FINISH
  store_two<(P > 1)>(pixels.out, t0, t1, job);
  if constexpr (P > 2) store_two<(P > 3)>(pixels.out + 2, t2, t3, job);
  if constexpr (P > 4) store_two<(P > 5)>(pixels.out + 4, t4, t5, job);
}

#undef OPENBPU_PIXELS

constexpr void (*kTile[kMostPixels + 1])(const Job&, const Pixels&) = {nullptr, tile<1>, tile<2>, tile<3>,
                                                                       tile<4>, tile<5>, tile<6>};

Job make_job(const std::uint8_t* packed, std::int32_t index, const GemmLines& lines, const Rq8& rq) {
  const auto& first = *reinterpret_cast<const Block*>(packed);  // parts and steps are equal in all blocks
  const std::size_t bytes = block_bytes(first.parts, first.steps);
  const std::uint8_t* at = packed + static_cast<std::size_t>(index) * bytes;
  const auto& block = *reinterpret_cast<const Block*>(at);
  const auto* left_out = reinterpret_cast<const std::int32_t*>(&block + 1);
  const auto* weights = reinterpret_cast<const std::int8_t*>(at + head_bytes(block.parts, block.steps));
  __m256i start0 = load(block.start), start1 = load(block.start + 8);
  for (std::int32_t part = 0; part < block.parts; ++part)
    if (part < lines.first_part || part >= lines.end_part) {
      start0 = _mm256_add_epi32(start0, load(left_out + part * kChannels));
      start1 = _mm256_add_epi32(start1, load(left_out + part * kChannels + 8));
    }
  const std::int32_t part_steps = block.steps / block.parts, skipped = lines.first_part * part_steps;
  return {block,
          left_out + block.parts * kChannels + skipped,
          weights + std::int64_t{skipped} * kStepBytes,
          (lines.end_part - lines.first_part) * part_steps,
          make_clamp(rq.L, rq.lo, rq.hi),
          reinterpret_cast<Acc>(start0),
          reinterpret_cast<Acc>(start1),
          index + 1 < block.blocks ? weights + bytes : weights};
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

void gemm_run(const std::uint8_t* packed, std::int32_t block, const GemmLines& lines, const Rq8& rq) {
  const Job job = make_job(packed, block, lines, rq);
  for_each_tile<kMostPixels>(
      lines, [&](std::int32_t, std::int32_t count, const Pixels& pixels) { kTile[count](job, pixels); });
}

}  // namespace openbpu::kernels::avxvnni
