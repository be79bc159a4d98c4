#include <cmath>

#include "kernels/elements.hpp"
#include "kernels/quantize/quantize_rows.hpp"
#include "numerics/int16.hpp"

namespace openbpu::kernels {
namespace {

void run_quantize(const Quantize16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each_element(p.out, begin, end, [&](std::int32_t n, std::int32_t y, std::int32_t x, std::int32_t c) {
    float real;
    std::memcpy(&real, element_at(p.in, n, y, x, c), sizeof real);
    store_element(element_at(p.out, n, y, x, c), kInt16, numerics::quantise16(std::nearbyintf(real / p.scale)));
  });
}

void run_dequantize(const Quantize16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin,
                    std::int32_t end) {
  for_each_element(p.out, begin, end, [&](std::int32_t n, std::int32_t y, std::int32_t x, std::int32_t c) {
    const float real = static_cast<float>(load_element(element_at(p.in, n, y, x, c), kInt16)) * p.scale;
    std::memcpy(element_at(p.out, n, y, x, c), &real, sizeof real);
  });
}

}  // namespace

const Row<Quantize16Params> kQuantize16Scalar{"quantize16_scalar", Isa::Scalar, accepts_all,
                                              plan_output_rows,    nullptr,     run_quantize};
const Row<Quantize16Params> kDequantize16Scalar{"dequantize16_scalar", Isa::Scalar, accepts_all,
                                                plan_output_rows,      nullptr,     run_dequantize};

}  // namespace openbpu::kernels
