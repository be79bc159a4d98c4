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

#include "kernels/gemm.hpp"
#include "kernels/x86/avx512.hpp"

namespace openbpu::kernels::avx512 {

constexpr std::int32_t kBlock = 64;

using GemmChannels = kernels::GemmChannels<kBlock>;
using GemmSource = kernels::GemmSource<kBlock>;
using kernels::GemmLines;

// Bytes of all packed blocks.
std::size_t gemm_packed_bytes(const GemmSource& source);

void gemm_pack(const GemmSource& source, std::uint8_t* packed);

// Computes one block for all lines; writes its 1..64 channels from lines.out on.
void gemm_run(const std::uint8_t* packed, std::int32_t block, const GemmLines& lines, const Rq8& rq);

// The core as conv/conv_ways.hpp takes it.
struct GemmCore : GemmCoreDefaults {
  static constexpr std::uint8_t kFlip = 0x80;
  static constexpr std::int32_t kBlock = avx512::kBlock, kUnitPixels = 192, kMaxL = kMaxDoublings;
  static constexpr std::int64_t kUnitProducts = 1 << 22;  // about 15 us
  using Channels = GemmChannels;
  using Source = GemmSource;
  using Lines = GemmLines;
  static constexpr auto packed_bytes = gemm_packed_bytes;
  static constexpr auto pack = gemm_pack;
  static constexpr auto run = gemm_run;
};

}  // namespace openbpu::kernels::avx512
