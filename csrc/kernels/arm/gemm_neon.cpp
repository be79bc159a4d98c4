#include "kernels/arm/gemm_lanes.hpp"

namespace openbpu::kernels::neon {
namespace {

// int16[4][16] per step.
struct Form {
  static constexpr std::int32_t kGroup = 2, kStepBytes = 128, kVectorBytes = 8, kStepLanes = 4;
  static constexpr bool kSingles = true;
  using X = int16x8_t;

  static void arrange(const std::int8_t* cells, std::int32_t count, std::int8_t* to) {
    auto* words = reinterpret_cast<std::int16_t*>(to);
    for (std::int32_t i = 0; i < count * 64; ++i) words[i / 64 * 64 + i % 4 * 16 + i % 64 / 4] = cells[i];
  }
  OPENBPU_INLINE X group(const std::uint8_t* p) { return vmovl_s8(vreinterpret_s8_u8(vld1_u8(p))); }
  OPENBPU_INLINE X single(const std::uint8_t* p) {
    std::int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)));
  }
  OPENBPU_INLINE int16x4_t weights(const std::int8_t* p) { return vld1_s16(reinterpret_cast<const std::int16_t*>(p)); }
  template <int lane>
  OPENBPU_INLINE int32x4_t multiply(int32x4_t acc, int16x4_t w, X x) {
    return vmlal_laneq_s16(acc, w, x, lane);
  }
};

}  // namespace

std::size_t GemmCore::packed_bytes(const Source& source) { return GemmPacking<Form>::packed_bytes(source); }

void GemmCore::pack(const Source& source, std::uint8_t* packed) { GemmPacking<Form>::pack(source, packed); }

void GemmCore::run(const std::uint8_t* packed, std::int32_t block, const Lines& lines, const Rq8& rq) {
  run_lanes<Form>(packed, block, lines, rq);
}

}  // namespace openbpu::kernels::neon
