// SELECT: y = condition != 0 ? a : b (docs/numerics.md, clause SELECT). int8, sc == 1; a dimension of 1 of any operand
// broadcasts.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct SelectParams {
  View a, b, condition, out;
  std::uint8_t flip;
};

Rows<SelectParams> select_rows();

}  // namespace openbpu::kernels
