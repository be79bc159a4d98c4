#include "kernels/x86/gemm_avx2.hpp"

#include "kernels/x86/avx2.hpp"

namespace openbpu::kernels::avx2 {
namespace {

// A block as packed. Behind it its parts, the offsets i32[steps] (rounded up to 64 bytes), then per step its vectors of
// weights and of masks; steps are ordered by part, then by kind. One vector holds 8 channels, so a step has one vector
// of weights if the block has at most 8 channels, else two: channels 0-3, 8-11 and 4-7, 12-15, which vpackssdw brings
// into order.
struct Block {
  std::int32_t start[16], low[16], shift[16];  // in the order of the vectors
  std::int16_t m[16];                          // in the order of vpackssdw
  std::int32_t channels, parts, steps, blocks;
  std::int32_t reserved[4];
};
static_assert(sizeof(Block) == 256);

struct Part {
  std::int32_t left_out[16];             // what it adds to the accumulators where it is left out
  std::int32_t first;                    // step
  std::int32_t plain, shared, separate;  // steps at which the kinds end
  std::int64_t weights;                  // offset in bytes of those of the first step from those of the block
  std::int32_t reserved[10];
};
static_assert(sizeof(Part) == 128);

struct StepCount {
  std::int32_t plain, shared, separate;
  std::int32_t all() const { return plain + shared + separate; }
  void add(const StepCount& other) {
    plain += other.plain;
    shared += other.shared;
    separate += other.separate;
  }
};

std::int32_t vectors_of(std::int32_t channels) { return channels > 8 ? 2 : 1; }

std::size_t offsets_bytes(std::int32_t steps) { return align64(static_cast<std::size_t>(steps) * 4); }

// Bytes of weights and masks of a step.
std::int32_t plain_bytes(std::int32_t vectors) { return 32 * vectors; }
std::int32_t shared_bytes(std::int32_t vectors) { return 32 * vectors + 32; }
std::int32_t separate_bytes(std::int32_t vectors) { return 64 * vectors; }

std::int64_t weights_bytes(const StepCount& count, std::int32_t vectors) {
  return std::int64_t{count.plain} * plain_bytes(vectors) + std::int64_t{count.shared} * shared_bytes(vectors) +
         std::int64_t{count.separate} * separate_bytes(vectors);
}

// Bytes before the weights.
std::size_t head_bytes(std::int32_t parts, std::int32_t steps) {
  return sizeof(Block) + static_cast<std::size_t>(parts) * sizeof(Part) + offsets_bytes(steps);
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

// Calls use(offset, split step) for every step of a part with a non-zero weight.
template <class Use>
void for_each_step(const GemmSource& source, std::int32_t block, std::int32_t part, std::int32_t vectors, Use use) {
  alignas(32) std::int8_t cell[64];
  const std::int32_t steps = source.steps / source.parts;
  for (std::int32_t i = part * steps; i < (part + 1) * steps; ++i) {
    const std::int32_t offset = source.step(source.params, block, i, cell);
    const Step step = arrange(cell, vectors);
    if (!step.empty()) use(offset, split(step));
  }
}

StepCount count_steps(const GemmSource& source, std::int32_t block, std::int32_t part, std::int32_t vectors) {
  StepCount count{0, 0, 0};
  for_each_step(source, block, part, vectors, [&](std::int32_t, const SplitStep& step) {
    count.plain += (step.kind == Kind::Plain) + !step.rest.empty();
    count.shared += step.kind == Kind::Shared;
    count.separate += step.kind == Kind::Separate;
  });
  return count;
}

StepCount count_block(const GemmSource& source, std::int32_t block, std::int32_t vectors) {
  StepCount count{0, 0, 0};
  for (std::int32_t part = 0; part < source.parts; ++part) count.add(count_steps(source, block, part, vectors));
  return count;
}

std::size_t block_bytes(const GemmSource& source, const StepCount& count, std::int32_t vectors) {
  return align64(head_bytes(source.parts, count.all()) + static_cast<std::size_t>(weights_bytes(count, vectors)));
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

Writers make_writers(const StepCount& count, std::int32_t vectors, std::int32_t* offset, std::int8_t* weights) {
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

// Sums over steps: of all weights, of those of complemented activations, and what the steps add where every input is
// the padding byte.
struct Sums {
  Step all, complemented, padded;
};

void add_step(const SplitStep& step, __m256i pad, Sums* sums) {
  const __m256i one = _mm256_set1_epi8(1);
  const auto add = [&](__m256i* all, __m256i* complemented, __m256i* padded, __m256i w, __m256i main, __m256i mask,
                       __m256i rest) {
    *all = dot(*all, one, w);
    *complemented = dot(*complemented, one, _mm256_and_si256(w, mask));
    *padded = dot(dot(*padded, _mm256_xor_si256(pad, mask), main), pad, rest);
  };
  add(&sums->all.v0, &sums->complemented.v0, &sums->padded.v0, step.all.v0, step.main.v0, step.mask.v0, step.rest.v0);
  add(&sums->all.v1, &sums->complemented.v1, &sums->padded.v1, step.all.v1, step.main.v1, step.mask.v1, step.rest.v1);
}

void pack_block(const GemmSource& source, std::int32_t index, const GemmChannels& channels, std::int32_t steps,
                std::uint8_t* to) {
  auto* block = reinterpret_cast<Block*>(to);
  *block = Block{};
  block->channels = channels.count;
  block->parts = source.parts;
  block->steps = steps;
  block->blocks = source.blocks;
  auto* part = reinterpret_cast<Part*>(block + 1);
  auto* offsets = reinterpret_cast<std::int32_t*>(part + source.parts);
  auto* weights = reinterpret_cast<std::int8_t*>(to + head_bytes(source.parts, steps));
  const std::int32_t vectors = vectors_of(channels.count);
  const __m256i zero = _mm256_setzero_si256(), pad = _mm256_set1_epi8(static_cast<char>(source.pad));
  Sums sums{{zero, zero}, {zero, zero}, {zero, zero}};
  std::int32_t first = 0;
  std::int64_t at = 0;
  for (std::int32_t i = 0; i < source.parts; ++i, ++part) {
    const StepCount count = count_steps(source, index, i, vectors);
    Writers writers = make_writers(count, vectors, offsets + first, weights + at);
    sums.padded = {zero, zero};
    for_each_step(source, index, i, vectors, [&](std::int32_t offset, const SplitStep& step) {
      add_step(step, pad, &sums);
      write_step(offset, step, vectors, &writers);
    });
    *part = {};
    store(part->left_out, sums.padded.v0);
    store(part->left_out + 8, sums.padded.v1);
    part->first = first;
    part->plain = first + count.plain;
    part->shared = part->plain + count.shared;
    part->separate = part->shared + count.separate;
    part->weights = at;
    first += count.all();
    at += weights_bytes(count, vectors);
  }
  write_constants(channels, source.L, sums.all, sums.complemented, block);
}

// A block as the tiles use it. Tiles take it by value, or inlined: stores to the output could alias anything else, and
// every tile would read it anew.
struct Job {
  const Block* block;
  const Part *part, *end;
  const std::int32_t* offset;
  const std::int8_t* weights;
  std::int32_t channels;
  std::int64_t in_pixel, out_pixel;
  Clamp clamp;
  __m256i start0, start1;
  const std::uint8_t* next;  // piece of the next block to be fetched
};

Job make_job(const Block& block, const GemmLines& lines, const Rq8& rq) {
  const auto* parts = reinterpret_cast<const Part*>(&block + 1);
  const auto* offsets = reinterpret_cast<const std::int32_t*>(parts + block.parts);
  const Part* first = parts + lines.first_part;
  Job job{&block,
          first,
          parts + lines.end_part,
          offsets + first->first,
          reinterpret_cast<const std::int8_t*>(&block) + head_bytes(block.parts, block.steps) + first->weights,
          block.channels,
          lines.in_pixel,
          lines.out_pixel,
          make_clamp(rq.L, rq.lo, rq.hi),
          load(block.start),
          load(block.start + 8),
          nullptr};
  for (const Part* part = parts; part < parts + block.parts; ++part) {
    if (part >= job.part && part < job.end) continue;
    job.start0 = _mm256_add_epi32(job.start0, load(part->left_out));
    job.start1 = _mm256_add_epi32(job.start1, load(part->left_out + 8));
  }
  return job;
}

// The next block comes into the second-level cache while this one is computed, a line per step.
OPENBPU_INLINE void prefetch(const std::uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }

// Accumulators are separate variables: gcc 12 keeps arrays of them in memory.
#define OPENBPU_PIXELS(X) X(0) X(1) X(2) X(3)

// Pixels 0 .. P - 1 of a tile, 16 channels.
template <int P>
OPENBPU_INLINE void tile16(const Job& job, const std::uint8_t* in, std::uint8_t* out) {
  const Block& block = *job.block;
  const __m256i start0 = job.start0, start1 = job.start1;
#define OPENBPU_DECLARE(i)                                        \
  const std::uint8_t* a##i = in + (i < P ? i : 0) * job.in_pixel; \
  __m256i c##i##0 = start0, c##i##1 = start1;
  OPENBPU_PIXELS(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE

  const std::int8_t* v = job.weights;
  const std::int32_t* offset = job.offset;
  const std::uint8_t* next = job.next;
  for (const Part* part = job.part; part < job.end; ++part) {
    std::int32_t k = part->first;
    for (; k < part->plain; ++k, v += 64) {
      const std::int64_t at = *offset++;
      prefetch(next);
      next += 64;
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
    for (; k < part->shared; ++k, v += 96) {
      const std::int64_t at = *offset++;
      prefetch(next);
      next += 64;
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
    for (; k < part->separate; ++k, v += 128) {
      const std::int64_t at = *offset++;
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
  const __m256i start = job.start0;
#define OPENBPU_DECLARE(i)                                        \
  const std::uint8_t* a##i = in + (i < P ? i : 0) * job.in_pixel; \
  __m256i c##i = start;
  OPENBPU_PIXELS(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE

  const std::int8_t* v = job.weights;
  const std::int32_t* offset = job.offset;
  for (const Part* part = job.part; part < job.end; ++part) {
    std::int32_t k = part->first;
    for (; k < part->plain; ++k, v += 32) {
      const std::int64_t at = *offset++;
      const __m256i w0 = load(v);
#define OPENBPU_STEP(i) \
  if constexpr (i < P) c##i = dot(c##i, broadcast4(a##i + at), w0);
      OPENBPU_PIXELS(OPENBPU_STEP)
#undef OPENBPU_STEP
    }
    // With one vector, separate steps look like shared ones.
    for (; k < part->separate; ++k, v += 64) {
      const std::int64_t at = *offset++;
      const __m256i w0 = load(v), m0 = load(v + 32);
#define OPENBPU_STEP(i) \
  if constexpr (i < P) c##i = dot(c##i, _mm256_xor_si256(broadcast4(a##i + at), m0), w0);
      OPENBPU_PIXELS(OPENBPU_STEP)
#undef OPENBPU_STEP
    }
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
void run_lines(Job job, const GemmLines& lines, const std::uint8_t* next) {
  static constexpr void (*kTail[4])(Job, const std::uint8_t*, std::uint8_t*) = {nullptr, tail<Vectors, 1>,
                                                                                tail<Vectors, 2>, tail<Vectors, 3>};
  std::int32_t index = 0;  // of the tile
  job.next = next;
  for (std::int32_t line = 0; line < lines.lines; ++line) {
    const std::uint8_t* in = lines.in + line * lines.in_line;
    std::uint8_t* out = lines.out + line * lines.out_line;
    std::int32_t left = lines.pixels;
    for (; left >= 4; left -= 4, in += 4 * job.in_pixel, out += 4 * job.out_pixel, ++index) {
      job.next = next + index % 2 * std::int64_t{job.block->steps} * 64;
      tile<Vectors, 4>(job, in, out);
    }
    if (left > 0) kTail[left](job, in, out);
  }
}

}  // namespace

std::size_t gemm_packed_bytes(const GemmSource& source) {
  std::size_t bytes = directory_bytes(source.blocks);
  for (std::int32_t block = 0; block < source.blocks; ++block) {
    const std::int32_t vectors = vectors_of(source.channels(source.params, block).count);
    bytes += block_bytes(source, count_block(source, block, vectors), vectors);
  }
  return bytes;
}

void gemm_pack(const GemmSource& source, std::uint8_t* packed) {
  auto* directory = reinterpret_cast<std::int64_t*>(packed);
  std::size_t at = directory_bytes(source.blocks);
  for (std::int32_t block = 0; block < source.blocks; ++block) {
    const GemmChannels channels = source.channels(source.params, block);
    const std::int32_t vectors = vectors_of(channels.count);
    const StepCount count = count_block(source, block, vectors);
    directory[block] = static_cast<std::int64_t>(at);
    pack_block(source, block, channels, count.all(), packed + at);
    at += block_bytes(source, count, vectors);
  }
}

void gemm_run(const std::uint8_t* packed, std::int32_t block_index, const GemmLines& lines, const Rq8& rq) {
  const auto* directory = reinterpret_cast<const std::int64_t*>(packed);
  const auto& block = *reinterpret_cast<const Block*>(packed + directory[block_index]);
  const std::uint8_t* next = packed + directory[block_index + (block_index + 1 < block.blocks)];
  const auto run = block.channels > 8 ? run_lines<2> : run_lines<1>;
  run(make_job(block, lines, rq), lines, next);
}

}  // namespace openbpu::kernels::avx2
