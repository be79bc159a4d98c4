// SOFTMAX of int16; included by the file of each ISA, which supplies Wide.
//
// E * R has up to 63 bits: R = 2^31 * high + low, and both products meet in 64 bits.
#pragma once

#include "kernels/softmax/softmax_rows.hpp"
#include "kernels/wide_scale.hpp"
#include "kernels/wide_table.hpp"

namespace openbpu::kernels {
namespace {

bool accepts_softmax16(const Softmax16Params&) { return true; }

// One unit is one row of one image; scratch holds the exponentials of a pixel.
Plan plan_softmax16(const Softmax16Params& p) {
  const auto registers = static_cast<std::size_t>(ceil_div(p.in.c, Wide::kWords));
  return {0, registers * Wide::kWords * 4, p.out.n * p.out.h};
}

OPENBPU_INLINE std::int32_t highest_lane(Wide::R v) {
  alignas(64) std::int32_t lanes[Wide::kWords];
  Wide::store32(lanes, v);
  std::int32_t most = lanes[0];
  for (const std::int32_t lane : lanes) most = max(most, lane);
  return most;
}

// n values; what a register has more of are copies of the first one.
OPENBPU_INLINE Wide::R load_filled16(const std::uint8_t* in, std::int32_t n, const std::uint8_t* filling) {
  if (n >= Wide::kWords) return Wide::widen16(in);
  std::int16_t first;
  __builtin_memcpy(&first, filling, sizeof first);
  alignas(64) std::uint8_t words[Wide::kWords * 2];
  Wide::store16(words, Wide::set(first));
  __builtin_memcpy(words, in, static_cast<std::size_t>(n) * 2);
  return Wide::widen16(words);
}

void run_pixel16(const Softmax16Params& p, const WideTable& table, const std::uint8_t* in, std::uint8_t* out,
                 std::int32_t* exponentials) {
  const std::int32_t n = p.in.c, size = p.stored.wide ? 2 : 1;
  Wide::R most = Wide::set(-32768);
  for (std::int32_t i = 0; i < n; i += Wide::kWords) most = Wide::maximum(most, load_filled16(in + 2 * i, n - i, in));
  const Wide::R top = Wide::set(highest_lane(most));
  for (std::int32_t i = 0; i < n; i += Wide::kWords)
    Wide::store32(exponentials + i,
                  interpolated<false>(table, Wide::subtract(top, load_filled16(in + 2 * i, n - i, in))));
  std::uint64_t sum = 0;
  for (std::int32_t i = 0; i < n; ++i) sum += static_cast<std::uint32_t>(exponentials[i]);
  const std::uint64_t R = (p.C + sum / 2) / sum;
  const WideScale high = uniform_scale({0, static_cast<std::int32_t>(R >> 31), 0, {}});
  const WideScale low = uniform_scale({std::int64_t{1} << 37, static_cast<std::int32_t>(R & 0x7fffffff), 38, {}});
  const WideClamp clamp(p.lo, p.hi);
  const Wide::R zero = Wide::set(p.zero);
  for (std::int32_t i = 0; i < n; i += Wide::kWords) {
    const Wide::R E = Wide::load(exponentials + i);
    const Wide::R y = Wide::add(scaled_sum<31>(E, high, E, low), zero);
    store_elements(out + i * size, p.stored, Wide::clamp(y, clamp.lo, clamp.hi), n - i);
  }
}

void run_softmax16(const Softmax16Params& p, const std::uint8_t*, std::uint8_t* scratch, std::int32_t begin,
                   std::int32_t end) {
  const WideTable table(p.exp, p.shift);
  for (std::int32_t unit = begin; unit < end; ++unit)
    for (std::int32_t x = 0; x < p.out.w; ++x) {
      const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
      run_pixel16(p, table, p.in.data + n * p.in.sn + y * p.in.sh + x * p.in.sw,
                  p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw, reinterpret_cast<std::int32_t*>(scratch));
    }
}

}  // namespace
}  // namespace openbpu::kernels
