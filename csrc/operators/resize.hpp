// Scales and regions of Resize, per axis.
#pragma once

#include "operators/rules.hpp"

namespace openbpu::operators {

struct ResizeAxes {
  bool changes[kMaxRank];
  double scale[kMaxRank];
  double start[kMaxRank], end[kMaxRank];  // region of tf_crop_and_resize
};

Fault resize_axes_of(const Call& call, ResizeAxes& resize);

}  // namespace openbpu::operators
