#include "kernels/dwconv/dwconv_rows.hpp"
#include "kernels/elements.hpp"
#include "numerics/elementwise.hpp"

namespace openbpu::kernels {
namespace {

void run(const DwConv16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const std::int32_t taps = p.kernel_h * p.kernel_w;
  for_each_element(p.out, begin, end, [&](std::int32_t n, std::int32_t oy, std::int32_t ox, std::int32_t c) {
    const std::int8_t* weights = p.weights + static_cast<std::int64_t>(c / 16) * taps * 16 + c % 16;
    std::int64_t acc = 0;
    for (std::int32_t tap = 0; tap < taps; ++tap) {
      const std::int32_t iy = oy * p.stride_h - p.pad_top + tap / p.kernel_w * p.dilation_h;
      const std::int32_t ix = ox * p.stride_w - p.pad_left + tap % p.kernel_w * p.dilation_w;
      if (iy < 0 || iy >= p.in.h || ix < 0 || ix >= p.in.w) continue;
      acc += weights[tap * 16] * load_element(element_at(p.in, n, iy, ix, c), kInt16);
    }
    const Rq16Entry& e = p.rq.entries[c];
    store_element(element_at(p.out, n, oy, ox, c), p.rq.out, numerics::rq16(acc, e.bias, e.m, e.sh, p.rq.lo, p.rq.hi));
  });
}

}  // namespace

const Row<DwConv16Params> kDwConv16Scalar{"dwconv16_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run};

}  // namespace openbpu::kernels
