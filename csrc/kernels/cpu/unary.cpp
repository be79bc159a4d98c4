// Element-wise operators of one input, and Cast.
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu/half.hpp"
#include "kernels/cpu/kernel.hpp"
#include "kernels/cpu/types.hpp"

namespace openbpu::kernels::cpu {
namespace {

Plan plan(const Call& call, const Vector&) { return plan_of_elements(call.out().elements()); }

struct Range {
  std::int64_t begin, end;
};
Range elements_of(const Task& task, std::int32_t begin, std::int32_t end) {
  return {begin * kUnitElements, std::min(end * kUnitElements, task.call.out().elements())};
}

// ---- float32 through the primitives, float64 through the library

template <Math f>
void fill(const Call& call, float& a, float& b) {
  if constexpr (f == Math::LeakyRelu || f == Math::Elu || f == Math::Selu || f == Math::Celu ||
                f == Math::ThresholdedRelu || f == Math::HardSigmoid || f == Math::Swish)
    a = static_cast<float>(call.number("alpha"));
  if constexpr (f == Math::Selu) b = static_cast<float>(call.number("gamma"));
  if constexpr (f == Math::HardSigmoid) b = static_cast<float>(call.number("beta"));
}

template <Math f>
double in_double(double x, double a, double b) {
  switch (f) {
    case Math::Abs:
      return std::fabs(x);
    case Math::Neg:
      return -x;
    case Math::Floor:
      return std::floor(x);
    case Math::Ceil:
      return std::ceil(x);
    case Math::Round:
      return std::nearbyint(x);
    case Math::Sqrt:
      return std::sqrt(x);
    case Math::Reciprocal:
      return 1 / x;
    case Math::Exp:
      return std::exp(x);
    case Math::Log:
      return std::log(x);
    case Math::Tanh:
      return std::tanh(x);
    case Math::Erf:
      return std::erf(x);
    case Math::Sigmoid:
      return 1 / (1 + std::exp(-x));
    case Math::Relu:
      return x < 0 ? 0 : x;
    case Math::LeakyRelu:
      return x < 0 ? a * x : x;
    case Math::Elu:
      return x < 0 ? a * std::expm1(x) : x;
    case Math::Selu:
      return b * (x < 0 ? a * std::expm1(x) : x);
    case Math::Celu:
      return x < 0 ? a * std::expm1(x / a) : x;
    case Math::ThresholdedRelu:
      return x > a ? x : 0;
    case Math::HardSigmoid:
      return std::fmax(0, std::fmin(1, a * x + b));
    case Math::HardSwish:
      return x * std::fmax(0, std::fmin(1, x / 6 + 0.5));
    case Math::Softplus:
      return std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x)));
    case Math::Softsign:
      return x / (1 + std::fabs(x));
    case Math::Gelu:
      return 0.5 * x * (1 + std::erf(x * 0.70710678118654752440));
    case Math::GeluTanh:
      return 0.5 * x * (1 + std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case Math::Mish:
      return x * std::tanh(std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x))));
    case Math::Swish:
      return x / (1 + std::exp(-a * x));
    case Math::Affine:
    case Math::Clamp:
    case Math::Count:
      break;
  }
  return x;
}

// Abs, Neg and Relu of integers; wrapping like two's complement.
template <Math f, class T>
T of_integer(T x) {
  if constexpr (std::is_signed_v<T>) {
    if (x >= 0) return f == Math::Neg ? static_cast<T>(-x) : x;
    if constexpr (f == Math::Relu) return 0;
    return static_cast<T>(0 - static_cast<std::uint64_t>(x));
  } else {
    return f == Math::Neg ? static_cast<T>(0 - static_cast<std::uint64_t>(x)) : x;
  }
}

template <Math f>
const char* math_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const auto [first, last] = elements_of(task, begin, end);
  float a = 0, b = 0;
  fill<f>(task.call, a, b);
  if (x.type == Type::F32) {
    task.vector.math[static_cast<int>(f)](x.as<const float>() + first, y.as<float>() + first, last - first, a, b);
  } else if (x.type == Type::F64) {
    for (std::int64_t i = first; i < last; ++i) y.as<double>()[i] = in_double<f>(x.as<const double>()[i], a, b);
  } else if constexpr (f == Math::Abs || f == Math::Neg || f == Math::Relu) {
    const std::int64_t from = first, to = last;
    visit_number(x.type, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if constexpr (std::is_integral_v<T>)
        for (std::int64_t i = from; i < to; ++i) y.as<T>()[i] = of_integer<f>(x.as<const T>()[i]);
    });
  }
  return nullptr;
}

const char* gelu_run(const Task& task, std::int32_t begin, std::int32_t end) {
  return task.call.choice("approximate") == 0 ? math_run<Math::Gelu>(task, begin, end)
                                              : math_run<Math::GeluTanh>(task, begin, end);
}

