// MATMULD on the matrix cores of AVX-512 VNNI and AMX: the right operand is packed at run time, per unit, into the
// blocks that those cores read; included by the file of each, which supplies Core.
//
// With u = a + 128, the stored byte, the sum of (a - za)(b - zb) is that of u * (b - zb) less (128 + za) times the sum
// of b - zb, which goes into the start values. b - zb may leave int8: what saturation takes off is then packed again as
// further steps on the same inputs. Our own quantiser makes zb 0 and never needs them.
#pragma once

#include "kernels/matmul/matmul_rows.hpp"
#include "kernels/x86/blocks_avx512.hpp"

namespace openbpu::kernels {
namespace {

using avx512::Acc;
using avx512::Block;
using avx512::kBlock;

// The whole range of b - zb must be that of two int8 values.
bool accepts(const MatMulDParams& p) {
  return p.flip == 0x80 && p.rq.L <= Core::kMaxL && p.b_zero != -128 && p.out.w >= Core::kLeastPixels && p.a.sw > 0 &&
         p.a.sc == 1 && p.b.sc == 1 && p.out.sc == 1;
}

struct Layout {
  std::int32_t steps;                // without those for saturated values
  std::int32_t blocks, parts, rows;  // blocks of columns; parts of the rows of a matrix and rows of a part
  std::size_t block_bytes;
};

constexpr std::int32_t kLeastUnits = 8, kPartRows = 32;

Layout lay_out(const MatMulDParams& p) {
  Layout l{};
  l.steps = ceil_div(ceil_div(p.a.c, 4), Core::kStepGroup) * Core::kStepGroup;
  l.blocks = ceil_div(p.out.c, kBlock);
  l.parts = min(ceil_div(kLeastUnits, p.out.n), ceil_div(p.out.w, 2 * kPartRows));
  l.rows = ceil_div(ceil_div(p.out.w, l.parts), kPartRows) * kPartRows;
  l.parts = ceil_div(p.out.w, l.rows);
  l.block_bytes = avx512::block_bytes(1, p.b_zero == 0 ? l.steps : 2 * l.steps);
  return l;
}

Plan plan(const MatMulDParams& p) {
  const Layout l = lay_out(p);
  return {0, l.block_bytes, p.out.n * l.parts};
}

// ---- the right operand

// Column of lane 4 * l of vector q; lanes 4 l .. 4 l + 3 hold neighbours (gemm_avx512vnni.hpp).
OPENBPU_INLINE std::int32_t column_of(std::int32_t vectors, std::int32_t q, std::int32_t l) {
  if (vectors == 4) return 16 * l + 4 * q;
  return vectors >= 2 && q < 2 ? 8 * l + 4 * q : 16 * q + 4 * l;
}

// What is packed of a stored byte: b - zb, saturated, or with `Rest` what that leaves out.
template <bool Rest>
OPENBPU_INLINE __m512i weight_of(__m512i stored, __m512i zero) {
  const __m512i b = _mm512_xor_si512(stored, _mm512_set1_epi8(-128)), part = _mm512_subs_epi8(b, zero);
  return Rest ? _mm512_sub_epi8(_mm512_sub_epi8(b, zero), part) : part;
}

// A block under way: weights of step s, vector q go to weights + (s * vectors + q) * 64.
struct Columns {
  const std::uint8_t* b;
  std::int64_t pitch;
  std::int32_t k, count, vectors, steps;
  __m512i zero;
  std::int8_t* weights;
};

// b [k, n]: four rows are woven into the quads of their columns.
template <bool Rest>
void weave_rows(const Columns& c) {
  alignas(64) std::int32_t from[16];  // what stands in quad 4 l + q before the rows are woven
  for (std::int32_t i = 0; i < 16; ++i) from[i] = column_of(c.vectors, i % 4, i / 4) / 4 % 16;
  const __m512i order = avx512::load(from);
  const auto row = [&](std::int32_t k) {
    if (k >= c.k) return _mm512_setzero_si512();
    return _mm512_permutexvar_epi32(order, weight_of<Rest>(avx512::load(c.b + k * c.pitch), c.zero));
  };
  std::int8_t* to = c.weights;
  for (std::int32_t step = 0; step < c.steps; ++step, to += 64 * c.vectors) {
    const __m512i r0 = row(4 * step), r1 = row(4 * step + 1), r2 = row(4 * step + 2), r3 = row(4 * step + 3);
    const __m512i a0 = _mm512_unpacklo_epi8(r0, r1), a1 = _mm512_unpackhi_epi8(r0, r1);
    const __m512i b0 = _mm512_unpacklo_epi8(r2, r3), b1 = _mm512_unpackhi_epi8(r2, r3);
    _mm512_storeu_si512(to, _mm512_unpacklo_epi16(a0, b0));
    if (c.vectors > 1) _mm512_storeu_si512(to + 64, _mm512_unpackhi_epi16(a0, b0));
    if (c.vectors > 2) _mm512_storeu_si512(to + 128, _mm512_unpacklo_epi16(a1, b1));
    if (c.vectors > 3) _mm512_storeu_si512(to + 192, _mm512_unpackhi_epi16(a1, b1));
  }
}

// Sixteen rows of sixteen quads to sixteen vectors, each with one quad of every row, `pitch` bytes apart; the first
// `count` are stored.
OPENBPU_INLINE void transpose_quads(__m512i* r, std::int8_t* to, std::int64_t pitch, std::int32_t count) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 4) {
    const __m512i a0 = _mm512_unpacklo_epi32(r[i], r[i + 1]), a1 = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    const __m512i b0 = _mm512_unpacklo_epi32(r[i + 2], r[i + 3]), b1 = _mm512_unpackhi_epi32(r[i + 2], r[i + 3]);
    t[i] = _mm512_unpacklo_epi64(a0, b0);
    t[i + 1] = _mm512_unpackhi_epi64(a0, b0);
    t[i + 2] = _mm512_unpacklo_epi64(a1, b1);
    t[i + 3] = _mm512_unpackhi_epi64(a1, b1);
  }
  for (int i = 0; i < 4; ++i) {
    const __m512i low0 = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88), high0 = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
    const __m512i low1 = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
    const __m512i high1 = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
    const __m512i quads[] = {_mm512_shuffle_i32x4(low0, low1, 0x88), _mm512_shuffle_i32x4(high0, high1, 0x88),
                             _mm512_shuffle_i32x4(low0, low1, 0xdd), _mm512_shuffle_i32x4(high0, high1, 0xdd)};
    for (int j = 0; j < 4; ++j)
      if (4 * j + i < count) _mm512_storeu_si512(to + (4 * j + i) * pitch, quads[j]);
  }
}

