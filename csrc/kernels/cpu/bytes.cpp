#include "kernels/cpu/bytes.hpp"

#include <cstring>

namespace openbpu::kernels::cpu {

void copy_bytes(void* to, const void* from, std::int64_t n) { std::memcpy(to, from, static_cast<std::size_t>(n)); }
void clear_bytes(void* to, std::int64_t n) { std::memset(to, 0, static_cast<std::size_t>(n)); }

}  // namespace openbpu::kernels::cpu
