// COPY of contiguous channels, with the change of storage for bytes; included by the file of each ISA.
#pragma once

#include "kernels/layout/layout_rows.hpp"
#include "kernels/vector_runs.hpp"

namespace openbpu::kernels {
namespace {

bool contiguous(const CopyParams& p) { return p.in.sc == p.element_size && p.out.sc == p.element_size; }

// The caller's memory may end with the run: nothing beyond it is read.
OPENBPU_INLINE void copy_run(const std::uint8_t* in, std::uint8_t* out, std::int64_t n, std::uint8_t flip) {
  if (flip == 0) {
    __builtin_memcpy(out, in, static_cast<std::size_t>(n));
    return;
  }
  const Vec::R mask = Vec::set8(flip);
  std::int64_t i = 0;
  for (; i + Vec::kBytes <= n; i += Vec::kBytes) Vec::store(out + i, Vec::xor_(Vec::load(in + i), mask));
  for (; i < n; ++i) out[i] = static_cast<std::uint8_t>(in[i] ^ flip);
}

void run_copy(const CopyParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const std::int64_t pixel = std::int64_t{p.out.c} * p.element_size;
  const bool dense = p.in.sw == pixel && p.out.sw == pixel;
  const std::int32_t pixels = dense ? 1 : p.out.w;
  const std::int64_t run = dense ? p.out.w * pixel : pixel;
  const std::uint8_t flip = p.element_size == 1 ? p.flip : std::uint8_t{0};
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    const std::uint8_t* in = p.in.data + n * p.in.sn + y * p.in.sh;
    std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh;
    for (std::int32_t x = 0; x < pixels; ++x) copy_run(in + x * p.in.sw, out + x * p.out.sw, run, flip);
  }
}

}  // namespace
}  // namespace openbpu::kernels
