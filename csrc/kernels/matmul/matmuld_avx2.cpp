// Product of two run-time matrices. Nothing is known of the right operand in advance, so both are widened to
// int16 (value - zero point, within +-255) and multiplied by vpmaddwd, which is exact for any values.
//
// A unit is 64 rows times 64 columns of one matrix: it lays 16 columns at a time out as [k / 2][16][2] and its rows
// as [row][k], zero behind the last k, and runs tiles of 4 rows x 16 columns (8 accumulators).
#include "kernels/matmul/matmul_rows.hpp"
#include "kernels/x86/avx2.hpp"

namespace openbpu::kernels {
namespace {

using namespace avx2;

constexpr std::int32_t kRows = 64, kColumns = 64;

struct Layout {
  std::int32_t k;  // rounded up to 16
  std::int32_t row_units, column_units;
  std::size_t columns_bytes, rows_bytes;
};

Layout lay_out(const MatMulDParams& p) {
  Layout l{};
  l.k = ceil_div(p.a.c, 16) * 16;
  l.row_units = ceil_div(p.out.w, kRows);
  l.column_units = ceil_div(p.out.c, kColumns);
  const std::int32_t rows = min(p.out.w, kRows);
  l.columns_bytes = std::size_t{16} * static_cast<std::size_t>(l.k) * 2;
  l.rows_bytes = static_cast<std::size_t>(rows) * static_cast<std::size_t>(l.k) * 2;
  return l;
}

bool accepts(const MatMulDParams& p) { return p.flip == 0x80 && p.a.sc == 1 && p.b.sc == 1 && p.out.sc == 1; }

Plan plan(const MatMulDParams& p) {
  const Layout l = lay_out(p);
  return {0, l.columns_bytes + l.rows_bytes, p.out.n * l.row_units * l.column_units};
}

// 16 stored bytes to int16, less the zero point (as stored).
OPENBPU_INLINE __m256i widen(const std::uint8_t* p, __m256i zero) {
  const __m256i x = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_sub_epi16(x, zero);
}

__m256i stored_zero(std::int32_t zero) { return _mm256_set1_epi16(static_cast<std::int16_t>(zero + 128)); }

// Rows of a to int16 [rows][l.k]. What stands behind the last k is zero, whatever the columns hold there.
void widen_rows(const MatMulDParams& p, const Layout& l, const std::uint8_t* a, std::int32_t rows, std::int16_t* to) {
  const __m256i zero = stored_zero(p.a_zero);
  for (std::int32_t row = 0; row < rows; ++row, a += p.a.sw, to += l.k) {
    for (std::int32_t k = 0; k < l.k; k += 16) store(to + k, widen(a + k, zero));
    __builtin_memset(to + p.a.c, 0, static_cast<std::size_t>(l.k - p.a.c) * 2);
  }
}

// 16 columns of b [k, n]: k in pairs, in the order of the accumulators (x86/avx2.hpp, Constants16).
void interleave_columns(const MatMulDParams& p, const Layout& l, const std::uint8_t* b, std::int16_t* to) {
  const __m256i zero = stored_zero(p.b_zero);
  for (std::int32_t k = 0; k < l.k; k += 2, to += 32) {
    // Behind the last k the rows are zero: any bytes will do.
    const __m256i even = widen(b + min(k, p.a.c - 1) * p.b.sw, zero);
    const __m256i odd = widen(b + min(k + 1, p.a.c - 1) * p.b.sw, zero);
    store(to, _mm256_unpacklo_epi16(even, odd));
    store(to + 16, _mm256_unpackhi_epi16(even, odd));
  }
}

// Eight rows of eight pairs to eight vectors, each with one pair of every row, 64 bytes apart.
OPENBPU_INLINE void transpose_pairs(__m256i r0, __m256i r1, __m256i r2, __m256i r3, __m256i r4, __m256i r5, __m256i r6,
                                    __m256i r7, std::int16_t* to) {
  const __m256i a0 = _mm256_unpacklo_epi32(r0, r1), a1 = _mm256_unpackhi_epi32(r0, r1);
  const __m256i a2 = _mm256_unpacklo_epi32(r2, r3), a3 = _mm256_unpackhi_epi32(r2, r3);
  const __m256i a4 = _mm256_unpacklo_epi32(r4, r5), a5 = _mm256_unpackhi_epi32(r4, r5);
  const __m256i a6 = _mm256_unpacklo_epi32(r6, r7), a7 = _mm256_unpackhi_epi32(r6, r7);
  const __m256i b0 = _mm256_unpacklo_epi64(a0, a2), b1 = _mm256_unpackhi_epi64(a0, a2);
  const __m256i b2 = _mm256_unpacklo_epi64(a1, a3), b3 = _mm256_unpackhi_epi64(a1, a3);
  const __m256i b4 = _mm256_unpacklo_epi64(a4, a6), b5 = _mm256_unpackhi_epi64(a4, a6);
  const __m256i b6 = _mm256_unpacklo_epi64(a5, a7), b7 = _mm256_unpackhi_epi64(a5, a7);
  store(to, _mm256_permute2x128_si256(b0, b4, 0x20));
  store(to + 32, _mm256_permute2x128_si256(b1, b5, 0x20));
  store(to + 64, _mm256_permute2x128_si256(b2, b6, 0x20));
  store(to + 96, _mm256_permute2x128_si256(b3, b7, 0x20));
  store(to + 128, _mm256_permute2x128_si256(b0, b4, 0x31));
  store(to + 160, _mm256_permute2x128_si256(b1, b5, 0x31));
  store(to + 192, _mm256_permute2x128_si256(b2, b6, 0x31));
  store(to + 224, _mm256_permute2x128_si256(b3, b7, 0x31));
}

// The same for b [n, k]; `columns` of the 16 exist, the last one stands in for the others.
void transpose_columns(const MatMulDParams& p, const Layout& l, const std::uint8_t* b, std::int32_t columns,
                       std::int16_t* to) {
  const __m256i zero = stored_zero(p.b_zero);
  for (std::int32_t k = 0; k < l.k; k += 16, to += 256)
    for (std::int32_t half = 0; half < 2; ++half) {
      const auto row = [&](std::int32_t i) {
        const std::int32_t column = half * 4 + i % 4 + i / 4 * 8;
        return widen(b + min(column, columns - 1) * p.b.sw + k, zero);
      };
      transpose_pairs(row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7), to + half * 16);
    }
}

// One set of constants for all columns.
struct Epilogue {
  alignas(32) std::int32_t low[16];
  alignas(32) std::int32_t shift[16];
  alignas(32) std::int16_t m[16];
  __m256i start;
  Clamp clamp;
};

Epilogue make_epilogue(const Rq8& rq) {
  Epilogue e{};
  for (std::int32_t i = 0; i < 16; ++i) {
    e.low[i] = rq.B[0] & ((1 << rq.L) - 1);
    e.shift[i] = rq.s[0];
    e.m[i] = rq.m[0];
  }
  e.start = _mm256_set1_epi32(rq.B[0] >> rq.L);
  e.clamp = make_clamp(rq.L, rq.lo, rq.hi);
  return e;
}

OPENBPU_INLINE __m256i broadcast_pair(const std::int16_t* p) {
  return broadcast4(reinterpret_cast<const std::uint8_t*>(p));
}

#define OPENBPU_ROWS(X) X(0) X(1) X(2) X(3)

// Rows 0 .. R - 1 of a tile times `columns` (at most 16) columns.
template <int R>
void tile(const std::int16_t* a, const std::int16_t* b, std::int32_t k, const Epilogue& e, std::uint8_t* out,
          std::int64_t out_row, std::int32_t columns) {
#define OPENBPU_DECLARE(i)                            \
  const std::int16_t* a##i = a + (i < R ? i : 0) * k; \
  __m256i c##i##0 = e.start, c##i##1 = e.start;
  OPENBPU_ROWS(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE
  for (std::int32_t at = 0; at < k; at += 2, b += 32) {
    const __m256i b0 = load(b), b1 = load(b + 16);
#define OPENBPU_STEP(i)                                            \
  if constexpr (i < R) {                                           \
    const __m256i x = broadcast_pair(a##i + at);                   \
    c##i##0 = _mm256_add_epi32(c##i##0, _mm256_madd_epi16(x, b0)); \
    c##i##1 = _mm256_add_epi32(c##i##1, _mm256_madd_epi16(x, b1)); \
  }
    OPENBPU_ROWS(OPENBPU_STEP)
#undef OPENBPU_STEP
  }
  const Constants16 constants{e.low, e.shift, e.m};
#define OPENBPU_FINISH(i) const __m256i t##i = requantise16(c##i##0, c##i##1, constants, e.clamp);
  OPENBPU_ROWS(OPENBPU_FINISH)
#undef OPENBPU_FINISH
  const __m256i y0 = narrow16(t0, t1, e.clamp), y1 = narrow16(t2, t3, e.clamp);
  store_first(out, _mm256_castsi256_si128(y0), columns);
  if constexpr (R > 1) store_first(out + out_row, _mm256_extracti128_si256(y0, 1), columns);
  if constexpr (R > 2) store_first(out + 2 * out_row, _mm256_castsi256_si128(y1), columns);
  if constexpr (R > 3) store_first(out + 3 * out_row, _mm256_extracti128_si256(y1, 1), columns);
}

#undef OPENBPU_ROWS

using Tile = void (*)(const std::int16_t*, const std::int16_t*, std::int32_t, const Epilogue&, std::uint8_t*,
                      std::int64_t, std::int32_t);

void run_unit(const MatMulDParams& p, const Layout& l, const Epilogue& e, std::int32_t n, std::int32_t row,
              std::int32_t column, std::uint8_t* scratch) {
  auto* right = reinterpret_cast<std::int16_t*>(scratch);
  auto* left = reinterpret_cast<std::int16_t*>(scratch + l.columns_bytes);
  const std::int32_t rows = min(kRows, p.out.w - row), columns = min(kColumns, p.out.c - column);
  widen_rows(p, l, p.a.data + n * p.a.sn + row * p.a.sw, rows, left);
  static constexpr Tile kTiles[5] = {nullptr, tile<1>, tile<2>, tile<3>, tile<4>};
  for (std::int32_t c = 0; c < columns; c += 16) {
    const std::int32_t width = min(16, columns - c);
    const std::uint8_t* b = p.b.data + n * p.b.sn + (column + c) * (p.transpose_b ? p.b.sw : 1);
    if (p.transpose_b)
      transpose_columns(p, l, b, width, right);
    else
      interleave_columns(p, l, b, right);
    std::uint8_t* out = p.out.data + n * p.out.sn + row * p.out.sw + column + c;
    for (std::int32_t i = 0; i < rows; i += 4)
      kTiles[min(4, rows - i)](left + i * l.k, right, l.k, e, out + i * p.out.sw, p.out.sw, width);
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

const Row<MatMulDParams> kMatMulDAvx2{"matmuld_avx2_4x16", Isa::Avx2, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
