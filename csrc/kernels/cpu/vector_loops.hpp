// The primitives of Vector in terms of Lanes: included once by the file of each ISA, after its lanes.
#pragma once

#include "kernels/cpu/math_lanes.hpp"
#include "kernels/cpu/product_loops.hpp"

namespace openbpu::kernels::cpu {
namespace {

// ---- element-wise

inline Lanes block(const float* p, std::int64_t count) { return count == 16 ? load(p) : load(p, count); }
inline void store_block(float* p, Lanes x, std::int64_t count) {
  if (count == 16)
    store(p, x);
  else
    store(p, x, count);
}

// Calls f(i, count) for blocks of 16, count less for the last; f stands once in the code.
template <class F>
inline void blocks_of(std::int64_t n, F f) {
  for (std::int64_t i = 0; i < n; i += 16) f(i, n - i < 16 ? n - i : 16);
}

// Whole blocks of 16 of a function; what is left over goes through the same code in a block of its own.
using MathBlocks = void (*)(const float* x, float* y, std::int64_t n, Lanes a, Lanes b);

template <Math f>
void math_blocks(const float* x, float* y, std::int64_t n, Lanes a, Lanes b) {
  for (std::int64_t i = 0; i < n; i += 16) store(y + i, compute(f, load(x + i), a, b));
}

void math_of(MathBlocks blocks, const float* x, float* y, std::int64_t n, float a, float b) {
  const std::int64_t whole = n / 16 * 16;
  blocks(x, y, whole, spread(a), spread(b));
  if (whole == n) return;
  float rest[16];
  store(rest, load(x + whole, n - whole));
  blocks(rest, rest, 16, spread(a), spread(b));
  store(y + whole, load(rest), n - whole);
}

template <Math f>
void math_loop(const float* x, float* y, std::int64_t n, float a, float b) {
  math_of(math_blocks<f>, x, y, n, a, b);
}

template <Arithmetic f>
inline Lanes combine(Lanes a, Lanes b) {
  switch (f) {
    case Arithmetic::Add:
      return a + b;
    case Arithmetic::Sub:
      return a - b;
    case Arithmetic::Mul:
      return a * b;
    case Arithmetic::Div:
      return a / b;
    case Arithmetic::Max:
      return choose(is_nan(a), a, larger(a, b));
    case Arithmetic::Min:
      return choose(is_nan(a), a, smaller(a, b));
    case Arithmetic::Pow:
      return power(a, b);
    case Arithmetic::Mod:
      return remainder(a, b);
    case Arithmetic::PRelu:
      return choose(a < spread(0), a * b, a);
    case Arithmetic::Count:
      break;
  }
  return a;
}

// An operand of one value is read from 16 copies of it.
struct Operand {
  Operand(const float* x, std::int64_t by) : data(by == 1 ? x : copies), step(by) { store(copies, spread(*x)); }
  Operand(const Operand&) = delete;
  Operand& operator=(const Operand&) = delete;
  const float* at(std::int64_t i) const { return data + i * step; }

  float copies[16];
  const float* data;
  std::int64_t step;
};

using ArithmeticBlocks = void (*)(const float* a, std::int64_t a_step, const float* b, std::int64_t b_step, float* y,
                                  std::int64_t n);

template <Arithmetic f>
void arithmetic_blocks(const float* a, std::int64_t a_step, const float* b, std::int64_t b_step, float* y,
                       std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 16) store(y + i, combine<f>(load(a + i * a_step), load(b + i * b_step)));
}

void arithmetic_of(ArithmeticBlocks blocks, const float* a, std::int64_t a_step, const float* b, std::int64_t b_step,
                   float* y, std::int64_t n) {
  const Operand left(a, a_step), right(b, b_step);
  const std::int64_t whole = n / 16 * 16;
  blocks(left.data, a_step, right.data, b_step, y, whole);
  if (whole == n) return;
  float last_a[16], last_b[16];
  store(last_a, load(left.at(whole), n - whole));
  store(last_b, load(right.at(whole), n - whole));
  blocks(last_a, 1, last_b, 1, last_a, 16);
  store(y + whole, load(last_a), n - whole);
}

template <Arithmetic f>
void arithmetic_loop(const float* a, std::int64_t a_step, const float* b, std::int64_t b_step, float* y,
                     std::int64_t n) {
  arithmetic_of(arithmetic_blocks<f>, a, a_step, b, b_step, y, n);
}

void compare_loop(const float* a, std::int64_t a_step, const float* b, std::int64_t b_step, std::uint8_t* y,
                  std::int64_t n, Flags flags) {
  const auto wide = [](bool flag) { return spread(flag ? 1.0f : 0.0f); };
  const Lanes less = wide(flags.less), equal = wide(flags.equal), other = wide(flags.other);
  const Operand left(a, a_step), right(b, b_step);
  blocks_of(n, [&](std::int64_t i, std::int64_t count) {
    const Lanes u = block(left.at(i), count), v = block(right.at(i), count);
    store_flags(y + i, spread(0.5f) < choose(u < v, less, choose(u == v, equal, other)), count);
  });
}

// ---- rows

// Over the lanes, in halves.
inline float total(Lanes x) {
  float v[16];
  to_array(x, v);
#pragma GCC unroll 4
  for (int half = 8; half > 0; half /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) v[i] += v[i + half];
  return v[0];
}

// Sum of f(i, count) over blocks of 16, count less for the last; lanes beyond it give zero.
template <class F>
inline float sum_blocks(std::int64_t n, F f) {
  Lanes s0 = spread(0), s1 = s0, s2 = s0, s3 = s0;
  std::int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    s0 = s0 + f(i, 16);
    s1 = s1 + f(i + 16, 16);
    s2 = s2 + f(i + 32, 16);
    s3 = s3 + f(i + 48, 16);
  }
  for (; i + 16 <= n; i += 16) s0 = s0 + f(i, 16);
  if (i < n) s1 = s1 + f(i, n - i);
  return total((s0 + s1) + (s2 + s3));
}

