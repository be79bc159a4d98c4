#include "kernels/cpu/gemm.hpp"

#include <cstring>

namespace openbpu::kernels::cpu {

void pack_rows(const Vector& vector, const Matrix& a, std::int64_t m0, std::int64_t m1, std::int64_t k0,
               std::int64_t depth, float* to) {
  for (std::int64_t m = m0; m < m1; m += vector.rows) {
    const float* from = a.data + m * a.row + k0 * a.column;
    const std::int64_t used = std::min(vector.rows, m1 - m);
    for (std::int64_t k = 0; k < depth; ++k, from += a.column, to += vector.rows)
      for (std::int64_t r = 0; r < used; ++r) to[r] = from[r * a.row];
  }
}

void pack_columns(const Vector& vector, const Matrix& b, std::int64_t n0, std::int64_t n1, std::int64_t k0,
                  std::int64_t depth, float* to) {
  for (std::int64_t n = n0; n < n1; n += vector.columns, to += vector.columns * depth) {
    const std::int64_t count = std::min(vector.columns, n1 - n);
    if (b.column == 1) {
      for (std::int64_t k = 0; k < depth; ++k) {
        std::memcpy(to + k * vector.columns, b.data + (k0 + k) * b.row + n,
                    static_cast<std::size_t>(count) * sizeof(float));
        for (std::int64_t i = count; i < vector.columns; ++i) to[k * vector.columns + i] = 0;
      }
      continue;
    }
    for (std::int64_t i = 0; i < vector.columns; ++i) {
      const float* from = b.data + (n + i) * b.column + k0 * b.row;
      for (std::int64_t k = 0; k < depth; ++k) to[k * vector.columns + i] = i < count ? from[k * b.row] : 0;
    }
  }
}

void pack_all_rows(const Vector& vector, const Matrix& a, std::int64_t m, std::int64_t k, float* to) {
  for (std::int64_t k0 = 0; k0 < k; k0 += kDepth)
    pack_rows(vector, a, 0, m, k0, std::min(kDepth, k - k0), to + k0 * rounded(m, vector.rows));
}

void pack_all_columns(const Vector& vector, const Matrix& b, std::int64_t k, std::int64_t n, float* to) {
  for (std::int64_t k0 = 0; k0 < k; k0 += kDepth)
    pack_columns(vector, b, 0, n, k0, std::min(kDepth, k - k0), to + k0 * rounded(n, vector.columns));
}

void multiply(const Vector& vector, const Matrix& a, const Matrix& b, std::int64_t m0, std::int64_t m1, std::int64_t n0,
              std::int64_t n1, std::int64_t k, float* c, std::int64_t c_row, const float* start, float* scratch) {
  float *tiles = scratch, *panels = scratch + kDepth * kBlockRows;
  multiply(
      vector, m0, m1, n0, n1, k, c, c_row, start,
      [&](std::int64_t r, std::int64_t end, std::int64_t k0, std::int64_t depth) {
        pack_rows(vector, a, r, end, k0, depth, tiles);
        return tiles;
      },
      [&](std::int64_t k0, std::int64_t depth) {
        pack_columns(vector, b, n0, n1, k0, depth, panels);
        return panels;
      });
}

}  // namespace openbpu::kernels::cpu
