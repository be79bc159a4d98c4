#include <cstring>

#include "kernels/roiresize/roiresize_rows.hpp"
#include "numerics/resize.hpp"

namespace openbpu::kernels {
namespace {

using numerics::Tap;

bool accepts(const RoiResizeParams&) { return true; }

// One unit is one row of one image; the columns of an image are the same in all its rows.
Plan plan(const RoiResizeParams& p) { return {0, static_cast<std::size_t>(p.out.w) * sizeof(Tap), p.out.n * p.out.h}; }

// Along one axis: first pixel and length of the region; length 0 if it does not lie in the image.
struct Range {
  std::int32_t first, length;
};

Range range(const RoiResizeParams& p, std::int32_t n, int axis, std::int32_t extent) {
  std::int32_t ends[2];
  for (int i = 0; i < 2; ++i)
    std::memcpy(&ends[i], p.roi.data + n * p.roi.sn + (axis + 2 * i) * p.roi.sc, sizeof ends[i]);
  return {ends[0] >> p.shift, numerics::region_length(ends[0], ends[1], extent, p.shift)};
}

Tap tap(const Range& r, std::int32_t at, std::int32_t count) {
  const Tap t = numerics::region_tap(at, count, r.length);
  return {t.i0 + r.first, t.i1 + r.first, t.w1};
}

void run(const RoiResizeParams& p, const std::uint8_t*, std::uint8_t* scratch, std::int32_t begin, std::int32_t end) {
  Tap* taps = reinterpret_cast<Tap*>(scratch);
  std::int32_t image = -1;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh;
    if (!roi_is_inside(p, n)) {
      roi_blank(p, out);
      continue;
    }
    if (n != image) roi_columns(p, image = n, taps);
    const Tap row = roi_row(p, n, y);
    const std::uint8_t* above = p.in.data + n * p.in.sn + row.i0 * p.in.sh;
    const std::uint8_t* below = p.in.data + n * p.in.sn + row.i1 * p.in.sh;
    for (std::int32_t x = 0; x < p.out.w; ++x, out += p.out.sw) {
      const Tap& t = taps[x];
      const std::int64_t left = t.i0 * p.in.sw, right = t.i1 * p.in.sw;
      for (std::int32_t c = 0; c < p.out.c; ++c) {
        const std::int64_t at = c * p.in.sc;
        const auto value = [&](const std::uint8_t* from) { return static_cast<std::int8_t>(*from ^ p.in_flip); };
        const std::int32_t v =
            numerics::bilinear(value(above + left + at), value(above + right + at), value(below + left + at),
                               value(below + right + at), 2048 - row.w1, row.w1, 2048 - t.w1, t.w1);
        out[c] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(v) ^ p.out_flip);
      }
    }
  }
}

}  // namespace

bool roi_is_inside(const RoiResizeParams& p, std::int32_t n) {
  return range(p, n, 0, p.in.w).length > 0 && range(p, n, 1, p.in.h).length > 0;
}

void roi_columns(const RoiResizeParams& p, std::int32_t n, Tap* taps) {
  const Range r = range(p, n, 0, p.in.w);
  for (std::int32_t x = 0; x < p.out.w; ++x) taps[x] = tap(r, p.x + x, p.width);
}

Tap roi_row(const RoiResizeParams& p, std::int32_t n, std::int32_t y) {
  return tap(range(p, n, 1, p.in.h), p.y + y, p.height);
}

void roi_blank(const RoiResizeParams& p, std::uint8_t* out) {
  for (std::int32_t x = 0; x < p.out.w; ++x, out += p.out.sw)
    std::memset(out, 0x80 ^ p.out_flip, static_cast<std::size_t>(p.out.c));
  p.fault->store(true, std::memory_order_relaxed);
}

const Row<RoiResizeParams> kRoiResizeScalar{"roiresize_scalar", Isa::Scalar, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
