// Cast: through the wide types, a block at a time.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/half.hpp"
#include "kernels/cpu/kernel.hpp"
#include "kernels/cpu/wide.hpp"

namespace openbpu::kernels::cpu {
namespace {

Plan plan(const Call& call, const Vector&) { return plan_of_elements(call.out().elements()); }

bool is_half(Type type) { return type == Type::F16 || type == Type::Bf16; }
bool is_float(Type type) { return type == Type::F32 || type == Type::F64 || is_half(type); }

// Elements as doubles, of any type.
void read_doubles(const Tensor& x, std::int64_t at, double* to, std::int64_t n) {
  if (is_half(x.type)) {
    const auto* bits = x.as<const std::uint16_t>() + at;
    for (std::int64_t i = 0; i < n; ++i) to[i] = x.type == Type::F16 ? from_half(bits[i]) : from_brain(bits[i]);
    return;
  }
  visit_wide(x.type, [&](auto tag) {
    typename decltype(tag)::type block[kWideBlock];
    load_wide(x, at, 1, n, block);
    for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<double>(block[i]);
  });
}

void write_doubles(const Tensor& y, std::int64_t at, const double* from, std::int64_t n) {
  if (is_half(y.type)) {
    auto* bits = y.as<std::uint16_t>() + at;
    for (std::int64_t i = 0; i < n; ++i) bits[i] = y.type == Type::F16 ? to_half(from[i]) : to_brain(from[i]);
    return;
  }
  visit_wide(y.type, [&](auto tag) {
    using W = typename decltype(tag)::type;
    if constexpr (std::is_same_v<W, double>) {
      store_wide(y, at, n, from);
    } else {
      W block[kWideBlock];
      const Range<W> range = range_of<W>(y.type);
      const bool flag = y.type == Type::Bool;
      for (std::int64_t i = 0; i < n; ++i)
        block[i] = flag ? from[i] != 0 : from[i] != from[i] ? W{0} : saturated(from[i], range);
      store_wide(y, at, n, block);
    }
  });
}

// Integers keep their low bits.
void cast_integers(const Tensor& x, const Tensor& y, std::int64_t at, std::int64_t n) {
  std::uint64_t block[kWideBlock];
  load_wide(x, at, 1, n, block);
  if (y.type == Type::Bool)
    for (std::int64_t i = 0; i < n; ++i) block[i] = block[i] != 0;
  store_wide(y, at, n, block);
}

const char* cast_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const std::int64_t first = begin * kUnitElements, last = std::min(end * kUnitElements, y.elements());
  if (x.type == Type::F32 && y.type == Type::I32)
    return task.vector.integers(x.as<const float>() + first, y.as<std::int32_t>() + first, last - first), nullptr;
  double block[kWideBlock];
  for (std::int64_t at = first; at < last; at += kWideBlock) {
    const std::int64_t n = std::min(kWideBlock, last - at);
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
