// Sums of products of int16 by constant weights, element by element, for the scalar rows of CONV2D and TCONV2D.
#pragma once

#include "kernels/canonical_weights.hpp"
#include "kernels/elements.hpp"
#include "numerics/elementwise.hpp"

namespace openbpu::kernels {

// row(oy, ky) and column(ox, kx): the input row or column under a tap, -1 where there is none.
template <class Params, class Row, class Column>
void run_products16(const Params& p, std::int32_t begin, std::int32_t end, Row row, Column column) {
  const std::int32_t ci = p.in.c / p.groups, co = p.out.c / p.groups, taps = p.kernel_h * p.kernel_w;
  const CanonicalWeights weights{p.weights, co, taps, ci};
  for_each_element(p.out, begin, end, [&](std::int32_t n, std::int32_t oy, std::int32_t ox, std::int32_t oc) {
    std::int64_t acc = 0;
    for (std::int32_t tap = 0; tap < taps; ++tap) {
      const std::int32_t iy = row(oy, tap / p.kernel_w), ix = column(ox, tap % p.kernel_w);
      if (iy < 0 || ix < 0) continue;
      const std::uint8_t* pixel = element_at(p.in, n, iy, ix, oc / co * ci);
      for (std::int32_t i = 0; i < ci; ++i)
        acc += weights.at(oc / co, oc % co, tap, i) * load_element(pixel + 2 * i, kInt16);
    }
    const Rq16Entry& e = p.rq.entries[oc];
    store_element(element_at(p.out, n, oy, ox, oc), p.rq.out, numerics::rq16(acc, e.bias, e.m, e.sh, p.rq.lo, p.rq.hi));
  });
}

}  // namespace openbpu::kernels
