#include "kernels/elements.hpp"
#include "kernels/resize/resize_rows.hpp"
#include "numerics/int16.hpp"

namespace openbpu::kernels {
namespace {

// Pixels are runs of bytes: there is nothing to gain by vectors of one ISA.
void run_nearest(const ResizeNearest16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin,
                 std::int32_t end) {
  const auto bytes = static_cast<std::size_t>(p.out.c) * sizeof(std::int16_t);
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    const std::uint8_t* in = element_at(p.in, n, p.rows[y].i0, 0, 0);
    std::uint8_t* out = element_at(p.out, n, y, 0, 0);
    for (std::int32_t x = 0; x < p.out.w; ++x, out += p.out.sw) std::memcpy(out, in + p.columns[x].i0 * p.in.sw, bytes);
  }
}

void run_bilinear(const ResizeBilinear16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin,
                  std::int32_t end) {
  for_each_element(p.out, begin, end, [&](std::int32_t n, std::int32_t y, std::int32_t x, std::int32_t c) {
    const Resize16Tap &r = p.rows[y], &q = p.columns[x];
    const auto at = [&](std::int32_t row, std::int32_t column) {
      return load_element(element_at(p.in, n, row, column, c), kInt16);
    };
    store_element(
        element_at(p.out, n, y, x, c), kInt16,
        numerics::bilinear16(at(r.i0, q.i0), at(r.i0, q.i1), at(r.i1, q.i0), at(r.i1, q.i1), r.w0, r.w1, q.w0, q.w1));
  });
}

}  // namespace

const Row<ResizeNearest16Params> kResizeNearest16Scalar{"resize_nearest16_scalar", Isa::Scalar, accepts_all,
                                                        plan_output_rows,          nullptr,     run_nearest};
const Row<ResizeBilinear16Params> kResizeBilinear16Scalar{"resize_bilinear16_scalar", Isa::Scalar, accepts_all,
                                                          plan_output_rows,           nullptr,     run_bilinear};

}  // namespace openbpu::kernels
