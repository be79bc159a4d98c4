#include "kernels/arm/gemm_block.hpp"

namespace openbpu::kernels::neoni8mm {
namespace {

constexpr std::int32_t kMostPixels = 6;

// A group is eight inputs: i8[8 pairs of channels][2][8].
struct Form {
  static constexpr std::int32_t kGroup = 2, kStepBytes = 64;
  static constexpr bool kSingles = false;

  static void arrange(const std::int8_t* cells, std::int32_t, std::int8_t* to) {
    for (std::int32_t i = 0; i < 128; ++i) to[i % 64 / 4 * 8 + i / 64 * 4 + i % 4] = cells[i];
  }
};

// Eight inputs of two pixels.
OPENBPU_INLINE int8x16_t two_pixels(const std::uint8_t* a, const std::uint8_t* b) {
  return vreinterpretq_s8_u8(vcombine_u8(vld1_u8(a), vld1_u8(b)));
}

// Sums of channels 2 v and 2 v + 1 for both pixels of a pair: v1 follows v0.
OPENBPU_INLINE int32x4_t first(int32x4_t v0, int32x4_t v1) {
  return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(v0), vreinterpretq_s64_s32(v1)));
}
OPENBPU_INLINE int32x4_t second(int32x4_t v0, int32x4_t v1) {
  return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(v0), vreinterpretq_s64_s32(v1)));
}

#define OPENBPU_PAIRS(X, v) X(0, v) X(1, v) X(2, v)
#define OPENBPU_VECTORS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)

// Up to three pairs of pixels; the second one of the last pair exists if P is even.
template <int P>
void tile(const GemmJob& job, const Pixels<kMostPixels>& pixels) {
  constexpr int kPairs = (P + 1) / 2;
  const int32x4_t s0 = first(job.start0, job.start0), s1 = second(job.start0, job.start0);
  const int32x4_t s2 = first(job.start1, job.start1), s3 = second(job.start1, job.start1);
  const int32x4_t s4 = first(job.start2, job.start2), s5 = second(job.start2, job.start2);
  const int32x4_t s6 = first(job.start3, job.start3), s7 = second(job.start3, job.start3);
#define OPENBPU_DECLARE(i, v)                                                                                 \
  const std::uint8_t* a##i = pixels.in[2 * i < P ? 2 * i : 0];                                                \
  const std::uint8_t* b##i = pixels.in[2 * i + 1 < P ? 2 * i + 1 : 0];                                        \
  int32x4_t c##i##0 = s0, c##i##1 = s1, c##i##2 = s2, c##i##3 = s3, c##i##4 = s4, c##i##5 = s5, c##i##6 = s6, \
            c##i##7 = s7;
  OPENBPU_PAIRS(OPENBPU_DECLARE, )
#undef OPENBPU_DECLARE
  const std::int32_t* offset = job.offsets;
  const std::int8_t* w = job.weights;
  for (const GemmPart* part = job.part; part < job.end; ++part)
    for (std::int32_t k = part->groups; k > 0; --k, w += 128) {
      const std::int64_t at = *offset++;
#define OPENBPU_LOAD(i, v) [[maybe_unused]] const int8x16_t x##i = two_pixels(a##i + at, b##i + at);
      OPENBPU_PAIRS(OPENBPU_LOAD, )
#undef OPENBPU_LOAD
#define OPENBPU_MULTIPLY(i, v) \
  if constexpr (i < kPairs) c##i##v = vmmlaq_s32(c##i##v, x##i, w##v);
#define OPENBPU_VECTOR(v)                      \
  const int8x16_t w##v = vld1q_s8(w + v * 16); \
  OPENBPU_PAIRS(OPENBPU_MULTIPLY, v)
      OPENBPU_VECTORS(OPENBPU_VECTOR)
#undef OPENBPU_VECTOR
#undef OPENBPU_MULTIPLY
    }
  const Rq8Registers k = load_registers(job.block, job.rq);
  const std::int32_t channels = job.channels;
#define OPENBPU_FINISH(i, v)                                                                                \
  if constexpr (2 * i < P)                                                                                  \
    store_channels(pixels.out[2 * i],                                                                       \
                   requantise(first(c##i##0, c##i##1), first(c##i##2, c##i##3), first(c##i##4, c##i##5),    \
                              first(c##i##6, c##i##7), k),                                                  \
                   channels);                                                                               \
  if constexpr (2 * i + 1 < P)                                                                              \
    store_channels(pixels.out[2 * i + 1],                                                                   \
                   requantise(second(c##i##0, c##i##1), second(c##i##2, c##i##3), second(c##i##4, c##i##5), \
                              second(c##i##6, c##i##7), k),                                                 \
                   channels);
  OPENBPU_PAIRS(OPENBPU_FINISH, )
#undef OPENBPU_FINISH
}

#undef OPENBPU_VECTORS
#undef OPENBPU_PAIRS

}  // namespace

std::size_t GemmCore::packed_bytes(const Source& source) { return GemmPacking<Form>::packed_bytes(source); }

void GemmCore::pack(const Source& source, std::uint8_t* packed) { GemmPacking<Form>::pack(source, packed); }

void GemmCore::run(const std::uint8_t* packed, std::int32_t block, const Lines& lines, const Rq8& rq) {
  static constexpr void (*kTile[kMostPixels + 1])(const GemmJob&, const Pixels<kMostPixels>&) = {
      nullptr, tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>};
  const GemmJob job = make_job<Form>(packed, block, lines, rq);
  for_each_tile<kMostPixels>(
      lines, [&](std::int32_t, std::int32_t count, const Pixels<kMostPixels>& pixels) { kTile[count](job, pixels); });
}

}  // namespace openbpu::kernels::neoni8mm
