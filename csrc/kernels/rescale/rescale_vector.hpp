// RESCALE per tensor: an int8 input has 256 values, so the law becomes a table when the engine is made.
#pragma once

#include "kernels/rescale/rescale_rows.hpp"
#include "kernels/table_vector.hpp"

namespace openbpu::kernels {
namespace {

bool per_tensor(const RescaleParams& p) { return p.flip == Vec::kFlip && p.entry_count == 1; }

Plan plan(const RescaleParams& p) { return {256, 0, p.out.n * p.out.h * row_parts(p)}; }

void pack(const RescaleParams& p, std::uint8_t* packed) {
  const Rq16Entry& e = *p.entries;
  for (std::int32_t i = 0; i < 256; ++i) {
    const std::int64_t y = (std::int64_t{i - 128} * e.m + e.bias) >> e.sh;
    packed[i ^ 0x80 ^ Vec::kFlip] = static_cast<std::uint8_t>((y < p.lo ? p.lo : y > p.hi ? p.hi : y) + Vec::kOffset);
  }
}

void run(const RescaleParams& p, const std::uint8_t* packed, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  run_table(p, packed, begin, end);
}

}  // namespace
}  // namespace openbpu::kernels
