#include "kernels/canonical_weights.hpp"
#include "kernels/tconv/tconv_rows.hpp"
#include "kernels/tconv/tconv_source.hpp"
#include "numerics/rq8.hpp"

namespace openbpu::kernels {
namespace {

bool accepts(const TConvParams&) { return true; }

// One unit is one output row of one image.
Plan plan(const TConvParams& p) { return {0, 0, p.out.n * p.out.h}; }

void run(const TConvParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const std::int32_t ci = p.in.c / p.groups, co = p.out.c / p.groups, taps = p.kernel_h * p.kernel_w;
  const CanonicalWeights weights{p.weights, co, taps, ci};
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, oy = unit % p.out.h;
    for (std::int32_t ox = 0; ox < p.out.w; ++ox)
      for (std::int32_t oc = 0; oc < p.out.c; ++oc) {
        const std::int32_t group = oc / co, o = oc % co;
        std::uint32_t acc = 0;
        for (std::int32_t tap = 0; tap < taps; ++tap) {
          const std::int32_t iy = tconv_source(oy, tap / p.kernel_w, p.stride_h, p.dilation_h, p.pad_top, p.in.h);
          const std::int32_t ix = tconv_source(ox, tap % p.kernel_w, p.stride_w, p.dilation_w, p.pad_left, p.in.w);
          const bool inside = iy >= 0 && ix >= 0;
          const std::uint8_t* pixel = p.in.data + n * p.in.sn + iy * p.in.sh + ix * p.in.sw + group * ci;
          for (std::int32_t i = 0; i < ci; ++i) {
            const std::int32_t x = inside ? static_cast<std::int8_t>(pixel[i] ^ p.flip) : p.in_zero;
            acc += static_cast<std::uint32_t>(weights.at(group, o, tap, i) * x);
          }
        }
        const std::int32_t y =
            numerics::rq8(static_cast<std::int32_t>(acc), p.rq.B[oc], p.rq.m[oc], p.rq.s[oc], p.rq.L, p.rq.lo, p.rq.hi);
        p.out.data[n * p.out.sn + oy * p.out.sh + ox * p.out.sw + oc] =
            static_cast<std::uint8_t>(static_cast<std::uint8_t>(y) ^ p.flip);
      }
  }
}

}  // namespace

const Row<TConvParams> kTConvScalar{"tconv_scalar", Isa::Scalar, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
