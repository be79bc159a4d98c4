// What the matrix cores are given: blocks of output channels, each a list of steps, and lines of pixels.
//
// A step is four input bytes at a fixed offset from the pixel, times i8[channels][4] weights.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

// Channels of a block.
template <std::int32_t Most>
struct GemmChannels {
  std::int32_t count;  // 1..Most; the rest of the arrays is unspecified
  std::int32_t B[Most];
  std::int16_t m[Most];
  std::uint8_t s[Most];
};

// Where the blocks come from.
template <std::int32_t Most>
struct GemmSource {
  const void* params;
  std::int32_t blocks, steps;
  std::int32_t L;
  std::int32_t parts;  // of equal length, into which steps are cut; gemm_run() may leave out some
  std::uint8_t pad;    // what all inputs of a part that is left out are taken for
  // Writes the weights i8[Most][4] of a step (zero beyond the block's channels) and returns the offset in bytes of its
  // four inputs from the pixel.
  std::int32_t (*step)(const void* params, std::int32_t block, std::int32_t step, std::int8_t* cell);
  GemmChannels<Most> (*channels)(const void* params, std::int32_t block);
};

// What a GemmCore may say otherwise: steps of a run come in groups of kStepGroup, pixels of a unit in groups of
// kPixelGroup, and it takes images of kLeastPixels and outputs of kLeastInputs or more. A core with a Session of its
// own gets one for as long as conv/conv_ways.hpp works on a range of units, as the last argument of run.
struct GemmCoreDefaults {
  static constexpr std::int32_t kStepGroup = 1, kPixelGroup = 1, kLeastPixels = 1, kLeastInputs = 1;
  struct Session {};
};

// lines * pixels outputs: output pixel x of line l is made of the bytes from in + l * in_line + x * in_pixel.
struct GemmLines {
  const std::uint8_t* in;
  std::int64_t in_line, in_pixel;
  std::uint8_t* out;
  std::int64_t out_line, out_pixel;
  std::int32_t lines, pixels;
  std::int32_t first_part, end_part;
};

}  // namespace openbpu::kernels
