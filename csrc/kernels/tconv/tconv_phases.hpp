// Which inputs the outputs of a transposed convolution see: those with the same remainder modulo the stride see the
// same taps, at fixed distances in the input.
#pragma once

#include "kernels/arithmetic.hpp"

namespace openbpu::kernels {
namespace {

// One axis: output o = stride * q + phase reads input q + distance through tap k.
struct Axis {
  std::int32_t kernel, stride, dilation, pad;
  std::int32_t nearest, farthest;  // least and greatest distance of all phases and taps

  bool sees(std::int32_t phase, std::int32_t k) const { return (phase + pad - k * dilation) % stride == 0; }
  std::int32_t distance(std::int32_t phase, std::int32_t k) const { return (phase + pad - k * dilation) / stride; }
};

Axis make_axis(std::int32_t kernel, std::int32_t stride, std::int32_t dilation, std::int32_t pad) {
  Axis axis{kernel, stride, dilation, pad, INT32_MAX, INT32_MIN};
  for (std::int32_t phase = 0; phase < stride; ++phase)
    for (std::int32_t k = 0; k < kernel; ++k)
      if (axis.sees(phase, k)) {
        axis.nearest = min(axis.nearest, axis.distance(phase, k));
        axis.farthest = max(axis.farthest, axis.distance(phase, k));
      }
  return axis;
}

}  // namespace
}  // namespace openbpu::kernels
