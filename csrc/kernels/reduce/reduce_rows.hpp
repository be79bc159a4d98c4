// The rows of reduce_rows(), argmax_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/reduce/reduce.hpp"

namespace openbpu::kernels {

extern const Row<ReduceParams> kReduceAvx512Vnni;
extern const Row<ReduceParams> kReduceAvx2;
extern const Row<ReduceParams> kReduceNeon;
extern const Row<ReduceParams> kReduceScalar;
extern const Row<ArgMaxParams> kArgMaxAvx512Vnni;
extern const Row<ArgMaxParams> kArgMaxAvx2;
extern const Row<ArgMaxParams> kArgMaxNeon;
extern const Row<ArgMaxParams> kArgMaxScalar;

}  // namespace openbpu::kernels
