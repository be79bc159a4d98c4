// The inner loops of the float kernels, one set per ISA.
//
// All sets give the same bits: they compute with 16 lanes (two registers of AVX2, one of AVX-512, an array elsewhere),
// every lane by the same correctly rounded operations (add, multiply, divide, square root, fused multiply-add), and
// sums go over the lanes in one order. A host without a fused multiply-add computes it in software, slowly.
#pragma once

#include <cstdint>

#include "kernels/kernel.hpp"

namespace openbpu::kernels::cpu {

// Functions of one value and up to two parameters a and b.
enum class Math : std::uint8_t {
  Abs,
  Neg,
  Sign,
  Floor,
  Ceil,
  Round,
  Sqrt,
  Reciprocal,
  Exp,
  Log,
  Sin,
  Cos,
  Tan,
  Asin,
  Acos,
  Atan,
  Sinh,
  Cosh,
  Asinh,
  Acosh,
  Atanh,
  Tanh,
  Erf,
  Sigmoid,
  Relu,
  LeakyRelu,
  Elu,
  Selu,
  Celu,
  ThresholdedRelu,
  HardSigmoid,
  HardSwish,
  Softplus,
  Softsign,
  Gelu,
  GeluTanh,
  Mish,
  Swish,
  Affine,
  Clamp,
  Count
};

// Mod: the remainder with the sign of a, as fmod, or not-a-number where the quotient is above 2^22. PRelu: a, or a * b
// where a is below zero.
enum class Arithmetic : std::uint8_t { Add, Sub, Mul, Div, Max, Min, Pow, Mod, PRelu, Count };

// What a comparison gives: for a < b, for a = b, for all else.
struct Flags {
  bool less, equal, other;
};

// Sines and the like hold for |x| up to this; beyond it they give any value.
constexpr float kLargestAngle = 131072.0f;

// A product of a block: c[m][n] = start[m] + sum over k of a[m][k] * b[k][n], k in ascending order, each step fused.
// a lies in tiles of Vector::rows rows, [m / rows][k][rows], of which those beyond m are not read; b in panels,
// [n / columns][k][columns], zero padded.
struct Product {
  const float *a, *b;
  float* c;
  std::int64_t c_row;  // elements from row to row
  std::int64_t m, n, k;
  const float* start;  // per row, null for 0
  bool add;            // start from what c holds instead
  // Unless null, b is no panels: element (k, n) is b[places[k] + n], of which a whole panel may be read beyond the
  // last.
  const std::int32_t* places = nullptr;
};

// Rows of a window sum: y[r][i] = start + sum over taps of weights[t] * x[r * x_row + offsets[t] + i], in the order of
// the taps, each step fused. y is dense. May read 15 elements of x beyond the last.
struct Taps {
  const float* x;
  std::int64_t x_row;
  const std::int32_t* offsets;
  const float* weights;
  std::int64_t taps;
  float start;
  float* y;
  std::int64_t rows, n;
};

// y[i] = sum over taps of weights[t * row + i] * x[places[t * row + i]], each step fused. Rows of the tables end at a
// multiple of 16. With `pairs`, every second tap lies behind the one before it, whatever its places say.
struct Gathered {
  const float* x;
  const std::int32_t* places;
  const float* weights;
  std::int64_t taps, row;
  float* y;
  std::int64_t n;
  bool pairs;
};

// Rows of pooled outputs, x_step apart in x and n in y. For each, columns[i] becomes the maximum or sum of
// x[r * x_row + i] over the rows, in order, for i of [0, width); then y[i] that of
// columns[i * step + t * dilation - before] over the taps, a sum divided by counts[i]. The caller keeps
// padding in front of columns (`before`) and behind, which lie columns_row apart; 32 floats beyond the last are read.
// The columns of several outputs are made first: what was stored a moment ago is slow to load from other places.
struct PoolRows {
  const float* x;
  std::int64_t x_row, rows, width, outputs, x_step;
  float* columns;
  std::int64_t columns_row, before, step, dilation, taps;
  const float* counts;  // of sums; and, behind them at n, their reciprocals
  float* y;
  std::int64_t n;
  bool largest;
};

// For each i of n columns the k < rows with the largest (or smallest) x[k * x_row + i], the first of equals, as a
// float.
struct Extremes {
  const float* x;
  std::int64_t x_row, rows, n;
  bool smallest;
  float* at;
};
constexpr std::int64_t kMostExtremes = 1 << 24;  // rows: larger indices are no floats

struct Vector {
  const char* name;
  std::int64_t rows, columns;  // of a tile and of a panel

  void (*math[static_cast<int>(Math::Count)])(const float* x, float* y, std::int64_t n, float a, float b);
  // Steps of the operands are 0 or 1.
  void (*arithmetic[static_cast<int>(Arithmetic::Count)])(const float* a, std::int64_t a_step, const float* b,
                                                          std::int64_t b_step, float* y, std::int64_t n);
  void (*compare)(const float* a, std::int64_t a_step, const float* b, std::int64_t b_step, std::uint8_t* y,
                  std::int64_t n, Flags flags);
  float (*sum)(const float* x, std::int64_t n);
  // Sum of (x - mean)^2.
  float (*sum_of_squares)(const float* x, std::int64_t n, float mean);
  float (*dot)(const float* a, const float* b, std::int64_t n);
  float (*maximum)(const float* x, std::int64_t n);
  float (*minimum)(const float* x, std::int64_t n);
  // y = exp(x - shift); returns the sum of y.
  float (*exponentials)(const float* x, float* y, std::int64_t n, float shift);
  // y = (x - mean) * factor * scale + bias; scale and bias may be null.
  void (*normalise)(const float* x, float* y, std::int64_t n, float mean, float factor, const float* scale,
                    const float* bias);
  void (*taps)(const Taps& p);
  void (*gather)(const Gathered& p);
  void (*pool_rows)(const PoolRows& p);
  void (*extremes)(const Extremes& p);
  // The same for a row of n < kMostExtremes.
  std::int64_t (*extreme)(const float* x, std::int64_t n, bool smallest);
  // y[i] = x[i] towards zero, held within the type; 0 for not-a-number.
  void (*integers)(const float* x, std::int32_t* y, std::int64_t n);
  // y[i * step + p] = parts[p * part + i] for i * step + p < n.
  void (*interleave)(const float* parts, std::int64_t part, std::int64_t step, float* y, std::int64_t n);
  void (*product)(const Product& p);
};

extern const Vector kScalarVector;
extern const Vector kAvx2Vector;    // where OPENBPU_HAS_AVX2
extern const Vector kAvx512Vector;  // where OPENBPU_HAS_AVX512VNNI

// The set that fits an ISA.
const Vector& vector_of(Isa isa);

}  // namespace openbpu::kernels::cpu
