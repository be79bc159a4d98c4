// The rows of add_rows(), mul_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/eltwise/eltwise.hpp"

namespace openbpu::kernels {

extern const Row<AddParams> kAddAvx512Vnni;
extern const Row<AddParams> kAddAvx2;
extern const Row<AddParams> kAddNeon;
extern const Row<AddParams> kAddScalar;
extern const Row<MulParams> kMulAvx512Vnni;
extern const Row<MulParams> kMulAvx2;
extern const Row<MulParams> kMulNeon;
extern const Row<MulParams> kMulScalar;

}  // namespace openbpu::kernels
