// LUT8 and what becomes a table: 256 entries by stored byte. Needs Vec and its Tables.
#pragma once

#include "kernels/vector_runs.hpp"

namespace openbpu::kernels {
namespace {

// `table` maps stored bytes to stored bytes.
template <class Params>
OPENBPU_INLINE void run_table(const Params& p, const std::uint8_t* table, std::int32_t begin, std::int32_t end) {
  const Tables tables = load_tables(table);
  for_each_run(p, p.in, begin, end, [&](const std::uint8_t* in, std::uint8_t* out, std::int32_t n) {
    for (std::int32_t i = 0; i < n; i += Vec::kBytes)
      store_run(out + i, look_up(load_run(in + i, n - i), tables), n - i);
  });
}

}  // namespace
}  // namespace openbpu::kernels