// b [n, k]: sixteen columns at a time; the last one stands in for those that the block lacks.
template <bool Rest>
void turn_columns(const Columns& c) {
  for (std::int32_t q = 0; q < c.vectors; ++q)
    for (std::int32_t first = 0; first < c.steps; first += 16) {
      const std::uint64_t inside = avx512::low_lanes(c.k - 4 * first);
      __m512i rows[16];
      for (std::int32_t i = 0; i < 16; ++i) {
        const std::int32_t column = min(column_of(c.vectors, q, i / 4) + i % 4, c.count - 1);
        const __m512i stored = _mm512_maskz_loadu_epi8(inside, c.b + column * c.pitch + 4 * first);
        rows[i] = _mm512_maskz_mov_epi8(inside, weight_of<Rest>(stored, c.zero));
      }
      transpose_quads(rows, c.weights + (first * c.vectors + q) * 64, 64 * c.vectors, c.steps - first);
    }
}

// Whether b - zb leaves int8 somewhere in the columns.
bool saturates(const Columns& c, bool transposed) {
  const std::int32_t lines = transposed ? c.count : c.k, length = transposed ? c.k : c.count;
  __mmask64 found = 0;
  for (std::int32_t line = 0; line < lines; ++line)
    for (std::int32_t i = 0; i < length; i += 64) {
      const __m512i stored = _mm512_maskz_loadu_epi8(avx512::low_lanes(length - i), c.b + line * c.pitch + i);
      const __m512i rest = weight_of<true>(stored, c.zero);
      found |= _mm512_mask_test_epi8_mask(avx512::low_lanes(length - i), rest, rest);
    }
  return found != 0;
}

// ---- blocks

