// Element-wise operators of several inputs with broadcasting.
#include <cmath>
#include <cstring>
#include <new>
#include <utility>

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

// y[i] = f(a[i], b[i]) for i < n, in the wide types that a function of two operands asks for.
using Block = void (*)(const void* a, const void* b, void* y, std::int64_t n, const void* f);

// Rows of all types and functions are cut into blocks here.
void apply_blocks(const Task& task, std::int32_t begin, std::int32_t end, Block block, const void* f) {
  const auto& walk = *reinterpret_cast<const Pair*>(task.prepared);
  const Tensor &a = task.call.in(0), &b = task.call.in(1), &y = task.call.out();
  WideBlock left, right, result;
  rows_of(walk, begin * kUnitElements, std::min(end * kUnitElements, y.elements()),
          [&](std::int64_t at_a, std::int64_t a_step, std::int64_t at_b, std::int64_t b_step, std::int64_t at,
              std::int64_t count) {
            for (std::int64_t i = 0; i < count; i += kWideBlock) {
              const std::int64_t n = std::min(kWideBlock, count - i);
              load_wide(a, at_a + i * a_step, a_step, n, left.bytes);
              load_wide(b, at_b + i * b_step, b_step, n, right.bytes);
              block(left.bytes, right.bytes, result.bytes, n, f);
              store_wide(y, at + i, n, result.bytes);
            }
          });
}

// y = f(a, b) in wide types: the operands as A and B, the result as Y.
template <class A, class B, class Y, class F>
void apply_wide(const Task& task, std::int32_t begin, std::int32_t end, const F& f) {
  const Block block = [](const void* a, const void* b, void* y, std::int64_t n, const void* function) {
    const F& each = *static_cast<const F*>(function);
    for (std::int64_t k = 0; k < n; ++k)
      static_cast<Y*>(y)[k] = static_cast<Y>(each(static_cast<const A*>(a)[k], static_cast<const B*>(b)[k]));
  };
  apply_blocks(task, begin, end, block, &f);
}

// The same for operands and result of one type.
template <class F>
void apply_any(const Task& task, std::int32_t begin, std::int32_t end, const F& f) {
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
    case Arithmetic::PRelu:
      return a < 0 ? combined(Arithmetic::Mul, a, b) : a;
    case Arithmetic::Pow:  // has two types
    case Arithmetic::Mod:  // has an attribute
    case Arithmetic::Count:
      break;
  }
  return a;
}

// Calls row(a, a step, b, b step, first output, n) for runs of float32: their steps are 0 or 1.
template <class Row>
void float_rows(const Task& task, std::int32_t begin, std::int32_t end, Row row) {
  const auto& walk = *reinterpret_cast<const Pair*>(task.prepared);
  const float *a = task.call.in(0).as<const float>(), *b = task.call.in(1).as<const float>();
  rows_of(walk, begin * kUnitElements, std::min(end * kUnitElements, task.call.out().elements()),
          [&](std::int64_t at_a, std::int64_t a_step, std::int64_t at_b, std::int64_t b_step, std::int64_t at,
              std::int64_t n) { row(a + at_a, a_step, b + at_b, b_step, at, n); });
}

void arithmetic(const Task& task, Arithmetic f, std::int32_t begin, std::int32_t end) {
  if (task.call.in(0).type != Type::F32)
    return apply_any(task, begin, end, [f](auto a, auto b) { return combined(f, a, b); });
  float* y = task.call.out().as<float>();
  const auto combine = task.vector.arithmetic[static_cast<int>(f)];
  float_rows(task, begin, end,
             [&](const float* a, std::int64_t a_step, const float* b, std::int64_t b_step, std::int64_t at,
                 std::int64_t n) { combine(a, a_step, b, b_step, y + at, n); });
}

template <Arithmetic f>
const char* arithmetic_run(const Task& task, std::int32_t begin, std::int32_t end) {
  arithmetic(task, f, begin, end);
  return nullptr;
}

// Remainders of float32 with the sign of a: those of large quotients, which are rare, through the library.
void mod_floats(const Task& task, std::int32_t begin, std::int32_t end) {
  float* y = task.call.out().as<float>();
  float_rows(
      task, begin, end,
      [&](const float* a, std::int64_t a_step, const float* b, std::int64_t b_step, std::int64_t at, std::int64_t n) {
        task.vector.arithmetic[static_cast<int>(Arithmetic::Mod)](a, a_step, b, b_step, y + at, n);
        const float sum = task.vector.sum(y + at, n);
        if (sum == sum) return;
        for (std::int64_t i = 0; i < n; ++i)
          if (y[at + i] != y[at + i]) y[at + i] = std::fmod(a[i * a_step], b[i * b_step]);
      });
}

