#include "kernels/cpu/vector.hpp"
// clang-format off: the lanes come before the loops
#include "kernels/cpu/lanes_scalar.hpp"
#define OPENBPU_TILE_ROWS 4
#define OPENBPU_TILE_LANES 1
#include "kernels/cpu/vector_loops.hpp"
// clang-format on

namespace openbpu::kernels::cpu {

extern const Vector kScalarVector = vector_of_this_isa("scalar");

}  // namespace openbpu::kernels::cpu
