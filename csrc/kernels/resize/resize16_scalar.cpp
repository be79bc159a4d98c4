#include "kernels/elements.hpp"
#include "kernels/resize/resize_rows.hpp"
#include "numerics/int16.hpp"

namespace openbpu::kernels {
namespace {

void run_nearest(const ResizeNearest16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin,
                 std::int32_t end) {
  for_each_element(p.out, begin, end, [&](std::int32_t n, std::int32_t y, std::int32_t x, std::int32_t c) {
    std::memcpy(element_at(p.out, n, y, x, c), element_at(p.in, n, p.rows[y].i0, p.columns[x].i0, c), 2);
  });
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
