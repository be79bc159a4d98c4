// The largest of a run of stored bytes. Needs Vec, as vector_runs.hpp does.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {
namespace {

// From 64 - n on: n bytes of ones, then zeros.
alignas(64) constexpr std::uint8_t kFirstBytes[128] = {
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};

// The complement turns the order of both storages around.
template <bool kComplement>
OPENBPU_INLINE Vec::R turned(Vec::R v) {
  if constexpr (kComplement) return Vec::xor_(v, Vec::set8(-1));
  return v;
}

// The largest of n > 0 bytes, or of their complements; up to a register behind them is read.
template <bool kComplement = false>
OPENBPU_INLINE std::int32_t highest(const std::uint8_t* in, std::int32_t n) {
  if (n < Vec::kBytes) {  // bytes behind the run become the lowest
    const Vec::R lowest = Vec::set8(Vec::kOffset - 128), mask = Vec::load(kFirstBytes + 64 - n);
    const Vec::R v = Vec::xor_(turned<kComplement>(Vec::load(in)), lowest);
    return Vec::highest(Vec::xor_(Vec::and_(v, mask), lowest));
  }
  // The last vector overlaps the one before it.
  Vec::R best = turned<kComplement>(Vec::load(in + n - Vec::kBytes));
  for (std::int32_t i = 0; i + Vec::kBytes < n; i += Vec::kBytes)
    best = Vec::max_stored(best, turned<kComplement>(Vec::load(in + i)));
  return Vec::highest(best);
}

}  // namespace
}  // namespace openbpu::kernels
