#pragma once

#include "kernels/conv/conv.hpp"

namespace openbpu::kernels {

extern const Row<ConvParams> kConvScalar;

}  // namespace openbpu::kernels
