// CRC-32C (Castagnoli), reflected, as used by iSCSI and ext4: detects corruption, not attacks.
#pragma once

#include <cstddef>
#include <cstdint>

namespace openbpu {

// Checksum of `size` bytes; `seed` is the checksum of what came before.
std::uint32_t crc32c(const std::uint8_t* data, std::size_t size, std::uint32_t seed = 0);

}  // namespace openbpu
