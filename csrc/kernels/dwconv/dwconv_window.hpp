// Units of a few output rows over all channels, whose input rows are copied with their padding, so that a tap is an
// offset; included by the file of each ARM row.
#pragma once

#include "kernels/arithmetic.hpp"
#include "kernels/dwconv/dwconv_rows.hpp"
#include "kernels/padding.hpp"

namespace openbpu::kernels {
namespace {

struct DwWindow {
  std::int32_t unit_rows, row_units;
  std::int32_t rows, columns, row_step;  // of the window; row_step: input rows from one window row to the next
};

DwWindow window_of(const DwConvParams& p) {
  constexpr std::int32_t kUnitRows = 4;
  DwWindow w{};
  // With dilation the rows of neighbouring outputs interleave: one at a time.
  w.unit_rows = p.dilation_h > 1 ? 1 : min(p.out.h, kUnitRows);
  w.row_units = ceil_div(p.out.h, w.unit_rows);
  w.row_step = w.unit_rows == 1 ? p.dilation_h : 1;
  w.rows = (w.unit_rows - 1) * p.stride_h + p.kernel_h;
  w.columns = (p.out.w - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w + 1;
  return w;
}

Plan plan_window(const DwConvParams& p, std::size_t packed_bytes) {
  const DwWindow w = window_of(p);
  const std::size_t bytes =
      static_cast<std::size_t>(w.rows) * static_cast<std::size_t>(w.columns) * static_cast<std::size_t>(p.in.c);
  return {packed_bytes, align64(bytes + kSlack), p.out.n * w.row_units};
}

Region region(const DwConvParams& p, std::int32_t unit) {
  const DwWindow w = window_of(p);
  const std::int32_t y = unit % w.row_units * w.unit_rows;
  return {unit / w.row_units, y, min(w.unit_rows, p.out.h - y), 0, p.out.w, 0, p.out.c, false};
}

// Calls use(out, rows) for each unit, the address and number of its output rows, its window in `scratch`.
template <class Use>
OPENBPU_INLINE void for_each_window(const DwConvParams& p, const DwWindow& w, std::uint8_t* scratch, std::int32_t begin,
                                    std::int32_t end, Use use) {
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / w.row_units, y = unit % w.row_units * w.unit_rows;
    const std::int32_t rows = min(w.unit_rows, p.out.h - y);
    const PaddedWindow window{y * p.stride_h - p.pad_top, w.row_step, (rows - 1) * p.stride_h + p.kernel_h, -p.pad_left,
                              w.columns};
    copy_padded(p.in, n, window, static_cast<std::uint8_t>(static_cast<std::uint8_t>(p.in_zero) ^ p.flip), scratch);
    use(p.out.data + n * p.out.sn + y * p.out.sh, rows);
  }
}

}  // namespace
}  // namespace openbpu::kernels
