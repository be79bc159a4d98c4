#include "kernels/reduce/reduce_rows.hpp"

namespace openbpu::kernels {

Rows<ReduceParams> reduce_rows() {
  static const Row<ReduceParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kReduceAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kReduceAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kReduceNeon,
#endif
      kReduceScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<ArgMaxParams> argmax_rows() {
  static const Row<ArgMaxParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kArgMaxAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kArgMaxAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kArgMaxNeon,
#endif
      kArgMaxScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