float sum_loop(const float* x, std::int64_t n) {
  return sum_blocks(n, [&](std::int64_t i, std::int64_t count) { return block(x + i, count); });
}

float squares_loop(const float* x, std::int64_t n, float mean) {
  const Lanes m = spread(mean);
  const std::int64_t whole = n / 16 * 16;
  const float sum = sum_blocks(whole, [&](std::int64_t i, std::int64_t) {
    const Lanes d = load(x + i) - m;
    return d * d;
  });
  float rest = 0;
  for (std::int64_t i = whole; i < n; ++i) rest += (x[i] - mean) * (x[i] - mean);
  return sum + rest;
}

float dot_loop(const float* a, const float* b, std::int64_t n) {
  Lanes s0 = spread(0), s1 = s0, s2 = s0, s3 = s0;
  std::int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    s0 = fma(load(a + i), load(b + i), s0);
    s1 = fma(load(a + i + 16), load(b + i + 16), s1);
    s2 = fma(load(a + i + 32), load(b + i + 32), s2);
    s3 = fma(load(a + i + 48), load(b + i + 48), s3);
  }
  for (; i + 16 <= n; i += 16) s0 = fma(load(a + i), load(b + i), s0);
  if (i < n) s1 = fma(load(a + i, n - i), load(b + i, n - i), s1);
  return total((s0 + s1) + (s2 + s3));
}

// What is left of a row is in its last blocks, some of which is met twice; then over the lanes, in halves.
template <bool least>
float extreme_value(const float* x, std::int64_t n) {
  const auto further = [](Lanes u, Lanes v) { return least ? smaller(u, v) : larger(u, v); };
  const auto take = [](float u, float v) { return (least ? u < v : u > v) ? u : v; };
  float v[16] = {x[0]};
  if (n < 32) {
    for (std::int64_t i = 1; i < n; ++i) v[0] = take(v[0], x[i]);
    return v[0];
  }
  Lanes m0 = load(x), m1 = load(x + 16);
  for (std::int64_t i = 32; i < n; i += 32) {
    const std::int64_t at = i + 32 <= n ? i : n - 32;
    m0 = further(m0, load(x + at));
    m1 = further(m1, load(x + at + 16));
  }
  to_array(further(m0, m1), v);
#pragma GCC unroll 4
  for (int half = 8; half > 0; half /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) v[i] = take(v[i], v[i + half]);
  return v[0];
}

float exponentials_loop(const float* x, float* y, std::int64_t n, float shift) {
  const Lanes s = spread(shift);
  blocks_of(
      n, [&](std::int64_t i, std::int64_t count) { store_block(y + i, exponential(block(x + i, count) - s), count); });
  return sum_loop(y, n);
}

void normalise_loop(const float* x, float* y, std::int64_t n, float mean, float factor, const float* scale,
                    const float* bias) {
  const Lanes m = spread(mean), f = spread(factor);
  blocks_of(n, [&](std::int64_t i, std::int64_t count) {
    Lanes v = (block(x + i, count) - m) * f;
    if (scale) v = v * block(scale + i, count);
    if (bias) v = v + block(bias + i, count);
    store_block(y + i, v, count);
  });
}

