// Lines of pixels cut into tiles of nearly equal size, which may run over the end of a line.
#pragma once

#include "kernels/arithmetic.hpp"

namespace openbpu::kernels {

template <int Most>
struct Pixels {
  const std::uint8_t* in[Most];
  std::uint8_t* out[Most];
};

// Pixels of tile `index` where `all` are cut into `tiles` tiles: a small last one would leave most of the multipliers
// idle while its few sums wait for one another.
OPENBPU_INLINE std::int32_t share(std::int32_t all, std::int32_t tiles, std::int32_t index) {
  return all / tiles + (index < all % tiles);
}

// Calls tile(index, count, pixels) over all lines as one sequence of pixels. Lines are those of gemm.hpp.
template <int Most, class Lines, class Tile>
OPENBPU_INLINE void for_each_tile(const Lines& lines, Tile tile) {
  const std::int32_t all = lines.lines * lines.pixels, tiles = ceil_div(all, Most);
  const std::int64_t in_jump = lines.in_line - lines.pixels * lines.in_pixel;
  const std::int64_t out_jump = lines.out_line - lines.pixels * lines.out_pixel;
  const std::uint8_t* in = lines.in;
  std::uint8_t* out = lines.out;
  std::int32_t left = lines.pixels;  // on the line
  Pixels<Most> pixels;
  for (std::int32_t index = 0; index < tiles; ++index) {
    const std::int32_t count = share(all, tiles, index);
    for (std::int32_t i = 0; i < count; ++i) {
      if (left == 0) {
        left = lines.pixels;
        in += in_jump;
        out += out_jump;
      }
      --left;
      pixels.in[i] = in;
      pixels.out[i] = out;
      in += lines.in_pixel;
      out += lines.out_pixel;
    }
    tile(index, count, pixels);
  }
}

}  // namespace openbpu::kernels
