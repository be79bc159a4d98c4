#include <arm_neon.h>

#include "kernels/csc/csc.hpp"

namespace openbpu::kernels {
namespace {

class Block {
 public:
  static constexpr int kPixels = 16, kBehind = 0;

  explicit Block(const CscParams& p)
      : entries_(p.entries),
        shift_(vdupq_n_s32(-p.sh)),
        luma_flip_(vdupq_n_u8(p.luma_flip)),
        chroma_flip_(vdup_n_u8(p.chroma_flip)),
        out_flip_(vdupq_n_u8(p.stored.flip)) {}

  void nv12(const std::uint8_t* luma, const std::uint8_t* chroma, std::uint8_t* out) const {
    const uint8x8x2_t y = vld2_u8(luma), uv = vld2_u8(chroma);
    const uint8x8_t luma_flip = vget_low_u8(luma_flip_);
    const int16x8_t even = words(y.val[0], luma_flip), odd = words(y.val[1], luma_flip);
    const int16x8_t u = words(uv.val[0], chroma_flip_), v = words(uv.val[1], chroma_flip_);
    uint8x16x3_t pixels;
    for (int c = 0; c < 3; ++c) {
      const CscEntry& e = entries_[c];
      int32x4_t low = vmlal_n_s16(vdupq_n_s32(e.b), vget_low_s16(u), e.m[1]);
      int32x4_t high = vmlal_n_s16(vdupq_n_s32(e.b), vget_high_s16(u), e.m[1]);
      low = vmlal_n_s16(low, vget_low_s16(v), e.m[2]);
      high = vmlal_n_s16(high, vget_high_s16(v), e.m[2]);
      const int8x8x2_t both = vzip_s8(ended(low, high, even, e), ended(low, high, odd, e));
      pixels.val[c] = veorq_u8(vreinterpretq_u8_s8(vcombine_s8(both.val[0], both.val[1])), out_flip_);
    }
    vst3q_u8(out, pixels);
  }

  void packed(const std::uint8_t* in, std::uint8_t* out) const {
    const uint8x16x3_t from = vld3q_u8(in);
    woven({{veorq_u8(from.val[0], luma_flip_), veorq_u8(from.val[1], luma_flip_), veorq_u8(from.val[2], luma_flip_)}},
          out);
  }
  void planar(const std::uint8_t* first, const std::uint8_t* second, const std::uint8_t* third,
              std::uint8_t* out) const {
    const uint8x16_t chroma_flip = vcombine_u8(chroma_flip_, chroma_flip_);
    woven({{veorq_u8(vld1q_u8(first), luma_flip_), veorq_u8(vld1q_u8(second), chroma_flip),
            veorq_u8(vld1q_u8(third), chroma_flip)}},
          out);
  }

 private:
  // Of sixteen pixels, channel by channel, in their own bytes.
  void woven(const uint8x16x3_t& from, std::uint8_t* out) const {
    uint8x16x3_t pixels;
    for (int c = 0; c < 3; ++c) {
      const int8x8_t first = eight(from, false, entries_[c]), second = eight(from, true, entries_[c]);
      pixels.val[c] = veorq_u8(vreinterpretq_u8_s8(vcombine_s8(first, second)), out_flip_);
    }
    vst3q_u8(out, pixels);
  }
  static int16x8_t words(uint8x8_t bytes, uint8x8_t flip) { return vmovl_s8(vreinterpret_s8_u8(veor_u8(bytes, flip))); }
  // clamp((sum + x * m0) >> sh, lo, hi); narrowing saturates, which the clamp goes beyond.
  int8x8_t ended(int32x4_t low, int32x4_t high, int16x8_t x, const CscEntry& e) const {
    low = vshlq_s32(vmlal_n_s16(low, vget_low_s16(x), e.m[0]), shift_);
    high = vshlq_s32(vmlal_n_s16(high, vget_high_s16(x), e.m[0]), shift_);
    const int16x8_t v = vcombine_s16(vqmovn_s32(low), vqmovn_s32(high));
    return vmovn_s16(vminq_s16(vmaxq_s16(v, vdupq_n_s16(e.lo)), vdupq_n_s16(e.hi)));
  }
  int8x8_t eight(const uint8x16x3_t& from, bool upper, const CscEntry& e) const {
    const auto part = [&](int i) {
      return vmovl_s8(vreinterpret_s8_u8(upper ? vget_high_u8(from.val[i]) : vget_low_u8(from.val[i])));
    };
    const int16x8_t x1 = part(1), x2 = part(2);
    int32x4_t low = vmlal_n_s16(vdupq_n_s32(e.b), vget_low_s16(x1), e.m[1]);
    int32x4_t high = vmlal_n_s16(vdupq_n_s32(e.b), vget_high_s16(x1), e.m[1]);
    low = vmlal_n_s16(low, vget_low_s16(x2), e.m[2]);
    high = vmlal_n_s16(high, vget_high_s16(x2), e.m[2]);
    return ended(low, high, part(0), e);
  }

  const CscEntry* entries_;
  int32x4_t shift_;
  uint8x16_t luma_flip_;
  uint8x8_t chroma_flip_;
  uint8x16_t out_flip_;
};

}  // namespace
}  // namespace openbpu::kernels

// Block comes first.
#include "kernels/csc/csc_vector.hpp"

namespace openbpu::kernels {

const Row<CscParams> kCscNeon{"csc_neon", Isa::Neon, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
