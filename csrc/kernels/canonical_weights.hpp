// Where a weight stands in the file: i8 [groups][co/16][taps][ci/4][16][4] (format CONV_WEIGHTS).
#pragma once

#include <cstdint>

namespace openbpu::kernels {

// co and ci are per group. Plain data with a member that is always inlined: ISA files may include it.
struct CanonicalWeights {
  const std::int8_t* data;
  std::int32_t co, taps, ci;

  __attribute__((always_inline)) std::int8_t at(std::int32_t group, std::int32_t o, std::int32_t tap,
                                                std::int32_t i) const {
    const std::int64_t co16 = (co + 15) / 16, ci4 = (ci + 3) / 4;
    const std::int64_t cell = ((group * co16 + o / 16) * taps + tap) * ci4 + i / 4;
    return data[cell * 64 + o % 16 * 4 + i % 4];
  }
};

}  // namespace openbpu::kernels
