#include "kernels/elements.hpp"
#include "kernels/pool/pool_rows.hpp"
#include "numerics/elementwise.hpp"

namespace openbpu::kernels {
namespace {

// Calls start(), tap(value) for each tap inside the input and finish(taps) -> result, for each output.
template <class Params, class Start, class Tap, class Finish>
void for_each(const Params& p, std::int32_t begin, std::int32_t end, Start start, Tap tap, Finish finish) {
  const PoolGeometry& g = p.window;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, oy = unit % p.out.h;
    for (std::int32_t ox = 0; ox < p.out.w; ++ox)
      for (std::int32_t c = 0; c < p.out.c; ++c) {
        start();
        std::int32_t taps = 0;
        for (std::int32_t ky = 0; ky < g.kernel_h; ++ky)
          for (std::int32_t kx = 0; kx < g.kernel_w; ++kx) {
            const std::int32_t iy = oy * g.stride_h - g.pad_top + ky * g.dilation_h;
            const std::int32_t ix = ox * g.stride_w - g.pad_left + kx * g.dilation_w;
            if (iy < 0 || iy >= p.in.h || ix < 0 || ix >= p.in.w) continue;
            tap(static_cast<std::int8_t>(p.in.data[n * p.in.sn + iy * p.in.sh + ix * p.in.sw + c] ^ p.flip));
            ++taps;
          }
        p.out.data[n * p.out.sn + oy * p.out.sh + ox * p.out.sw + c] =
            static_cast<std::uint8_t>(static_cast<std::uint8_t>(finish(taps)) ^ p.flip);
      }
  }
}

void run_max(const MaxPoolParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  std::int32_t best = -128;
  for_each(
      p, begin, end, [&] { best = -128; }, [&](std::int32_t x) { best = x > best ? x : best; },
      [&](std::int32_t) { return best; });
}

void run_average(const AvgPoolParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  std::int64_t sum = 0;
  for_each(
      p, begin, end, [&] { sum = 0; }, [&](std::int32_t x) { sum += x - p.in_zero; },
      [&](std::int32_t taps) {
        const PoolScale& scale = p.scales[p.scale_count == 1 || taps == 0 ? 0 : taps - 1];
        return numerics::mean(sum, scale.m, static_cast<std::int32_t>(scale.sh), p.zero, p.lo, p.hi);
      });
}

}  // namespace

const Row<MaxPoolParams> kMaxPoolScalar{"maxpool_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run_max};
const Row<AvgPoolParams> kAvgPoolScalar{"avgpool_scalar", Isa::Scalar, accepts_all,
                                        plan_output_rows, nullptr,     run_average};

}  // namespace openbpu::kernels
