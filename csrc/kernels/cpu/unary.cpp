// Element-wise operators of one input.
#include <cmath>
#include <cstring>
#include <limits>

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

constexpr std::int64_t kBlock = 256;  // elements at a time, where there is more than one step

// ---- float32 through the primitives, float64 through the library

double in_double(Math f, double x, double a, double b) {
  switch (f) {
    case Math::Abs:
      return std::fabs(x);
    case Math::Neg:
      return -x;
    case Math::Sign:
      return x > 0 ? 1 : x < 0 ? -1 : x;  // not-a-number and zeros stay
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
    case Math::Sin:
      return std::sin(x);
    case Math::Cos:
      return std::cos(x);
    case Math::Tan:
      return std::tan(x);
    case Math::Asin:
      return std::asin(x);
    case Math::Acos:
      return std::acos(x);
    case Math::Atan:
      return std::atan(x);
    case Math::Sinh:
      return std::sinh(x);
    case Math::Cosh:
      return std::cosh(x);
    case Math::Asinh:
      return std::asinh(x);
    case Math::Acosh:
      return std::acosh(x);
    case Math::Atanh:
      return std::atanh(x);
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

// Abs, Neg, Relu and Sign of integers; wrapping like two's complement.
template <class T>
T of_integer(Math f, T x) {
  if (f == Math::Sign) return static_cast<T>(x > 0 ? 1 : x < 0 ? -1 : 0);
  if constexpr (std::is_signed_v<T>) {
    if (x >= 0) return f == Math::Neg ? static_cast<T>(-x) : x;
    if (f == Math::Relu) return 0;
    return static_cast<T>(0 - static_cast<std::uint64_t>(x));
  } else {
    return f == Math::Neg ? static_cast<T>(0 - static_cast<std::uint64_t>(x)) : x;
  }
}

// a and b: attributes, null for none.
void math(const Task& task, Math f, const char* a_name, const char* b_name, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const auto [first, last] = elements_of(task, begin, end);
  const double a = a_name ? task.call.number(a_name) : 0, b = b_name ? task.call.number(b_name) : 0;
  const std::int64_t from = first, to = last;
  if (x.type == Type::F32)
    return task.vector.math[static_cast<int>(f)](x.as<const float>() + from, y.as<float>() + from, to - from,
                                                 static_cast<float>(a), static_cast<float>(b));
  if (x.type == Type::F64) {
    for (std::int64_t i = from; i < to; ++i) y.as<double>()[i] = in_double(f, x.as<const double>()[i], a, b);
    return;
  }
  visit_number(x.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_integral_v<T>)
      for (std::int64_t i = from; i < to; ++i) y.as<T>()[i] = of_integer(f, x.as<const T>()[i]);
  });
}

constexpr const char* a_name(Math f) {
  switch (f) {
    case Math::LeakyRelu:
    case Math::Elu:
    case Math::Selu:
    case Math::Celu:
    case Math::ThresholdedRelu:
    case Math::HardSigmoid:
    case Math::Swish:
      return "alpha";
    default:
      return nullptr;
  }
}
constexpr const char* b_name(Math f) { return f == Math::Selu ? "gamma" : f == Math::HardSigmoid ? "beta" : nullptr; }

template <Math f>
const char* math_run(const Task& task, std::int32_t begin, std::int32_t end) {
  math(task, f, a_name(f), b_name(f), begin, end);
  return nullptr;
}

const char* gelu_run(const Task& task, std::int32_t begin, std::int32_t end) {
  return task.call.choice("approximate") == 0 ? math_run<Math::Gelu>(task, begin, end)
                                              : math_run<Math::GeluTanh>(task, begin, end);
}

// Functions of an angle: large ones, which are rare, through the library.
void angle(const Task& task, Math f, std::int32_t begin, std::int32_t end) {
  math(task, f, nullptr, nullptr, begin, end);
  if (task.call.in(0).type != Type::F32) return;
  const auto [first, last] = elements_of(task, begin, end);
  const auto* x = task.call.in(0).as<const float>() + first;
  float* y = task.call.out().as<float>() + first;
  const std::int64_t n = last - first;
  if (task.vector.maximum(x, n) <= kLargestAngle && task.vector.minimum(x, n) >= -kLargestAngle) return;
  for (std::int64_t i = 0; i < n; ++i)
    if (!(std::fabs(x[i]) <= kLargestAngle)) y[i] = static_cast<float>(in_double(f, static_cast<double>(x[i]), 0, 0));
}

template <Math f>
const char* angle_run(const Task& task, std::int32_t begin, std::int32_t end) {
  angle(task, f, begin, end);
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

const char* is_nan_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const auto [first, last] = elements_of(task, begin, end);
  if (x.type == Type::F64) {
    for (std::int64_t i = first; i < last; ++i) y.data[i] = std::isnan(x.as<const double>()[i]);
    return nullptr;
  }
  const float* from = x.as<const float>() + first;
  task.vector.compare(from, 1, from, 1, y.data + first, last - first, {false, false, true});
  return nullptr;
}

const char* is_inf_run(const Task& task, std::int32_t begin, std::int32_t end) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const bool positive = task.call.integer("detect_positive") != 0, negative = task.call.integer("detect_negative") != 0;
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const auto [first, last] = elements_of(task, begin, end);
  if (x.type == Type::F64) {
    for (std::int64_t i = first; i < last; ++i) {
      const double v = x.as<const double>()[i];
      y.data[i] = std::isinf(v) && (v > 0 ? positive : negative);
    }
    return nullptr;
  }
  const float value = positive ? infinity : -infinity;
  float magnitude[kBlock];
  for (std::int64_t at = first; at < last; at += kBlock) {
    const std::int64_t n = std::min(kBlock, last - at);
    const float* from = x.as<const float>() + at;
    if (positive && negative) {
      task.vector.math[static_cast<int>(Math::Abs)](from, magnitude, n, 0, 0);
      from = magnitude;
    }
    task.vector.compare(from, 1, &value, 0, y.data + at, n, {false, positive || negative, false});
  }
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

#define OPENBPU_MATH(name) {#name, plan, nullptr, math_run<Math::name>}
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
    OPENBPU_MATH(Sign),
    OPENBPU_MATH(Atan),
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
    {"Sin", plan, nullptr, angle_run<Math::Sin>},
    {"Cos", plan, nullptr, angle_run<Math::Cos>},
    {"Tan", plan, nullptr, angle_run<Math::Tan>},
    OPENBPU_MATH(Asin),
    OPENBPU_MATH(Acos),
    OPENBPU_MATH(Sinh),
    OPENBPU_MATH(Cosh),
    OPENBPU_MATH(Asinh),
    OPENBPU_MATH(Acosh),
    OPENBPU_MATH(Atanh),
    {"Shrink", plan, nullptr, shrink_run},
    {"Not", plan, nullptr, not_run},
    {"BitwiseNot", plan, nullptr, bitwise_not_run},
    {"IsNaN", plan, nullptr, is_nan_run},
    {"IsInf", plan, nullptr, is_inf_run},
    {"Clip", plan, nullptr, clip_run},
};
#undef OPENBPU_MATH

}  // namespace

const Span<const Kernel> kUnaryKernels(kTable);

}  // namespace openbpu::kernels::cpu
