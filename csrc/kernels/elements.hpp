// What scalar rows share: single elements of tensors whose type the operator's parameters tell, and rows that take all
// parameters and cut their work by rows of the output.
#pragma once

#include <cstring>

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

inline std::int32_t load_element(const std::uint8_t* at, const Stored& stored) {
  if (!stored.wide) return static_cast<std::int8_t>(*at ^ stored.flip);
  std::int16_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

inline void store_element(std::uint8_t* at, const Stored& stored, std::int32_t value) {
  if (!stored.wide) {
    *at = static_cast<std::uint8_t>(static_cast<std::uint8_t>(value) ^ stored.flip);
    return;
  }
  const auto narrow = static_cast<std::int16_t>(value);
  std::memcpy(at, &narrow, sizeof narrow);
}

constexpr Stored kInt16{true, 0};

inline std::uint8_t* element_at(const View& v, std::int32_t n, std::int32_t y, std::int32_t x, std::int32_t c) {
  return v.data + n * v.sn + y * v.sh + x * v.sw + c * v.sc;
}

// Calls op(n, y, x, c) for each element of the output rows [begin, end); one unit is one row of one image.
template <class Op>
void for_each_element(const View& out, std::int32_t begin, std::int32_t end, Op op) {
  for (std::int32_t unit = begin; unit < end; ++unit)
    for (std::int32_t x = 0; x < out.w; ++x)
      for (std::int32_t c = 0; c < out.c; ++c) op(unit / out.h, unit % out.h, x, c);
}

template <class Params>
Plan plan_output_rows(const Params& p) {
  return {0, 0, p.out.n * p.out.h};
}

template <class Params>
bool accepts_all(const Params&) {
  return true;
}

}  // namespace openbpu::kernels
