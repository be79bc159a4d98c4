// QUANTIZE and DEQUANTIZE with the change of layout; included by the file of each ISA, which supplies Vec.
//
// Clamping before rounding is the same as after it, because the limits are integers, and keeps the conversion to int32
// in range. Division is IEEE division; conversion rounds half to even.
#pragma once

#include "kernels/quantize/quantize_rows.hpp"
#include "kernels/vector_runs.hpp"

namespace openbpu::kernels {
namespace {

// ---- quantise

struct Quantiser {
  Vec::F scale, lo, hi;
  Vec::R offset;  // zero point + 128

  explicit Quantiser(const QuantizeParams& p)
      : scale(Vec::set_float(p.scale)),
        lo(Vec::set_float(static_cast<float>(-128 - p.zero))),
        hi(Vec::set_float(static_cast<float>(127 - p.zero))),
        offset(Vec::set32(p.zero + 128)) {}
};

// kWords floats to value + 128, one per 32-bit lane.
OPENBPU_INLINE Vec::R quantise(const Quantiser& q, const std::uint8_t* in) {
  const Vec::F x = Vec::clean(Vec::divide(Vec::load_float(in), q.scale));
  return Vec::add32(Vec::to_int(Vec::clamp(x, q.lo, q.hi)), q.offset);
}

// n contiguous floats to contiguous bytes.
OPENBPU_INLINE void quantise_run(const Quantiser& q, const std::uint8_t* in, std::uint8_t* out, std::int32_t n) {
  std::int32_t i = 0;
  for (; i + Vec::kWords <= n; i += Vec::kWords) Vec::store_low_bytes(out + i, from_unsigned(quantise(q, in + i * 4)));
  if (i == n) return;
  alignas(64) std::uint8_t floats[Vec::kWords * 4] = {}, bytes[Vec::kWords];
  __builtin_memcpy(floats, in + i * 4, static_cast<std::size_t>(n - i) * 4);
  Vec::store_low_bytes(bytes, from_unsigned(quantise(q, floats)));
  __builtin_memcpy(out + i, bytes, static_cast<std::size_t>(n - i));
}

// Three planes to pixels of three bytes.
OPENBPU_INLINE void quantise_rgb(const Quantiser& q, const std::uint8_t* in, std::int64_t plane, std::uint8_t* out,
                                 std::int32_t pixels, std::uint8_t* scratch) {
  static constexpr std::uint8_t kPick[16] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0x80, 0x80, 0x80, 0x80};
  const Vec::R pick = Vec::table16(kPick);
  std::int32_t x = 0;
  for (; x + Vec::kWords <= pixels; x += Vec::kWords) {
    const Vec::R r = quantise(q, in + x * 4), g = quantise(q, in + plane + x * 4),
                 b = quantise(q, in + 2 * plane + x * 4);
    const Vec::R rgb = Vec::or_(r, Vec::or_(Vec::shift_left32(g, 8), Vec::shift_left32(b, 16)));
    alignas(64) std::uint8_t lanes[Vec::kBytes];
    Vec::store(lanes, from_unsigned(Vec::shuffle(rgb, pick)));
    for (std::int32_t lane = 0; lane < Vec::kBytes / 16; ++lane)
      __builtin_memcpy(out + 3 * x + 12 * lane, lanes + 16 * lane, 12);
  }
  for (std::int32_t c = 0; c < 3; ++c) {
    quantise_run(q, in + c * plane + x * 4, scratch, pixels - x);
    for (std::int32_t i = x; i < pixels; ++i) out[3 * i + c] = scratch[i - x];
  }
}

Plan plan_quantize(const QuantizeParams& p) {
  return {0, align64(static_cast<std::size_t>(p.out.w) + 64), p.out.n * p.out.h};
}

void run_quantize(const QuantizeParams& p, const std::uint8_t*, std::uint8_t* scratch, std::int32_t begin,
                  std::int32_t end) {
  const Quantiser q(p);
  const bool pixels_dense = p.out.sw == p.out.c, interleaved = p.in.sc == 4 && p.in.sw == 4 * p.in.c;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    const std::uint8_t* in = p.in.data + n * p.in.sn + y * p.in.sh;
    std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh;
    if (interleaved && pixels_dense) {
      quantise_run(q, in, out, p.out.w * p.out.c);
    } else if (p.in.sw == 4 && p.out.c == 3 && pixels_dense) {
      quantise_rgb(q, in, p.in.sc, out, p.out.w, scratch);
    } else if (p.in.sw == 4) {
      for (std::int32_t c = 0; c < p.out.c; ++c) {
        quantise_run(q, in + c * p.in.sc, scratch, p.out.w);
        for (std::int32_t x = 0; x < p.out.w; ++x) out[x * p.out.sw + c] = scratch[x];
      }
    } else {
      for (std::int32_t x = 0; x < p.out.w; ++x) quantise_run(q, in + x * p.in.sw, out + x * p.out.sw, p.out.c);
    }
  }
}

