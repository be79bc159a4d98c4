// GATHER: out[n, h, w, :] = in[n, h, index[w], :] (docs/numerics.md, clause GATHER).
//
// in and out int8 or int16, their channels dense; index holds out.w integers of `index_bytes` (4 or 8) at steps of
// index.sw. A negative index counts from the end. One that lies outside of in.w gives a row of `zero` and sets `fault`.
#pragma once

#include <atomic>

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct GatherParams {
  View in, index, out;
  std::int32_t index_bytes, element_bytes;
  std::uint8_t zero;  // every byte of it, as stored
  std::atomic<bool>* fault;
};

Rows<GatherParams> gather_rows();

}  // namespace openbpu::kernels
