// RESIZE_NN and RESIZE_BILIN, vectors of channels; included by the file of each ISA, which supplies Vec.
#pragma once

#include "kernels/resize/resize_rows.hpp"
#include "kernels/vector_runs.hpp"

namespace openbpu::kernels {
namespace {

void run_nearest(const ResizeParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    const std::uint8_t* row = p.in.data + n * p.in.sn + p.rows[y].i0 * p.in.sh;
    std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh;
    for (std::int32_t x = 0; x < p.out.w; ++x, out += p.out.sw) {
      const std::uint8_t* in = row + p.columns[x].i0 * p.in.sw;
      for (std::int32_t c = 0; c < p.out.c; c += Vec::kBytes) store_run(out + c, Vec::load(in + c), p.out.c - c);
    }
  }
}

// Weights of an axis sum to 2048, so a stored byte is the value plus the same offset after both passes.
void run_bilinear(const ResizeParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const Vec::R half = Vec::set32(1 << 21), lowest = Vec::set32(Vec::kOffset - 128),
               highest = Vec::set32(Vec::kOffset + 127);
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    const ResizeTap& r = p.rows[y];
    const std::uint8_t* row0 = p.in.data + n * p.in.sn + r.i0 * p.in.sh;
    const std::uint8_t* row1 = p.in.data + n * p.in.sn + r.i1 * p.in.sh;
    const Vec::R wy0 = Vec::set32(r.w0), wy1 = Vec::set32(r.w1);
    std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh;
    for (std::int32_t x = 0; x < p.out.w; ++x, out += p.out.sw) {
      const ResizeTap& q = p.columns[x];
      const Vec::R wx0 = Vec::set32(q.w0), wx1 = Vec::set32(q.w1);
      const std::int64_t at0 = q.i0 * p.in.sw, at1 = q.i1 * p.in.sw;
      const auto across = [&](const std::uint8_t* row, std::int32_t c) {
        return Vec::add32(Vec::mul32(Vec::widen(row + at0 + c), wx0), Vec::mul32(Vec::widen(row + at1 + c), wx1));
      };
      for (std::int32_t c = 0; c < p.out.c; c += Vec::kWords) {
        Vec::R v = Vec::add32(Vec::mul32(across(row0, c), wy0), Vec::mul32(across(row1, c), wy1));
        v = Vec::min32(Vec::max32(Vec::shift_right32(Vec::add32(v, half), 22), lowest), highest);
        const std::int32_t left = p.out.c - c;
        if (left >= Vec::kWords) {
          Vec::store_low_bytes(out + c, v);
        } else {
          std::uint8_t bytes[Vec::kWords];
          Vec::store_low_bytes(bytes, v);
          __builtin_memcpy(out + c, bytes, static_cast<std::size_t>(left));
        }
      }
    }
  }
}

}  // namespace
}  // namespace openbpu::kernels