// Rows of floats, or floats channel by channel within a pixel.
bool quantises(const QuantizeParams& p) { return stored_for_vec(p) && (p.in.sw == 4 || p.in.sc == 4); }

// ---- dequantise

struct Dequantiser {
  Vec::F scale;
  Vec::R offset;  // less the zero point, as stored

  explicit Dequantiser(const QuantizeParams& p)
      : scale(Vec::set_float(p.scale)), offset(Vec::set32(-p.zero - Vec::kOffset)) {}
};

OPENBPU_INLINE Vec::F dequantise(const Dequantiser& d, Vec::R bytes) {
  return Vec::multiply(Vec::to_float(Vec::add32(bytes, d.offset)), d.scale);
}

OPENBPU_INLINE void interleave_halves(const Bytes16::R* in, Bytes16::R* out) {
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    out[2 * i] = Bytes16::low8(in[i], in[i + 8]);
    out[2 * i + 1] = Bytes16::high8(in[i], in[i + 8]);
  }
}

// Sixteen bytes of each of 16 pixels to 16 bytes of each of 16 channels: interleaving the halves of the table rotates
// the 8 bits of a byte's index by one, so that four rounds exchange row and column.
OPENBPU_INLINE void transpose16(const std::uint8_t* const* pixels, std::uint8_t* to) {
  Bytes16::R a[16], b[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) a[i] = Bytes16::load(pixels[i]);
  interleave_halves(a, b);
  interleave_halves(b, a);
  interleave_halves(a, b);
  interleave_halves(b, a);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) Bytes16::store(to + 16 * i, a[i]);
}

constexpr std::int32_t kPlanes = 16;  // written together

// A row of pixels of bytes to up to kPlanes planes of floats. Pixels that are not there repeat the last one.
OPENBPU_INLINE void dequantise_planes(const Dequantiser& d, const View& in, const std::uint8_t* from,
                                      std::int32_t planes, std::uint8_t* to, std::int64_t plane) {
  alignas(64) std::uint8_t bytes[256];
  for (std::int32_t x = 0; x < in.w; x += 16) {
    const std::int32_t pixels = min(16, in.w - x);
    const std::uint8_t* at[16];
    for (std::int32_t i = 0; i < 16; ++i) at[i] = from + (x + min(i, pixels - 1)) * in.sw;
    transpose16(at, bytes);
    for (std::int32_t j = 0; j < planes; ++j)
      for (std::int32_t i = 0; i < pixels; i += Vec::kWords)
        Vec::store_floats(to + j * plane + (x + i) * 4, dequantise(d, Vec::widen(bytes + 16 * j + i)), pixels - i);
  }
}

bool to_planes(const QuantizeParams& p) { return p.out.sc != 4; }

// Plane by plane, because planes lie in pages of their own: a unit is a row of one group of planes, or of all channels.
Plan plan_dequantize(const QuantizeParams& p) {
  const std::int32_t groups = to_planes(p) ? ceil_div(p.out.c, kPlanes) : 1;
  return {0, 0, p.out.n * groups * p.out.h};
}

void run_dequantize(const QuantizeParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const Dequantiser d(p);
  const bool dense = p.out.sc == 4 && p.out.sw == 4 * p.out.c && p.in.sw == p.in.c;
  const std::int32_t pixels = dense ? 1 : p.in.w, run = dense ? p.in.w * p.in.c : p.in.c;
  const std::int32_t groups = plan_dequantize(p).units / (p.out.n * p.out.h);
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t y = unit % p.out.h, c = unit / p.out.h % groups * kPlanes, n = unit / p.out.h / groups;
    const std::uint8_t* in = p.in.data + n * p.in.sn + y * p.in.sh;
    std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh;
    if (to_planes(p)) {
      dequantise_planes(d, p.in, in + c, min(kPlanes, p.in.c - c), out + c * p.out.sc, p.out.sc);
      continue;
    }
    for (std::int32_t x = 0; x < pixels; ++x)
      for (std::int32_t i = 0; i < run; i += Vec::kWords)
        Vec::store_floats(out + x * p.out.sw + i * 4, dequantise(d, Vec::widen(in + x * p.in.sw + i)), run - i);
  }
}

bool dequantises(const QuantizeParams& p) { return stored_for_vec(p) && (p.out.sc == 4 || p.out.sw == 4); }

}  // namespace
}  // namespace openbpu::kernels
