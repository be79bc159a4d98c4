#include "kernels/resize/resize_rows.hpp"
#include "numerics/resize.hpp"

namespace openbpu::kernels {
namespace {

bool accepts(const ResizeParams&) { return true; }

// One unit is one output row of one image.
Plan plan(const ResizeParams& p) { return {0, 0, p.out.n * p.out.h}; }

void run_nearest(const ResizeParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    const std::uint8_t* row = p.in.data + n * p.in.sn + p.rows[y].i0 * p.in.sh;
    for (std::int32_t x = 0; x < p.out.w; ++x)
      for (std::int32_t c = 0; c < p.out.c; ++c)
        p.out.data[n * p.out.sn + y * p.out.sh + x * p.out.sw + c] = row[p.columns[x].i0 * p.in.sw + c];
  }
}

void run_bilinear(const ResizeParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    const ResizeTap& r = p.rows[y];
    const std::uint8_t* row0 = p.in.data + n * p.in.sn + r.i0 * p.in.sh;
    const std::uint8_t* row1 = p.in.data + n * p.in.sn + r.i1 * p.in.sh;
    for (std::int32_t x = 0; x < p.out.w; ++x) {
      const ResizeTap& q = p.columns[x];
      const auto at = [&](const std::uint8_t* row, std::int32_t column, std::int32_t c) {
        return static_cast<std::int8_t>(row[column * p.in.sw + c] ^ p.flip);
      };
      for (std::int32_t c = 0; c < p.out.c; ++c) {
        const std::int32_t y8 = numerics::bilinear(at(row0, q.i0, c), at(row0, q.i1, c), at(row1, q.i0, c),
                                                   at(row1, q.i1, c), r.w0, r.w1, q.w0, q.w1);
        p.out.data[n * p.out.sn + y * p.out.sh + x * p.out.sw + c] =
            static_cast<std::uint8_t>(static_cast<std::uint8_t>(y8) ^ p.flip);
      }
    }
  }
}

}  // namespace

const Row<ResizeParams> kResizeNearestScalar{"resize_nearest_scalar", Isa::Scalar, accepts, plan, nullptr, run_nearest};
const Row<ResizeParams> kResizeBilinearScalar{
    "resize_bilinear_scalar", Isa::Scalar, accepts, plan, nullptr, run_bilinear};

}  // namespace openbpu::kernels
