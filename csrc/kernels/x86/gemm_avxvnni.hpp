// The AVX-VNNI matrix core under CONV2D, GCONV2D and MATMUL: processors with the dot product in 256 bits and without
// AVX-512.
//
// As x86/gemm_avx512vnni.hpp with blocks of 16 channels. Tile: 6 pixels x 16 channels, 12 accumulators; with two
// vectors of weights and the activation that is 15 of 16 registers. Two products a cycle of five cycles' latency need
// ten accumulators.
#pragma once

#include "kernels/x86/gemm.hpp"

namespace openbpu::kernels::avxvnni {

using GemmChannels = x86::GemmChannels<16>;
using GemmSource = x86::GemmSource<16>;
using x86::GemmLines;

std::size_t gemm_packed_bytes(const GemmSource& source);

void gemm_pack(const GemmSource& source, std::uint8_t* packed);

// Computes one block for all lines; writes its 1..16 channels from lines.out on.
void gemm_run(const std::uint8_t* packed, std::int32_t block, const GemmLines& lines, const Rq8& rq);

}  // namespace openbpu::kernels::avxvnni
