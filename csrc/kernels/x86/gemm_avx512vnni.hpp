// The AVX-512 VNNI matrix core under CONV2D, GCONV2D, TCONV2D and MATMUL.
//
// Work is blocks of up to 64 output channels times lines of pixels. A block is a list of steps; a step is four input
// bytes at a fixed offset from the pixel, times i8[channels][4] weights: one vpbroadcastd and, per 16 channels, one
// vpdpbusd.
//
// Tiles, 24 accumulators each (32 registers less weights, activation and epilogue):
//   64 channels x 6 pixels, 48 x 8, 32 x 12, 16 x 12
// Accumulators are named variables: gcc 12 keeps arrays of them in memory, at up to three quarters of the speed.
// Channels are packed so that the narrowing of the epilogue brings them into natural order:
//   64: lane 4 l + j of vector q is channel 16 l + 4 q + j (vpackssdw, vpacksswb)
//   32: channel 8 l + 4 q + j (vpackssdw, vpmovswb); 16: channel = lane (vpmovsdw, vpmovswb); 48 is 32 and 16
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels::avx512 {

constexpr std::int32_t kBlock = 64;

struct GemmChannels {
  std::int32_t count;  // 1..64; the rest of the arrays is unspecified
  std::int32_t B[kBlock];
  std::int16_t m[kBlock];
  std::uint8_t s[kBlock];
};

// Where the blocks come from.
struct GemmSource {
  const void* params;
  std::int32_t blocks, steps;
  std::int32_t L;
  std::int32_t parts;  // of equal length, into which steps are cut; gemm_run() may leave out some
  std::uint8_t pad;    // what all inputs of a part that is left out are taken for
  // Writes the weights i8[64][4] of a step (zero beyond the block's channels) and returns the offset in bytes of its
  // four inputs from the pixel.
  std::int32_t (*step)(const void* params, std::int32_t block, std::int32_t step, std::int8_t* cell);
  GemmChannels (*channels)(const void* params, std::int32_t block);
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

// Bytes of all packed blocks.
std::size_t gemm_packed_bytes(const GemmSource& source);

void gemm_pack(const GemmSource& source, std::uint8_t* packed);

// Computes one block for all lines; writes its 1..64 channels from lines.out on.
void gemm_run(const std::uint8_t* packed, std::int32_t block, const GemmLines& lines, const Rq8& rq);

}  // namespace openbpu::kernels::avx512
