// From element types of calls to types of C++.
#pragma once

#include <cstdint>
#include <type_traits>

#include "operators/call.hpp"

namespace openbpu::kernels::cpu {

template <class T>
struct TypeTag {
  using type = T;
};

// Calls f(TypeTag<T>{}) for a number type; bool and 16-bit floats, which only moves and Cast take, do not come here.
template <class F>
auto visit_number(operators::Type type, F f) {
  using operators::Type;
  switch (type) {
    case Type::I8:
      return f(TypeTag<std::int8_t>{});
    case Type::U8:
    case Type::Bool:
      return f(TypeTag<std::uint8_t>{});
    case Type::I16:
      return f(TypeTag<std::int16_t>{});
    case Type::U16:
      return f(TypeTag<std::uint16_t>{});
    case Type::I32:
      return f(TypeTag<std::int32_t>{});
    case Type::U32:
      return f(TypeTag<std::uint32_t>{});
    case Type::I64:
      return f(TypeTag<std::int64_t>{});
    case Type::U64:
      return f(TypeTag<std::uint64_t>{});
    case Type::F64:
      return f(TypeTag<double>{});
    case Type::F32:
    case Type::F16:
    case Type::Bf16:
    case Type::None:
      break;
  }
  return f(TypeTag<float>{});
}

// Calls f(TypeTag<T>{}) with an unsigned integer of the type's size: for moves.
template <class F>
auto visit_size(operators::Type type, F f) {
  switch (operators::size_of(type)) {
    case 1:
      return f(TypeTag<std::uint8_t>{});
    case 2:
      return f(TypeTag<std::uint16_t>{});
    case 4:
      return f(TypeTag<std::uint32_t>{});
    default:
      return f(TypeTag<std::uint64_t>{});
  }
}

// Sums of integers wrap as two's complement does, without the undefined behaviour of signed overflow.
template <class T>
using Wrapping = std::conditional_t<std::is_integral_v<T>,
                                    std::make_unsigned_t<std::conditional_t<std::is_integral_v<T>, T, int>>, T>;

// Value of an index operand of type int32 or int64.
inline std::int64_t index_at(const operators::Tensor& tensor, std::int64_t k) {
  return tensor.type == operators::Type::I32 ? tensor.as<const std::int32_t>()[k] : tensor.as<const std::int64_t>()[k];
}

}  // namespace openbpu::kernels::cpu
