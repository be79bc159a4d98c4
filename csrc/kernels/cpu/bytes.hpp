// Runs of bytes. What calls these is built for size, where memcpy would become string instructions: those take longer
// to start than short rows take to copy.
#pragma once

#include <cstdint>

namespace openbpu::kernels::cpu {

void copy_bytes(void* to, const void* from, std::int64_t n);
void clear_bytes(void* to, std::int64_t n);

}  // namespace openbpu::kernels::cpu
