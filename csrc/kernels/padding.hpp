// A window of the input with its padding made real, so that a kernel over it needs no borders.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

// Rows y0, y0 + y_step, ... and columns x0, x0 + 1, ... of the input; either may lie outside of it.
struct PaddedWindow {
  std::int32_t y0, y_step, rows;
  std::int32_t x0, columns;
};

// Copies the window of image n to dense [rows][columns][c]; positions outside the input become `byte`.
void copy_padded(const View& in, std::int32_t n, const PaddedWindow& window, std::uint8_t byte, std::uint8_t* to);

}  // namespace openbpu::kernels
