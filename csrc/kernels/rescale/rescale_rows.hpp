// The rows of rescale_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/rescale/rescale.hpp"

namespace openbpu::kernels {

extern const Row<RescaleParams> kRescaleAvx512Vnni;
extern const Row<RescaleParams> kRescaleAvx2;
extern const Row<RescaleParams> kRescaleNeon;
extern const Row<RescaleParams> kRescaleScalar;
extern const Row<Rescale16Params> kRescale16Avx512Vnni;
extern const Row<Rescale16Params> kRescale16Avx2;
extern const Row<Rescale16Params> kRescale16Neon;
extern const Row<Rescale16Params> kRescale16Scalar;

}  // namespace openbpu::kernels
