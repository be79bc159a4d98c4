// Blocked float32 products on top of Vector::product: packing of operands and the loops over blocks.
//
// The sum of each element runs over k in order, whatever the blocks, so that all splits give the same bits.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/vector.hpp"

namespace openbpu::kernels::cpu {

constexpr std::int64_t kDepth = 256;      // k of a block: a panel of it stays in the first cache
constexpr std::int64_t kBlockRows = 96;   // rows of a block, a multiple of every tile
constexpr std::int64_t kBlockPanels = 4;  // panels of a block

// Element (i, j) at data[i * row + j * column].
struct Matrix {
  const float* data;
  std::int64_t row, column;
};

constexpr std::int64_t rounded(std::int64_t value, std::int64_t step) { return (value + step - 1) / step * step; }

inline std::int64_t block_columns(const Vector& vector) { return vector.columns * kBlockPanels; }
inline std::int64_t packed_rows(const Vector& vector, std::int64_t m, std::int64_t k) {
  return rounded(m, vector.rows) * k;
}
inline std::int64_t packed_columns(const Vector& vector, std::int64_t k, std::int64_t n) {
  return rounded(n, vector.columns) * k;
}
// Scratch floats of block_of_rows plus block_of_columns.
inline std::int64_t block_scratch(const Vector& vector) { return kDepth * (kBlockRows + block_columns(vector)); }

// Rows [m0, m1) of k [k0, k0 + depth) as tiles.
void pack_rows(const Vector& vector, const Matrix& a, std::int64_t m0, std::int64_t m1, std::int64_t k0,
               std::int64_t depth, float* to);
// Columns [n0, n1) of k [k0, k0 + depth) as panels.
void pack_columns(const Vector& vector, const Matrix& b, std::int64_t n0, std::int64_t n1, std::int64_t k0,
                  std::int64_t depth, float* to);

// A whole operand, one block of kDepth after another.
void pack_all_rows(const Vector& vector, const Matrix& a, std::int64_t m, std::int64_t k, float* to);
void pack_all_columns(const Vector& vector, const Matrix& b, std::int64_t k, std::int64_t n, float* to);

// Tiles from row m0 (a multiple of the tile) of the block at k0, in an operand packed whole.
inline const float* tiles_at(const Vector& vector, const float* packed, std::int64_t m, std::int64_t m0,
                             std::int64_t k0, std::int64_t depth) {
  return packed + k0 * rounded(m, vector.rows) + m0 * depth;
}
inline const float* panels_at(const Vector& vector, const float* packed, std::int64_t n, std::int64_t n0,
                              std::int64_t k0, std::int64_t depth) {
  return packed + k0 * rounded(n, vector.columns) + n0 * depth;
}

// Rows [m0, m1) and columns [n0, n1) of c (element (i, j) at c[i * c_row + j]). rows(m0, m1, k0, depth) and
// columns(k0, depth) give packed blocks.
template <class RowBlocks, class ColumnBlock>
void multiply(const Vector& vector, std::int64_t m0, std::int64_t m1, std::int64_t n0, std::int64_t n1, std::int64_t k,
              float* c, std::int64_t c_row, const float* start, RowBlocks rows, ColumnBlock columns) {
  for (std::int64_t k0 = 0; k0 < k; k0 += kDepth) {
    const std::int64_t depth = std::min(kDepth, k - k0);
    const float* b = columns(k0, depth);
    for (std::int64_t r = m0; r < m1; r += kBlockRows) {
      const std::int64_t end = std::min(m1, r + kBlockRows);
      vector.product({rows(r, end, k0, depth), b, c + r * c_row + n0, c_row, end - r, n1 - n0, depth,
                      start ? start + r : nullptr, k0 > 0});
    }
  }
}

// The same for operands that are packed on the way, into block_scratch() floats. At most block_columns() columns.
void multiply(const Vector& vector, const Matrix& a, const Matrix& b, std::int64_t m0, std::int64_t m1, std::int64_t n0,
              std::int64_t n1, std::int64_t k, float* c, std::int64_t c_row, const float* start, float* scratch);

}  // namespace openbpu::kernels::cpu
