// Element-wise operators of several inputs with broadcasting.
#include <cmath>
#include <new>

#include "kernels/cpu/kernel.hpp"
#include "kernels/cpu/types.hpp"
#include "kernels/cpu/walk.hpp"
#include "kernels/cpu/wide.hpp"

namespace openbpu::kernels::cpu {
namespace {

using Pair = Walk<2>;

Plan plan(const Call& call, const Vector&) { return plan_of_elements(call.out().elements(), sizeof(Pair)); }

void prepare(const Call& call, const Vector&, std::uint8_t* prepared) {
  new (prepared) Pair(broadcast_walk<2>(call.out(), {&call.in(0), &call.in(1)}));
}

// Calls row(a offset, a step, b offset, b step, first output, n) over units of a walk of two operands.
template <class Row>
void rows_of(const Pair& walk, std::int64_t first, std::int64_t last, Row row) {
  const int end = walk.rank - 1;
  const std::int64_t a_step = end < 0 ? 0 : walk.stride[0][end], b_step = end < 0 ? 0 : walk.stride[1][end];
  std::int64_t at = first;
  walk_rows(walk, first, last, [&](const std::int64_t(&offset)[2], std::int64_t n) {
    row(offset[0], a_step, offset[1], b_step, at, n);
    at += n;
  });
}

// y = f(a, b) for operands of type T.
template <class T, class Y, class F>
void apply(const Task& task, std::int32_t begin, std::int32_t end, F f) {
  const auto& walk = *reinterpret_cast<const Pair*>(task.prepared);
  const T *a = task.call.in(0).as<const T>(), *b = task.call.in(1).as<const T>();
  Y* y = task.call.out().as<Y>();
  const std::int64_t last = std::min(end * kUnitElements, task.call.out().elements());
  rows_of(walk, begin * kUnitElements, last,
          [&](std::int64_t at_a, std::int64_t a_step, std::int64_t at_b, std::int64_t b_step, std::int64_t at,
              std::int64_t n) {
            for (std::int64_t i = 0; i < n; ++i)
              y[at + i] = static_cast<Y>(f(a[at_a + i * a_step], b[at_b + i * b_step]));
          });
}

// y = f(a, b) in wide types: the operands as A and B, the result as Y.
template <class A, class B, class Y, class F>
void apply_wide(const Task& task, std::int32_t begin, std::int32_t end, F f) {
  const auto& walk = *reinterpret_cast<const Pair*>(task.prepared);
  const Tensor &a = task.call.in(0), &b = task.call.in(1), &y = task.call.out();
  A left[kWideBlock];
  B right[kWideBlock];
  Y result[kWideBlock];
  rows_of(walk, begin * kUnitElements, std::min(end * kUnitElements, y.elements()),
          [&](std::int64_t at_a, std::int64_t a_step, std::int64_t at_b, std::int64_t b_step, std::int64_t at,
              std::int64_t count) {
            for (std::int64_t i = 0; i < count; i += kWideBlock) {
              const std::int64_t n = std::min(kWideBlock, count - i);
              load_wide(a, at_a + i * a_step, a_step, n, left);
              load_wide(b, at_b + i * b_step, b_step, n, right);
              for (std::int64_t k = 0; k < n; ++k) result[k] = static_cast<Y>(f(left[k], right[k]));
              store_wide(y, at + i, n, result);
            }
          });
}

// The same for operands and result of one type.
template <class F>
void apply_any(const Task& task, std::int32_t begin, std::int32_t end, F f) {
  visit_wide(task.call.in(0).type, [&](auto tag) {
    using W = typename decltype(tag)::type;
    apply_wide<W, W, W>(task, begin, end, f);
  });
}

// ---- arithmetic

// Integers wrap as two's complement does: computed in uint64.
template <class T>
std::uint64_t modular(T x) {
  return static_cast<std::uint64_t>(x);
}

template <class T>
T divided(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return a / b;
  } else {
    if (b == 0) return 0;
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return static_cast<T>(0 - modular(a));
    return static_cast<T>(a / b);
  }
}

template <class T>
T remainder(T a, T b, bool fmod) {
  if constexpr (std::is_floating_point_v<T>) {
    const T r = std::fmod(a, b);
    return fmod || r == 0 || (r < 0) == (b < 0) ? r : r + b;
  } else {
    if (b == 0 || (std::is_signed_v<T> && b == static_cast<T>(-1))) return 0;
    const T r = static_cast<T>(a % b);
    return fmod || r == 0 || (r < 0) == (b < 0) ? r : static_cast<T>(r + b);
  }
}

template <class T>
T combined(Arithmetic f, T a, T b) {
  constexpr bool real = std::is_floating_point_v<T>;
  switch (f) {
    case Arithmetic::Add:
      if constexpr (real) return a + b;
      return static_cast<T>(modular(a) + modular(b));
    case Arithmetic::Sub:
      if constexpr (real) return a - b;
      return static_cast<T>(modular(a) - modular(b));
    case Arithmetic::Mul:
      if constexpr (real) return a * b;
      return static_cast<T>(modular(a) * modular(b));
    case Arithmetic::Div:
      return divided(a, b);
    case Arithmetic::Max:
      return a != a || a > b ? a : b;
    case Arithmetic::Min:
      return a != a || a < b ? a : b;
    case Arithmetic::Count:
      break;
  }
  return a;
}

// Runs of float32 through the primitives: their steps are 0 or 1 except for outer products of views.
void arithmetic_row(const Vector& vector, Arithmetic f, const float* a, std::int64_t a_step, const float* b,
                    std::int64_t b_step, float* y, std::int64_t n) {
  vector.arithmetic[static_cast<int>(f)](a, a_step, b, b_step, y, n);
}

template <Arithmetic f>
const char* arithmetic_run(const Task& task, std::int32_t begin, std::int32_t end) {
  if (task.call.in(0).type == Type::F32) {
    const auto& walk = *reinterpret_cast<const Pair*>(task.prepared);
    const float *a = task.call.in(0).as<const float>(), *b = task.call.in(1).as<const float>();
    float* y = task.call.out().as<float>();
    rows_of(walk, begin * kUnitElements, std::min(end * kUnitElements, task.call.out().elements()),
            [&](std::int64_t at_a, std::int64_t a_step, std::int64_t at_b, std::int64_t b_step, std::int64_t at,
                std::int64_t n) { arithmetic_row(task.vector, f, a + at_a, a_step, b + at_b, b_step, y + at, n); });
    return nullptr;
  }
  apply_any(task, begin, end, [](auto a, auto b) { return combined(f, a, b); });
  return nullptr;
}

const char* mod_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const bool fmod = task.call.integer("fmod") != 0;
  apply_any(task, begin, end, [fmod](auto a, auto b) { return remainder(a, b, fmod); });
  return nullptr;
}

