#include "kernels/arm/gemm_lanes.hpp"

namespace openbpu::kernels::neondot {
namespace {

struct Form {
  static constexpr std::int32_t kGroup = 4, kStepBytes = 64, kVectorBytes = 16, kStepLanes = 1;
  static constexpr bool kSingles = true;
  using X = int8x16_t;

  static void arrange(const std::int8_t* cells, std::int32_t count, std::int8_t* to) {
    __builtin_memcpy(to, cells, static_cast<std::size_t>(count) * 64);
  }
  OPENBPU_INLINE X group(const std::uint8_t* p) { return vreinterpretq_s8_u8(vld1q_u8(p)); }
  OPENBPU_INLINE X single(const std::uint8_t* p) {
    std::int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
  }
  OPENBPU_INLINE int8x16_t weights(const std::int8_t* p) { return vld1q_s8(p); }
  template <int lane>
  OPENBPU_INLINE int32x4_t multiply(int32x4_t acc, int8x16_t w, X x) {
    return vdotq_laneq_s32(acc, w, x, lane);
  }
};

}  // namespace

std::size_t GemmCore::packed_bytes(const Source& source) { return GemmPacking<Form>::packed_bytes(source); }

void GemmCore::pack(const Source& source, std::uint8_t* packed) { GemmPacking<Form>::pack(source, packed); }

void GemmCore::run(const std::uint8_t* packed, std::int32_t block, const Lines& lines, const Rq8& rq) {
  run_lanes<Form>(packed, block, lines, rq);
}

}  // namespace openbpu::kernels::neondot
