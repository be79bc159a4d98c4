// The largest of a run of stored bytes. Needs Vec, as vector_runs.hpp does.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {
namespace {

// The complement turns the order of both storages around.
template <bool kComplement>
OPENBPU_INLINE Vec::R turned(Vec::R v) {
  if constexpr (kComplement) return Vec::xor_(v, Vec::set8(-1));
  return v;
}

// The largest of n > 0 bytes, or of their complements.
template <bool kComplement = false>
OPENBPU_INLINE std::int32_t highest(const std::uint8_t* in, std::int32_t n) {
  if (n < Vec::kBytes) {
    std::int32_t top = Vec::kOffset - 128;
    for (std::int32_t i = 0; i < n; ++i) {
      const auto stored = static_cast<std::uint8_t>(kComplement ? ~in[i] : in[i]);
      top = max(top, static_cast<Vec::Byte>(stored));
    }
    return top;
  }
  // The last vector overlaps the one before it.
  Vec::R best = turned<kComplement>(Vec::load(in + n - Vec::kBytes));
  for (std::int32_t i = 0; i + Vec::kBytes < n; i += Vec::kBytes)
    best = Vec::max_stored(best, turned<kComplement>(Vec::load(in + i)));
  return Vec::highest(best);
}

}  // namespace
}  // namespace openbpu::kernels
