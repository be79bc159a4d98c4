#include "kernels/cpu/vector.hpp"
// clang-format off: the lanes come before the loops
#include "kernels/cpu/lanes_avx2.hpp"
#define OPENBPU_TILE_ROWS 6
#define OPENBPU_TILE_LANES 1
#include "kernels/cpu/vector_loops.hpp"
// clang-format on

namespace openbpu::kernels::cpu {

extern const Vector kAvx2Vector = vector_of_this_isa("avx2");

}  // namespace openbpu::kernels::cpu
