// The rows of maxpool_rows(), avgpool_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/pool/pool.hpp"

namespace openbpu::kernels {

extern const Row<MaxPoolParams> kMaxPoolAvx512Vnni;
extern const Row<MaxPoolParams> kMaxPoolAvx2;
extern const Row<MaxPoolParams> kMaxPoolNeon;
extern const Row<MaxPoolParams> kMaxPoolScalar;
extern const Row<AvgPoolParams> kAvgPoolAvx512Vnni;
extern const Row<AvgPoolParams> kAvgPoolAvx2;
extern const Row<AvgPoolParams> kAvgPoolNeon;
extern const Row<AvgPoolParams> kAvgPoolScalar;
extern const Row<MaxPool16Params> kMaxPool16Avx512Vnni;
extern const Row<MaxPool16Params> kMaxPool16Avx2;
extern const Row<MaxPool16Params> kMaxPool16Neon;
extern const Row<MaxPool16Params> kMaxPool16Scalar;
extern const Row<AvgPool16Params> kAvgPool16Avx512Vnni;
extern const Row<AvgPool16Params> kAvgPool16Avx2;
extern const Row<AvgPool16Params> kAvgPool16Neon;
extern const Row<AvgPool16Params> kAvgPool16Scalar;

}  // namespace openbpu::kernels
