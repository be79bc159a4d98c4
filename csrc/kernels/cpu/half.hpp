// float16 and bfloat16 as bits.
#pragma once

#include <cstdint>
#include <cstring>

namespace openbpu::kernels::cpu {

inline double from_half(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16, exponent = bits >> 10 & 31;
  const std::uint32_t mantissa = bits & 0x3FF;
  if (exponent == 0) return (sign ? -1.0 : 1.0) * mantissa / 16777216.0;  // 2^-24
  const std::uint32_t word = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | mantissa << 13;
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

// Round to nearest, halves to even; beyond the range infinity.
inline std::uint16_t to_half(double value) {
  std::uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const auto sign = static_cast<std::uint16_t>(bits >> 48 & 0x8000);
  if (value != value) return static_cast<std::uint16_t>(sign | 0x7E00);
  const double magnitude = __builtin_fabs(value);
  if (magnitude >= 65520.0) return static_cast<std::uint16_t>(sign | 0x7C00);
  if (magnitude < 6.103515625e-5)  // subnormal: whole steps of 2^-24
    return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(__builtin_rint(magnitude * 16777216.0)));
  const std::uint64_t exponent = (bits >> 52 & 0x7FF) - 1008, mantissa = bits & 0xFFFFFFFFFFFFFull;
  std::uint64_t result = exponent << 10 | mantissa >> 42;
  const std::uint64_t rest = mantissa & 0x3FFFFFFFFFFull, half = 0x20000000000ull;
  if (rest > half || (rest == half && (result & 1))) ++result;
  return static_cast<std::uint16_t>(sign | result);
}

inline double from_brain(std::uint16_t bits) {
  const std::uint32_t word = static_cast<std::uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

inline std::uint16_t to_brain(double value) {
  const auto single = static_cast<float>(value);
  std::uint32_t word;
  std::memcpy(&word, &single, sizeof word);
  if (single != single) return static_cast<std::uint16_t>(word >> 16 | 0x40);
  return static_cast<std::uint16_t>((word + 0x7FFF + (word >> 16 & 1)) >> 16);
}

}  // namespace openbpu::kernels::cpu
