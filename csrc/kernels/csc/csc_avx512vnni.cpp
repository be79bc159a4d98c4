#include <immintrin.h>

#include "kernels/csc/csc.hpp"
#include "kernels/csc/csc_x86.hpp"

namespace openbpu::kernels {
namespace {

// Sixteen bytes in each lane.
__m512i in_lanes(const signed char (&bytes)[16]) {
  return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes)));
}

class Block {
 public:
  static constexpr int kPixels = 32, kBehind = 2;

  explicit Block(const CscParams& p) {
    shift_ = _mm_cvtsi32_si128(p.sh);
    luma_flip_ = _mm256_set1_epi8(static_cast<char>(p.luma_flip));
    chroma_flip_ = _mm256_set1_epi8(static_cast<char>(p.chroma_flip));
    pixel_flip_ = _mm512_set1_epi8(static_cast<char>(p.luma_flip));
    out_flip_ = _mm512_set1_epi8(static_cast<char>(p.stored.flip));
    for (int c = 0; c < 3; ++c) {
      const CscEntry& e = p.entries[c];
      b_[c] = _mm512_set1_epi32(e.b);
      even_[c] = _mm512_set1_epi32(pair_of(e.m[0], 0));
      odd_[c] = _mm512_set1_epi32(pair_of(0, e.m[0]));
      chroma_[c] = _mm512_set1_epi32(pair_of(e.m[1], e.m[2]));
      first_[c] = _mm512_set1_epi32(pair_of(e.m[0], e.m[1]));
      third_[c] = _mm512_set1_epi32(pair_of(e.m[2], 0));
      lo_[c] = _mm512_set1_epi16(e.lo);
      hi_[c] = _mm512_set1_epi16(e.hi);
    }
    pairs_ = in_lanes(kPairs);
    thirds_ = in_lanes(kThirds);
    for (int i = 0; i < 4; ++i) {
      in_order_[i] = in_lanes(kInOrder.masks[i]);
      even_odd_[i] = in_lanes(kEvenOdd.masks[i]);
    }
    joined_ = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 4, 5, 6, 7, 20, 21, 8, 9, 10, 11);
    rest_ = _mm512_setr_epi32(24, 25, 12, 13, 14, 15, 28, 29, 0, 0, 0, 0, 0, 0, 0, 0);
  }

  void nv12(const std::uint8_t* luma, const std::uint8_t* chroma, std::uint8_t* out) const {
    const __m512i y = _mm512_cvtepi8_epi16(_mm256_xor_si256(load(luma), luma_flip_));
    const __m512i uv = _mm512_cvtepi8_epi16(_mm256_xor_si256(load(chroma), chroma_flip_));
    __m512i v[3];
    for (int c = 0; c < 3; ++c) {
      const __m512i shared = _mm512_add_epi32(_mm512_madd_epi16(uv, chroma_[c]), b_[c]);
      const __m512i a = _mm512_sra_epi32(_mm512_add_epi32(shared, _mm512_madd_epi16(y, even_[c])), shift_);
      const __m512i b = _mm512_sra_epi32(_mm512_add_epi32(shared, _mm512_madd_epi16(y, odd_[c])), shift_);
      v[c] = clamped(_mm512_packs_epi32(a, b), c);
    }
    store(v, even_odd_, out);
  }

  void packed(const std::uint8_t* pixels, std::uint8_t* out) const {
    const __m512i a = fours(pixels), b = fours(pixels + 12);
    const __m512i a01 = words(a, pairs_), a2 = words(a, thirds_), b01 = words(b, pairs_), b2 = words(b, thirds_);
    __m512i v[3];
    for (int c = 0; c < 3; ++c) v[c] = clamped(_mm512_packs_epi32(affine(a01, a2, c), affine(b01, b2, c)), c);
    store(v, in_order_, out);
  }

 private:
  static __m256i load(const std::uint8_t* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }
  static __m512i words(__m512i bytes, __m512i mask) { return _mm512_srai_epi16(_mm512_shuffle_epi8(bytes, mask), 8); }
  // Pixels 0..3, 8..11, 16..19 and 24..27.
  __m512i fours(const std::uint8_t* pixels) const {
    const auto four = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels + 24 * i)); };
    const __m512i low = _mm512_inserti32x4(_mm512_castsi128_si512(four(0)), four(1), 1);
    return _mm512_xor_si512(_mm512_inserti32x4(_mm512_inserti32x4(low, four(2), 2), four(3), 3), pixel_flip_);
  }
  __m512i affine(__m512i first, __m512i third, int c) const {
    const __m512i sum = _mm512_add_epi32(_mm512_madd_epi16(first, first_[c]), _mm512_madd_epi16(third, third_[c]));
    return _mm512_sra_epi32(_mm512_add_epi32(sum, b_[c]), shift_);
  }
  __m512i clamped(__m512i v, int c) const { return _mm512_min_epi16(_mm512_max_epi16(v, lo_[c]), hi_[c]); }

  void store(const __m512i (&v)[3], const __m512i (&masks)[4], std::uint8_t* out) const {
    const __m512i v01 = _mm512_xor_si512(_mm512_packs_epi16(v[0], v[1]), out_flip_);
    const __m512i v2 = _mm512_xor_si512(_mm512_packs_epi16(v[2], v[2]), out_flip_);
    const __m512i head = _mm512_or_si512(_mm512_shuffle_epi8(v01, masks[0]), _mm512_shuffle_epi8(v2, masks[1]));
    const __m512i tail = _mm512_or_si512(_mm512_shuffle_epi8(v01, masks[2]), _mm512_shuffle_epi8(v2, masks[3]));
    _mm512_storeu_si512(out, _mm512_permutex2var_epi32(head, joined_, tail));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 64),
                        _mm512_castsi512_si256(_mm512_permutex2var_epi32(head, rest_, tail)));
  }

  __m512i in_order_[4], even_odd_[4];
  __m128i shift_;
  __m256i luma_flip_, chroma_flip_;
  __m512i pixel_flip_, out_flip_, pairs_, thirds_, joined_, rest_;
  __m512i b_[3], even_[3], odd_[3], chroma_[3], first_[3], third_[3], lo_[3], hi_[3];
};

}  // namespace
}  // namespace openbpu::kernels

// Block comes first.
#include "kernels/csc/csc_vector.hpp"

namespace openbpu::kernels {

const Row<CscParams> kCscAvx512Vnni{"csc_avx512vnni", Isa::Avx512Vnni, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
