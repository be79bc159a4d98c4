// Cast: through int64 or double, a block at a time.
#include <algorithm>
#include <limits>

#include "kernels/cpu/half.hpp"
#include "kernels/cpu/kernel.hpp"
#include "kernels/cpu/types.hpp"

namespace openbpu::kernels::cpu {
namespace {

constexpr std::int64_t kBlock = 256;

Plan plan(const Call& call, const Vector&) { return plan_of_elements(call.out().elements()); }

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

// The commonest of all, without a detour.
void floats_to_integers(const float* x, std::int32_t* y, std::int64_t n) {
  constexpr float low = -2147483648.0f, beyond = 2147483648.0f, high = 2147483520.0f;
  for (std::int64_t i = 0; i < n; ++i) {
    const float v = x[i], above = v >= low ? v : low, held = above <= high ? above : high;
    const std::int32_t rounded = v >= beyond ? 2147483647 : static_cast<std::int32_t>(held);
    y[i] = v == v ? rounded : 0;
  }
}

const char* cast_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const std::int64_t first = begin * kUnitElements, last = std::min(end * kUnitElements, y.elements());
  if (x.type == Type::F32 && y.type == Type::I32)
    return floats_to_integers(x.as<const float>() + first, y.as<std::int32_t>() + first, last - first), nullptr;
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

constexpr Kernel kTable[] = {{"Cast", plan, nullptr, cast_run}};

}  // namespace

const Span<const Kernel> kCastKernels(kTable);

}  // namespace openbpu::kernels::cpu