// Columns [i, i + 16) of `rows` rows; the chains of several rows hide each other's latency.
template <int rows>
inline void tap_rows(const Taps& p, std::int64_t r, std::int64_t i) {
  Lanes sum[rows];
#pragma GCC unroll 4
  for (int k = 0; k < rows; ++k) sum[k] = spread(p.start);
  const float* x = p.x + r * p.x_row + i;
  for (std::int64_t t = 0; t < p.taps; ++t) {
    const Lanes w = spread(p.weights[t]);
#pragma GCC unroll 4
    for (int k = 0; k < rows; ++k) sum[k] = fma(w, load(x + k * p.x_row + p.offsets[t]), sum[k]);
  }
  const std::int64_t count = p.n - i < 16 ? p.n - i : 16;
  float* y = p.y + r * p.n + i;
#pragma GCC unroll 4
  for (int k = 0; k < rows; ++k) store_block(y + k * p.n, sum[k], count);
}

void taps_loop(const Taps& p) {
  std::int64_t r = 0;
  for (; r + 4 <= p.rows; r += 4)
    for (std::int64_t i = 0; i < p.n; i += 16) tap_rows<4>(p, r, i);
  for (; r < p.rows; ++r)
    for (std::int64_t i = 0; i < p.n; i += 16) tap_rows<1>(p, r, i);
}

// Columns of two taps that lie side by side.
void gather_pairs(const Gathered& p) {
  blocks_of(p.n, [&](std::int64_t i, std::int64_t count) {
    Lanes v = spread(0);
    for (std::int64_t t = i; t < p.taps * p.row; t += 2 * p.row) {
      Lanes first, second;
      gather_both(p.x, p.places + t, first, second);
      v = fma(second, load(p.weights + t + p.row), fma(first, load(p.weights + t), v));
    }
    store_block(p.y + i, v, count);
  });
}

void gather_loop(const Gathered& p) {
  if (p.pairs) return gather_pairs(p);
  blocks_of(p.n, [&](std::int64_t i, std::int64_t count) {
    Lanes v = gathered(p.x, p.places + i) * load(p.weights + i);
    for (std::int64_t t = p.row + i; t < p.taps * p.row; t += p.row)
      v = fma(gathered(p.x, p.places + t), load(p.weights + t), v);
    store_block(p.y + i, v, count);
  });
}

// ---- windows, extremes

// Not inlined: for the few windows of such steps.
[[gnu::noinline]] Lanes far_apart(const float* p, std::int64_t step) {
  float v[16];
  for (int i = 0; i < 16; ++i) v[i] = p[i * step];
  return load(v);
}

template <bool dense>
inline Lanes strided(const float* p, std::int64_t step) {
  if (dense) return load(p);
  return step == 2 ? evens(p) : far_apart(p, step);
}

// x / count, given the reciprocal of the count: the remainder mends the rounding of the reciprocal.
inline Lanes quotient(Lanes x, Lanes count, Lanes reciprocal) {
  const Lanes q = x * reciprocal;
  const Lanes mended = fma(fma(spread(0) - q, count, x), reciprocal, q);
  return choose(is_nan(mended), q, mended);
}

// f over the taps of windows in `rows` rows side by side, whose chains hide each other's latency.
template <Arithmetic f, int rows, class Read>
inline void combine_taps(std::int64_t taps, Lanes (&v)[rows], Read read) {
#pragma GCC unroll 4
  for (int k = 0; k < rows; ++k) v[k] = read(k, 0);
  for (std::int64_t t = 1; t < taps; ++t)
#pragma GCC unroll 4
    for (int k = 0; k < rows; ++k) v[k] = combine<f>(v[k], read(k, t));
}

// Columns [i, i + count) under outputs [o, o + rows).
template <Arithmetic f, int rows>
inline void pool_down(const PoolRows& p, std::int64_t o, std::int64_t i, std::int64_t count) {
  Lanes v[rows];
  const float* from = p.x + o * p.x_step + i;
  combine_taps<f>(p.rows, v, [&](int k, std::int64_t t) { return block(from + k * p.x_step + t * p.x_row, count); });
  float* to = p.columns + o * p.columns_row + i;
#pragma GCC unroll 4
  for (int k = 0; k < rows; ++k) store_block(to + k * p.columns_row, v[k], count);
}

