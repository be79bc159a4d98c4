#include <arm_neon.h>

#include "kernels/roiresize/roiresize_vector.hpp"

namespace openbpu::kernels {
namespace {

class Neighbours {
 public:
  Neighbours(const RoiResizeParams& p, std::int32_t n, const Tap& row)
      : above_(p.in.data + n * p.in.sn + row.i0 * p.in.sh),
        below_(p.in.data + n * p.in.sn + row.i1 * p.in.sh),
        top_(2048 - row.w1),
        bottom_(row.w1),
        flip_(vdupq_n_u8(p.in_flip)) {}

  void gather(const Columns& columns_of, std::int32_t half) {
    const std::int32_t* at = columns_of.offset + 4 * half;
    const int32x4_t early = vnegq_s32(vld1q_s32(columns_of.bits + 4 * half));
    const int32x4_t weights = vld1q_s32(columns_of.weights + 4 * half);
    left_ = vandq_s32(weights, vdupq_n_s32(0xFFFF));
    right_ = vshrq_n_s32(weights, 16);
    a_ = bytes(above_, at, early);
    b_ = bytes(below_, at, early);
  }

  // Four results; the neighbours are bytes kLeft and kRight of each word.
  template <int kLeft, int kRight>
  uint16x4_t channel() const {
    const int32x4_t sum = vmlaq_n_s32(vmulq_n_s32(across<kLeft, kRight>(a_), top_), across<kLeft, kRight>(b_), bottom_);
    return vmovn_u32(vreinterpretq_u32_s32(vrshrq_n_s32(sum, 22)));
  }

 private:
  int32x4_t bytes(const std::uint8_t* row, const std::int32_t* at, int32x4_t early) const {
    const std::uint32_t found[4] = {dword(row + at[0]), dword(row + at[1]), dword(row + at[2]), dword(row + at[3])};
    const uint8x16_t in_place = vreinterpretq_u8_u32(vshlq_u32(vld1q_u32(found), early));
    return vreinterpretq_s32_u8(veorq_u8(in_place, flip_));
  }
  template <int kByte>
  static int32x4_t byte_of(int32x4_t v) {
    return vshrq_n_s32(vshlq_n_s32(v, 24 - 8 * kByte), 24);
  }
  template <int kLeft, int kRight>
  int32x4_t across(int32x4_t v) const {
    return vmlaq_s32(vmulq_s32(byte_of<kLeft>(v), left_), byte_of<kRight>(v), right_);
  }

  const std::uint8_t *above_, *below_;
  std::int32_t top_, bottom_;
  uint8x16_t flip_;
  int32x4_t left_{}, right_{}, a_{}, b_{};
};

void compute(Neighbours& rows, const Columns& columns_of, std::int32_t channels, std::uint8_t flip, std::uint8_t* out) {
  uint16x4_t first[2], second[2] = {vdup_n_u16(0), vdup_n_u16(0)};
  for (std::int32_t half = 0; half < 2; ++half) {
    rows.gather(columns_of, half);
    first[half] = channels == 1 ? rows.channel<0, 1>() : rows.channel<0, 2>();
    if (channels == 2) second[half] = rows.channel<1, 3>();
  }
  const uint8x8_t flips = vdup_n_u8(flip);
  const uint8x8_t u = veor_u8(vmovn_u16(vcombine_u16(first[0], first[1])), flips);
  const uint8x8_t v = veor_u8(vmovn_u16(vcombine_u16(second[0], second[1])), flips);
  if (channels == 1)
    vst1_u8(out, u);
  else
    vst2_u8(out, uint8x8x2_t{{u, v}});
}

}  // namespace

const Row<RoiResizeParams> kRoiResizeNeon{"roiresize_neon", Isa::Neon, accepts, plan, nullptr, run<Neighbours>};

}  // namespace openbpu::kernels
