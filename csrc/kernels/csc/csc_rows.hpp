// The rows of csc_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/csc/csc.hpp"

namespace openbpu::kernels {

extern const Row<CscParams> kCscAvx512Vnni;
extern const Row<CscParams> kCscAvx2;
extern const Row<CscParams> kCscNeon;
extern const Row<CscParams> kCscScalar;

}  // namespace openbpu::kernels
