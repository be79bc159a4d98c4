// Elements of any number type as one of three wide ones, a block at a time: signed integers as int64, unsigned ones and
// bool as uint64, floats as double. An operator in the types that are rare in models is compiled three times, not ten.
#pragma once

#include "kernels/cpu/types.hpp"

namespace openbpu::kernels::cpu {

constexpr std::int64_t kWideBlock = 256;

// Room for a block of any wide type.
struct alignas(8) WideBlock {
  unsigned char bytes[8 * kWideBlock];
};

// Calls f(TypeTag<W>{}) with the wide type of a number type.
template <class F>
auto visit_wide(operators::Type type, F f) {
  using operators::Type;
  switch (type) {
    case Type::I8:
    case Type::I16:
    case Type::I32:
    case Type::I64:
      return f(TypeTag<std::int64_t>{});
    case Type::U8:
    case Type::U16:
    case Type::U32:
    case Type::U64:
    case Type::Bool:
      return f(TypeTag<std::uint64_t>{});
    default:
      return f(TypeTag<double>{});
  }
}

// to[i] = element at + i * step of the tensor, for i < n; `to` points to its wide type.
void load_wide(const operators::Tensor& x, std::int64_t at, std::int64_t step, std::int64_t n, void* to);

// Element at + i of the tensor = from[i], for i < n, of its wide type: integers modulo their size, floats rounded.
void store_wide(const operators::Tensor& y, std::int64_t at, std::int64_t n, const void* from);

// The same as integers in the order of the values: not-a-number above all else, both zeros equal.
void load_keys(const operators::Tensor& x, std::int64_t at, std::int64_t step, std::int64_t n, std::uint64_t* to);
// The key of zero.
std::uint64_t zero_key(operators::Type type);

// What an integer type holds, in its wide type W.
template <class W>
struct Range {
  W low, high;
};
template <class W>
Range<W> range_of(operators::Type type) {
  const auto bits = static_cast<int>(8 * operators::size_of(type));
  if constexpr (std::is_signed_v<W>) {
    const auto high = static_cast<W>(~std::uint64_t{0} >> (65 - bits));
    return {static_cast<W>(-high - 1), high};
  } else {
    return {0, ~W{0} >> (64 - bits)};
  }
}

// The integer next to zero from a float, held to the range; not-a-number becomes its lower end.
template <class W>
W saturated(double value, const Range<W>& range) {
  if (!(value > static_cast<double>(range.low))) return range.low;
  return value >= static_cast<double>(range.high) ? range.high : static_cast<W>(value);
}

}  // namespace openbpu::kernels::cpu