// What all blocks of an operator have in common.
void make_header(const MatMulDParams& p, Block* block) {
  const Rq8& rq = p.rq;
  const std::int32_t B = rq.B[0], s = rq.s[0], L = rq.L;
  *block = {};
  block->blocks = block->parts = 1;
  for (std::int32_t lane = 0; lane < kBlock; ++lane) {
    avx512::pack_lane(lane, B, 0, s, L, &block->constants);
    avx512::pack_word(lane, B, rq.m[0], s, L, &block->constants);
  }
}

// Takes the sum of the weights of each lane, times the factor, from its start value.
template <int Vectors>
void take_sums(const std::int8_t* weights, std::int32_t steps, std::int32_t factor, std::int32_t* start) {
  const __m512i one = _mm512_set1_epi8(1);
  Acc sum0{}, sum1{}, sum2{}, sum3{};
  for (const std::int8_t* const end = weights + std::int64_t{steps} * 64 * Vectors; weights != end;
       weights += 64 * Vectors) {
    sum0 = avx512::dot(sum0, one, avx512::load(weights));
    if constexpr (Vectors > 1) sum1 = avx512::dot(sum1, one, avx512::load(weights + 64));
    if constexpr (Vectors > 2) sum2 = avx512::dot(sum2, one, avx512::load(weights + 128));
    if constexpr (Vectors > 3) sum3 = avx512::dot(sum3, one, avx512::load(weights + 192));
  }
  const auto take = [&](std::int32_t q, Acc sum) {
    const __m512i taken = _mm512_mullo_epi32(reinterpret_cast<__m512i>(sum), _mm512_set1_epi32(factor));
    _mm512_storeu_si512(start + 16 * q, _mm512_sub_epi32(avx512::load(start + 16 * q), taken));
  };
  take(0, sum0);
  take(1, sum1);
  take(2, sum2);
  take(3, sum3);
}

void pack_block(const MatMulDParams& p, const Layout& l, const Block& header, const std::uint8_t* b, std::int32_t count,
                std::uint8_t* to) {
  Columns c{b, p.b.sw, p.a.c, count, ceil_div(count, 16), l.steps, _mm512_set1_epi8(static_cast<char>(p.b_zero)), {}};
  const bool again = p.b_zero != 0 && saturates(c, p.transpose_b);
  const std::int32_t steps = again ? 2 * l.steps : l.steps;
  auto* block = reinterpret_cast<Block*>(to);
  *block = header;
  block->channels = count;
  block->steps = steps;
  auto* offsets = reinterpret_cast<std::int32_t*>(to + avx512::kHeader + kBlock * 4);
  for (std::int32_t step = 0; step < steps; ++step) offsets[step] = step % l.steps * 4;
  auto* weights = reinterpret_cast<std::int8_t*>(to + avx512::head_bytes(1, steps));
  c.weights = weights;
  p.transpose_b ? turn_columns<false>(c) : weave_rows<false>(c);
  if (again) {
    c.weights = weights + std::int64_t{l.steps} * c.vectors * 64;
    p.transpose_b ? turn_columns<true>(c) : weave_rows<true>(c);
  }
  static constexpr void (*kTakeSums[])(const std::int8_t*, std::int32_t, std::int32_t, std::int32_t*) = {
      take_sums<1>, take_sums<2>, take_sums<3>, take_sums<4>};
  kTakeSums[c.vectors - 1](weights, steps, 128 + p.a_zero, block->constants.start);
}

// ---- units

template <class... Session>
void run_unit(const MatMulDParams& p, const Layout& l, const Block& header, std::int32_t unit, std::uint8_t* scratch,
              Session*... session) {
  const std::int32_t n = unit / l.parts, first = unit % l.parts * l.rows;
  const std::uint8_t* b = p.b.data + n * p.b.sn;
  for (std::int32_t index = 0; index < l.blocks; ++index) {
    const std::int32_t column = index * kBlock;
    pack_block(p, l, header, b + column * (p.transpose_b ? p.b.sw : 1), min(kBlock, p.out.c - column), scratch);
    const GemmLines lines{p.a.data + n * p.a.sn + first * p.a.sw,
                          0,
                          p.a.sw,
                          p.out.data + n * p.out.sn + first * p.out.sw + column,
                          0,
                          p.out.sw,
                          1,
                          min(l.rows, p.out.w - first),
                          0,
                          1};
    Core::run(scratch, 0, lines, p.rq, session...);
  }
}

}  // namespace
}  // namespace openbpu::kernels
