// Small integer helpers of the vector kernels; always inlined, so that no ISA's flags leak through them.
#pragma once

#include <cstddef>
#include <cstdint>

#define OPENBPU_INLINE static inline __attribute__((always_inline))

namespace openbpu::kernels {

OPENBPU_INLINE std::int32_t min(std::int32_t a, std::int32_t b) { return a < b ? a : b; }
OPENBPU_INLINE std::int32_t max(std::int32_t a, std::int32_t b) { return a > b ? a : b; }
OPENBPU_INLINE std::int64_t min64(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
OPENBPU_INLINE std::int64_t max64(std::int64_t a, std::int64_t b) { return a > b ? a : b; }
OPENBPU_INLINE std::int32_t ceil_div(std::int32_t a, std::int32_t b) { return (a + b - 1) / b; }
OPENBPU_INLINE std::size_t align64(std::size_t bytes) { return (bytes + 63) & ~std::size_t{63}; }

}  // namespace openbpu::kernels
