#include "kernels/cpu/vector.hpp"
// clang-format off: the lanes come before the loops
#include "kernels/cpu/lanes_avx512.hpp"
#define OPENBPU_TILE_ROWS 12
#define OPENBPU_TILE_LANES 2
#include "kernels/cpu/vector_loops.hpp"
// clang-format on

namespace openbpu::kernels::cpu {

extern const Vector kAvx512Vector = vector_of_this_isa("avx512vnni");

}  // namespace openbpu::kernels::cpu
