// RESCALE from or to int16, one entry for all; included by the file of each ISA, which supplies Wide.
#pragma once

#include "kernels/rescale/rescale_rows.hpp"
#include "kernels/wide_scale.hpp"

namespace openbpu::kernels {
namespace {

Plan plan_rescale16(const Rescale16Params& p) { return {0, 0, p.out.n * p.out.h}; }

bool accepts_rescale16(const Rescale16Params& p) { return p.entry_count == 1 && fits_lanes(*p.rq.entries, 15); }

void run_rescale16(const Rescale16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const WideScale scale = uniform_scale(*p.rq.entries);
  const WideClamp clamp(p.rq);
  const std::int32_t in_size = p.stored.wide ? 2 : 1, out_size = p.rq.out.wide ? 2 : 1;
  const bool dense = p.in.sw == in_size * p.in.c && p.out.sw == out_size * p.out.c;
  const std::int32_t pixels = dense ? 1 : p.out.w, run = dense ? p.out.w * p.out.c : p.out.c;
  for (std::int32_t unit = begin; unit < end; ++unit)
    for (std::int32_t x = 0; x < pixels; ++x) {
      const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
      const std::uint8_t* in = p.in.data + n * p.in.sn + y * p.in.sh + x * p.in.sw;
      std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw;
      for (std::int32_t i = 0; i < run; i += Wide::kWords) {
        const Wide::R v = load_elements(in + i * in_size, p.stored, run - i);
        store_elements(out + i * out_size, p.rq.out, scaled(v, scale, clamp), run - i);
      }
    }
}

}  // namespace
}  // namespace openbpu::kernels
