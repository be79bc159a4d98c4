#include "kernels/canonical_weights.hpp"
#include "kernels/elements.hpp"
#include "kernels/tconv/tconv_rows.hpp"
#include "kernels/tconv/tconv_source.hpp"
#include "numerics/elementwise.hpp"

namespace openbpu::kernels {
namespace {

void run(const TConv16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const std::int32_t ci = p.in.c / p.groups, co = p.out.c / p.groups, taps = p.kernel_h * p.kernel_w;
  const CanonicalWeights weights{p.weights, co, taps, ci};
  for_each_element(p.out, begin, end, [&](std::int32_t n, std::int32_t oy, std::int32_t ox, std::int32_t oc) {
    std::int64_t acc = 0;
    for (std::int32_t tap = 0; tap < taps; ++tap) {
      const std::int32_t iy = tconv_source(oy, tap / p.kernel_w, p.stride_h, p.dilation_h, p.pad_top, p.in.h);
      const std::int32_t ix = tconv_source(ox, tap % p.kernel_w, p.stride_w, p.dilation_w, p.pad_left, p.in.w);
      if (iy < 0 || ix < 0) continue;
      const std::uint8_t* pixel = element_at(p.in, n, iy, ix, oc / co * ci);
      for (std::int32_t i = 0; i < ci; ++i)
        acc += weights.at(oc / co, oc % co, tap, i) * load_element(pixel + 2 * i, kInt16);
    }
    const Rq16Entry& e = p.rq.entries[oc];
    store_element(element_at(p.out, n, oy, ox, oc), p.rq.out, numerics::rq16(acc, e.bias, e.m, e.sh, p.rq.lo, p.rq.hi));
  });
}

}  // namespace

const Row<TConv16Params> kTConv16Scalar{"tconv16_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run};

}  // namespace openbpu::kernels
