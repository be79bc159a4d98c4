#include "kernels/x86/gemm_avx2.hpp"

#include "kernels/x86/avx2.hpp"

namespace openbpu::kernels::avx2 {
namespace {

// A block as packed; behind it the offsets i32[steps] (rounded up to 64 bytes), then per step its vectors of weights
// and of masks. One vector holds 8 channels, so a step has one vector of weights if the block has at most 8 channels,
// else two: channels 0-3, 8-11 and 4-7, 12-15, which vpackssdw brings into order.
struct Block {
  std::int32_t start[16], low[16], shift[16];  // in the order of the vectors
  std::int16_t m[16];                          // in the order of vpackssdw
  std::int32_t channels;
  std::int32_t plain, shared, separate;  // numbers of steps, in this order
  std::int32_t reserved[4];
};
static_assert(sizeof(Block) == 256);

struct StepCount {
  std::int32_t plain, shared, separate;
  std::int32_t all() const { return plain + shared + separate; }
};

std::int32_t vectors_of(std::int32_t channels) { return channels > 8 ? 2 : 1; }

std::size_t offsets_bytes(std::int32_t steps) { return align64(static_cast<std::size_t>(steps) * 4); }

// Bytes of weights and masks of a step.
std::int32_t plain_bytes(std::int32_t vectors) { return 32 * vectors; }
std::int32_t shared_bytes(std::int32_t vectors) { return 32 * vectors + 32; }
std::int32_t separate_bytes(std::int32_t vectors) { return 64 * vectors; }

std::size_t block_bytes(const StepCount& count, std::int32_t vectors) {
  return align64(sizeof(Block) + offsets_bytes(count.all()) +
                 static_cast<std::size_t>(count.plain) * static_cast<std::size_t>(plain_bytes(vectors)) +
                 static_cast<std::size_t>(count.shared) * static_cast<std::size_t>(shared_bytes(vectors)) +
                 static_cast<std::size_t>(count.separate) * static_cast<std::size_t>(separate_bytes(vectors)));
}

bool any(__m256i a, __m256i b) {
  const __m256i v = _mm256_or_si256(a, b);
  return _mm256_testz_si256(v, v) == 0;
}

// The two vectors of a step; the second is zero if the block has at most 8 channels.
struct Step {
  __m256i v0, v1;
  bool empty() const { return !any(v0, v1); }
};

enum class Kind { Plain, Shared, Separate };

// A step as avx2.hpp splits its weights; the rest, if any, makes a plain step of its own.
struct SplitStep {
  Kind kind;
  Step all, main, mask, rest;
};

Step arrange(const std::int8_t* cell, std::int32_t vectors) {
  const __m256i low = load(cell), high = load(cell + 32);
  if (vectors == 1) return {low, _mm256_setzero_si256()};
  return {_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31)};
}

SplitStep split(const Step& step) {
  const __m256i zero = _mm256_setzero_si256();
  if (!any(unsafe_pairs(step.v0), unsafe_pairs(step.v1))) return {Kind::Plain, step, step, {zero, zero}, {zero, zero}};
  const SafeWeights a = make_safe(step.v0), b = make_safe(step.v1);
  const __m256i mask = _mm256_or_si256(a.mask, b.mask);
  if (!any(a.rest, b.rest) && safe_under(step.v0, mask) && safe_under(step.v1, mask))
    return {Kind::Shared, step, {negate(step.v0, mask), negate(step.v1, mask)}, {mask, mask}, {zero, zero}};
  return {Kind::Separate, step, {a.main, b.main}, {a.mask, b.mask}, {a.rest, b.rest}};
}

// Calls use(offset, split step) for every step with a non-zero weight.
template <class Use>
void for_each_step(const GemmSource& source, std::int32_t block, std::int32_t vectors, Use use) {
  alignas(32) std::int8_t cell[64];
  for (std::int32_t i = 0; i < source.steps; ++i) {
    const std::int32_t offset = source.step(source.params, block, i, cell);
    const Step step = arrange(cell, vectors);
    if (!step.empty()) use(offset, split(step));
  }
}

StepCount count_steps(const GemmSource& source, std::int32_t block, std::int32_t vectors) {
  StepCount count{0, 0, 0};
  for_each_step(source, block, vectors, [&](std::int32_t, const SplitStep& step) {
    count.plain += (step.kind == Kind::Plain) + !step.rest.empty();
    count.shared += step.kind == Kind::Shared;
    count.separate += step.kind == Kind::Separate;
  });
  return count;
}

std::size_t directory_bytes(std::int32_t blocks) { return align64(static_cast<std::size_t>(blocks) * 8); }

// Appends steps of one kind to a block under construction.
struct Writer {
  std::int32_t* offset;
  std::int8_t* vectors;

