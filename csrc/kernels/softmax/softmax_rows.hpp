// The rows of softmax_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/softmax/softmax.hpp"

namespace openbpu::kernels {

extern const Row<SoftmaxParams> kSoftmaxAvx512Vbmi;
extern const Row<SoftmaxParams> kSoftmaxAvx512Vnni;
extern const Row<SoftmaxParams> kSoftmaxAvx2;
extern const Row<SoftmaxParams> kSoftmaxNeon;
extern const Row<SoftmaxParams> kSoftmaxScalar;
extern const Row<Softmax16Params> kSoftmax16Avx512Vnni;
extern const Row<Softmax16Params> kSoftmax16Avx2;
extern const Row<Softmax16Params> kSoftmax16Neon;
extern const Row<Softmax16Params> kSoftmax16Scalar;

// One pixel, in the scalar row's way.
void softmax_pixel(const SoftmaxParams& p, const std::uint8_t* in, std::uint8_t* out);

}  // namespace openbpu::kernels