const char* prelu_run(const Task& task, std::int32_t begin, std::int32_t end) {
  apply_any(task, begin, end, [](auto a, auto b) { return a < 0 ? combined(Arithmetic::Mul, a, b) : a; });
  return nullptr;
}

// Integer powers by squaring, wrapping; else in double.
template <class A, class B>
A power(A a, B b, const Range<A>& range) {
  if constexpr (std::is_integral_v<A> && std::is_integral_v<B>) {
    if (b < 0) return a == 1 ? 1 : 0;
    std::uint64_t result = 1, base = modular(a);
    for (std::uint64_t e = modular(b); e > 0; e >>= 1, base *= base)
      if (e & 1) result *= base;
    return static_cast<A>(result);
  } else {
    const double value = std::pow(static_cast<double>(a), static_cast<double>(b));
    if constexpr (std::is_integral_v<A>)
      return saturated(value, range);
    else
      return value;
  }
}

const char* pow_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor& b = task.call.in(1);
  if (task.call.in(0).type == Type::F32 && b.type == Type::F32 && operators::is_scalar(b) &&
      *b.as<const float>() == 2) {
    apply<float, float>(task, begin, end, [](float x, float) { return x * x; });
    return nullptr;
  }
  visit_wide(task.call.in(0).type, [&](auto base) {
    using A = typename decltype(base)::type;
    Range<A> range{};
    if constexpr (std::is_integral_v<A>) range = range_of<A>(task.call.in(0).type);
    visit_wide(b.type, [&](auto exponent) {
      using B = typename decltype(exponent)::type;
      apply_wide<A, B, A>(task, begin, end, [&range](A x, B e) { return power(x, e, range); });
    });
  });
  return nullptr;
}

// ---- bits and truth

enum class Bits { And, Or, Xor };

template <Bits f>
const char* bits_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const bool flags = task.call.in(0).type == Type::Bool;
  apply_any(task, begin, end, [flags](auto a, auto b) {
    using W = decltype(a);
    if constexpr (std::is_integral_v<W>) {
      if (flags) a = a != 0, b = b != 0;
      return f == Bits::And ? a & b : f == Bits::Or ? a | b : a ^ b;
    } else {
      return a;
    }
  });
  return nullptr;
}

