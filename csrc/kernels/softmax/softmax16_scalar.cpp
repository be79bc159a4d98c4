#include "kernels/elements.hpp"
#include "kernels/softmax/softmax_rows.hpp"
#include "numerics/int16.hpp"
#include "numerics/softmax.hpp"

namespace openbpu::kernels {
namespace {

void run_pixel(const Softmax16Params& p, std::int32_t n, std::int32_t y, std::int32_t x) {
  const auto at = [&](std::int32_t c) { return load_element(element_at(p.in, n, y, x, c), kInt16); };
  std::int32_t top = -32768;
  for (std::int32_t c = 0; c < p.in.c; ++c) top = at(c) > top ? at(c) : top;
  const auto exponential = [&](std::int32_t c) {
    return static_cast<std::uint32_t>(numerics::interpolate(p.exp, top - at(c), p.shift));
  };
  std::uint64_t sum = 0;
  for (std::int32_t c = 0; c < p.in.c; ++c) sum += exponential(c);
  const std::uint64_t R = numerics::softmax_factor(p.C, sum);
  for (std::int32_t c = 0; c < p.in.c; ++c)
    store_element(element_at(p.out, n, y, x, c), p.stored, numerics::softmax(exponential(c), R, p.zero, p.lo, p.hi));
}

void run(const Softmax16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for (std::int32_t unit = begin; unit < end; ++unit)
    for (std::int32_t x = 0; x < p.out.w; ++x) run_pixel(p, unit / p.out.h, unit % p.out.h, x);
}

}  // namespace

const Row<Softmax16Params> kSoftmax16Scalar{"softmax16_scalar", Isa::Scalar, accepts_all,
                                            plan_output_rows,   nullptr,     run};

}  // namespace openbpu::kernels
