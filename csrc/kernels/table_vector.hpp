// LUT8 by byte shuffles: sixteen tables of sixteen entries; the saturating addition pushes indices outside a table's
// range to 0x80 and above, where the shuffle gives zero.
#pragma once

#include "kernels/vector_runs.hpp"

namespace openbpu::kernels {
namespace {

// y = table[x], byte by byte; `tables` are 16 vectors.
OPENBPU_INLINE Vec::R look_up(Vec::R x, const Vec::R* tables) {
  Vec::R y = Vec::zero();
  const Vec::R outside = Vec::set8(0x70), back = Vec::set8(-16);
  for (std::int32_t k = 0; k < 16; ++k) {
    y = Vec::or_(y, Vec::shuffle(tables[k], Vec::adds_u8(x, outside)));
    x = Vec::add8(x, back);
  }
  return y;
}

// `table` maps stored bytes to stored bytes.
template <class Params>
OPENBPU_INLINE void run_table(const Params& p, const std::uint8_t* table, std::int32_t begin, std::int32_t end) {
  Vec::R tables[16];
  for (std::int32_t k = 0; k < 16; ++k) tables[k] = Vec::table16(table + 16 * k);
  for_each_run(p, p.in, begin, end, [&](const std::uint8_t* in, std::uint8_t* out, std::int32_t n) {
    for (std::int32_t i = 0; i < n; i += Vec::kBytes)
      store_run(out + i, look_up(load_run(in + i, n - i), tables), n - i);
  });
}

}  // namespace
}  // namespace openbpu::kernels
