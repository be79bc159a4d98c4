#include <cstring>

#include "kernels/gridsample/gridsample.hpp"
#include "numerics/coordinates.hpp"
#include "numerics/resize.hpp"

namespace openbpu::kernels {
namespace {

bool accepts(const GridSampleParams&) { return true; }

// One unit is one row of one image.
Plan plan(const GridSampleParams& p) { return {0, 0, p.out.n * p.out.h}; }

// The pixel at (y, x), or null if it lies outside the image.
const std::uint8_t* pixel(const GridSampleParams& p, std::int32_t n, std::int32_t y, std::int32_t x) {
  if (y < 0 || y >= p.in.h || x < 0 || x >= p.in.w) return nullptr;
  return p.in.data + n * p.in.sn + y * p.in.sh + x * p.in.sw;
}

std::int32_t value(const GridSampleParams& p, const std::uint8_t* at, std::int32_t c) {
  return at ? static_cast<std::int8_t>(at[c] ^ p.flip) : p.zero;
}

void nearest(const GridSampleParams& p, std::int32_t n, float gx, float gy, std::uint8_t* out) {
  const std::int32_t x = numerics::nearest_pixel(gx, p.in.w, p.align_corners, p.border);
  const std::int32_t y = numerics::nearest_pixel(gy, p.in.h, p.align_corners, p.border);
  const std::uint8_t* at = pixel(p, n, y, x);
  for (std::int32_t c = 0; c < p.out.c; ++c)
    out[c] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(value(p, at, c)) ^ p.flip);
}

void bilinear(const GridSampleParams& p, std::int32_t n, float gx, float gy, std::uint8_t* out) {
  const std::int32_t X = numerics::fixed_place(gx, p.in.w, p.align_corners, p.border);
  const std::int32_t Y = numerics::fixed_place(gy, p.in.h, p.align_corners, p.border);
  const std::int32_t x0 = X >> 11, y0 = Y >> 11, wx1 = X & 2047, wy1 = Y & 2047;
  // Where the weight is 0, the neighbour may lie outside and does not count.
  const std::uint8_t *a = pixel(p, n, y0, x0), *b = pixel(p, n, y0, x0 + 1);
  const std::uint8_t *c = pixel(p, n, y0 + 1, x0), *d = pixel(p, n, y0 + 1, x0 + 1);
  for (std::int32_t i = 0; i < p.out.c; ++i) {
    const std::int32_t y = numerics::bilinear(value(p, a, i), value(p, b, i), value(p, c, i), value(p, d, i),
                                              2048 - wy1, wy1, 2048 - wx1, wx1);
    out[i] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(y) ^ p.flip);
  }
}

void run(const GridSampleParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    for (std::int32_t x = 0; x < p.out.w; ++x) {
      const std::uint8_t* at = p.grid.data + n * p.grid.sn + y * p.grid.sh + x * p.grid.sw;
      float gx, gy;
      std::memcpy(&gx, at, sizeof gx);
      std::memcpy(&gy, at + p.grid.sc, sizeof gy);
      std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw;
      p.nearest ? nearest(p, n, gx, gy, out) : bilinear(p, n, gx, gy, out);
    }
  }
}

const Row<GridSampleParams> kScalar{"gridsample_scalar", Isa::Scalar, accepts, plan, nullptr, run};

}  // namespace

Rows<GridSampleParams> gridsample_rows() { return {&kScalar, 1}; }

}  // namespace openbpu::kernels
