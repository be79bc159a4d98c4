// Blocks of output channels of a product with constant weights, int16 activations: how they are packed and run. Needs
// Wide of x86/wide256.hpp, x86/wide512.hpp or arm/wide128.hpp.
//
// A step is two inputs of one tap (wide_sums.hpp). Steps of zero weights vanish. Sums of int32 hold as long as the
// weights of a channel add up to less than 2^16 in magnitude: steps are cut into chunks for which they do, and sums of
// chunks are added in 64 bits.
#pragma once

#include "kernels/canonical_weights.hpp"
#include "kernels/wide_scale.hpp"
#include "kernels/wide_sums.hpp"

namespace openbpu::kernels {
namespace {

constexpr std::int32_t kUnitPixels16 = 64;
constexpr std::int32_t kLeastChunk = 255;  // steps whose weights always fit: 255 * 2 * 128 < 2^16

// Of a group; in bytes from the start of a block: ends of chunks, offsets of steps, weights.
struct Blocks16 {
  std::int32_t ci, co, taps, count, pairs, chunks;  // count: blocks
  std::size_t step_at, weight_at, bytes;
};

OPENBPU_INLINE Blocks16 blocks16(std::int32_t ci, std::int32_t co, std::int32_t taps) {
  Blocks16 l{};
  l.ci = ci;
  l.co = co;
  l.taps = taps;
  l.count = ceil_div(co, kBlock16);
  l.pairs = ceil_div(ci, 2);
  const std::int32_t steps = taps * l.pairs;
  l.chunks = ceil_div(steps, kLeastChunk);
  l.step_at = align64(2 * sizeof(WideScale) + static_cast<std::size_t>(l.chunks + 1) * 4);
  l.weight_at = align64(l.step_at + static_cast<std::size_t>(steps) * 4);
  l.bytes = l.weight_at + static_cast<std::size_t>(steps) * kStepBytes;
  return l;
}

struct Packed16 {
  WideScale* scales;      // 2
  std::int32_t* ends;     // of chunks, the last of them again and again: the number of steps
  std::int32_t* offsets;  // of steps, in bytes from the pixel
  std::uint8_t* weights;
};

OPENBPU_INLINE Packed16 packed_block(const Blocks16& l, const std::uint8_t* packed, std::int32_t block) {
  auto* at = const_cast<std::uint8_t*>(packed) + static_cast<std::size_t>(block) * l.bytes;
  return {reinterpret_cast<WideScale*>(at), reinterpret_cast<std::int32_t*>(at + 2 * sizeof(WideScale)),
          reinterpret_cast<std::int32_t*>(at + l.step_at), at + l.weight_at};
}

OPENBPU_INLINE std::int32_t magnitudes(const std::int16_t* pair) {
  return (pair[0] < 0 ? -pair[0] : pair[0]) + (pair[1] < 0 ? -pair[1] : pair[1]);
}

// Block `block` of the group's; tap_offsets: in bytes from the pixel, -1 for taps that are not there.
[[gnu::cold]] void pack_block16(const Blocks16& l, const std::int8_t* data, const Rq16Entry* entries,
                                std::int32_t group, std::int32_t block, const std::int32_t* tap_offsets,
                                const Packed16& to) {
  const CanonicalWeights weights{data, l.co, l.taps, l.ci};
  const std::int32_t first = block * kBlock16;
  std::int32_t reach[kBlock16] = {}, chunk = 0, steps = 0;
  for (std::int32_t i = 0; i < kBlock16; ++i)
    set_lane(to.scales[i / Wide::kWords], i % Wide::kWords,
             first + i < l.co ? entries[group * l.co + first + i] : Rq16Entry{0, 1, 1, {}});
  for (std::int32_t tap = 0; tap < l.taps; ++tap)
    for (std::int32_t input = 0; tap_offsets[tap] >= 0 && input < l.ci; input += 2) {
      std::int16_t cell[kBlock16][2];
      bool full = false, zero = true;
      for (std::int32_t i = 0; i < kBlock16; ++i) {
        for (std::int32_t k = 0; k < 2; ++k)
          cell[i][k] =
              first + i < l.co && input + k < l.ci ? weights.at(group, first + i, tap, input + k) : std::int8_t{0};
        full = full || reach[i] + magnitudes(cell[i]) > 65535;
        zero = zero && magnitudes(cell[i]) == 0;
      }
      if (zero) continue;
      if (full) to.ends[chunk++] = steps;
      for (std::int32_t i = 0; i < kBlock16; ++i) reach[i] = (full ? 0 : reach[i]) + magnitudes(cell[i]);
      __builtin_memcpy(to.weights + static_cast<std::size_t>(steps) * kStepBytes, cell, kStepBytes);
      to.offsets[steps++] = tap_offsets[tap] + input * 2;
    }
  while (chunk <= l.chunks) to.ends[chunk++] = steps;
}

OPENBPU_INLINE Sums16 block_sums16(const Packed16& k, const std::uint8_t* const* in, std::int32_t begin,
                                   std::int32_t end) {
  return sums16(k.weights, [&](std::int32_t step) { return k.offsets[step]; }, in, begin, end);
}

OPENBPU_INLINE void store_pixel16(Wide::R r0, Wide::R r1, const Packed16& k, const WideClamp& clamp, std::uint8_t* out,
                                  std::int32_t channels) {
  store_first16(out, scaled(r0, k.scales[0], clamp), channels);
  if (channels > Wide::kWords)
    store_first16(out + 2 * Wide::kWords, scaled(r1, k.scales[1], clamp), channels - Wide::kWords);
}

// Several chunks: sums of 64 bits, scaled one by one. There are thousands of products for each of them.
[[gnu::noinline]] void run_long_tile16(const Rq16& rq, std::int32_t steps, const Packed16& k, const Rq16Entry* entries,
                                       const std::uint8_t* const* in, std::uint8_t* const* out, std::int32_t pixels,
                                       std::int32_t channels) {
  std::int64_t total[kTile16 * kBlock16] = {};
  alignas(64) std::int32_t part[kTile16 * kBlock16];
  for (std::int32_t chunk = 0, begin = 0; begin < steps; begin = k.ends[chunk++]) {
    store_sums16(block_sums16(k, in, begin, k.ends[chunk]), part);
    for (std::int32_t i = 0; i < kTile16 * kBlock16; ++i) total[i] += part[i];
  }
  for (std::int32_t x = 0; x < pixels; ++x)
    for (std::int32_t c = 0; c < channels; ++c) {
      const std::int64_t y = (total[x * kBlock16 + c] * entries[c].m + entries[c].bias) >> entries[c].sh;
      const auto value = static_cast<std::int16_t>(max64(rq.lo, min64(y, rq.hi)));
      __builtin_memcpy(out[x] + 2 * c, &value, 2);
    }
}

OPENBPU_INLINE void run_tile16(const Packed16& k, const WideClamp& clamp, std::int32_t steps,
                               const std::uint8_t* const* in, std::uint8_t* const* out, std::int32_t pixels,
                               std::int32_t channels) {
  const Sums16 s = block_sums16(k, in, 0, steps);
  store_pixel16(s.a0, s.a1, k, clamp, out[0], channels);
  if (pixels > 1) store_pixel16(s.b0, s.b1, k, clamp, out[1], channels);
  if (pixels > 2) store_pixel16(s.c0, s.c1, k, clamp, out[2], channels);
  if (pixels > 3) store_pixel16(s.d0, s.d1, k, clamp, out[3], channels);
}

// Output pixels of a unit: row y of `rows`, column x.
struct Pixels16 {
  const std::uint8_t* in;
  std::int64_t in_row, in_pixel;
  std::uint8_t* out;
  std::int64_t out_row, out_pixel;
  std::int32_t rows, columns;
};

// A block whose first channel is `channel` of the tensor, and one of `channels` that there are.
[[gnu::noinline]] void run_block16(const Rq16& rq, std::int32_t last_chunk, const Packed16& k, std::int32_t input,
                                   std::int32_t channel, std::int32_t channels, const Pixels16& at) {
  const WideClamp clamp(rq);
  const std::int32_t all = at.rows * at.columns, steps = k.ends[last_chunk];
  const bool one_chunk = k.ends[0] == steps;
  for (std::int32_t pixel = 0; pixel < all; pixel += kTile16) {
    const std::int32_t pixels = min(kTile16, all - pixel);
    const std::uint8_t* in[kTile16];
    std::uint8_t* out[kTile16];
    for (std::int32_t i = 0; i < kTile16; ++i) {  // those that are not there repeat the last one
      const std::int32_t j = pixel + min(i, pixels - 1), y = j / at.columns, x = j % at.columns;
      in[i] = at.in + y * at.in_row + x * at.in_pixel + input * 2;
      out[i] = at.out + y * at.out_row + x * at.out_pixel + channel * 2;
    }
    if (one_chunk)
      run_tile16(k, clamp, steps, in, out, pixels, channels);
    else
      run_long_tile16(rq, steps, k, rq.entries + channel, in, out, pixels, channels);
  }
}

// All blocks of all groups; the first is block `first` as packed.
OPENBPU_INLINE void run_blocks16(const Blocks16& l, const Rq16& rq, std::int32_t groups, const std::uint8_t* packed,
                                 std::int32_t first, const Pixels16& at) {
  for (std::int32_t block = 0; block < groups * l.count; ++block) {
    const std::int32_t group = block / l.count, channel = block % l.count * kBlock16;
    run_block16(rq, l.chunks, packed_block(l, packed, first + block), group * l.ci, group * l.co + channel,
                min(kBlock16, l.co - channel), at);
  }
}

}  // namespace
}  // namespace openbpu::kernels
