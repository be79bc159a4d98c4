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

// One tile of `rows` rows and a panel of columns, of which `count` exist.
template <int rows>
inline void tile(const Product& p, const float* a, const float* b, float* c, const float* start, std::int64_t count) {
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
  for (std::int64_t k = 0; k < p.k; ++k, a += kTileRows, b += kPanel) {
    Lanes column[kTileLanes];
#pragma GCC unroll 2
    for (int l = 0; l < kTileLanes; ++l) column[l] = load(b + 16 * l);
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

// Tiles outside, panels inside: the rows of c that a tile touches stay in the translation buffer.
template <int rows>
void tile_row(const Product& p, std::int64_t m, std::int64_t from = 0) {
  for (std::int64_t n = from; n < p.n; n += kPanel) {
    const std::int64_t count = p.n - n < kPanel ? p.n - n : kPanel;
    const std::int64_t first = m / kTileRows * kTileRows;  // of the packed tile
    tile<rows>(p, p.a + first * p.k + (m - first), p.b + n * p.k, p.c + m * p.c_row + n,
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

// What is left below the last whole tile goes in a few smaller ones.
void product_loop(const Product& p) {
  std::int64_t m = 0;
  for (; m + kTileRows <= p.m; m += kTileRows) tile_row<kTileRows>(p, m);
  if constexpr (kTileRows > 6)
    if (m + 6 <= p.m) tile_row<6>(p, m), m += 6;
  if constexpr (kTileRows > 4)
    if (m + 4 <= p.m) tile_row<4>(p, m), m += 4;
  for (; m + 2 <= p.m; m += 2) tile_row<2>(p, m);
  if (m < p.m) tile_row<1>(p, m, lone_row(p, m));
}

}  // namespace
}  // namespace openbpu::kernels::cpu
