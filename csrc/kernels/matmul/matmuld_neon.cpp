// Product of two run-time matrices. Both are widened to int16 (value - zero point, within +-255) and multiplied by
// smlal by lane, exact for any values: nothing is known of the right operand in advance, and value - zero point needs 9
// bits.
//
// A unit is 60 rows times 64 columns of one matrix: it lays 16 columns at a time out as [k][16] and its rows as
// [row][k], zero behind the last k, and runs tiles of 5 rows x 16 columns (20 accumulators).
#include "kernels/arithmetic.hpp"
#include "kernels/arm/rq8.hpp"
#include "kernels/matmul/matmul_rows.hpp"

namespace openbpu::kernels {
namespace {

constexpr std::int32_t kRows = 60, kColumns = 64, kTileRows = 5;

struct Layout {
  std::int32_t k;  // rounded up to 8
  std::int32_t row_units, column_units;
  std::size_t columns_bytes, rows_bytes;
};

Layout lay_out(const MatMulDParams& p) {
  Layout l{};
  l.k = ceil_div(p.a.c, 8) * 8;
  l.row_units = ceil_div(p.out.w, kRows);
  l.column_units = ceil_div(p.out.c, kColumns);
  l.columns_bytes = std::size_t{32} * static_cast<std::size_t>(l.k);
  l.rows_bytes = static_cast<std::size_t>(min(p.out.w, kRows)) * static_cast<std::size_t>(l.k) * 2;
  return l;
}

bool accepts(const MatMulDParams& p) { return p.flip == 0 && p.a.sc == 1 && p.b.sc == 1 && p.out.sc == 1; }

Plan plan(const MatMulDParams& p) {
  const Layout l = lay_out(p);
  return {0, l.columns_bytes + l.rows_bytes, p.out.n * l.row_units * l.column_units};
}

// Eight bytes to int16, less the zero point.
OPENBPU_INLINE int16x8_t widen(const std::uint8_t* p, int8x8_t zero) {
  return vsubl_s8(vreinterpret_s8_u8(vld1_u8(p)), zero);
}

// Rows of a to int16 [rows][l.k]. What stands behind the last k is zero, whatever the columns hold there.
void widen_rows(const MatMulDParams& p, const Layout& l, const std::uint8_t* a, std::int32_t rows, std::int16_t* to) {
  const int8x8_t zero = vdup_n_s8(static_cast<std::int8_t>(p.a_zero));
  for (std::int32_t row = 0; row < rows; ++row, a += p.a.sw, to += l.k) {
    for (std::int32_t k = 0; k < l.k; k += 8) vst1q_s16(to + k, widen(a + k, zero));
    __builtin_memset(to + p.a.c, 0, static_cast<std::size_t>(l.k - p.a.c) * 2);
  }
}

// 16 columns of b [k, n]. Behind the last k the rows are zero: any bytes will do.
void widen_columns(const MatMulDParams& p, const Layout& l, const std::uint8_t* b, std::int16_t* to) {
  const int8x8_t zero = vdup_n_s8(static_cast<std::int8_t>(p.b_zero));
  for (std::int32_t k = 0; k < l.k; ++k, to += 16) {
    const std::uint8_t* from = b + min(k, p.a.c - 1) * p.b.sw;
    vst1q_s16(to, widen(from, zero));
    vst1q_s16(to + 8, widen(from + 8, zero));
  }
}

// Interleaving the halves of a table of eight rotates the bits of an index: three rounds exchange row and column.
OPENBPU_INLINE void interleave_halves(const int16x8_t* in, int16x8_t* out) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    out[2 * i] = vzip1q_s16(in[i], in[i + 4]);
    out[2 * i + 1] = vzip2q_s16(in[i], in[i + 4]);
  }
}

// The same for b [n, k]; `columns` of the 16 exist, the last one stands in for the others.
void transpose_columns(const MatMulDParams& p, const Layout& l, const std::uint8_t* b, std::int32_t columns,
                       std::int16_t* to) {
  const int8x8_t zero = vdup_n_s8(static_cast<std::int8_t>(p.b_zero));
  for (std::int32_t k = 0; k < l.k; k += 8, to += 128)
    for (std::int32_t half = 0; half < 16; half += 8) {
      int16x8_t x[8], y[8];
#pragma GCC unroll 8
      for (std::int32_t i = 0; i < 8; ++i) x[i] = widen(b + min(half + i, columns - 1) * p.b.sw + k, zero);
      interleave_halves(x, y);
      interleave_halves(y, x);
      interleave_halves(x, y);
#pragma GCC unroll 8
      for (std::int32_t i = 0; i < 8; ++i) vst1q_s16(to + i * 16 + half, y[i]);
    }
}

// One set of constants for all columns.
struct Epilogue {
  Rq8Block block;
  const Rq8& rq;
};

Epilogue make_epilogue(const Rq8& rq) {
  Epilogue e{{}, rq};
  for (std::int32_t i = 0; i < 16; ++i) set_channel(&e.block, i, rq.B[0], rq.m[0], rq.s[0], rq.L);
  return e;
}