const char* mod_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const bool fmod = task.call.integer("fmod") != 0;
  if (fmod && task.call.in(0).type == Type::F32) return mod_floats(task, begin, end), nullptr;
  apply_any(task, begin, end, [fmod](auto a, auto b) { return remainder(a, b, fmod); });
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
  const Tensor &a = task.call.in(0), &b = task.call.in(1);
  if (a.type == Type::F32 && b.type == Type::F32) {
    if (!operators::is_scalar(b) || *b.as<const float>() != 2)
      return arithmetic(task, Arithmetic::Pow, begin, end), nullptr;
    const std::int64_t first = begin * kUnitElements, n = std::min(end * kUnitElements, a.elements()) - first;
    const float* x = a.as<const float>() + first;
    task.vector.arithmetic[static_cast<int>(Arithmetic::Mul)](x, 1, x, 1, task.call.out().as<float>() + first, n);
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
  using W = std::uint64_t;  // whatever the sign
  const bool flags = task.call.in(0).type == Type::Bool;
  apply_wide<W, W, W>(task, begin, end, [flags](W a, W b) {
    if (flags) a = a != 0, b = b != 0;
    return f == Bits::And ? a & b : f == Bits::Or ? a | b : a ^ b;
  });
  return nullptr;
}

const char* shift_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const bool right = task.call.choice("direction") == 1;
  const std::uint64_t bits = 8 * static_cast<std::uint64_t>(operators::size_of(task.call.in(0).type));
  visit_wide(task.call.in(0).type, [&](auto tag) {
    using W = typename decltype(tag)::type;
    if constexpr (std::is_integral_v<W>)
      apply_wide<W, W, W>(task, begin, end, [right, bits](W a, W b) {
        const bool out = b < 0 || modular(b) >= bits;
        if (right) return static_cast<W>(out ? (a < 0 ? -1 : 0) : a >> b);
        return static_cast<W>(out ? 0 : modular(a) << b);
      });
  });
  return nullptr;
}

// Whether a and b are as the flags say.
template <class T>
bool compared(T a, T b, Flags flags) {
  return a < b ? flags.less : a == b ? flags.equal : flags.other;
}

// swapped: b against a.
void compare(const Task& task, std::int32_t begin, std::int32_t end, Flags flags, bool swapped) {
  const Type type = task.call.in(0).type;
  if (type == Type::F32) {
    std::uint8_t* y = task.call.out().data;
    return float_rows(
        task, begin, end,
        [&](const float* a, std::int64_t a_step, const float* b, std::int64_t b_step, std::int64_t at, std::int64_t n) {
          if (swapped) std::swap(a, b), std::swap(a_step, b_step);
          task.vector.compare(a, a_step, b, b_step, y + at, n, flags);
        });
  }
  const bool truth = type == Type::Bool;
  visit_wide(type, [&](auto tag) {
    using W = typename decltype(tag)::type;
    apply_wide<W, W, std::uint64_t>(task, begin, end, [truth, flags, swapped](W a, W b) {
      if (truth) a = a != 0, b = b != 0;
      return swapped ? compared(b, a, flags) : compared(a, b, flags);
    });
  });
}

template <bool less, bool equal, bool swapped>
const char* compare_run(const Task& task, std::int32_t begin, std::int32_t end) {
  compare(task, begin, end, {less, equal, false}, swapped);
  return nullptr;
}

// ---- any number of inputs, one after another into the output

// Pairs: the first two inputs, then what there is with each further one.
std::size_t pairs_of(const Call& call) { return call.inputs.size() - 1; }

Plan variadic_plan(const Call& call, const Vector&) {
  return plan_of_elements(call.out().elements(), pairs_of(call) * sizeof(Pair));
}

void variadic_prepare(const Call& call, const Vector&, std::uint8_t* prepared) {
  for (std::size_t k = 0; k < pairs_of(call); ++k)
    new (prepared + k * sizeof(Pair))
        Pair(broadcast_walk<2>(call.out(), {k == 0 ? &call.in(0) : &call.out(), &call.in(k + 1)}));
}

