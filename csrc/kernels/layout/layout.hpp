// COPY, LOAD, STORE: out[n, h, w, c] = in[n, h, w, c] for any strides and element sizes 1, 2, 4, 8: transpose,
// depth-to-space, concat and the borders of the graph. FILL: one value everywhere, int8 or int16.
//
// Operands may be the caller's memory: exact reads and writes. in_flip ^ out_flip is applied to one-byte elements (the
// caller's memory holds plain int8, the arenas hold value ^ flip).
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct CopyParams {
  View in, out;
  std::int32_t element_size;
  std::uint8_t flip;  // xor for one-byte elements
};

struct FillParams {
  View out;
  std::int32_t element_size;  // 1 or 2
  std::uint16_t value;        // as stored
};

Rows<CopyParams> copy_rows();
Rows<FillParams> fill_rows();

}  // namespace openbpu::kernels
