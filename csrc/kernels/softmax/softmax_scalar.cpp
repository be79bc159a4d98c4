#include "kernels/softmax/softmax_rows.hpp"
#include "numerics/softmax.hpp"

namespace openbpu::kernels {

void softmax_pixel(const SoftmaxParams& p, const std::uint8_t* in, std::uint8_t* out) {
  const auto at = [&](std::int32_t c) { return static_cast<std::int8_t>(in[c] ^ p.flip); };
  std::int32_t top = -128;
  for (std::int32_t c = 0; c < p.in.c; ++c) top = at(c) > top ? at(c) : top;
  std::uint64_t sum = 0;
  for (std::int32_t c = 0; c < p.in.c; ++c) sum += p.exp[top - at(c)];
  const std::uint64_t R = numerics::softmax_factor(p.C, sum);
  for (std::int32_t c = 0; c < p.in.c; ++c) {
    const std::int32_t y = numerics::softmax(p.exp[top - at(c)], R, p.zero, p.lo, p.hi);
    out[c] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(y) ^ p.flip);
  }
}

namespace {

bool accepts(const SoftmaxParams&) { return true; }

// One unit is one row of pixels of one image.
Plan plan(const SoftmaxParams& p) { return {0, 0, p.out.n * p.out.h}; }

void run(const SoftmaxParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    for (std::int32_t x = 0; x < p.out.w; ++x)
      softmax_pixel(p, p.in.data + n * p.in.sn + y * p.in.sh + x * p.in.sw,
                    p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw);
  }
}

}  // namespace

const Row<SoftmaxParams> kSoftmaxScalar{"softmax_scalar", Isa::Scalar, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
