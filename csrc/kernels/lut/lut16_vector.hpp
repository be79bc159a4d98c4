// LUT16; included by the file of each ISA, which supplies Wide.
#pragma once

#include "kernels/lut/lut_rows.hpp"
#include "kernels/wide_scale.hpp"
#include "kernels/wide_table.hpp"

namespace openbpu::kernels {
namespace {

bool accepts_lut16(const Lut16Params&) { return true; }

// One unit is one row of one image.
Plan plan_lut16(const Lut16Params& p) { return {0, 0, p.out.n * p.out.h}; }

void run_lut16(const Lut16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const WideTable table(p.table, p.shift);
  const Wide::R lowest = Wide::set(-32768);
  const bool dense = p.in.sw == 2 * p.in.c && p.out.sw == 2 * p.out.c;
  const std::int32_t pixels = dense ? 1 : p.out.w, run = dense ? p.out.w * p.out.c : p.out.c;
  for (std::int32_t unit = begin; unit < end; ++unit)
    for (std::int32_t x = 0; x < pixels; ++x) {
      const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
      const std::uint8_t* in = p.in.data + n * p.in.sn + y * p.in.sh + x * p.in.sw;
      std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw;
      for (std::int32_t i = 0; i < run; i += Wide::kWords) {
        const Wide::R at = Wide::subtract(load_first16(in + 2 * i, run - i), lowest);
        store_first16(out + 2 * i, interpolated<true>(table, at), run - i);
      }
    }
}

}  // namespace
}  // namespace openbpu::kernels
