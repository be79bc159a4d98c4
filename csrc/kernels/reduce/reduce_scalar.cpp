#include <cstring>

#include "kernels/elements.hpp"
#include "kernels/reduce/reduce_rows.hpp"
#include "numerics/elementwise.hpp"

namespace openbpu::kernels {
namespace {

// Calls op(channels, out) for each pixel of units [begin, end).
template <class Params, class Op>
void for_each(const Params& p, std::int32_t begin, std::int32_t end, Op op) {
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    for (std::int32_t x = 0; x < p.out.w; ++x)
      op(p.in.data + n * p.in.sn + y * p.in.sh + x * p.in.sw, p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw);
  }
}

template <class Params>
std::int32_t value(const Params& p, const std::uint8_t* in, std::int32_t c) {
  return static_cast<std::int8_t>(in[c] ^ p.flip);
}

std::int32_t extreme(const ReduceParams& p, const std::uint8_t* in) {
  std::int32_t best = value(p, in, 0);
  for (std::int32_t c = 1; c < p.in.c; ++c) {
    const std::int32_t x = value(p, in, c);
    if (p.kind == Reduction::Largest ? x > best : x < best) best = x;
  }
  return best;
}

std::int64_t total(const ReduceParams& p, const std::uint8_t* in) {
  std::int64_t sum = 0;
  for (std::int32_t c = 0; c < p.in.c; ++c) {
    const std::int32_t x = value(p, in, c) - p.in_zero;
    sum += p.kind == Reduction::Sum ? x : p.kind == Reduction::Magnitudes ? (x < 0 ? -x : x) : x * x;
  }
  return p.kind == Reduction::Norm ? numerics::root(sum << 30) : sum;
}

void run_reduce(const ReduceParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const bool extremes = p.kind == Reduction::Largest || p.kind == Reduction::Smallest;
  for_each(p, begin, end, [&](const std::uint8_t* in, std::uint8_t* out) {
    const std::int32_t y = extremes ? numerics::clamp(extreme(p, in), p.lo, p.hi)
                                    : numerics::mean(total(p, in), p.m, p.sh, p.zero, p.lo, p.hi);
    *out = static_cast<std::uint8_t>(static_cast<std::uint8_t>(y) ^ p.flip);
  });
}

void run_argmax(const ArgMaxParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each(p, begin, end, [&](const std::uint8_t* in, std::uint8_t* out) {
    std::int32_t best = 0;
    for (std::int32_t c = 1; c < p.in.c; ++c)
      if (value(p, in, c) > value(p, in, best)) best = c;
    const std::int64_t index = best;  // at any address
    std::memcpy(out, &index, sizeof index);
  });
}

}  // namespace

const Row<ReduceParams> kReduceScalar{"reduce_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run_reduce};
const Row<ArgMaxParams> kArgMaxScalar{"argmax_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run_argmax};

}  // namespace openbpu::kernels