  void begin(std::int32_t at) { *offset++ = at; }
  void add(__m256i v) {
    store(vectors, v);
    vectors += 32;
  }
};

// Start values and epilogue constants; sums are those of all and of the complemented weights per channel.
void write_constants(const GemmChannels& channels, std::int32_t L, const Step& sum, const Step& complemented,
                     Block* block) {
  const std::int32_t vectors = vectors_of(channels.count);
  alignas(32) std::int32_t B[16];
  for (std::int32_t i = 0; i < 16; ++i) {
    // Channel of lane i of the vectors, and of lane i after vpackssdw of the two vectors (or of one with itself).
    const std::int32_t lane = vectors == 2 ? (i & 3) | (i & 4) << 1 | (i & 8) >> 1 : i;
    const std::int32_t packed = vectors == 2 ? i : (i & 3) | (i & 8) >> 1;
    B[i] = lane < channels.count ? channels.B[lane] : 0;
    block->shift[i] = lane < channels.count ? channels.s[lane] : 0;
    block->m[i] = packed < channels.count ? channels.m[packed] : std::int16_t{16384};
  }
  store(block->start, start_value(load(B), L, sum.v0, complemented.v0));
  store(block->start + 8, start_value(load(B + 8), L, sum.v1, complemented.v1));
  store(block->low, low_bits(load(B), L));
  store(block->low + 8, low_bits(load(B + 8), L));
}

// The writers of the three kinds, in the order of Kind.
struct Writers {
  Writer of[3];
};

Writers make_writers(const StepCount& count, std::int32_t vectors, std::uint8_t* block) {
  auto* offset = reinterpret_cast<std::int32_t*>(block + sizeof(Block));
  auto* weights = reinterpret_cast<std::int8_t*>(block + sizeof(Block) + offsets_bytes(count.all()));
  std::int8_t* shared = weights + count.plain * plain_bytes(vectors);
  return {{{offset, weights},
           {offset + count.plain, shared},
           {offset + count.plain + count.shared, shared + count.shared * shared_bytes(vectors)}}};
}

void write_step(std::int32_t offset, const SplitStep& step, std::int32_t vectors, Writers* writers) {
  Writer& w = writers->of[static_cast<int>(step.kind)];
  w.begin(offset);
  w.add(step.main.v0);
  if (vectors == 2) w.add(step.main.v1);
  if (step.kind != Kind::Plain) w.add(step.mask.v0);
  if (step.kind == Kind::Separate && vectors == 2) w.add(step.mask.v1);
  if (step.rest.empty()) return;
  Writer& plain = writers->of[0];
  plain.begin(offset);
  plain.add(step.rest.v0);
  if (vectors == 2) plain.add(step.rest.v1);
}

void pack_block(const GemmSource& source, std::int32_t index, const GemmChannels& channels, const StepCount& count,
                std::uint8_t* to) {
  auto* block = reinterpret_cast<Block*>(to);
  *block = Block{};
  block->channels = channels.count;
  block->plain = count.plain;
  block->shared = count.shared;
  block->separate = count.separate;
  const std::int32_t vectors = vectors_of(channels.count);
  Writers writers = make_writers(count, vectors, to);
  const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi8(1);
  Step sum{zero, zero}, complemented{zero, zero};
  for_each_step(source, index, vectors, [&](std::int32_t offset, const SplitStep& step) {
    sum = {dot(sum.v0, one, step.all.v0), dot(sum.v1, one, step.all.v1)};
    complemented = {dot(complemented.v0, one, _mm256_and_si256(step.all.v0, step.mask.v0)),
                    dot(complemented.v1, one, _mm256_and_si256(step.all.v1, step.mask.v1))};
    write_step(offset, step, vectors, &writers);
  });
  write_constants(channels, source.L, sum, complemented, block);
}

// A block as the tiles use it. Tiles take it by value, or inlined: stores to the output could alias anything else, and
// every tile would read it anew.
struct Job {
  const Block* block;
  const std::int32_t* offset;
  const std::int8_t* weights;
  std::int32_t plain, shared, all;  // ends of the kinds of steps
  std::int32_t channels;
  std::int64_t in_pixel, out_pixel;
  Clamp clamp;
};

Job make_job(const Block& block, const GemmLines& lines, const Rq8& rq) {
  const std::int32_t shared = block.plain + block.shared, all = shared + block.separate;
  const auto* end = reinterpret_cast<const std::uint8_t*>(&block + 1);
  return {&block,
          reinterpret_cast<const std::int32_t*>(end),
          reinterpret_cast<const std::int8_t*>(end + offsets_bytes(all)),
          block.plain,
          shared,
          all,
          block.channels,
          lines.in_pixel,
          lines.out_pixel,
          make_clamp(rq.L, rq.lo, rq.hi)};
}

// Accumulators are separate variables: gcc 12 keeps arrays of them in memory.
#define OPENBPU_PIXELS(X) X(0) X(1) X(2) X(3)

// Pixels 0 .. P - 1 of a tile, 16 channels.
template <int P>
OPENBPU_INLINE void tile16(const Job& job, const std::uint8_t* in, std::uint8_t* out) {
  const Block& block = *job.block;
  const __m256i start0 = load(block.start), start1 = load(block.start + 8);
#define OPENBPU_DECLARE(i)                                        \
  const std::uint8_t* a##i = in + (i < P ? i : 0) * job.in_pixel; \
  __m256i c##i##0 = start0, c##i##1 = start1;
  OPENBPU_PIXELS(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE

  const std::int8_t* v = job.weights;
  std::int32_t k = 0;
  for (; k < job.plain; ++k, v += 64) {
    const std::int64_t at = job.offset[k];
    const __m256i w0 = load(v), w1 = load(v + 32);
#define OPENBPU_STEP(i)                      \
  if constexpr (i < P) {                     \
    const __m256i x = broadcast4(a##i + at); \
    c##i##0 = dot(c##i##0, x, w0);           \
    c##i##1 = dot(c##i##1, x, w1);           \
  }
    OPENBPU_PIXELS(OPENBPU_STEP)
#undef OPENBPU_STEP
  }
  for (; k < job.shared; ++k, v += 96) {
    const std::int64_t at = job.offset[k];
    const __m256i w0 = load(v), w1 = load(v + 32), m = load(v + 64);
#define OPENBPU_STEP(i)                                           \
  if constexpr (i < P) {                                          \
    const __m256i x = _mm256_xor_si256(broadcast4(a##i + at), m); \
    c##i##0 = dot(c##i##0, x, w0);                                \
    c##i##1 = dot(c##i##1, x, w1);                                \
  }
    OPENBPU_PIXELS(OPENBPU_STEP)
#undef OPENBPU_STEP
  }
  for (; k < job.all; ++k, v += 128) {
    const std::int64_t at = job.offset[k];
    const __m256i w0 = load(v), w1 = load(v + 32), m0 = load(v + 64), m1 = load(v + 96);
#define OPENBPU_STEP(i)                                  \
  if constexpr (i < P) {                                 \
    const __m256i x = broadcast4(a##i + at);             \
    c##i##0 = dot(c##i##0, _mm256_xor_si256(x, m0), w0); \
    c##i##1 = dot(c##i##1, _mm256_xor_si256(x, m1), w1); \
  }
    OPENBPU_PIXELS(OPENBPU_STEP)
#undef OPENBPU_STEP
  }

  const Constants16 constants{block.low, block.shift, block.m};
#define OPENBPU_FINISH(i) const __m256i t##i = requantise16(c##i##0, c##i##1, constants, job.clamp);
  OPENBPU_PIXELS(OPENBPU_FINISH)
#undef OPENBPU_FINISH
  const __m256i y0 = narrow16(t0, t1, job.clamp), y1 = narrow16(t2, t3, job.clamp);
  store_first(out, _mm256_castsi256_si128(y0), job.channels);
  if constexpr (P > 1) store_first(out + job.out_pixel, _mm256_extracti128_si256(y0, 1), job.channels);
  if constexpr (P > 2) store_first(out + 2 * job.out_pixel, _mm256_castsi256_si128(y1), job.channels);
  if constexpr (P > 3) store_first(out + 3 * job.out_pixel, _mm256_extracti128_si256(y1, 1), job.channels);
}

// The same for a block of at most 8 channels.
template <int P>
OPENBPU_INLINE void tile8(const Job& job, const std::uint8_t* in, std::uint8_t* out) {
  const Block& block = *job.block;
  const __m256i start = load(block.start);
#define OPENBPU_DECLARE(i)                                        \
  const std::uint8_t* a##i = in + (i < P ? i : 0) * job.in_pixel; \
  __m256i c##i = start;
  OPENBPU_PIXELS(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE

  const std::int8_t* v = job.weights;
  std::int32_t k = 0;
  for (; k < job.plain; ++k, v += 32) {
    const std::int64_t at = job.offset[k];
    const __m256i w0 = load(v);
#define OPENBPU_STEP(i) \
  if constexpr (i < P) c##i = dot(c##i, broadcast4(a##i + at), w0);
    OPENBPU_PIXELS(OPENBPU_STEP)
#undef OPENBPU_STEP
  }
  // With one vector, separate steps look like shared ones.
  for (; k < job.all; ++k, v += 64) {
    const std::int64_t at = job.offset[k];
    const __m256i w0 = load(v), m0 = load(v + 32);
#define OPENBPU_STEP(i) \
  if constexpr (i < P) c##i = dot(c##i, _mm256_xor_si256(broadcast4(a##i + at), m0), w0);
    OPENBPU_PIXELS(OPENBPU_STEP)
#undef OPENBPU_STEP
  }

  const __m256i m = load(block.m);
#define OPENBPU_FINISH(i)                                              \
  const __m256i s##i = scale(c##i, block.low, block.shift, job.clamp); \
  const __m256i t##i = multiply(_mm256_packs_epi32(s##i, s##i), m);
  OPENBPU_PIXELS(OPENBPU_FINISH)
#undef OPENBPU_FINISH
  // Dwords 0 and 4 hold the channels of the first pixel of a pair, 2 and 6 those of the second.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i y0 = _mm256_permutevar8x32_epi32(narrow(t0, t1, job.clamp), order);
  const __m256i y1 = _mm256_permutevar8x32_epi32(narrow(t2, t3, job.clamp), order);
  store_first(out, _mm256_castsi256_si128(y0), job.channels);
  if constexpr (P > 1) store_first(out + job.out_pixel, _mm256_extracti128_si256(y0, 1), job.channels);
  if constexpr (P > 2) store_first(out + 2 * job.out_pixel, _mm256_castsi256_si128(y1), job.channels);
  if constexpr (P > 3) store_first(out + 3 * job.out_pixel, _mm256_extracti128_si256(y1, 1), job.channels);
}

#undef OPENBPU_PIXELS

template <int Vectors, int P>
OPENBPU_INLINE void tile(const Job& job, const std::uint8_t* in, std::uint8_t* out) {
  if constexpr (Vectors == 2)
    tile16<P>(job, in, out);
  else
    tile8<P>(job, in, out);
}

template <int Vectors, int P>
void tail(Job job, const std::uint8_t* in, std::uint8_t* out) {
  tile<Vectors, P>(job, in, out);
}

template <int Vectors>
void run_lines(const Job job, const GemmLines& lines) {
  static constexpr void (*kTail[4])(Job, const std::uint8_t*, std::uint8_t*) = {nullptr, tail<Vectors, 1>,
                                                                                tail<Vectors, 2>, tail<Vectors, 3>};
  for (std::int32_t line = 0; line < lines.lines; ++line) {
    const std::uint8_t* in = lines.in + line * lines.in_line;
    std::uint8_t* out = lines.out + line * lines.out_line;
    std::int32_t left = lines.pixels;
    for (; left >= 4; left -= 4, in += 4 * job.in_pixel, out += 4 * job.out_pixel) tile<Vectors, 4>(job, in, out);
    if (left > 0) kTail[left](job, in, out);
  }
}

}  // namespace

std::size_t gemm_packed_bytes(const GemmSource& source) {
  std::size_t bytes = directory_bytes(source.blocks);
  for (std::int32_t block = 0; block < source.blocks; ++block) {
    const std::int32_t vectors = vectors_of(source.channels(source.params, block).count);
    bytes += block_bytes(count_steps(source, block, vectors), vectors);
  }
  return bytes;
}

void gemm_pack(const GemmSource& source, std::uint8_t* packed) {
  auto* directory = reinterpret_cast<std::int64_t*>(packed);
  std::size_t at = directory_bytes(source.blocks);
  for (std::int32_t block = 0; block < source.blocks; ++block) {
    const GemmChannels channels = source.channels(source.params, block);
    const std::int32_t vectors = vectors_of(channels.count);
    const StepCount count = count_steps(source, block, vectors);
    directory[block] = static_cast<std::int64_t>(at);
    pack_block(source, block, channels, count, packed + at);
    at += block_bytes(count, vectors);
  }
}

void gemm_run(const std::uint8_t* packed, std::int32_t block_index, const GemmLines& lines, const Rq8& rq) {
  const auto* directory = reinterpret_cast<const std::int64_t*>(packed);
  const auto& block = *reinterpret_cast<const Block*>(packed + directory[block_index]);
  const auto run = block.channels > 8 ? run_lines<2> : run_lines<1>;
  run(make_job(block, lines, rq), lines);
}

}  // namespace openbpu::kernels::avx2
