// How the x86 rows of CSC weave three channels together.
#pragma once

#include <cstdint>

namespace openbpu::kernels {
namespace {

// Shuffles that make bytes 0..15 (masks 0 and 1) and 16..23 (2 and 3) of eight pixels of three channels: from bytes of
// channels 0 and 1 (masks 0 and 2), and from those of channel 2 (1 and 3). Pixel i lies at `at[i]`.
struct Weave {
  alignas(16) signed char masks[4][16];

  constexpr explicit Weave(const int (&at)[8]) : masks{} {
    for (int byte = 0; byte < 32; ++byte) {
      const int channel = byte % 3, place = byte < 24 ? at[byte / 3] : 0;
      masks[byte / 16 * 2][byte % 16] = static_cast<signed char>(byte < 24 && channel < 2 ? channel * 8 + place : -1);
      masks[byte / 16 * 2 + 1][byte % 16] = static_cast<signed char>(byte < 24 && channel == 2 ? place : -1);
    }
  }
};

constexpr Weave kInOrder({0, 1, 2, 3, 4, 5, 6, 7});
constexpr Weave kEvenOdd({0, 4, 1, 5, 2, 6, 3, 7});  // pixels lie as 0 2 4 6 1 3 5 7

// Two coefficients for products of pairs of int16.
constexpr int pair_of(std::int16_t low, std::int16_t high) {
  return static_cast<int>(static_cast<std::uint32_t>(static_cast<std::uint16_t>(low)) |
                          static_cast<std::uint32_t>(static_cast<std::uint16_t>(high)) << 16);
}

// Bytes of four packed pixels as int16 in the upper halves of words: channels 0 and 1, and channel 2 alone.
alignas(16) constexpr signed char kPairs[16] = {-1, 0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10};
alignas(16) constexpr signed char kThirds[16] = {-1, 2, -1, -1, -1, 5, -1, -1, -1, 8, -1, -1, -1, 11, -1, -1};

}  // namespace
}  // namespace openbpu::kernels
