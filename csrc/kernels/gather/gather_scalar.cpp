#include <cstring>

#include "kernels/gather/gather.hpp"

namespace openbpu::kernels {
namespace {

bool accepts(const GatherParams&) { return true; }

// One unit is one row of one image.
Plan plan(const GatherParams& p) { return {0, 0, p.out.n * p.out.h}; }

std::int64_t index_at(const GatherParams& p, std::int32_t x) {
  const std::uint8_t* at = p.index.data + x * p.index.sw;  // of the caller's memory: perhaps not aligned
  if (p.index_bytes == 8) {
    std::int64_t index;
    std::memcpy(&index, at, sizeof index);
    return index;
  }
  std::int32_t index;
  std::memcpy(&index, at, sizeof index);
  return index;
}

void run(const GatherParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const auto bytes = static_cast<std::size_t>(p.out.c) * static_cast<std::size_t>(p.element_bytes);
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    for (std::int32_t x = 0; x < p.out.w; ++x) {
      std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw;
      std::int64_t index = index_at(p, x);
      if (index < 0) index += p.in.w;
      if (index < 0 || index >= p.in.w) {
        std::memset(out, p.zero, bytes);
        p.fault->store(true, std::memory_order_relaxed);
        continue;
      }
      std::memcpy(out, p.in.data + n * p.in.sn + y * p.in.sh + index * p.in.sw, bytes);
    }
  }
}

const Row<GatherParams> kScalar{"gather_scalar", Isa::Scalar, accepts, plan, nullptr, run};

}  // namespace

Rows<GatherParams> gather_rows() { return {&kScalar, 1}; }

}  // namespace openbpu::kernels
