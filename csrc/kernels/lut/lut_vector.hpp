#pragma once

#include "kernels/lut/lut_rows.hpp"
#include "kernels/table_vector.hpp"

namespace openbpu::kernels {
namespace {

Plan plan(const Lut8Params& p) { return {256, 0, p.out.n * p.out.h * row_parts(p)}; }

void pack(const Lut8Params& p, std::uint8_t* packed) {
  for (std::int32_t i = 0; i < 256; ++i)
    packed[i ^ 0x80 ^ Vec::kFlip] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(p.table[i]) ^ Vec::kFlip);
}

[[maybe_unused]] void run(const Lut8Params& p, const std::uint8_t* packed, std::uint8_t*, std::int32_t begin,
                          std::int32_t end) {
  run_table(p, packed, begin, end);
}

}  // namespace
}  // namespace openbpu::kernels