// Calls row(left, first of its elements, their step, right, the same of it, first output, n) for the runs of all pairs.
template <class Row>
void pairs_run(const Task& task, std::int64_t first, std::int64_t last, Row row) {
  const Call& call = task.call;
  for (std::size_t k = 0; k < pairs_of(call); ++k)
    rows_of(
        reinterpret_cast<const Pair*>(task.prepared)[k], first, last,
        [&](std::int64_t a, std::int64_t a_step, std::int64_t b, std::int64_t b_step, std::int64_t at, std::int64_t n) {
          row(k == 0 ? call.in(0) : call.out(), a, a_step, call.in(k + 1), b, b_step, at, n);
        });
}

void variadic_floats(const Task& task, Arithmetic f, std::int64_t first, std::int64_t last) {
  float* y = task.call.out().as<float>();
  const auto combine = task.vector.arithmetic[static_cast<int>(f)];
  pairs_run(task, first, last,
            [&](const Tensor& left, std::int64_t a, std::int64_t a_step, const Tensor& right, std::int64_t b,
                std::int64_t b_step, std::int64_t at, std::int64_t n) {
              combine(left.as<const float>() + a, a_step, right.as<const float>() + b, b_step, y + at, n);
            });
}

template <class W>
void variadic_wide(const Task& task, Arithmetic f, std::int64_t first, std::int64_t last) {
  W x[kWideBlock], other[kWideBlock];
  pairs_run(task, first, last,
            [&](const Tensor& left, std::int64_t a, std::int64_t a_step, const Tensor& right, std::int64_t b,
                std::int64_t b_step, std::int64_t at, std::int64_t count) {
              for (std::int64_t i = 0; i < count; i += kWideBlock) {
                const std::int64_t n = std::min(kWideBlock, count - i);
                load_wide(left, a + i * a_step, a_step, n, x);
                load_wide(right, b + i * b_step, b_step, n, other);
                for (std::int64_t j = 0; j < n; ++j) x[j] = combined(f, x[j], other[j]);
                store_wide(task.call.out(), at + i, n, x);
              }
            });
}

void combine_all(const Task& task, Arithmetic f, std::int32_t begin, std::int32_t end) {
  const Tensor& y = task.call.out();
  const std::int64_t first = begin * kUnitElements, last = std::min(end * kUnitElements, y.elements());
  if (pairs_of(task.call) == 0) {
    const std::int64_t size = operators::size_of(y.type);
    std::memcpy(y.data + first * size, task.call.in(0).data + first * size,
                static_cast<std::size_t>((last - first) * size));
    return;
  }
  if (y.type == Type::F32) return variadic_floats(task, f, first, last);
  visit_wide(y.type, [&](auto tag) { variadic_wide<typename decltype(tag)::type>(task, f, first, last); });
}

template <Arithmetic f>
const char* variadic_run(const Task& task, std::int32_t begin, std::int32_t end) {
  combine_all(task, f, begin, end);
  return nullptr;
}

const char* mean_run(const Task& task, std::int32_t begin, std::int32_t end) {
  combine_all(task, Arithmetic::Add, begin, end);
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
    {"PRelu", plan, prepare, arithmetic_run<Arithmetic::PRelu>},
    {"And", plan, prepare, bits_run<Bits::And>},
    {"Or", plan, prepare, bits_run<Bits::Or>},
    {"Xor", plan, prepare, bits_run<Bits::Xor>},
    {"BitwiseAnd", plan, prepare, bits_run<Bits::And>},
    {"BitwiseOr", plan, prepare, bits_run<Bits::Or>},
    {"BitwiseXor", plan, prepare, bits_run<Bits::Xor>},
    {"BitShift", plan, prepare, shift_run},
    {"Equal", plan, prepare, compare_run<false, true, false>},
    {"Greater", plan, prepare, compare_run<true, false, true>},
    {"GreaterOrEqual", plan, prepare, compare_run<true, true, true>},
    {"Less", plan, prepare, compare_run<true, false, false>},
    {"LessOrEqual", plan, prepare, compare_run<true, true, false>},
    {"Max", variadic_plan, variadic_prepare, variadic_run<Arithmetic::Max>},
    {"Min", variadic_plan, variadic_prepare, variadic_run<Arithmetic::Min>},
    {"Sum", variadic_plan, variadic_prepare, variadic_run<Arithmetic::Add>},
    {"Mean", variadic_plan, variadic_prepare, mean_run},
    {"Where", where_plan, where_prepare, where_run},
};

}  // namespace

const Span<const Kernel> kBinaryKernels(kTable);

}  // namespace openbpu::kernels::cpu
