// DWCONV2D of int16; included by the file of each ISA, which supplies Wide. A unit is an output row: the rows under it
// are copied with their padding, then every register of channels adds up its taps in int32.
#pragma once

#include "kernels/dwconv/dwconv_rows.hpp"
#include "kernels/padding.hpp"
#include "kernels/wide_scale.hpp"

namespace openbpu::kernels {
namespace {

constexpr std::int32_t kMostTaps16 = 511;  // 128 * 511 * 2^15 < 2^31

OPENBPU_INLINE std::int32_t window_columns16(const DwConv16Params& p) {
  return (p.out.w - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w + 1;
}

// Packed: for each register of channels its scale, then its weights as int32 [taps][kWords].
OPENBPU_INLINE std::size_t register_bytes16(const DwConv16Params& p) {
  return align64(sizeof(WideScale) + static_cast<std::size_t>(p.kernel_h * p.kernel_w) * Wide::kWords * 4);
}

Plan plan_dwconv16(const DwConv16Params& p) {
  const std::int32_t registers = ceil_div(p.out.c, Wide::kWords);
  const std::size_t row = static_cast<std::size_t>(window_columns16(p)) * static_cast<std::size_t>(p.in.c) * 2;
  return {register_bytes16(p) * static_cast<std::size_t>(registers),
          align64(static_cast<std::size_t>(p.kernel_h) * row + kSlack), p.out.n * p.out.h};
}

bool accepts_dwconv16(const DwConv16Params& p) {
  return p.rq.out.wide && p.in.sc == 2 && p.out.sc == 2 && p.kernel_h * p.kernel_w <= kMostTaps16 &&
         all_fit_lanes(p.rq.entries, p.out.c);
}

[[gnu::cold]] void pack_dwconv16(const DwConv16Params& p, std::uint8_t* packed) {
  const std::int32_t taps = p.kernel_h * p.kernel_w;
  for (std::int32_t first = 0; first < p.out.c; first += Wide::kWords, packed += register_bytes16(p)) {
    auto& scale = *reinterpret_cast<WideScale*>(packed);
    auto* weights = reinterpret_cast<std::int32_t*>(packed + sizeof(WideScale));
    for (std::int32_t lane = 0; lane < Wide::kWords; ++lane) {
      const std::int32_t c = first + lane;
      const bool used = c < p.out.c;
      set_lane(scale, lane, used ? p.rq.entries[c] : Rq16Entry{0, 1, 1, {}});
      for (std::int32_t tap = 0; tap < taps; ++tap)
        weights[tap * Wide::kWords + lane] = used ? p.weights[(c / 16 * taps + tap) * 16 + c % 16] : 0;
    }
  }
}

OPENBPU_INLINE void run_register16(const DwConv16Params& p, const std::uint8_t* packed, const std::uint8_t* window,
                                   std::uint8_t* out, std::int32_t channels) {
  const auto& scale = *reinterpret_cast<const WideScale*>(packed);
  const std::uint8_t* weights = packed + sizeof(WideScale);
  const WideClamp clamp(p.rq);
  const std::int64_t pixel = std::int64_t{2} * p.in.c, row = pixel * window_columns16(p);
  for (std::int32_t x = 0; x < p.out.w; ++x, window += p.stride_w * pixel, out += p.out.sw) {
    Wide::R sum = Wide::zero();
    const std::uint8_t* w = weights;
    for (std::int32_t ky = 0; ky < p.kernel_h; ++ky)
      for (std::int32_t kx = 0; kx < p.kernel_w; ++kx, w += 4 * Wide::kWords)
        sum =
            Wide::add(sum, Wide::multiply(Wide::widen16(window + ky * row + kx * p.dilation_w * pixel), Wide::load(w)));
    store_first16(out, scaled(sum, scale, clamp), channels);
  }
}

void run_dwconv16(const DwConv16Params& p, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin,
                  std::int32_t end) {
  View bytes = p.in;  // pixels of 2 * c bytes
  bytes.c = 2 * p.in.c;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, oy = unit % p.out.h;
    copy_padded(bytes, n, {oy * p.stride_h - p.pad_top, p.dilation_h, p.kernel_h, -p.pad_left, window_columns16(p)}, 0,
                scratch);
    std::uint8_t* out = p.out.data + n * p.out.sn + oy * p.out.sh;
    for (std::int32_t c = 0; c < p.out.c; c += Wide::kWords)
      run_register16(p, packed + static_cast<std::size_t>(c / Wide::kWords) * register_bytes16(p), scratch + 2 * c,
                     out + 2 * c, p.out.c - c);
  }
}

}  // namespace
}  // namespace openbpu::kernels
