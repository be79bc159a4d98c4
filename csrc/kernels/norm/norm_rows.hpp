// The rows of norm_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/norm/norm.hpp"

namespace openbpu::kernels {

extern const Row<NormParams> kNormAvx512Vnni;
extern const Row<NormParams> kNormAvx2;
extern const Row<NormParams> kNormNeon;
extern const Row<NormParams> kNormScalar;

}  // namespace openbpu::kernels
