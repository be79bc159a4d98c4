// Products of packed blocks in terms of Lanes: included once by the file of each ISA, before the other loops.
//
// OPENBPU_TILE_ROWS x OPENBPU_TILE_LANES registers of 16 lanes accumulate a tile of a product.
#pragma once

#include "kernels/cpu/vector.hpp"

// Lanes comes from the lanes_<isa>.hpp that was included before.

namespace openbpu::kernels::cpu {
namespace {

constexpr int kTileRows = OPENBPU_TILE_ROWS, kTileLanes = OPENBPU_TILE_LANES;
constexpr std::int64_t kPanel = 16 * kTileLanes;

// Where the rows of b lie: row k at places[k * by] + k * step, panels one after another.
struct Columns {
  const std::int32_t* places;
  std::int64_t by, step, panel;
};
inline Columns columns_of(const Product& p) {
  static constexpr std::int32_t kHere = 0;
  if (p.places) return {p.places, 1, 0, kPanel};
  return {&kHere, 0, kPanel, kPanel * p.k};
}

// One tile of `rows` rows and a panel of columns, of which `count` exist.
template <int rows>
inline void tile(const Product& p, const Columns& columns, const float* a, const float* b, float* c, const float* start,
                 std::int64_t count) {
  Lanes sum[rows][kTileLanes];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int l = 0; l < kTileLanes; ++l) {
      const std::int64_t there = count - 16 * l;
      const float* at = c + r * p.c_row + 16 * l;
      if (p.add)
        sum[r][l] = there <= 0 ? spread(0) : there >= 16 ? load(at) : load(at, there);
      else
        sum[r][l] = spread(start ? start[r] : 0.0f);
    }
  const std::int32_t* place = columns.places;
  for (std::int64_t k = 0; k < p.k; ++k, a += kTileRows, b += columns.step, place += columns.by) {
    Lanes column[kTileLanes];
#pragma GCC unroll 2
    for (int l = 0; l < kTileLanes; ++l) column[l] = load(b + *place + 16 * l);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const Lanes x = spread(a[r]);
#pragma GCC unroll 2
      for (int l = 0; l < kTileLanes; ++l) sum[r][l] = fma(x, column[l], sum[r][l]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int l = 0; l < kTileLanes; ++l) {
      const std::int64_t there = count - 16 * l;
      float* at = c + r * p.c_row + 16 * l;
      if (there >= 16)
        store(at, sum[r][l]);
      else if (there > 0)
        store(at, sum[r][l], there);
    }
}

template <int rows>
void tile_row(const Product& p, const Columns& columns, std::int64_t m, std::int64_t from, std::int64_t to) {
  for (std::int64_t n = from; n < to; n += kPanel) {
    const std::int64_t count = p.n - n < kPanel ? p.n - n : kPanel;
    const std::int64_t first = m / kTileRows * kTileRows;  // of the packed tile
    tile<rows>(p, columns, p.a + first * p.k + (m - first), p.b + n / kPanel * columns.panel, p.c + m * p.c_row + n,
               p.start ? p.start + m : nullptr, count);
  }
}

// The last row alone: as many panels side by side as there are registers for, whose chains hide each other's latency
// and whose streams that of the second cache. First panel not computed.
std::int64_t lone_row(const Product& p, std::int64_t m) {
  constexpr int kSide = 4 * kTileLanes;
  const float* tiles = p.a + m / kTileRows * kTileRows * p.k + m % kTileRows;
  std::int64_t n = 0;
  for (; n + kSide * kPanel <= p.n; n += kSide * kPanel) {
    Lanes sum[kSide * kTileLanes];
    float* c = p.c + m * p.c_row + n;
#pragma GCC unroll 16
    for (int l = 0; l < kSide * kTileLanes; ++l) sum[l] = p.add ? load(c + 16 * l) : spread(p.start ? p.start[m] : 0);
    const float *a = tiles, *b = p.b + n * p.k;
    for (std::int64_t k = 0; k < p.k; ++k, a += kTileRows, b += kPanel) {
      const Lanes x = spread(*a);
#pragma GCC unroll 16
      for (int l = 0; l < kSide * kTileLanes; ++l)
        sum[l] = fma(x, load(b + l / kTileLanes * kPanel * p.k + l % kTileLanes * 16), sum[l]);
    }
#pragma GCC unroll 16
    for (int l = 0; l < kSide * kTileLanes; ++l) store(c + 16 * l, sum[l]);
  }
  return n;
}

// Columns [from, to). What is left below the last whole tile goes in a few smaller ones.
void product_columns(const Product& p, const Columns& columns, std::int64_t from, std::int64_t to) {
  std::int64_t m = 0;
  for (; m + kTileRows <= p.m; m += kTileRows) tile_row<kTileRows>(p, columns, m, from, to);
  if constexpr (kTileRows > 6)
    if (m + 6 <= p.m) tile_row<6>(p, columns, m, from, to), m += 6;
  if constexpr (kTileRows > 4)
    if (m + 4 <= p.m) tile_row<4>(p, columns, m, from, to), m += 4;
  for (; m + 2 <= p.m; m += 2) tile_row<2>(p, columns, m, from, to);
  if (m < p.m) tile_row<1>(p, columns, m, p.places ? from : lone_row(p, m), to);
}

// Panels that are packed lie one after another: tiles outside, so that the rows of c that a tile touches stay in the
// translation buffer. Rows of b that lie apart are kept in the first cache: panels outside.
void product_loop(const Product& p) {
  const Columns columns = columns_of(p);
  if (!p.places) return product_columns(p, columns, 0, p.n);
  for (std::int64_t n = 0; n < p.n; n += kPanel) product_columns(p, columns, n, n + kPanel);
}

}  // namespace
}  // namespace openbpu::kernels::cpu
