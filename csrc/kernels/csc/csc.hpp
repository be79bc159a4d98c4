// CSC: out[y, x, c] = clamp((luma * m0[c] + chroma0 * m1[c] + chroma1 * m2[c] + b[c]) >> sh, lo[c], hi[c]), int32
// (docs/numerics.md, clause CSC).
//
// luma [n, h, w, 1] and chroma [n, h or h / 2, w or w / 2, 2] are int8 at any strides, perhaps the caller's memory:
// rows read exactly what they need. out int8 or int16, sc == element size.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct CscEntry {
  std::int32_t b;
  std::int16_t m[3];
  std::int16_t lo, hi;
  std::int16_t reserved;
};

struct CscParams {
  View luma, chroma, out;  // chroma: all of it, also under a part of the output
  const CscEntry* entries;
  std::int32_t sh;
  std::int32_t half;  // 1: two rows and columns share a pixel of chroma
  std::int32_t y, x;  // of the first output in the whole
  bool packed;        // chroma lies behind luma in the same pixel of three bytes
  std::uint8_t luma_flip, chroma_flip;
  Stored stored;  // of out
};

Rows<CscParams> csc_rows();

}  // namespace openbpu::kernels
