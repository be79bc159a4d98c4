#include "kernels/cpu/vector.hpp"

namespace openbpu::kernels::cpu {

const Vector& vector_of(Isa isa) {
#ifdef OPENBPU_HAS_AVX512VNNI
  if (isa == Isa::Avx512Vnni) return kAvx512Vector;
#endif
#ifdef OPENBPU_HAS_AVX2
  if (isa == Isa::Avx2) return kAvx2Vector;
#endif
  (void)isa;
  return kScalarVector;
}

}  // namespace openbpu::kernels::cpu
