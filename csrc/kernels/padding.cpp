#include "kernels/padding.hpp"

#include <algorithm>
#include <cstring>

namespace openbpu::kernels {
namespace {

void copy_pixels(const std::uint8_t* from, std::int64_t step, std::int32_t count, std::size_t c, std::uint8_t* to) {
  if (step == static_cast<std::int64_t>(c)) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * c);
    return;
  }
  for (std::int32_t x = 0; x < count; ++x, from += step, to += c) std::memcpy(to, from, c);
}

}  // namespace

void copy_padded(const View& in, std::int32_t n, const PaddedWindow& window, std::uint8_t byte, std::uint8_t* to) {
  const auto c = static_cast<std::size_t>(in.c);
  const std::int32_t left = std::clamp(-window.x0, 0, window.columns);
  const std::int32_t right = std::clamp(in.w - window.x0, left, window.columns);
  for (std::int32_t row = 0; row < window.rows; ++row) {
    const std::int32_t y = window.y0 + row * window.y_step;
    if (y < 0 || y >= in.h) {
      std::memset(to, byte, static_cast<std::size_t>(window.columns) * c);
    } else {
      const std::uint8_t* from = in.data + n * in.sn + y * in.sh + (window.x0 + left) * in.sw;
      std::memset(to, byte, static_cast<std::size_t>(left) * c);
      copy_pixels(from, in.sw, right - left, c, to + static_cast<std::size_t>(left) * c);
      std::memset(to + static_cast<std::size_t>(right) * c, byte, static_cast<std::size_t>(window.columns - right) * c);
    }
    to += static_cast<std::size_t>(window.columns) * c;
  }
}

}  // namespace openbpu::kernels
