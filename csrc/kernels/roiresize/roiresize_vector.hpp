// ROIRESIZE of planes of one or two channels, eight pixels at a time: both neighbours of a row are four bytes of one
// load. Included by the file of each ISA, which supplies Neighbours and compute().
//
// Neighbours(p, n, row) is made for a row of the output; compute(neighbours, columns, channels, flip, out) makes the
// bytes of eight pixels.
#pragma once

#include "kernels/roiresize/roiresize_rows.hpp"

namespace openbpu::kernels {
namespace {

using numerics::Tap;
constexpr std::int32_t kPixels = 8;
constexpr std::int32_t kGathered = 4;  // bytes

// The columns of eight pixels: where their bytes are gathered, by how many bits too early, both weights as int16.
struct Columns {
  std::int32_t offset[kPixels], bits[kPixels], weights[kPixels];
};

std::int32_t blocks(const RoiResizeParams& p) { return (p.out.w + kPixels - 1) / kPixels; }
std::size_t column_bytes(const RoiResizeParams& p) { return static_cast<std::size_t>(blocks(p)) * sizeof(Columns); }

bool accepts(const RoiResizeParams& p) {
  const std::int32_t c = p.out.c;
  return (c == 1 || c == 2) && p.in.sc == 1 && p.in.sw == c && p.out.sw == c && p.in.w * c >= kGathered;
}

// One unit is one row of one image.
Plan plan(const RoiResizeParams& p) {
  return {0, column_bytes(p) + static_cast<std::size_t>(p.out.w) * sizeof(Tap), p.out.n * p.out.h};
}

// A pixel at the end of the image has no right neighbour, and no weight for it; nothing behind the row is read.
void columns(const RoiResizeParams& p, std::int32_t n, Columns* columns_of, Tap* taps) {
  roi_columns(p, n, taps);
  const std::int32_t last = p.in.w * p.out.c - kGathered;
  for (std::int32_t x = 0; x < blocks(p) * kPixels; ++x) {
    Columns& to = columns_of[x / kPixels];
    const Tap t = x < p.out.w ? taps[x] : Tap{0, 0, 0};
    const std::int32_t at = t.i0 * p.out.c, offset = at < last ? at : last;
    to.offset[x % kPixels] = offset;
    to.bits[x % kPixels] = 8 * (at - offset);
    to.weights[x % kPixels] = (2048 - t.w1) | t.w1 << 16;
  }
}

// The four bytes at `at`, of any alignment.
std::uint32_t dword(const std::uint8_t* at) {
  std::uint32_t value;
  __builtin_memcpy(&value, at, sizeof value);
  return value;
}

template <typename Neighbours>
void run(const RoiResizeParams& p, const std::uint8_t*, std::uint8_t* scratch, std::int32_t begin, std::int32_t end) {
  Columns* columns_of = reinterpret_cast<Columns*>(scratch);
  Tap* taps = reinterpret_cast<Tap*>(scratch + column_bytes(p));
  std::int32_t image = -1;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h, c = p.out.c;
    std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh;
    if (!roi_is_inside(p, n)) {
      roi_blank(p, out);
      continue;
    }
    if (n != image) columns(p, image = n, columns_of, taps);
    Neighbours rows(p, n, roi_row(p, n, y));
    std::int32_t x = 0;
    for (; x + kPixels <= p.out.w; x += kPixels) compute(rows, columns_of[x / kPixels], c, p.out_flip, out + x * c);
    if (x == p.out.w) continue;
    std::uint8_t rest[2 * kPixels];
    compute(rows, columns_of[x / kPixels], c, p.out_flip, rest);
    __builtin_memcpy(out + x * c, rest, static_cast<std::size_t>((p.out.w - x) * c));
  }
}

}  // namespace
}  // namespace openbpu::kernels