// ---- functions of the library

template <double (*f)(double)>
const char* library_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const auto [first, last] = elements_of(task, begin, end);
  if (x.type == Type::F64)
    for (std::int64_t i = first; i < last; ++i) y.as<double>()[i] = f(x.as<const double>()[i]);
  else
    for (std::int64_t i = first; i < last; ++i) y.as<float>()[i] = static_cast<float>(f(x.as<const float>()[i]));
  return nullptr;
}

// ---- any type

// y[i] = f(x[i]) for a functor of the element type.
template <class F>
void map(const Task& task, std::int32_t begin, std::int32_t end, F f) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const auto [first, last] = elements_of(task, begin, end);
  const std::int64_t from = first, to = last;
  visit_number(x.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = x.as<const T>();
    T* out = y.as<T>();
    for (std::int64_t i = from; i < to; ++i) out[i] = f(in[i]);
  });
}

const char* sign_run(const Task& task, std::int32_t begin, std::int32_t end) {
  map(task, begin, end, [](auto x) {
    using T = decltype(x);
    return x > 0 ? T(1) : x < 0 ? static_cast<T>(-1) : x;  // not-a-number and zeros stay
  });
  return nullptr;
}

const char* shrink_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const double bias = task.call.number("bias"), bound = task.call.number("lambd");
  map(task, begin, end, [&](auto x) {
    using T = decltype(x);
    const auto v = static_cast<double>(x);
    const double y = v < -bound ? v + bias : v > bound ? v - bias : 0;
    if constexpr (std::is_integral_v<T>) {
      constexpr auto low = static_cast<double>(std::numeric_limits<T>::min());
      constexpr auto high = static_cast<double>(std::numeric_limits<T>::max());
      return y <= low ? std::numeric_limits<T>::min() : y >= high ? std::numeric_limits<T>::max() : static_cast<T>(y);
    } else {
      return static_cast<T>(y);
    }
  });
  return nullptr;
}

const char* not_run(const Task& task, std::int32_t begin, std::int32_t end) {
  map(task, begin, end, [](auto x) { return static_cast<decltype(x)>(x == 0); });
  return nullptr;
}

const char* bitwise_not_run(const Task& task, std::int32_t begin, std::int32_t end) {
  map(task, begin, end, [](auto x) {
    using T = decltype(x);
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(~x);
    else
      return x;
  });
  return nullptr;
}

template <class F>
void test(const Task& task, std::int32_t begin, std::int32_t end, F f) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const auto [first, last] = elements_of(task, begin, end);
  for (std::int64_t i = first; i < last; ++i)
    y.data[i] = f(x.type == Type::F64 ? x.as<const double>()[i] : static_cast<double>(x.as<const float>()[i]));
}

const char* is_nan_run(const Task& task, std::int32_t begin, std::int32_t end) {
  test(task, begin, end, [](double x) { return std::isnan(x); });
  return nullptr;
}

const char* is_inf_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const bool positive = task.call.integer("detect_positive") != 0, negative = task.call.integer("detect_negative") != 0;
  test(task, begin, end, [&](double x) { return std::isinf(x) && (x > 0 ? positive : negative); });
  return nullptr;
}

const char* clip_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &low = task.call.in(1), &high = task.call.in(2), &y = task.call.out();
  const auto [first, last] = elements_of(task, begin, end);
  const std::int64_t from = first, to = last;
  visit_number(x.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using Limits = std::numeric_limits<T>;
    const T a = low ? *low.as<const T>() : Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
    const T b = high ? *high.as<const T>() : Limits::has_infinity ? Limits::infinity() : Limits::max();
    const T* in = x.as<const T>();
    T* out = y.as<T>();
    if constexpr (std::is_same_v<T, float>)
      task.vector.math[static_cast<int>(Math::Clamp)](in + from, out + from, to - from, a, b);
    else
      for (std::int64_t i = from; i < to; ++i) out[i] = std::min(b, std::max(a, in[i]));
  });
  return nullptr;
}

// ---- Cast: through int64 or double, a block at a time

constexpr std::int64_t kBlock = 256;

bool is_float(Type type) { return type == Type::F32 || type == Type::F64 || type == Type::F16 || type == Type::Bf16; }

void read_doubles(const Tensor& x, std::int64_t at, double* to, std::int64_t n) {
  if (x.type == Type::F16 || x.type == Type::Bf16) {
    const auto* bits = x.as<const std::uint16_t>() + at;
    for (std::int64_t i = 0; i < n; ++i) to[i] = x.type == Type::F16 ? from_half(bits[i]) : from_brain(bits[i]);
    return;
  }
  visit_number(x.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<double>(x.as<const T>()[at + i]);
  });
}