// Results [i, i + count) of outputs [o, o + rows).
template <Arithmetic f, bool dense, int rows>
inline void pool_across(const PoolRows& p, std::int64_t o, std::int64_t i, std::int64_t count) {
  Lanes v[rows];
  const float* from = p.columns + o * p.columns_row - p.before + i * p.step;
  combine_taps<f>(p.taps, v, [&](int k, std::int64_t t) {
    return strided<dense>(from + k * p.columns_row + t * p.dilation, p.step);
  });
  float* to = p.y + o * p.n + i;
  if (f == Arithmetic::Add) {
    const Lanes counts = block(p.counts + i, count), reciprocals = block(p.counts + p.n + i, count);
#pragma GCC unroll 4
    for (int k = 0; k < rows; ++k) v[k] = quotient(v[k], counts, reciprocals);
  }
#pragma GCC unroll 4
  for (int k = 0; k < rows; ++k) store_block(to + k * p.n, v[k], count);
}

constexpr int kPooled = 4;  // rows at a time

template <Arithmetic f, bool dense>
void pool_results(const PoolRows& p) {
  std::int64_t o = 0;
  for (; o + kPooled <= p.outputs; o += kPooled)
    blocks_of(p.n, [&](std::int64_t i, std::int64_t n) { pool_across<f, dense, kPooled>(p, o, i, n); });
  for (; o < p.outputs; ++o)
    blocks_of(p.n, [&](std::int64_t i, std::int64_t n) { pool_across<f, dense, 1>(p, o, i, n); });
}

template <Arithmetic f>
void pool_rows_of(const PoolRows& p) {
  const std::int64_t whole = p.width / 16 * 16, grouped = p.outputs / kPooled * kPooled;
  for (std::int64_t o = 0; o < grouped; o += kPooled)
    for (std::int64_t i = 0; i < whole; i += 16) pool_down<f, kPooled>(p, o, i, 16);
  for (std::int64_t o = 0; o < p.outputs; ++o)
    for (std::int64_t i = o < grouped ? whole : 0; i < p.width; i += 16)
      pool_down<f, 1>(p, o, i, p.width - i < 16 ? p.width - i : 16);
  return p.step == 1 ? pool_results<f, true>(p) : pool_results<f, false>(p);
}

void pool_rows_loop(const PoolRows& p) {
  if (p.largest)
    pool_rows_of<Arithmetic::Max>(p);
  else
    pool_rows_of<Arithmetic::Add>(p);
}

template <bool smallest>
inline void take_better(Lanes v, Lanes k, Lanes& best, Lanes& at) {
  const Mask better = smallest ? v < best : best < v;
  best = choose(better, v, best);
  at = choose(better, k, at);
}

// `blocks` times 16 columns side by side, the last of them with `count`.
template <bool smallest, int blocks>
inline void extreme_columns(const Extremes& p, std::int64_t i, std::int64_t count) {
  Lanes best[blocks], at[blocks], k = spread(0);
  const auto value = [&](std::int64_t row, int b) {
    return block(p.x + row * p.x_row + i + 16 * b, b + 1 == blocks ? count : 16);
  };
#pragma GCC unroll 4
  for (int b = 0; b < blocks; ++b) best[b] = value(0, b), at[b] = k;
  for (std::int64_t row = 1; row < p.rows; ++row) {
    k = k + spread(1);
#pragma GCC unroll 4
    for (int b = 0; b < blocks; ++b) take_better<smallest>(value(row, b), k, best[b], at[b]);
  }
#pragma GCC unroll 4
  for (int b = 0; b < blocks; ++b) store_block(p.at + i + 16 * b, at[b], b + 1 < blocks ? 16 : count);
}

template <bool smallest>
void extremes_of(const Extremes& p) {
  std::int64_t i = 0;
  for (; i + 64 <= p.n; i += 64) extreme_columns<smallest, 4>(p, i, 16);
  for (; i < p.n; i += 16) extreme_columns<smallest, 1>(p, i, p.n - i < 16 ? p.n - i : 16);
}

void extremes_loop(const Extremes& p) {
  if (p.smallest)
    extremes_of<true>(p);
  else
    extremes_of<false>(p);
}

