// MATMULD of int16; included by the file of each ISA, which supplies Wide.
//
// A product of two int16 has 31 bits, and sums of few would leave an int32. The right operand is cut into bytes,
// b = 256 * high + low: 256 products of either with an int16 fit, and both sums meet in the 64 bits of the epilogue. A
// unit packs one register of columns after the other, high and low bytes as the two registers of wide_sums.hpp.
#pragma once

#include "kernels/matmul/matmul_rows.hpp"
#include "kernels/wide_scale.hpp"
#include "kernels/wide_sums.hpp"

namespace openbpu::kernels {
namespace {

constexpr std::int32_t kUnitRows16 = 128, kChunk16 = 128;  // rows of a unit at most; steps whose sums fit an int32

// Results fit 32 bits before they are clamped, and columns of a transposed matrix are words apart that a gather
// reaches.
bool accepts_matmuld16(const MatMulD16Params& p) {
  const Rq16Entry& e = *p.rq.entries;
  const std::uint64_t bias = static_cast<std::uint64_t>(e.bias < 0 ? -e.bias : e.bias);
  const std::uint64_t most = (static_cast<std::uint64_t>(p.a.c) << 30) * static_cast<std::uint64_t>(e.m);
  return p.rq.out.wide && p.b.sw < std::int64_t{1} << 27 && ((most + bias) >> e.sh) < std::uint64_t{1} << 31;
}

// One unit is a part of the rows of one matrix.
Plan plan_matmuld16(const MatMulD16Params& p) {
  const auto steps = static_cast<std::size_t>(ceil_div(p.a.c, 2));
  return {0, steps * kStepBytes, p.out.n * ceil_div(p.out.w, kUnitRows16)};
}

// Columns [first, first + count) of a matrix at `b`: registers of high and of low bytes for each step.
OPENBPU_INLINE void pack_columns16(const MatMulD16Params& p, const std::uint8_t* b, std::int32_t first,
                                   std::int32_t count, std::uint8_t* packed) {
  const std::int32_t k = p.a.c, steps = ceil_div(k, 2);
  alignas(64) std::int32_t columns[Wide::kWords] = {};  // of a transposed matrix: where they start, in words
  for (std::int32_t i = 0; i < count; ++i) columns[i] = i * static_cast<std::int32_t>(p.b.sw / 2);
  const Wide::R starts = Wide::load(columns);
  for (std::int32_t step = 0; step < steps; ++step, packed += kStepBytes) {
    const bool pair = 2 * step + 1 < k;
    Wide::R v;
    if (p.transpose_b) {
      v = Wide::gather_pairs(b + first * p.b.sw + 4 * step, starts);
      if (!pair) v = Wide::low_part(v);
    } else {
      const std::uint8_t* row = b + 2 * step * p.b.sw + 2 * first;
      v = Wide::pairs(load_first16(row, count), pair ? load_first16(row + p.b.sw, count) : Wide::zero());
    }
    Wide::store32(packed, Wide::high_bytes(v));
    Wide::store32(packed + kStepBytes / 2, Wide::low_bytes(v));
  }
}

// Sums of a tile: for each row those of high bytes, then those of low ones.
struct Products16 {
  alignas(64) std::int32_t of[kTile16][2][Wide::kWords];
};

// In memory, so that one copy of the loop serves rows of any length.
[[gnu::noinline, gnu::noclone]] void multiply16(const std::uint8_t* packed, const std::uint8_t* const* rows,
                                                std::int32_t begin, std::int32_t end, Products16& products) {
  const Sums16 s = sums16(packed, [](std::int32_t step) { return 4 * step; }, rows, begin, end);
  store_sums16(s, &products.of[0][0][0]);
}

// Rows of more products than an int32 holds: sums of 64 bits, scaled one by one.
[[gnu::cold]] void run_long_rows16(const MatMulD16Params& p, const std::uint8_t* packed,
                                   const std::uint8_t* const* rows, std::uint8_t* const* out, std::int32_t present,
                                   std::int32_t count) {
  const Rq16Entry& e = *p.rq.entries;
  const std::int32_t steps = ceil_div(p.a.c, 2);
  std::int64_t total[kTile16][Wide::kWords] = {};
  Products16 part;
  for (std::int32_t begin = 0; begin < steps; begin += kChunk16) {
    multiply16(packed, rows, begin, min(begin + kChunk16, steps), part);
    for (std::int32_t r = 0; r < kTile16; ++r)
      for (std::int32_t i = 0; i < Wide::kWords; ++i)
        total[r][i] += 256 * std::int64_t{part.of[r][0][i]} + part.of[r][1][i];
  }
  for (std::int32_t r = 0; r < present; ++r)
    for (std::int32_t i = 0; i < count; ++i) {
      const auto y = static_cast<std::int16_t>(max64(p.rq.lo, min64(p.rq.hi, (total[r][i] * e.m + e.bias) >> e.sh)));
      __builtin_memcpy(out[r] + 2 * i, &y, 2);
    }
}

// A function of its own, whose constants have the registers to themselves.
[[gnu::noinline]] void scale_rows16(const Products16& sums, const WideScale& scale, const WideClamp& clamp,
                                    std::uint8_t* const* out, std::int32_t present, std::int32_t count) {
  for (std::int32_t r = 0; r < present; ++r) {
    const Wide::R v = scaled_sum<8>(Wide::load(sums.of[r][0]), scale, Wide::load(sums.of[r][1]), scale);
    store_first16(out[r], Wide::clamp(v, clamp.lo, clamp.hi), count);
  }
}

void run_matmuld16(const MatMulD16Params& p, const std::uint8_t*, std::uint8_t* scratch, std::int32_t begin,
                   std::int32_t end) {
  const std::int32_t row_units = ceil_div(p.out.w, kUnitRows16), steps = ceil_div(p.a.c, 2);
  const std::int32_t rows_each = ceil_div(p.out.w, row_units);
  const WideScale scale = uniform_scale(*p.rq.entries);
  const WideClamp clamp(p.rq);
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / row_units, top = unit % row_units * rows_each;
    const std::int32_t bottom = min(top + rows_each, p.out.w);
    for (std::int32_t first = 0; first < p.out.c; first += Wide::kWords) {
      const std::int32_t count = min(Wide::kWords, p.out.c - first);
      pack_columns16(p, p.b.data + n * p.b.sn, first, count, scratch);
      for (std::int32_t y = top; y < bottom; y += kTile16) {
        const std::int32_t present = min(kTile16, bottom - y);
        const std::uint8_t* rows[kTile16];
        std::uint8_t* out[kTile16];
        for (std::int32_t r = 0; r < kTile16; ++r) {  // those that are not there repeat the last one
          const std::int32_t at = y + min(r, present - 1);
          rows[r] = p.a.data + n * p.a.sn + at * p.a.sw;
          out[r] = p.out.data + n * p.out.sn + at * p.out.sw + 2 * first;
        }
        if (steps > kChunk16) {
          run_long_rows16(p, scratch, rows, out, present, count);
          continue;
        }
        Products16 sums;
        multiply16(scratch, rows, 0, steps, sums);
        scale_rows16(sums, scale, clamp, out, present, count);
      }
    }
  }
}

}  // namespace
}  // namespace openbpu::kernels