const char* shift_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const bool right = task.call.choice("direction") == 1;
  const std::uint64_t bits = 8 * static_cast<std::uint64_t>(operators::size_of(task.call.in(0).type));
  apply_any(task, begin, end, [right, bits](auto a, auto b) {
    using W = decltype(a);
    if constexpr (std::is_integral_v<W>) {
      const bool out = b < 0 || modular(b) >= bits;
      if (right) return static_cast<W>(out ? (a < 0 ? -1 : 0) : a >> b);
      return static_cast<W>(out ? 0 : modular(a) << b);
    } else {
      return a;
    }
  });
  return nullptr;
}

enum class Compare { Equal, Greater, GreaterOrEqual, Less, LessOrEqual };

template <Compare f, class T>
bool compared(T a, T b) {
  switch (f) {
    case Compare::Equal:
      return a == b;
    case Compare::Greater:
      return a > b;
    case Compare::GreaterOrEqual:
      return a >= b;
    case Compare::Less:
      return a < b;
    case Compare::LessOrEqual:
      break;
  }
  return a <= b;
}

template <Compare f>
const char* compare_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Type type = task.call.in(0).type;
  if (type == Type::F32) {
    apply<float, std::uint8_t>(task, begin, end, compared<f, float>);
    return nullptr;
  }
  const bool flags = type == Type::Bool;
  visit_wide(type, [&](auto tag) {
    using W = typename decltype(tag)::type;
    apply_wide<W, W, std::uint64_t>(task, begin, end, [flags](W a, W b) {
      if (flags) a = a != 0, b = b != 0;
      return compared<f>(a, b);
    });
  });
  return nullptr;
}

// ---- any number of inputs, one after another into the output

Plan variadic_plan(const Call& call, const Vector&) {
  return plan_of_elements(call.out().elements(), call.inputs.size() * sizeof(Pair));
}

void variadic_prepare(const Call& call, const Vector&, std::uint8_t* prepared) {
  for (std::size_t k = 0; k < call.inputs.size(); ++k)
    new (prepared + k * sizeof(Pair)) Pair(broadcast_walk<2>(call.out(), {&call.out(), &call.in(k)}));
}

// Calls row(k, input, first of its elements, their step, first output, n) for each input and run of the outputs.
template <class Row>
void inputs_of(const Task& task, std::int64_t first, std::int64_t last, Row row) {
  for (std::size_t k = 0; k < task.call.inputs.size(); ++k)
    rows_of(reinterpret_cast<const Pair*>(task.prepared)[k], first, last,
            [&](std::int64_t, std::int64_t, std::int64_t from, std::int64_t step, std::int64_t at, std::int64_t n) {
              row(k, task.call.in(k), from, step, at, n);
            });
}

void variadic_floats(const Task& task, Arithmetic f, std::int64_t first, std::int64_t last) {
  float* y = task.call.out().as<float>();
  inputs_of(
      task, first, last,
      [&](std::size_t k, const Tensor& input, std::int64_t from, std::int64_t step, std::int64_t at, std::int64_t n) {
        const float* x = input.as<const float>() + from;
        if (k > 0) return arithmetic_row(task.vector, f, y + at, 1, x, step, y + at, n);
        for (std::int64_t i = 0; i < n; ++i) y[at + i] = x[i * step];
      });
}

template <class W>
void variadic_wide(const Task& task, Arithmetic f, std::int64_t first, std::int64_t last) {
  const Tensor& y = task.call.out();
  W so_far[kWideBlock], next[kWideBlock];
  inputs_of(
      task, first, last,
      [&](std::size_t k, const Tensor& x, std::int64_t from, std::int64_t step, std::int64_t at, std::int64_t count) {
        for (std::int64_t i = 0; i < count; i += kWideBlock) {
          const std::int64_t n = std::min(kWideBlock, count - i);
          load_wide(x, from + i * step, step, n, next);
          if (k > 0) load_wide(y, at + i, 1, n, so_far);
          for (std::int64_t j = 0; j < n; ++j) so_far[j] = k > 0 ? combined(f, so_far[j], next[j]) : next[j];
          store_wide(y, at + i, n, so_far);
        }
      });
}