template <class T>
T saturated(double value) {
  if (value != value) return 0;
  if (value <= static_cast<double>(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
  if (value >= static_cast<double>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
  return static_cast<T>(value);
}

void write_doubles(const Tensor& y, std::int64_t at, const double* from, std::int64_t n) {
  if (y.type == Type::F16 || y.type == Type::Bf16) {
    auto* bits = y.as<std::uint16_t>() + at;
    for (std::int64_t i = 0; i < n; ++i) bits[i] = y.type == Type::F16 ? to_half(from[i]) : to_brain(from[i]);
    return;
  }
  const bool flag = y.type == Type::Bool;
  visit_number(y.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* to = y.as<T>() + at;
    for (std::int64_t i = 0; i < n; ++i)
      if constexpr (std::is_integral_v<T>)
        to[i] = flag ? static_cast<T>(from[i] != 0) : saturated<T>(from[i]);
      else
        to[i] = static_cast<T>(from[i]);
  });
}

void cast_integers(const Tensor& x, const Tensor& y, std::int64_t at, std::int64_t n) {
  std::int64_t block[kBlock];
  const bool flag = y.type == Type::Bool;
  visit_number(x.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (std::int64_t i = 0; i < n; ++i)
      if constexpr (std::is_integral_v<T>) block[i] = static_cast<std::int64_t>(x.as<const T>()[at + i]);
  });
  visit_number(y.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (std::int64_t i = 0; i < n; ++i)
      y.as<T>()[at + i] = flag ? static_cast<T>(block[i] != 0) : static_cast<T>(block[i]);
  });
}

const char* cast_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const auto [first, last] = elements_of(task, begin, end);
  double block[kBlock];
  for (std::int64_t at = first; at < last; at += kBlock) {
    const std::int64_t n = std::min(kBlock, last - at);
    if (!is_float(x.type) && !is_float(y.type)) {
      cast_integers(x, y, at, n);
      continue;
    }
    read_doubles(x, at, block, n);
    write_doubles(y, at, block, n);
  }
  return nullptr;
}

#define OPENBPU_MATH(name) {#name, plan, nullptr, math_run<Math::name>}
#define OPENBPU_LIBRARY(name, f) {#name, plan, nullptr, library_run<f>}
constexpr Kernel kTable[] = {
    OPENBPU_MATH(Abs),
    OPENBPU_MATH(Neg),
    OPENBPU_MATH(Floor),
    OPENBPU_MATH(Ceil),
    OPENBPU_MATH(Round),
    OPENBPU_MATH(Sqrt),
    OPENBPU_MATH(Reciprocal),
    OPENBPU_MATH(Exp),
    OPENBPU_MATH(Log),
    OPENBPU_MATH(Tanh),
    OPENBPU_MATH(Erf),
    OPENBPU_MATH(Sigmoid),
    OPENBPU_MATH(Relu),
    OPENBPU_MATH(LeakyRelu),
    OPENBPU_MATH(Elu),
    OPENBPU_MATH(Selu),
    OPENBPU_MATH(Celu),
    OPENBPU_MATH(ThresholdedRelu),
    OPENBPU_MATH(HardSigmoid),
    OPENBPU_MATH(HardSwish),
    OPENBPU_MATH(Softplus),
    OPENBPU_MATH(Softsign),
    OPENBPU_MATH(Mish),
    OPENBPU_MATH(Swish),
    {"Gelu", plan, nullptr, gelu_run},
    OPENBPU_LIBRARY(Sin, std::sin),
    OPENBPU_LIBRARY(Cos, std::cos),
    OPENBPU_LIBRARY(Tan, std::tan),
    OPENBPU_LIBRARY(Asin, std::asin),
    OPENBPU_LIBRARY(Acos, std::acos),
    OPENBPU_LIBRARY(Atan, std::atan),
    OPENBPU_LIBRARY(Sinh, std::sinh),
    OPENBPU_LIBRARY(Cosh, std::cosh),
    OPENBPU_LIBRARY(Asinh, std::asinh),
    OPENBPU_LIBRARY(Acosh, std::acosh),
    OPENBPU_LIBRARY(Atanh, std::atanh),
    {"Sign", plan, nullptr, sign_run},
    {"Shrink", plan, nullptr, shrink_run},
    {"Not", plan, nullptr, not_run},
    {"BitwiseNot", plan, nullptr, bitwise_not_run},
    {"IsNaN", plan, nullptr, is_nan_run},
    {"IsInf", plan, nullptr, is_inf_run},
    {"Clip", plan, nullptr, clip_run},
    {"Cast", plan, nullptr, cast_run},
};
#undef OPENBPU_MATH
#undef OPENBPU_LIBRARY

}  // namespace

const Span<const Kernel> kUnaryKernels(kTable);

}  // namespace openbpu::kernels::cpu
