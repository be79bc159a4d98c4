#include "kernels/cpu/wide.hpp"

namespace openbpu::kernels::cpu {
namespace {

using operators::Tensor;
using operators::Type;

template <class T, class W>
void load(const Tensor& x, std::int64_t at, std::int64_t step, std::int64_t n, W* to) {
  const T* from = x.as<const T>() + at;
  if (step == 1)
    for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<W>(from[i]);
  else
    for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<W>(from[i * step]);
}

template <class T, class W>
void store(const Tensor& y, std::int64_t at, std::int64_t n, const W* from) {
  T* to = y.as<T>() + at;
  for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(from[i]);
}

}  // namespace

void load_wide(const Tensor& x, std::int64_t at, std::int64_t step, std::int64_t n, std::int64_t* to) {
  switch (x.type) {
    case Type::I8:
      return load<std::int8_t>(x, at, step, n, to);
    case Type::I16:
      return load<std::int16_t>(x, at, step, n, to);
    case Type::I32:
      return load<std::int32_t>(x, at, step, n, to);
    default:
      return load<std::int64_t>(x, at, step, n, to);
  }
}

void load_wide(const Tensor& x, std::int64_t at, std::int64_t step, std::int64_t n, std::uint64_t* to) {
  switch (operators::size_of(x.type)) {
    case 1:
      return load<std::uint8_t>(x, at, step, n, to);
    case 2:
      return load<std::uint16_t>(x, at, step, n, to);
    case 4:
      return load<std::uint32_t>(x, at, step, n, to);
    default:
      return load<std::uint64_t>(x, at, step, n, to);
  }
}

void load_wide(const Tensor& x, std::int64_t at, std::int64_t step, std::int64_t n, double* to) {
  return x.type == Type::F64 ? load<double>(x, at, step, n, to) : load<float>(x, at, step, n, to);
}

void store_wide(const Tensor& y, std::int64_t at, std::int64_t n, const std::uint64_t* from) {
  switch (operators::size_of(y.type)) {
    case 1:
      return store<std::uint8_t>(y, at, n, from);
    case 2:
      return store<std::uint16_t>(y, at, n, from);
    case 4:
      return store<std::uint32_t>(y, at, n, from);
    default:
      return store<std::uint64_t>(y, at, n, from);
  }
}

void store_wide(const Tensor& y, std::int64_t at, std::int64_t n, const std::int64_t* from) {
  // The low bytes of both are the same.
  store_wide(y, at, n, reinterpret_cast<const std::uint64_t*>(from));
}

void store_wide(const Tensor& y, std::int64_t at, std::int64_t n, const double* from) {
  return y.type == Type::F64 ? store<double>(y, at, n, from) : store<float>(y, at, n, from);
}

}  // namespace openbpu::kernels::cpu