template <Arithmetic f>
const char* variadic_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const std::int64_t first = begin * kUnitElements, last = std::min(end * kUnitElements, task.call.out().elements());
  if (task.call.out().type == Type::F32) return variadic_floats(task, f, first, last), nullptr;
  visit_wide(task.call.out().type,
             [&](auto tag) { variadic_wide<typename decltype(tag)::type>(task, f, first, last); });
  return nullptr;
}

const char* mean_run(const Task& task, std::int32_t begin, std::int32_t end) {
  variadic_run<Arithmetic::Add>(task, begin, end);
  const std::int64_t last = std::min(end * kUnitElements, task.call.out().elements());
  const Tensor& y = task.call.out();
  visit_wide(y.type, [&](auto tag) {
    using W = typename decltype(tag)::type;
    const auto inputs = static_cast<W>(task.call.inputs.size());
    W block[kWideBlock];
    for (std::int64_t at = begin * kUnitElements; at < last; at += kWideBlock) {
      const std::int64_t n = std::min(kWideBlock, last - at);
      load_wide(y, at, 1, n, block);
      for (std::int64_t i = 0; i < n; ++i) block[i] /= inputs;
      store_wide(y, at, n, block);
    }
  });
  return nullptr;
}

// ---- Where

Plan where_plan(const Call& call, const Vector&) { return plan_of_elements(call.out().elements(), sizeof(Walk<3>)); }

void where_prepare(const Call& call, const Vector&, std::uint8_t* prepared) {
  new (prepared) Walk<3>(broadcast_walk<3>(call.out(), {&call.in(0), &call.in(1), &call.in(2)}));
}

const char* where_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const auto& walk = *reinterpret_cast<const Walk<3>*>(task.prepared);
  const std::uint8_t* condition = task.call.in(0).data;
  const int last = walk.rank - 1;
  std::int64_t step[3] = {};
  for (int i = 0; i < 3 && last >= 0; ++i) step[i] = walk.stride[i][last];
  visit_size(task.call.out().type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T *x = task.call.in(1).as<const T>(), *other = task.call.in(2).as<const T>();
    T* y = task.call.out().as<T>() + begin * kUnitElements;
    walk_rows(walk, begin * kUnitElements, std::min(end * kUnitElements, task.call.out().elements()),
              [&](const std::int64_t(&offset)[3], std::int64_t n) {
                for (std::int64_t i = 0; i < n; ++i)
                  y[i] =
                      condition[offset[0] + i * step[0]] ? x[offset[1] + i * step[1]] : other[offset[2] + i * step[2]];
                y += n;
              });
  });
  return nullptr;
}

constexpr Kernel kTable[] = {
    {"Add", plan, prepare, arithmetic_run<Arithmetic::Add>},
    {"Sub", plan, prepare, arithmetic_run<Arithmetic::Sub>},
    {"Mul", plan, prepare, arithmetic_run<Arithmetic::Mul>},
    {"Div", plan, prepare, arithmetic_run<Arithmetic::Div>},
    {"Pow", plan, prepare, pow_run},
    {"Mod", plan, prepare, mod_run},
    {"PRelu", plan, prepare, prelu_run},
    {"And", plan, prepare, bits_run<Bits::And>},
    {"Or", plan, prepare, bits_run<Bits::Or>},
    {"Xor", plan, prepare, bits_run<Bits::Xor>},
    {"BitwiseAnd", plan, prepare, bits_run<Bits::And>},
    {"BitwiseOr", plan, prepare, bits_run<Bits::Or>},
    {"BitwiseXor", plan, prepare, bits_run<Bits::Xor>},
    {"BitShift", plan, prepare, shift_run},
    {"Equal", plan, prepare, compare_run<Compare::Equal>},
    {"Greater", plan, prepare, compare_run<Compare::Greater>},
    {"GreaterOrEqual", plan, prepare, compare_run<Compare::GreaterOrEqual>},
    {"Less", plan, prepare, compare_run<Compare::Less>},
    {"LessOrEqual", plan, prepare, compare_run<Compare::LessOrEqual>},
    {"Max", variadic_plan, variadic_prepare, variadic_run<Arithmetic::Max>},
    {"Min", variadic_plan, variadic_prepare, variadic_run<Arithmetic::Min>},
    {"Sum", variadic_plan, variadic_prepare, variadic_run<Arithmetic::Add>},
    {"Mean", variadic_plan, variadic_prepare, mean_run},
    {"Where", where_plan, where_prepare, where_run},
};

}  // namespace

const Span<const Kernel> kBinaryKernels(kTable);

}  // namespace openbpu::kernels::cpu
