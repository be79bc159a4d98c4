// 16 floats as an array: for every host, and what the compiler makes vectors of.
// Taken by reference: where this is built for size, a copy per operand would cost more than the operation.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace openbpu::kernels::cpu {
namespace {

struct Lanes {
  float v[16];
};
struct Mask {
  bool v[16];
};

template <class F>
inline Lanes each(F f) {
  Lanes r;
  for (int i = 0; i < 16; ++i) r.v[i] = f(i);
  return r;
}

inline Lanes spread(float x) {
  return each([&](int) { return x; });
}
inline Lanes load(const float* p) {
  Lanes r;
  std::memcpy(r.v, p, sizeof r.v);
  return r;
}
inline Lanes load(const float* p, std::int64_t n) {
  Lanes r = spread(0);
  std::memcpy(r.v, p, static_cast<std::size_t>(n) * 4);
  return r;
}
inline void store(float* p, const Lanes& x) { std::memcpy(p, x.v, sizeof x.v); }
inline void store(float* p, const Lanes& x, std::int64_t n) { std::memcpy(p, x.v, static_cast<std::size_t>(n) * 4); }

inline Lanes operator+(const Lanes& a, const Lanes& b) {
  return each([&](int i) { return a.v[i] + b.v[i]; });
}
inline Lanes operator-(const Lanes& a, const Lanes& b) {
  return each([&](int i) { return a.v[i] - b.v[i]; });
}
inline Lanes operator*(const Lanes& a, const Lanes& b) {
  return each([&](int i) { return a.v[i] * b.v[i]; });
}
inline Lanes operator/(const Lanes& a, const Lanes& b) {
  return each([&](int i) { return a.v[i] / b.v[i]; });
}
inline Lanes fma(const Lanes& a, const Lanes& b, const Lanes& c) {
  return each([&](int i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); });
}
// The second operand if either is not a number.
inline Lanes smaller(const Lanes& a, const Lanes& b) {
  return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline Lanes larger(const Lanes& a, const Lanes& b) {
  return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline Lanes root(const Lanes& x) {
  return each([&](int i) { return __builtin_sqrtf(x.v[i]); });
}
inline Lanes nearest(const Lanes& x) {
  return each([&](int i) { return __builtin_rintf(x.v[i]); });
}
inline Lanes below(const Lanes& x) {
  return each([&](int i) { return __builtin_floorf(x.v[i]); });
}
inline Lanes above(const Lanes& x) {
  return each([&](int i) { return __builtin_ceilf(x.v[i]); });
}
inline Lanes absolute(const Lanes& x) {
  return each([&](int i) { return __builtin_fabsf(x.v[i]); });
}
inline Lanes with_sign(const Lanes& x, const Lanes& sign) {
  return each([&](int i) { return __builtin_copysignf(x.v[i], sign.v[i]); });
}
inline Mask operator<(const Lanes& a, const Lanes& b) {
  Mask r;
  for (int i = 0; i < 16; ++i) r.v[i] = a.v[i] < b.v[i];
  return r;
}
inline Mask operator==(const Lanes& a, const Lanes& b) {
  Mask r;
  for (int i = 0; i < 16; ++i) r.v[i] = a.v[i] == b.v[i];
  return r;
}
inline Mask is_nan(const Lanes& a) {
  Mask r;
  for (int i = 0; i < 16; ++i) r.v[i] = a.v[i] != a.v[i];
  return r;
}
inline Lanes choose(const Mask& m, const Lanes& a, const Lanes& b) {
  return each([&](int i) { return m.v[i] ? a.v[i] : b.v[i]; });
}
// 2^n for whole n of -126 to 127.
inline Lanes power_of_two(const Lanes& n) {
  return each([&](int i) {
    const auto bits = static_cast<std::uint32_t>(static_cast<std::int32_t>(n.v[i]) + 127) << 23;
    float f;
    std::memcpy(&f, &bits, 4);
    return f;
  });
}
// x * 2^n for whole n of -151 to 129, rounded once: the first factor leaves the normal range never.
inline Lanes scaled(const Lanes& x, const Lanes& n) {
  const Lanes half = below(n * spread(0.5f));
  return x * power_of_two(half) * power_of_two(n - half);
}
// x = mantissa * 2^exponent with 0.5 <= mantissa < 1, for positive normal x.
inline Lanes split(const Lanes& x, Lanes& exponent) {
  Lanes mantissa;
  for (int i = 0; i < 16; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, &x.v[i], 4);
    exponent.v[i] = static_cast<float>(static_cast<std::int32_t>(bits >> 23) - 126);
    bits = (bits & 0x007FFFFF) | 0x3F000000;
    std::memcpy(&mantissa.v[i], &bits, 4);
  }
  return mantissa;
}
inline void to_array(const Lanes& x, float (&to)[16]) { std::memcpy(to, x.v, sizeof x.v); }
// 1 or 0 for each lane, n bytes.
inline void store_flags(std::uint8_t* p, const Mask& m, std::int64_t n) {
  std::memcpy(p, m.v, static_cast<std::size_t>(n));
}
// Towards zero and within the type, n of them; 0 for not-a-number.
inline void store_integers(std::int32_t* p, const Lanes& x, std::int64_t n) {
  for (int i = 0; i < n; ++i) {
    const float v = x.v[i];
    p[i] = v != v               ? 0
           : v >= 2147483648.0f ? 2147483647
           : v < -2147483648.0f ? -2147483647 - 1
                                : static_cast<std::int32_t>(v);
  }
}
inline Lanes gathered(const float* p, const std::int32_t* places) {
  return each([&](int i) { return p[places[i]]; });
}
// p[place] and p[place + 1].
inline void gather_both(const float* p, const std::int32_t* places, Lanes& a, Lanes& b) {
  for (int i = 0; i < 16; ++i) a.v[i] = p[places[i]], b.v[i] = p[places[i] + 1];
}
// Every second one of 32 floats.
inline Lanes evens(const float* p) {
  return each([&](int i) { return p[2 * i]; });
}
// a and b in turns, 32 floats.
inline void store_turns(float* p, const Lanes& a, const Lanes& b) {
  for (int i = 0; i < 16; ++i) p[2 * i] = a.v[i], p[2 * i + 1] = b.v[i];
}

}  // namespace
}  // namespace openbpu::kernels::cpu
