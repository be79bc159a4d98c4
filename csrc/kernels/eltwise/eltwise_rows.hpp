// The rows of add_rows(), mul_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/eltwise/eltwise.hpp"

namespace openbpu::kernels {

extern const Row<AddParams> kAddScalar;
extern const Row<MulParams> kMulScalar;

}  // namespace openbpu::kernels
