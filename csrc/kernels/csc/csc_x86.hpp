// CSC on the lanes of an x86 register: three affine maps, and how their results are woven together. Needs Vec of
// x86/vec256.hpp or x86/vec512.hpp.
#pragma once

#include "kernels/csc/csc.hpp"

namespace openbpu::kernels {
namespace {

// Shuffles that make bytes 0..15 (masks 0 and 1) and 16..23 (2 and 3) of eight pixels of three channels: from bytes of
// channels 0 and 1 (masks 0 and 2), and from those of channel 2 (1 and 3). Pixel i lies at `at[i]`.
struct Weave {
  alignas(16) signed char masks[4][16];

  constexpr explicit Weave(const int (&at)[8]) : masks{} {
    for (int byte = 0; byte < 32; ++byte) {
      const int channel = byte % 3, place = byte < 24 ? at[byte / 3] : 0;
      masks[byte / 16 * 2][byte % 16] = static_cast<signed char>(byte < 24 && channel < 2 ? channel * 8 + place : -1);
      masks[byte / 16 * 2 + 1][byte % 16] = static_cast<signed char>(byte < 24 && channel == 2 ? place : -1);
    }
  }
};

constexpr Weave kInOrder({0, 1, 2, 3, 4, 5, 6, 7});
constexpr Weave kEvenOdd({0, 4, 1, 5, 2, 6, 3, 7});  // pixels lie as 0 2 4 6 1 3 5 7

// Two coefficients for products of pairs of int16.
constexpr int pair_of(std::int16_t low, std::int16_t high) {
  return static_cast<int>(static_cast<std::uint32_t>(static_cast<std::uint16_t>(low)) |
                          static_cast<std::uint32_t>(static_cast<std::uint16_t>(high)) << 16);
}

// Bytes of four packed pixels as int16 in the upper halves of words: channels 0 and 1, and channel 2 alone.
alignas(16) constexpr signed char kPairs[16] = {-1, 0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10};
alignas(16) constexpr signed char kThirds[16] = {-1, 2, -1, -1, -1, 5, -1, -1, -1, 8, -1, -1, -1, 11, -1, -1};

class Colours {
 protected:
  using R = Vec::R;

  explicit Colours(const CscParams& p) : shift_(p.sh), out_flip_(Vec::set8(p.stored.flip)) {
    for (int c = 0; c < 3; ++c) {
      const CscEntry& e = p.entries[c];
      b_[c] = Vec::set32(e.b);
      even_[c] = Vec::set32(pair_of(e.m[0], 0));
      odd_[c] = Vec::set32(pair_of(0, e.m[0]));
      chroma_[c] = Vec::set32(pair_of(e.m[1], e.m[2]));
      first_[c] = Vec::set32(pair_of(e.m[0], e.m[1]));
      third_[c] = Vec::set32(pair_of(e.m[2], 0));
      lo_[c] = Vec::set16(e.lo);
      hi_[c] = Vec::set16(e.hi);
    }
    pairs_ = Vec::table16(kPairs);
    thirds_ = Vec::table16(kThirds);
    for (int i = 0; i < 4; ++i) {
      in_order_[i] = Vec::table16(kInOrder.masks[i]);
      even_odd_[i] = Vec::table16(kEvenOdd.masks[i]);
    }
  }

  // Bytes 0..15 and 16..23 of the eight pixels of each 128-bit lane.
  struct Woven {
    R head, tail;
  };

  // Words of luma, and of pairs of chroma for two pixels each.
  Woven of_nv12(R y, R uv) const {
    R v[3];
    for (int c = 0; c < 3; ++c) {
      const R shared = Vec::add32(Vec::madd16(uv, chroma_[c]), b_[c]);
      const R a = Vec::shift_right32(Vec::add32(shared, Vec::madd16(y, even_[c])), shift_);
      const R b = Vec::shift_right32(Vec::add32(shared, Vec::madd16(y, odd_[c])), shift_);
      v[c] = clamped(Vec::narrow32(a, b), c);
    }
    return woven(v, even_odd_);
  }

  // Bytes of four packed pixels in every 128-bit lane of a, and of the four behind them in b.
  Woven of_packed(R a, R b) const {
    return of_pairs(words(a, pairs_), words(a, thirds_), words(b, pairs_), words(b, thirds_));
  }

  // Words of eight pixels in every 128-bit lane, a register for each channel.
  Woven of_planar(R first, R second, R third) const {
    const R none = Vec::set16(0);
    return of_pairs(Vec::low16(first, second), Vec::low16(third, none), Vec::high16(first, second),
                    Vec::high16(third, none));
  }

 private:
  // Channels 0 and 1 as pairs of words, and channel 2 with a word that does not count, of four pixels and four more.
  Woven of_pairs(R a01, R a2, R b01, R b2) const {
    R v[3];
    for (int c = 0; c < 3; ++c) v[c] = clamped(Vec::narrow32(affine(a01, a2, c), affine(b01, b2, c)), c);
    return woven(v, in_order_);
  }
  static R words(R bytes, R mask) { return Vec::upper_bytes(Vec::shuffle(bytes, mask)); }
  R affine(R first, R third, int c) const {
    const R sum = Vec::add32(Vec::madd16(first, first_[c]), Vec::madd16(third, third_[c]));
    return Vec::shift_right32(Vec::add32(sum, b_[c]), shift_);
  }
  R clamped(R v, int c) const { return Vec::min16(Vec::max16(v, lo_[c]), hi_[c]); }

  Woven woven(const R (&v)[3], const R (&masks)[4]) const {
    const R v01 = Vec::xor_(Vec::narrow16(v[0], v[1]), out_flip_), v2 = Vec::xor_(Vec::narrow16(v[2], v[2]), out_flip_);
    return {Vec::or_(Vec::shuffle(v01, masks[0]), Vec::shuffle(v2, masks[1])),
            Vec::or_(Vec::shuffle(v01, masks[2]), Vec::shuffle(v2, masks[3]))};
  }

  std::int32_t shift_;
  R out_flip_, in_order_[4], even_odd_[4], pairs_, thirds_;
  R b_[3], even_[3], odd_[3], chroma_[3], first_[3], third_[3], lo_[3], hi_[3];
};

}  // namespace
}  // namespace openbpu::kernels
