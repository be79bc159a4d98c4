// The matrix cores of 64-bit ARM under CONV2D, GCONV2D, TCONV2D and MATMUL.
//
// Blocks of 16 output channels times lines of pixels, tiles of 5 or 6 pixels x 16 channels: 20 or 24 accumulators of
// 32 registers; the rest holds a vector of activations per pixel, or pair of pixels, and the weights. Steps
// (kernels/gemm.hpp) at neighbouring offsets are joined to groups, whose activations are loaded once per pixel.
//   neon      int8 widened to int16, smlal by lane: 4 products an instruction, exact for any weights
//   neondot   sdot by lane: 16 products
//   neoni8mm  smmla of two pixels by two channels: 32 products
#pragma once

#include "kernels/gemm.hpp"

namespace openbpu::kernels {

// What conv/conv_ways.hpp and tconv/tconv_ways.hpp ask of a core, but for its functions: packed_bytes() are those of
// all blocks; run() computes one block for all lines and writes its 1..16 channels from lines.out on.
struct ArmGemm : GemmCoreDefaults {
  static constexpr std::uint8_t kFlip = 0;
  static constexpr std::int32_t kBlock = 16, kUnitPixels = 90, kMaxL = 15;
  static constexpr std::int64_t kUnitProducts = 1 << 21;
  using Channels = GemmChannels<16>;
  using Source = GemmSource<16>;
  using Lines = GemmLines;
};

namespace neon {
struct GemmCore : ArmGemm {
  static std::size_t packed_bytes(const Source& source);
  static void pack(const Source& source, std::uint8_t* packed);
  static void run(const std::uint8_t* packed, std::int32_t block, const Lines& lines, const Rq8& rq);
};
}  // namespace neon

namespace neondot {
struct GemmCore : ArmGemm {
  static std::size_t packed_bytes(const Source& source);
  static void pack(const Source& source, std::uint8_t* packed);
  static void run(const std::uint8_t* packed, std::int32_t block, const Lines& lines, const Rq8& rq);
};
}  // namespace neondot

namespace neoni8mm {
struct GemmCore : ArmGemm {
  static std::size_t packed_bytes(const Source& source);
  static void pack(const Source& source, std::uint8_t* packed);
  static void run(const std::uint8_t* packed, std::int32_t block, const Lines& lines, const Rq8& rq);
};
}  // namespace neoni8mm

}  // namespace openbpu::kernels