#define OPENBPU_ROWS(X, lane) X(0, lane) X(1, lane) X(2, lane) X(3, lane) X(4, lane)

// Rows 0 .. R - 1 of a tile times `columns` (at most 16) columns.
template <int R>
void tile(const std::int16_t* a, const std::int16_t* b, std::int32_t k, const Epilogue& e, std::uint8_t* out,
          std::int64_t out_row, std::int32_t columns) {
  const int32x4_t start = vld1q_s32(e.block.start);
#define OPENBPU_DECLARE(i, lane)                      \
  const std::int16_t* a##i = a + (i < R ? i : 0) * k; \
  int32x4_t c##i##0 = start, c##i##1 = start, c##i##2 = start, c##i##3 = start;
  OPENBPU_ROWS(OPENBPU_DECLARE, )
#undef OPENBPU_DECLARE
  for (std::int32_t at = 0; at < k; at += 8, b += 128) {
#define OPENBPU_LOAD(i, lane) [[maybe_unused]] const int16x8_t x##i = vld1q_s16(a##i + at);
    OPENBPU_ROWS(OPENBPU_LOAD, )
#undef OPENBPU_LOAD
#define OPENBPU_MULTIPLY(i, lane)                       \
  if constexpr (i < R) {                                \
    c##i##0 = vmlal_laneq_s16(c##i##0, w0, x##i, lane); \
    c##i##1 = vmlal_laneq_s16(c##i##1, w1, x##i, lane); \
    c##i##2 = vmlal_laneq_s16(c##i##2, w2, x##i, lane); \
    c##i##3 = vmlal_laneq_s16(c##i##3, w3, x##i, lane); \
  }
#define OPENBPU_LANE(lane)                                                               \
  {                                                                                      \
    const int16x4_t w0 = vld1_s16(b + lane * 16), w1 = vld1_s16(b + lane * 16 + 4);      \
    const int16x4_t w2 = vld1_s16(b + lane * 16 + 8), w3 = vld1_s16(b + lane * 16 + 12); \
    OPENBPU_ROWS(OPENBPU_MULTIPLY, lane)                                                 \
  }
    OPENBPU_LANE(0)
    OPENBPU_LANE(1)
    OPENBPU_LANE(2)
    OPENBPU_LANE(3)
    OPENBPU_LANE(4)
    OPENBPU_LANE(5)
    OPENBPU_LANE(6)
    OPENBPU_LANE(7)
#undef OPENBPU_LANE
#undef OPENBPU_MULTIPLY
  }
  const Rq8Registers constants = load_registers(e.block, e.rq);
#define OPENBPU_FINISH(i, lane) \
  if constexpr (i < R)          \
    store_channels(out + i * out_row, requantise(c##i##0, c##i##1, c##i##2, c##i##3, constants), columns);
  OPENBPU_ROWS(OPENBPU_FINISH, )
#undef OPENBPU_FINISH
}

#undef OPENBPU_ROWS

using Tile = void (*)(const std::int16_t*, const std::int16_t*, std::int32_t, const Epilogue&, std::uint8_t*,
                      std::int64_t, std::int32_t);

void run_unit(const MatMulDParams& p, const Layout& l, const Epilogue& e, std::int32_t n, std::int32_t row,
              std::int32_t column, std::uint8_t* scratch) {
  static constexpr Tile kTiles[kTileRows + 1] = {nullptr, tile<1>, tile<2>, tile<3>, tile<4>, tile<5>};
  auto* right = reinterpret_cast<std::int16_t*>(scratch);
  auto* left = reinterpret_cast<std::int16_t*>(scratch + l.columns_bytes);
  const std::int32_t rows = min(kRows, p.out.w - row), columns = min(kColumns, p.out.c - column);
  widen_rows(p, l, p.a.data + n * p.a.sn + row * p.a.sw, rows, left);
  for (std::int32_t c = 0; c < columns; c += 16) {
    const std::int32_t width = min(16, columns - c);
    const std::uint8_t* b = p.b.data + n * p.b.sn + (column + c) * (p.transpose_b ? p.b.sw : 1);
    if (p.transpose_b)
      transpose_columns(p, l, b, width, right);
    else
      widen_columns(p, l, b, right);
    std::uint8_t* out = p.out.data + n * p.out.sn + row * p.out.sw + column + c;
    for (std::int32_t i = 0; i < rows; i += kTileRows)
      kTiles[min(kTileRows, rows - i)](left + i * l.k, right, l.k, e, out + i * p.out.sw, p.out.sw, width);
  }
}

void run(const MatMulDParams& p, const std::uint8_t*, std::uint8_t* scratch, std::int32_t begin, std::int32_t end) {
  const Layout l = lay_out(p);
  const Epilogue e = make_epilogue(p.rq);
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t column = unit % l.column_units * kColumns;
    const std::int32_t row = unit / l.column_units % l.row_units * kRows;
    run_unit(p, l, e, unit / l.column_units / l.row_units, row, column, scratch);
  }
}

}  // namespace

const Row<MatMulDParams> kMatMulDNeon{"matmuld_neon_5x16", Isa::Neon, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
