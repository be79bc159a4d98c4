// The epilogue of the 16-bit forms on int32 lanes, for rows whose results are int16. Needs Wide of x86/wide256.hpp,
// x86/wide512.hpp or arm/wide128.hpp.
//
// v * m + bias has 64 bits, so a register is scaled in two halves. What the shift leaves fits 32 bits (fits_lanes).
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {
namespace {

// Entries of kWords lanes, as the halves of a register want them.
struct WideScale {
  alignas(64) std::int64_t m[2][Wide::kWords / 2];
  alignas(64) std::int64_t bias[2][Wide::kWords / 2];
  alignas(64) std::int64_t sh[2][Wide::kWords / 2];
};

// Whether (v * m + bias) >> sh fits 32 bits for every v of at most 2^bits.
OPENBPU_INLINE bool fits_lanes(const Rq16Entry& e, std::int32_t bits = 31) {
  const std::uint64_t bias = static_cast<std::uint64_t>(e.bias < 0 ? -e.bias : e.bias);
  return (((static_cast<std::uint64_t>(e.m) << bits) + bias) >> e.sh) < std::uint64_t{1} << 31;
}

OPENBPU_INLINE bool all_fit_lanes(const Rq16Entry* entries, std::int32_t count) {
  for (std::int32_t i = 0; i < count; ++i)
    if (!fits_lanes(entries[i])) return false;
  return true;
}

OPENBPU_INLINE void set_lane(WideScale& s, std::int32_t lane, const Rq16Entry& e) {
  const std::int32_t h = Wide::half_of(lane), i = Wide::place_of(lane);
  s.m[h][i] = e.m;
  s.bias[h][i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(e.bias) + Wide::kOffset);
  s.sh[h][i] = e.sh;
}

[[maybe_unused, gnu::noinline]] WideScale uniform_scale(const Rq16Entry& e) {
  WideScale s;
  for (std::int32_t lane = 0; lane < Wide::kWords; ++lane) set_lane(s, lane, e);
  return s;
}

// Limits of the result in every lane.
struct WideClamp {
  Wide::R lo, hi;
  WideClamp(std::int32_t least, std::int32_t most) : lo(Wide::set(least)), hi(Wide::set(most)) {}
  explicit WideClamp(const Rq16& rq) : WideClamp(rq.lo, rq.hi) {}
};

OPENBPU_INLINE Wide::R unclamped(Wide::R v, const WideScale& s) {
  const Wide::R first = Wide::scale_half(v, s.m[0], s.bias[0], s.sh[0]);
  const Wide::R second = Wide::scale_half(Wide::second_half(v), s.m[1], s.bias[1], s.sh[1]);
  return Wide::join_halves(first, second);
}

OPENBPU_INLINE Wide::R scaled(Wide::R v, const WideScale& s, const WideClamp& c) {
  return Wide::clamp(unclamped(v, s), c.lo, c.hi);
}

// (a * high.m * 2^kShift + b * low.m + low.bias) >> low.sh.
template <int kShift>
OPENBPU_INLINE Wide::R scaled_sum(Wide::R a, const WideScale& high, Wide::R b, const WideScale& low) {
  const Wide::R first = Wide::scale_two_halves<kShift>(a, high.m[0], b, low.m[0], low.bias[0], low.sh[0]);
  const Wide::R second = Wide::scale_two_halves<kShift>(Wide::second_half(a), high.m[1], Wide::second_half(b), low.m[1],
                                                        low.bias[1], low.sh[1]);
  return Wide::join_halves(first, second);
}

// The first n of kWords int16, n > 0.
OPENBPU_INLINE void store_first16(std::uint8_t* out, Wide::R v, std::int32_t n) {
  if (n >= Wide::kWords) return Wide::store16(out, v);
  alignas(64) std::uint8_t words[Wide::kWords * 2];
  Wide::store16(words, v);
  __builtin_memcpy(out, words, static_cast<std::size_t>(n) * 2);
}

// kWords int16 of which n belong to the run; no byte behind them is read.
OPENBPU_INLINE Wide::R load_first16(const std::uint8_t* in, std::int32_t n) {
  if (n >= Wide::kWords) return Wide::widen16(in);
  alignas(64) std::uint8_t words[Wide::kWords * 2] = {};
  __builtin_memcpy(words, in, static_cast<std::size_t>(n) * 2);
  return Wide::widen16(words);
}

// The first n of kWords elements, n > 0, as stored.
OPENBPU_INLINE Wide::R load_elements(const std::uint8_t* in, const Stored& stored, std::int32_t n) {
  if (stored.wide) return load_first16(in, n);
  const Wide::R flip = Wide::set(stored.flip ? ~127 : 0);  // of a byte with the sign extended
  if (n >= Wide::kWords) return Wide::xor_(Wide::widen8(in), flip);
  alignas(64) std::uint8_t bytes[Wide::kWords] = {};
  __builtin_memcpy(bytes, in, static_cast<std::size_t>(n));
  return Wide::xor_(Wide::widen8(bytes), flip);
}

OPENBPU_INLINE void store_elements(std::uint8_t* out, const Stored& stored, Wide::R v, std::int32_t n) {
  if (stored.wide) return store_first16(out, v, n);
  const Wide::R flipped = Wide::xor_(v, Wide::set(stored.flip));
  if (n >= Wide::kWords) return Wide::store8(out, flipped);
  alignas(64) std::uint8_t bytes[Wide::kWords];
  Wide::store8(bytes, flipped);
  __builtin_memcpy(out, bytes, static_cast<std::size_t>(n));
}

}  // namespace
}  // namespace openbpu::kernels
