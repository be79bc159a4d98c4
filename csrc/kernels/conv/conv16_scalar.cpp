#include "kernels/conv/conv_rows.hpp"
#include "kernels/conv/products16_scalar.hpp"

namespace openbpu::kernels {
namespace {

void run(const Conv16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const auto inside = [](std::int32_t at, std::int32_t extent) { return at < extent ? at : -1; };
  run_products16(
      p, begin, end,
      [&](std::int32_t oy, std::int32_t k) { return inside(oy * p.stride_h - p.pad_top + k * p.dilation_h, p.in.h); },
      [&](std::int32_t ox, std::int32_t k) { return inside(ox * p.stride_w - p.pad_left + k * p.dilation_w, p.in.w); });
}

}  // namespace

const Row<Conv16Params> kConv16Scalar{"conv16_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run};

}  // namespace openbpu::kernels
