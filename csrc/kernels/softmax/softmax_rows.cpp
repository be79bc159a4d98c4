#include "kernels/softmax/softmax_rows.hpp"

namespace openbpu::kernels {

Rows<SoftmaxParams> softmax_rows() {
  static const Row<SoftmaxParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VBMI
      kSoftmaxAvx512Vbmi,
#endif
#ifdef OPENBPU_HAS_AVX512VNNI
      kSoftmaxAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kSoftmaxAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kSoftmaxNeon,
#endif
      kSoftmaxScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<Softmax16Params> softmax16_rows() {
  static const Row<Softmax16Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kSoftmax16Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kSoftmax16Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kSoftmax16Neon,
#endif
      kSoftmax16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
