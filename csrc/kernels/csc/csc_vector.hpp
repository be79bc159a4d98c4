// CSC to three channels of int8, blocks of pixels; included by the file of each ISA, which supplies Block.
//
// Block(p) holds the coefficients; kPixels is its width; nv12(luma, chroma, out), packed(pixels, out) and
// planar(first, second, third, out) compute one block. packed() may read kBehind pixels more than that.
#pragma once

#include "kernels/csc/csc_rows.hpp"

namespace openbpu::kernels {
namespace {

// Whether the chroma of a row of pixels lies dense, one pair for two pixels.
bool is_nv12(const CscParams& p) { return p.half == 1 && p.luma.sw == 1 && p.chroma.sw == 2 && p.chroma.sc == 1; }
bool is_packed(const CscParams& p) { return p.packed && p.luma.sw == 3 && p.luma_flip == p.chroma_flip; }
bool is_planar(const CscParams& p) { return p.half == 0 && p.luma.sw == 1 && p.chroma.sw == 1; }

bool accepts(const CscParams& p) {
  return p.out.c == 3 && p.out.sw == 3 && !p.stored.wide && p.x % 2 == 0 &&
         (is_nv12(p) || is_packed(p) || is_planar(p));
}

// One unit is one row of one image.
Plan plan(const CscParams& p) { return {0, 0, p.out.n * p.out.h}; }

void one_pixel(const CscParams& p, const std::uint8_t* luma, const std::uint8_t* chroma, std::uint8_t* out) {
  const int y = static_cast<std::int8_t>(*luma ^ p.luma_flip), u = static_cast<std::int8_t>(chroma[0] ^ p.chroma_flip),
            v = static_cast<std::int8_t>(chroma[p.chroma.sc] ^ p.chroma_flip);
  for (int c = 0; c < 3; ++c) {
    const CscEntry& e = p.entries[c];
    const int value = (y * e.m[0] + u * e.m[1] + v * e.m[2] + e.b) >> p.sh;
    const int low = value < e.lo ? e.lo : value;
    out[c] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(low > e.hi ? e.hi : low) ^ p.stored.flip);
  }
}

void run(const CscParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const Block block(p);
  const bool nv12 = is_nv12(p), packed = !nv12 && is_packed(p);
  // Of the last block, which may lie over the one before it; at an even pixel, as chroma is shared. Negative: none.
  const std::int32_t last = (p.out.w - Block::kPixels - (packed ? Block::kBehind : 0)) & ~1;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    const std::uint8_t* luma = p.luma.data + n * p.luma.sn + y * p.luma.sh;
    const std::uint8_t* chroma =
        p.chroma.data + n * p.chroma.sn + ((p.y + y) >> p.half) * p.chroma.sh + (p.x >> p.half) * p.chroma.sw;
    std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh;
    std::int32_t x = 0;
    for (std::int32_t from = 0; last >= 0; from = from + Block::kPixels < last ? from + Block::kPixels : last) {
      if (nv12)
        block.nv12(luma + from, chroma + from, out + 3 * from);
      else if (packed)
        block.packed(luma + 3 * from, out + 3 * from);
      else
        block.planar(luma + from, chroma + from, chroma + p.chroma.sc + from, out + 3 * from);
      x = from + Block::kPixels;
      if (from == last) break;
    }
    for (; x < p.out.w; ++x) one_pixel(p, luma + x * p.luma.sw, chroma + (x >> p.half) * p.chroma.sw, out + 3 * x);
  }
}

}  // namespace
}  // namespace openbpu::kernels
