// The tile instructions of AMX: eight registers of up to 16 rows of 64 bytes.
//
// gcc's intrinsics take register numbers as text only, which no template can supply. With OPENBPU_EMULATE_AMX they are
// computed in software, so that the AMX rows can be tested on any processor with AVX-512, and under sanitizers.
#pragma once

#include <cstdint>

#include "kernels/arithmetic.hpp"

#ifdef OPENBPU_EMULATE_AMX
#include <cstring>
#endif

namespace openbpu::kernels::amx {

constexpr std::int32_t kTileRows = 16;

// What ldtilecfg reads.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {};
};

#ifdef OPENBPU_EMULATE_AMX

// The registers of a thread; without a configuration tiles have no rows.
struct TileRegisters {
  TileConfig config;
  std::uint8_t tile[8][kTileRows][64];
};
inline thread_local TileRegisters registers;

inline void load_config(const TileConfig& config) { registers.config = config; }
inline void release_tiles() { registers.config = TileConfig(); }

template <int Tile>
void clear_tile() {
  std::memset(registers.tile[Tile], 0, sizeof registers.tile[Tile]);
}

template <int Tile>
void load_tile(const void* from, std::int64_t stride) {
  for (std::int32_t r = 0; r < registers.config.rows[Tile]; ++r)
    std::memcpy(registers.tile[Tile][r], static_cast<const std::uint8_t*>(from) + r * stride, 64);
}

template <int Tile>
void store_tile(void* to, std::int64_t stride) {
  for (std::int32_t r = 0; r < registers.config.rows[Tile]; ++r)
    std::memcpy(static_cast<std::uint8_t*>(to) + r * stride, registers.tile[Tile][r], 64);
}

template <int Sum, int X, int W>
void dot_tiles() {
  TileRegisters& t = registers;
  for (std::int32_t r = 0; r < t.config.rows[Sum]; ++r)
    for (std::int32_t c = 0; c < 16; ++c) {
      std::uint32_t sum;
      std::memcpy(&sum, t.tile[Sum][r] + 4 * c, 4);
      for (std::int32_t k = 0; k < 64; ++k) {
        const auto w = static_cast<std::int8_t>(t.tile[W][k / 4][4 * c + k % 4]);
        sum += static_cast<std::uint32_t>(t.tile[X][r][k] * w);
      }
      std::memcpy(t.tile[Sum][r] + 4 * c, &sum, 4);
    }
}

#else

OPENBPU_INLINE void load_config(const TileConfig& config) { asm volatile("ldtilecfg %0" : : "m"(config)); }
OPENBPU_INLINE void release_tiles() { asm volatile("tilerelease"); }

template <int Tile>
OPENBPU_INLINE void clear_tile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(Tile));
}

template <int Tile>
OPENBPU_INLINE void load_tile(const void* from, std::int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(Tile) : "memory");
}

template <int Tile>
OPENBPU_INLINE void store_tile(void* to, std::int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(Tile) : "memory");
}

// Sum tile Sum += unsigned bytes of tile X times signed bytes of tile W.
template <int Sum, int X, int W>
OPENBPU_INLINE void dot_tiles() {
  asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(X), "i"(W));
}

#endif

}  // namespace openbpu::kernels::amx
