// The AVX2 matrix core under CONV2D, GCONV2D, TCONV2D and MATMUL.
//
// Work is blocks of 16 output channels times lines of pixels. A block is a list of steps; a step is four input bytes
// at a fixed offset from the pixel, times i8[16][4] weights. The order of accumulation is free (conv.hpp), so steps
// are sorted by what their weights ask of the activations (avx2.hpp):
//   plain     every pair of weights is safe: 3 instructions per vector of 32 products
//   shared    one mask of complements serves both vectors of the step: 3.5
//   separate  each vector has its own mask: 4
// A step without a non-zero weight is dropped. In trained networks a pair needs a complement in 1 of 100 cases where K
// is in the hundreds and in 1 of 12 where K is 24, so that 20 to 90 % of the steps are shared, hardly any separate.
//
// Tile: 4 pixels x 16 channels, 8 accumulators; with ones, two weights, two masks, the activation and two products
// that is all 16 registers. 16 channels are one line of the canonical weights.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels::avx2 {

struct GemmChannels {
  std::int32_t count;  // 1..16; the rest of the arrays is unspecified
  std::int32_t B[16];
  std::int16_t m[16];
  std::uint8_t s[16];
};

// Where the blocks come from.
struct GemmSource {
  const void* params;
  std::int32_t blocks, steps;
  std::int32_t L;
  std::int32_t parts;  // of equal length, into which steps are cut; gemm_run() may leave out some
  std::uint8_t pad;    // what all inputs of a part that is left out are taken for
  // Writes the weights i8[16][4] of a step and returns the offset in bytes of its four inputs from the pixel.
  std::int32_t (*step)(const void* params, std::int32_t block, std::int32_t step, std::int8_t* cell);
  GemmChannels (*channels)(const void* params, std::int32_t block);
};

// lines * pixels outputs of 16 channels: output pixel x of line l is made of the bytes from
// in + l * in_line + x * in_pixel.
struct GemmLines {
  const std::uint8_t* in;
  std::int64_t in_line, in_pixel;
  std::uint8_t* out;
  std::int64_t out_line, out_pixel;
  std::int32_t lines, pixels;
  std::int32_t first_part, end_part;
};

// Bytes that gemm_pack() writes.
std::size_t gemm_packed_bytes(const GemmSource& source);

void gemm_pack(const GemmSource& source, std::uint8_t* packed);

// Computes one block for all lines; writes its 1..16 channels from lines.out on.
void gemm_run(const std::uint8_t* packed, std::int32_t block, const GemmLines& lines, const Rq8& rq);

}  // namespace openbpu::kernels::avx2
