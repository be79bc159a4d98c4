#include "support/checksum.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace openbpu {
namespace {

// Tables for that many bytes at once; x86 has an instruction, and only processors without it need the one table.
#if defined(__x86_64__)
constexpr std::size_t kSlices = 1;
#else
constexpr std::size_t kSlices = 8;
#endif

// table[k][b] is the checksum of byte b followed by k zero bytes.
constexpr std::array<std::array<std::uint32_t, 256>, kSlices> crc32c_tables() {
  std::array<std::array<std::uint32_t, 256>, kSlices> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82F63B78u : 0u);
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < kSlices; ++k)
    for (std::size_t byte = 0; byte < 256; ++byte)
      tables[k][byte] = (tables[k - 1][byte] >> 8) ^ tables[0][tables[k - 1][byte] & 0xFF];
  return tables;
}

constexpr auto kTables = crc32c_tables();

// All take and give the register of the checksum, without the inversions at its ends.

template <class Tables>
std::uint32_t update_by_eight(const Tables& t, const std::uint8_t* data, std::size_t size, std::uint32_t crc) {
  for (; size >= 8; size -= 8, data += 8) {
    const std::uint32_t low =
        crc ^ (static_cast<std::uint32_t>(data[0]) | static_cast<std::uint32_t>(data[1]) << 8 |
               static_cast<std::uint32_t>(data[2]) << 16 | static_cast<std::uint32_t>(data[3]) << 24);
    crc = t[7][low & 0xFF] ^ t[6][low >> 8 & 0xFF] ^ t[5][low >> 16 & 0xFF] ^ t[4][low >> 24] ^ t[3][data[4]] ^
          t[2][data[5]] ^ t[1][data[6]] ^ t[0][data[7]];
  }
  return crc;
}

std::uint32_t update_by_tables(const std::uint8_t* data, std::size_t size, std::uint32_t crc) {
  const auto& t = kTables;
  if constexpr (kSlices == 8) {
    crc = update_by_eight(t, data, size, crc);
    data += size / 8 * 8;
    size %= 8;
  }
  for (; size > 0; --size, ++data) crc = (crc >> 8) ^ t[0][(crc ^ *data) & 0xFF];
  return crc;
}

#if defined(__x86_64__)
constexpr std::size_t kRun = 1024;

// What kRun zero bytes make of a register: table[k][b] of byte b at position k; the register is their sum.
constexpr std::array<std::array<std::uint32_t, 256>, 4> zero_run_tables() {
  std::array<std::array<std::uint32_t, 256>, 4> tables{};
  for (std::size_t bit = 0; bit < 32; ++bit) {
    std::uint32_t crc = std::uint32_t{1} << bit;
    for (std::size_t i = 0; i < kRun; ++i) crc = (crc >> 8) ^ kTables[0][crc & 0xFF];
    const std::size_t own = std::size_t{1} << bit % 8;
    for (std::size_t byte = own; byte < 256; ++byte)
      if (byte & own) tables[bit / 8][byte] ^= crc;
  }
  return tables;
}

constexpr auto kZeroRun = zero_run_tables();

std::uint32_t after_zero_run(std::uint32_t crc) {
  const auto& t = kZeroRun;
  return t[0][crc & 0xFF] ^ t[1][crc >> 8 & 0xFF] ^ t[2][crc >> 16 & 0xFF] ^ t[3][crc >> 24];
}

__attribute__((target("sse4.2"))) std::uint64_t add_eight(std::uint64_t crc, const std::uint8_t* data) {
  std::uint64_t eight;
  std::memcpy(&eight, data, sizeof eight);
  return _mm_crc32_u64(crc, eight);
}

// SSE4.2 has an instruction for this polynomial. It takes three cycles and one can start in each, so three runs are
// taken side by side; a checksum is linear, and what the runs behind one add to it are zeros.
__attribute__((target("sse4.2"))) std::uint32_t update_by_instruction(const std::uint8_t* data, std::size_t size,
                                                                      std::uint32_t crc) {
  std::uint64_t first = crc;
  for (; size >= 3 * kRun; size -= 3 * kRun, data += 3 * kRun) {
    std::uint64_t second = 0, third = 0;
    for (std::size_t i = 0; i < kRun; i += 8) {
      first = add_eight(first, data + i);
      second = add_eight(second, data + kRun + i);
      third = add_eight(third, data + 2 * kRun + i);
    }
    const std::uint32_t two = after_zero_run(static_cast<std::uint32_t>(first)) ^ static_cast<std::uint32_t>(second);
    first = after_zero_run(two) ^ static_cast<std::uint32_t>(third);
  }
  for (; size >= 8; size -= 8, data += 8) first = add_eight(first, data);
  crc = static_cast<std::uint32_t>(first);
  for (; size > 0; --size, ++data) crc = _mm_crc32_u8(crc, *data);
  return crc;
}
#endif

}  // namespace

std::uint32_t crc32c(const std::uint8_t* data, std::size_t size, std::uint32_t seed) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return ~update_by_instruction(data, size, ~seed);
#endif
  return ~update_by_tables(data, size, ~seed);
}

}  // namespace openbpu
