#include <cstring>

#include "kernels/quantize/quantize_rows.hpp"
#include "numerics/quantise.hpp"

namespace openbpu::kernels {
namespace {

bool accepts(const QuantizeParams&) { return true; }

// One unit is one row of one image.
Plan plan(const QuantizeParams& p) { return {0, 0, p.out.n * p.out.h}; }

// Calls op(in, out) with the addresses of each element of units [begin, end).
template <class Op>
void for_each(const QuantizeParams& p, std::int32_t begin, std::int32_t end, Op op) {
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    for (std::int32_t x = 0; x < p.out.w; ++x)
      for (std::int32_t c = 0; c < p.out.c; ++c)
        op(p.in.data + n * p.in.sn + y * p.in.sh + x * p.in.sw + c * p.in.sc,
           p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw + c * p.out.sc);
  }
}

void run_quantize(const QuantizeParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each(p, begin, end, [&p](const std::uint8_t* in, std::uint8_t* out) {
    float x;
    std::memcpy(&x, in, sizeof x);
    *out = static_cast<std::uint8_t>(static_cast<std::uint8_t>(numerics::quantise(x, p.scale, p.zero)) ^ p.flip);
  });
}

void run_dequantize(const QuantizeParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each(p, begin, end, [&p](const std::uint8_t* in, std::uint8_t* out) {
    const float x = numerics::dequantise(static_cast<std::int8_t>(*in ^ p.flip), p.scale, p.zero);
    std::memcpy(out, &x, sizeof x);
  });
}

}  // namespace

const Row<QuantizeParams> kQuantizeScalar{"quantize_scalar", Isa::Scalar, accepts, plan, nullptr, run_quantize};
const Row<QuantizeParams> kDequantizeScalar{"dequantize_scalar", Isa::Scalar, accepts, plan, nullptr, run_dequantize};

}  // namespace openbpu::kernels