// All lanes start from the first element, so that one that is not a number stays, as it does one by one.
template <bool smallest>
std::int64_t extreme_of(const float* x, std::int64_t n) {
  constexpr float kFirst[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  Lanes best[2] = {spread(x[0]), spread(x[0])}, at[2] = {spread(0), spread(0)};
  Lanes k[2] = {load(kFirst), load(kFirst) + spread(16)};
  std::int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    take_better<smallest>(load(x + i), k[0], best[0], at[0]);
    take_better<smallest>(load(x + i + 16), k[1], best[1], at[1]);
    k[0] = k[0] + spread(32), k[1] = k[1] + spread(32);
  }
  float most = x[0], first = 0;
  const auto take = [&](float v, float place) {
    const bool better = smallest ? v < most : most < v;
    if (better || (v == most && place < first)) most = v, first = place;
  };
  for (int half = 0; half < 2; ++half) {
    float values[16], places[16];
    to_array(best[half], values);
    to_array(at[half], places);
#pragma GCC unroll 1
    for (int lane = 0; lane < 16; ++lane) take(values[lane], places[lane]);
  }
  for (; i < n; ++i) take(x[i], static_cast<float>(i));
  return static_cast<std::int64_t>(first);
}

std::int64_t extreme_loop(const float* x, std::int64_t n, bool smallest) {
  return smallest ? extreme_of<true>(x, n) : extreme_of<false>(x, n);
}

void integers_loop(const float* x, std::int32_t* y, std::int64_t n) {
  blocks_of(n, [&](std::int64_t i, std::int64_t count) { store_integers(y + i, block(x + i, count), count); });
}

void interleave_loop(const float* parts, std::int64_t part, std::int64_t step, float* y, std::int64_t n) {
  std::int64_t i = 0;  // of the output
  if (step == 2)
    for (; i + 32 <= n; i += 32) store_turns(y + i, load(parts + i / 2), load(parts + part + i / 2));
  for (std::int64_t p = 0; p < step; ++p)
    for (std::int64_t k = i / step; k * step + p < n; ++k) y[k * step + p] = parts[p * part + k];
}

// ---- the set

#define OPENBPU_MATH(f) math_loop<Math::f>
#define OPENBPU_ARITHMETIC(f) arithmetic_loop<Arithmetic::f>
constexpr Vector vector_of_this_isa(const char* name) {
  return {name,
          kTileRows,
          kPanel,
          {OPENBPU_MATH(Abs),         OPENBPU_MATH(Neg),        OPENBPU_MATH(Sign),
           OPENBPU_MATH(Floor),       OPENBPU_MATH(Ceil),       OPENBPU_MATH(Round),
           OPENBPU_MATH(Sqrt),        OPENBPU_MATH(Reciprocal), OPENBPU_MATH(Exp),
           OPENBPU_MATH(Log),         OPENBPU_MATH(Sin),        OPENBPU_MATH(Cos),
           OPENBPU_MATH(Tan),         OPENBPU_MATH(Asin),       OPENBPU_MATH(Acos),
           OPENBPU_MATH(Atan),        OPENBPU_MATH(Sinh),       OPENBPU_MATH(Cosh),
           OPENBPU_MATH(Asinh),       OPENBPU_MATH(Acosh),      OPENBPU_MATH(Atanh),
           OPENBPU_MATH(Tanh),        OPENBPU_MATH(Erf),        OPENBPU_MATH(Sigmoid),
           OPENBPU_MATH(Relu),        OPENBPU_MATH(LeakyRelu),  OPENBPU_MATH(Elu),
           OPENBPU_MATH(Selu),        OPENBPU_MATH(Celu),       OPENBPU_MATH(ThresholdedRelu),
           OPENBPU_MATH(HardSigmoid), OPENBPU_MATH(HardSwish),  OPENBPU_MATH(Softplus),
           OPENBPU_MATH(Softsign),    OPENBPU_MATH(Gelu),       OPENBPU_MATH(GeluTanh),
           OPENBPU_MATH(Mish),        OPENBPU_MATH(Swish),      OPENBPU_MATH(Affine),
           OPENBPU_MATH(Clamp)},
          {OPENBPU_ARITHMETIC(Add), OPENBPU_ARITHMETIC(Sub), OPENBPU_ARITHMETIC(Mul), OPENBPU_ARITHMETIC(Div),
           OPENBPU_ARITHMETIC(Max), OPENBPU_ARITHMETIC(Min), OPENBPU_ARITHMETIC(Pow), OPENBPU_ARITHMETIC(Mod),
           OPENBPU_ARITHMETIC(PRelu)},
          compare_loop,
          sum_loop,
          squares_loop,
          dot_loop,
          extreme_value<false>,
          extreme_value<true>,
          exponentials_loop,
          normalise_loop,
          taps_loop,
          gather_loop,
          pool_rows_loop,
          extremes_loop,
          extreme_loop,
          integers_loop,
          interleave_loop,
          product_loop};
}
#undef OPENBPU_MATH
#undef OPENBPU_ARITHMETIC

}  // namespace
}  // namespace openbpu::kernels::cpu
