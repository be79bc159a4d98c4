// The AVX-VNNI matrix core under CONV2D, GCONV2D and MATMUL: processors with the dot product in 256 bits and without
// AVX-512.
//
// As x86/gemm_avx512vnni.hpp with blocks of 16 channels. Tile: 6 pixels x 16 channels, 12 accumulators; with two
// vectors of weights and the activation that is 15 of 16 registers. Two products a cycle of five cycles' latency need
// ten accumulators.
#pragma once

#include "kernels/gemm.hpp"

namespace openbpu::kernels::avxvnni {

using GemmChannels = kernels::GemmChannels<16>;
using GemmSource = kernels::GemmSource<16>;
using kernels::GemmLines;

std::size_t gemm_packed_bytes(const GemmSource& source);

void gemm_pack(const GemmSource& source, std::uint8_t* packed);

// Computes one block for all lines; writes its 1..16 channels from lines.out on.
void gemm_run(const std::uint8_t* packed, std::int32_t block, const GemmLines& lines, const Rq8& rq);

// The core as conv/conv_ways.hpp takes it.
struct GemmCore : GemmCoreDefaults {
  static constexpr std::uint8_t kFlip = 0x80;
  static constexpr std::int32_t kBlock = 16, kUnitPixels = 96, kMaxL = 15;
  static constexpr std::int64_t kUnitProducts = 1 << 21;  // about 12 us
  using Channels = GemmChannels;
  using Source = GemmSource;
  using Lines = GemmLines;
  static constexpr auto packed_bytes = gemm_packed_bytes;
  static constexpr auto pack = gemm_pack;
  static constexpr auto run = gemm_run;
};

}  // namespace openbpu::kernels::avxvnni
