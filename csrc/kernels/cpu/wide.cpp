#include "kernels/cpu/wide.hpp"

#include <cstring>

namespace openbpu::kernels::cpu {
namespace {

using operators::Tensor;
using operators::Type;

template <class T, class W>
void load(const Tensor& x, std::int64_t at, std::int64_t step, std::int64_t n, void* to) {
  const T* from = x.as<const T>() + at;
  W* wide = static_cast<W*>(to);
  if (step == 1)
    for (std::int64_t i = 0; i < n; ++i) wide[i] = static_cast<W>(from[i]);
  else
    for (std::int64_t i = 0; i < n; ++i) wide[i] = static_cast<W>(from[i * step]);
}

template <class T, class W>
void store(const Tensor& y, std::int64_t at, std::int64_t n, const void* from) {
  const W* wide = static_cast<const W*>(from);
  T* to = y.as<T>() + at;
  for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(wide[i]);
}

}  // namespace

void load_wide(const Tensor& x, std::int64_t at, std::int64_t step, std::int64_t n, void* to) {
  switch (x.type) {
    case Type::I8:
      return load<std::int8_t, std::int64_t>(x, at, step, n, to);
    case Type::I16:
      return load<std::int16_t, std::int64_t>(x, at, step, n, to);
    case Type::I32:
      return load<std::int32_t, std::int64_t>(x, at, step, n, to);
    case Type::U8:
    case Type::Bool:
      return load<std::uint8_t, std::uint64_t>(x, at, step, n, to);
    case Type::U16:
      return load<std::uint16_t, std::uint64_t>(x, at, step, n, to);
    case Type::U32:
      return load<std::uint32_t, std::uint64_t>(x, at, step, n, to);
    case Type::I64:
    case Type::U64:
      return load<std::uint64_t, std::uint64_t>(x, at, step, n, to);
    case Type::F64:
      return load<double, double>(x, at, step, n, to);
    default:
      return load<float, double>(x, at, step, n, to);
  }
}

void store_wide(const Tensor& y, std::int64_t at, std::int64_t n, const void* from) {
  if (y.type == Type::F32) return store<float, double>(y, at, n, from);
  if (y.type == Type::F64) return store<double, double>(y, at, n, from);
  switch (operators::size_of(y.type)) {  // signed or not, the low bytes are the same
    case 1:
      return store<std::uint8_t, std::uint64_t>(y, at, n, from);
    case 2:
      return store<std::uint16_t, std::uint64_t>(y, at, n, from);
    case 4:
      return store<std::uint32_t, std::uint64_t>(y, at, n, from);
    default:
      return store<std::uint64_t, std::uint64_t>(y, at, n, from);
  }
}

void load_keys(const Tensor& x, std::int64_t at, std::int64_t step, std::int64_t n, std::uint64_t* to) {
  constexpr std::uint64_t sign = std::uint64_t{1} << 63;
  load_wide(x, at, step, n, to);
  visit_wide(x.type, [&](auto tag) {
    using W = typename decltype(tag)::type;
    for (std::int64_t i = 0; i < n; ++i) {
      if constexpr (std::is_same_v<W, double>) {
        double v;
        std::memcpy(&v, to + i, sizeof v);
        v += 0.0;
        std::memcpy(to + i, &v, sizeof v);
        to[i] = v != v ? ~std::uint64_t{0} : to[i] & sign ? ~to[i] : to[i] | sign;
      } else if constexpr (std::is_signed_v<W>) {
        to[i] ^= sign;
      }
    }
  });
}

std::uint64_t zero_key(Type type) {
  return visit_wide(type, [](auto tag) {
    return std::is_same_v<typename decltype(tag)::type, std::uint64_t> ? std::uint64_t{0} : std::uint64_t{1} << 63;
  });
}

}  // namespace openbpu::kernels::cpu
