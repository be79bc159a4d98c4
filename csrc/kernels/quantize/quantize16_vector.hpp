// QUANTIZE and DEQUANTIZE of int16 with the change of layout; included by the file of each ISA, which supplies Wide.
//
// Floats lie in the caller's memory: nothing behind a run is read or written.
#pragma once

#include "kernels/quantize/quantize_rows.hpp"
#include "kernels/wide_scale.hpp"

namespace openbpu::kernels {
namespace {

// One unit is one row of one image; scratch holds a row of one channel.
Plan plan_port16(const Quantize16Params& p) {
  return {0, align64(static_cast<std::size_t>(p.out.w) * 2), p.out.n * p.out.h};
}

bool is_port16(const View& reals, const View& steps) { return (reals.sw == 4 || reals.sc == 4) && steps.sc == 2; }
bool accepts_quantize16(const Quantize16Params& p) { return is_port16(p.in, p.out); }
bool accepts_dequantize16(const Quantize16Params& p) { return is_port16(p.out, p.in); }

OPENBPU_INLINE void quantise_run16(const std::uint8_t* in, std::uint8_t* out, std::int32_t n, float scale) {
  std::int32_t i = 0;
  for (; i + Wide::kWords <= n; i += Wide::kWords) Wide::store16(out + 2 * i, Wide::steps_of(in + 4 * i, scale));
  if (i == n) return;
  alignas(64) std::uint8_t floats[Wide::kWords * 4] = {};
  __builtin_memcpy(floats, in + 4 * i, static_cast<std::size_t>(n - i) * 4);
  store_first16(out + 2 * i, Wide::steps_of(floats, scale), n - i);
}

OPENBPU_INLINE void dequantise_run16(const std::uint8_t* in, std::uint8_t* out, std::int32_t n, float scale) {
  std::int32_t i = 0;
  for (; i + Wide::kWords <= n; i += Wide::kWords) Wide::store_reals(out + 4 * i, Wide::widen16(in + 2 * i), scale);
  if (i == n) return;
  alignas(64) std::uint8_t floats[Wide::kWords * 4];
  Wide::store_reals(floats, load_first16(in + 2 * i, n - i), scale);
  __builtin_memcpy(out + 4 * i, floats, static_cast<std::size_t>(n - i) * 4);
}

// Runs of both sides: all of a row where its pixels lie dense on both, channels of a pixel, or pixels of a channel.
template <class Whole, class Channel>
OPENBPU_INLINE void for_each_row16(const Quantize16Params& p, const View& reals, const View& steps, std::int32_t begin,
                                   std::int32_t end, Whole whole, Channel channel) {
  const bool dense = reals.sc == 4 && reals.sw == 4 * reals.c && steps.sw == 2 * steps.c;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    std::uint8_t *real = reals.data + n * reals.sn + y * reals.sh, *step = steps.data + n * steps.sn + y * steps.sh;
    if (dense)
      whole(real, step, reals.w * reals.c);
    else if (reals.sc == 4)
      for (std::int32_t x = 0; x < reals.w; ++x) whole(real + x * reals.sw, step + x * steps.sw, reals.c);
    else
      for (std::int32_t c = 0; c < reals.c; ++c) channel(real + c * reals.sc, step + 2 * c);
  }
}

void run_quantize16(const Quantize16Params& p, const std::uint8_t*, std::uint8_t* scratch, std::int32_t begin,
                    std::int32_t end) {
  for_each_row16(
      p, p.in, p.out, begin, end,
      [&](const std::uint8_t* real, std::uint8_t* step, std::int32_t n) { quantise_run16(real, step, n, p.scale); },
      [&](const std::uint8_t* real, std::uint8_t* step) {
        quantise_run16(real, scratch, p.out.w, p.scale);
        for (std::int32_t x = 0; x < p.out.w; ++x) __builtin_memcpy(step + x * p.out.sw, scratch + 2 * x, 2);
      });
}

void run_dequantize16(const Quantize16Params& p, const std::uint8_t*, std::uint8_t* scratch, std::int32_t begin,
                      std::int32_t end) {
  for_each_row16(
      p, p.out, p.in, begin, end,
      [&](std::uint8_t* real, const std::uint8_t* step, std::int32_t n) { dequantise_run16(step, real, n, p.scale); },
      [&](std::uint8_t* real, const std::uint8_t* step) {
        for (std::int32_t x = 0; x < p.in.w; ++x) __builtin_memcpy(scratch + 2 * x, step + x * p.in.sw, 2);
        dequantise_run16(scratch, real, p.in.w, p.scale);
      });
}

}  // namespace
}  // namespace openbpu::kernels
