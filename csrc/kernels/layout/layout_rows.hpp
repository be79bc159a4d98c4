// The rows of copy_rows(), fill_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/layout/layout.hpp"

namespace openbpu::kernels {

extern const Row<CopyParams> kCopyAvx512Vnni;
extern const Row<CopyParams> kCopyAvx2;
extern const Row<CopyParams> kCopyNeon;
extern const Row<CopyParams> kCopyScalar;
extern const Row<FillParams> kFillScalar;

}  // namespace openbpu::kernels
