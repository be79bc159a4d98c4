// The tile of the cores that multiply a vector of weights by one lane of the activations. Form adds to gemm_block.hpp:
//   X, W             activations of a group in one pixel; weights that one instruction takes
//   kVectorBytes     of W as packed; four of them are the 16 channels
//   kStepLanes       lanes of X that a step takes
//   group, single    load X from 4 * kGroup bytes, from 4
//   weights          loads W
//   multiply<lane>   acc + W * that lane of X
#pragma once

#include "kernels/arm/gemm_block.hpp"

namespace openbpu::kernels {
namespace {

// gcc 12 spills six pixels, which would fill 31 of 32 registers.
constexpr std::int32_t kMostPixels = 5;

#define OPENBPU_PIXELS(X, v) X(0, v) X(1, v) X(2, v) X(3, v) X(4, v)
#define OPENBPU_MULTIPLY(i, v) \
  if constexpr (i < P) c##i##v = Form::template multiply<kLane>(c##i##v, w##v, x##i);
#define OPENBPU_VECTOR(v)                                      \
  const auto w##v = Form::weights(w + v * Form::kVectorBytes); \
  OPENBPU_PIXELS(OPENBPU_MULTIPLY, v)
// One lane of all pixels times all channels.
#define OPENBPU_LANE(lane)                                           \
  if constexpr (lane < kLanes) {                                     \
    constexpr int kLane = lane;                                      \
    OPENBPU_VECTOR(0)                                                \
    OPENBPU_VECTOR(1)                                                \
    OPENBPU_VECTOR(2) OPENBPU_VECTOR(3) w += 4 * Form::kVectorBytes; \
  }
#define OPENBPU_LANES \
  OPENBPU_LANE(0)     \
  OPENBPU_LANE(1) OPENBPU_LANE(2) OPENBPU_LANE(3) OPENBPU_LANE(4) OPENBPU_LANE(5) OPENBPU_LANE(6) OPENBPU_LANE(7)

// Rows at and beyond P read nothing and store nothing.
template <class Form, int P>
void tile(const GemmJob& job, const Pixels<kMostPixels>& pixels) {
#define OPENBPU_DECLARE(i, v)                            \
  const std::uint8_t* row##i = pixels.in[i < P ? i : 0]; \
  int32x4_t c##i##0 = job.start0, c##i##1 = job.start1, c##i##2 = job.start2, c##i##3 = job.start3;
  OPENBPU_PIXELS(OPENBPU_DECLARE, )
#undef OPENBPU_DECLARE
  const std::int32_t* offset = job.offsets;
  const std::int8_t* w = job.weights;
  for (const GemmPart* part = job.part; part < job.end; ++part) {
    for (std::int32_t k = part->groups; k > 0; --k) {
      constexpr int kLanes = Form::kGroup * Form::kStepLanes;
      const std::int64_t at = *offset++;
#define OPENBPU_LOAD(i, v) [[maybe_unused]] const typename Form::X x##i = Form::group(row##i + at);
      OPENBPU_PIXELS(OPENBPU_LOAD, )
#undef OPENBPU_LOAD
      OPENBPU_LANES
    }
    for (std::int32_t k = part->singles; k > 0; --k) {
      constexpr int kLanes = Form::kStepLanes;
      const std::int64_t at = *offset++;
#define OPENBPU_LOAD(i, v) [[maybe_unused]] const typename Form::X x##i = Form::single(row##i + at);
      OPENBPU_PIXELS(OPENBPU_LOAD, )
#undef OPENBPU_LOAD
      OPENBPU_LANES
    }
  }
  const Rq8Registers k = load_registers(job.block, job.rq);
  const std::int32_t channels = job.channels;
#define OPENBPU_FINISH(i, v) \
  if constexpr (i < P) store_channels(pixels.out[i], requantise(c##i##0, c##i##1, c##i##2, c##i##3, k), channels);
  OPENBPU_PIXELS(OPENBPU_FINISH, )
#undef OPENBPU_FINISH
}

#undef OPENBPU_LANES
#undef OPENBPU_LANE
#undef OPENBPU_VECTOR
#undef OPENBPU_MULTIPLY
#undef OPENBPU_PIXELS

template <class Form>
void run_lanes(const std::uint8_t* packed, std::int32_t block, const GemmLines& lines, const Rq8& rq) {
  static constexpr void (*kTile[kMostPixels + 1])(const GemmJob&, const Pixels<kMostPixels>&) = {
      nullptr, tile<Form, 1>, tile<Form, 2>, tile<Form, 3>, tile<Form, 4>, tile<Form, 5>};
  const GemmJob job = make_job<Form>(packed, block, lines, rq);
  for_each_tile<kMostPixels>(
      lines, [&](std::int32_t, std::int32_t count, const Pixels<kMostPixels>& pixels) { kTile[count](job, pixels); });
}

}  // namespace
}  // namespace openbpu::kernels
