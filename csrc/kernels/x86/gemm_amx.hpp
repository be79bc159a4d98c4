// The AMX matrix core under CONV2D, GCONV2D and MATMUL: tdpbusd multiplies 16 pixels x 64 bytes by 64 bytes x 16
// channels in 16 cycles, eight times the products of vpdpbusd.
//
// Blocks are those of gemm_avx512vnni.hpp, with steps in groups of 16 whose inputs lie side by side: 16 steps are one
// tile of weights (16 rows of 16 channels x 4 bytes, as packed) and, for each pixel, one row of 64 input bytes, read
// where they lie. Two tiles of pixels by two of channels are multiplied at a time: four sums hide the latency of 52
// cycles, four loads feed four products. The 64 bytes may reach up to 60 beyond the input that has weights.
//
// A product takes 16 cycles however few pixels are in it. So lines are joined where the distance between them is a
// whole number of pixels: what is computed between one line and the next is dropped, which costs less than many tiles
// that are half empty.
#pragma once

#include "kernels/x86/gemm_avx512vnni.hpp"
#include "kernels/x86/tiles_amx.hpp"

namespace openbpu::kernels::amx {

// The registers are configured for tiles of so many pixels; 0: not yet. Doing that takes 0.1 us, as long as the
// products of a tile: it is kept up from one call to the next.
struct Session {
  std::int32_t rows = 0;
  Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  __attribute__((always_inline)) ~Session() {
    if (rows > 0) release_tiles();
  }
};

// As avx512::gemm_run(), for blocks packed by avx512::gemm_pack() whose steps come in groups of 16.
void gemm_run(const std::uint8_t* packed, std::int32_t block, const avx512::GemmLines& lines, const Rq8& rq,
              Session* session);

// The core as conv/conv_ways.hpp takes it. Thinner outputs and fewer pixels are quicker on vectors.
struct GemmCore : avx512::GemmCore {
  static constexpr std::int32_t kUnitPixels = 384, kStepGroup = 16, kPixelGroup = 32, kLeastPixels = 4,
                                kLeastInputs = 40;
  static constexpr std::int64_t kUnitProducts = 1 << 24;  // about 15 us
  using Session = amx::Session;
  static constexpr auto run = gemm_run;
};

}  // namespace openbpu::kernels::amx
