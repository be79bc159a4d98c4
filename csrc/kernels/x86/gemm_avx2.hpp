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

#include "kernels/gemm.hpp"

namespace openbpu::kernels::avx2 {

using GemmChannels = kernels::GemmChannels<16>;
using GemmSource = kernels::GemmSource<16>;
using kernels::GemmLines;

// Bytes that gemm_pack() writes.
std::size_t gemm_packed_bytes(const GemmSource& source);

void gemm_pack(const GemmSource& source, std::uint8_t* packed);

// Computes one block for all lines; writes its 1..16 channels from lines.out on.
void gemm_run(const std::uint8_t* packed, std::int32_t block, const GemmLines& lines, const Rq8& rq);

// The core as conv/conv_ways.hpp takes it.
struct GemmCore : GemmCoreDefaults {
  static constexpr std::uint8_t kFlip = 0x80;
  static constexpr std::int32_t kBlock = 16, kUnitPixels = 64, kMaxL = 15;
  static constexpr std::int64_t kUnitProducts = 1 << 21;  // about 25 us
  using Channels = GemmChannels;
  using Source = GemmSource;
  using Lines = GemmLines;
  static constexpr auto packed_bytes = gemm_packed_bytes;
  static constexpr auto pack = gemm_pack;
  static constexpr auto run = gemm_run;
};

}  // namespace openbpu::kernels::avx2
