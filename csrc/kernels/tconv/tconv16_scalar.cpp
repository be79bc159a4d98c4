#include "kernels/conv/products16_scalar.hpp"
#include "kernels/tconv/tconv_rows.hpp"
#include "kernels/tconv/tconv_source.hpp"

namespace openbpu::kernels {
namespace {

void run(const TConv16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  run_products16(
      p, begin, end,
      [&](std::int32_t oy, std::int32_t k) { return tconv_source(oy, k, p.stride_h, p.dilation_h, p.pad_top, p.in.h); },
      [&](std::int32_t ox, std::int32_t k) {
        return tconv_source(ox, k, p.stride_w, p.dilation_w, p.pad_left, p.in.w);
      });
}

}  // namespace

const Row<TConv16Params> kTConv16Scalar{"tconv16_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run};

}  // namespace openbpu::kernels
