// Iteration over tensors of any rank: dimensions are joined where all operands allow it, and rows of the last one are
// handed out.
#pragma once

#include <algorithm>
#include <cstdint>

#include "operators/call.hpp"

namespace openbpu::kernels::cpu {

constexpr int kMaxWalk = 2 * operators::kMaxRank;  // some operators cut dimensions in two

// `operands` tensors over a common shape; strides in elements of each.
template <int operands>
struct Walk {
  int rank = 0;
  std::int64_t extent[kMaxWalk] = {};
  std::int64_t stride[operands][kMaxWalk] = {};

  std::int64_t elements() const {
    std::int64_t n = 1;
    for (int k = 0; k < rank; ++k) n *= extent[k];
    return n;
  }

  // Appends a dimension behind the others; joins it with the last one if all strides continue.
  void push(std::int64_t size, const std::int64_t (&step)[operands]) {
    if (size == 1) return;
    bool continues = rank > 0;
    for (int i = 0; i < operands && continues; ++i) continues = stride[i][rank - 1] == step[i] * size;
    if (continues)
      extent[rank - 1] *= size;
    else
      extent[rank++] = size;
    for (int i = 0; i < operands; ++i) stride[i][rank - 1] = step[i];
  }
};

// Strides of a dense tensor as seen from a shape that it broadcasts to; 0 where it repeats.
inline void broadcast_strides(const operators::Tensor& tensor, int rank, std::int64_t (&strides)[operators::kMaxRank]) {
  std::int64_t step = 1;
  for (int k = rank - 1; k >= 0; --k) {
    const int own = k - (rank - tensor.rank);
    strides[k] = own < 0 || tensor.extent[own] == 1 ? 0 : step;
    if (own >= 0) step *= tensor.extent[own];
  }
}

// The walk over `shape` with operands that broadcast to it.
template <int operands>
Walk<operands> broadcast_walk(const operators::Tensor& shape, const operators::Tensor* const (&tensors)[operands]) {
  std::int64_t strides[operands][operators::kMaxRank];
  for (int i = 0; i < operands; ++i) broadcast_strides(*tensors[i], shape.rank, strides[i]);
  Walk<operands> walk;
  for (int k = 0; k < shape.rank; ++k) {
    std::int64_t step[operands];
    for (int i = 0; i < operands; ++i) step[i] = strides[i][k];
    walk.push(shape.extent[k], step);
  }
  return walk;
}

// Calls row(offsets, n) for runs along the last dimension that cover elements [begin, end); element i of a run lies at
// offsets[o] + i * stride of the last dimension.
template <int operands, class Row>
void walk_rows(const Walk<operands>& walk, std::int64_t begin, std::int64_t end, Row row) {
  std::int64_t index[kMaxWalk] = {}, offset[operands] = {};
  std::int64_t rest = begin;
  for (int k = walk.rank - 1; k >= 0; --k) {
    index[k] = rest % walk.extent[k];
    rest /= walk.extent[k];
    for (int i = 0; i < operands; ++i) offset[i] += index[k] * walk.stride[i][k];
  }
  const int last = walk.rank - 1;
  const std::int64_t length = walk.rank == 0 ? 1 : walk.extent[last];
  for (std::int64_t at = begin; at < end;) {
    const std::int64_t n = std::min(end - at, length - (walk.rank == 0 ? 0 : index[last]));
    row(offset, n);
    at += n;
    if (at >= end) return;
    for (int i = 0; i < operands; ++i) offset[i] -= index[last] * walk.stride[i][last];
    index[last] = 0;
    for (int k = last - 1; k >= 0; --k) {
      for (int i = 0; i < operands; ++i) offset[i] += walk.stride[i][k];
      if (++index[k] < walk.extent[k]) break;
      for (int i = 0; i < operands; ++i) offset[i] -= walk.extent[k] * walk.stride[i][k];
      index[k] = 0;
    }
  }
}

}  // namespace openbpu::kernels::cpu
