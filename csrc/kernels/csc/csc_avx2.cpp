#include <immintrin.h>

#include "kernels/csc/csc.hpp"
#include "kernels/csc/csc_x86.hpp"

namespace openbpu::kernels {
namespace {

// Sixteen bytes in each lane.
__m256i in_lanes(const signed char (&bytes)[16]) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes)));
}

class Block {
 public:
  static constexpr int kPixels = 16, kBehind = 2;

  explicit Block(const CscParams& p) {
    shift_ = _mm_cvtsi32_si128(p.sh);
    luma_flip_ = _mm_set1_epi8(static_cast<char>(p.luma_flip));
    chroma_flip_ = _mm_set1_epi8(static_cast<char>(p.chroma_flip));
    out_flip_ = _mm256_set1_epi8(static_cast<char>(p.stored.flip));
    for (int c = 0; c < 3; ++c) {
      const CscEntry& e = p.entries[c];
      b_[c] = _mm256_set1_epi32(e.b);
      even_[c] = _mm256_set1_epi32(pair_of(e.m[0], 0));
      odd_[c] = _mm256_set1_epi32(pair_of(0, e.m[0]));
      chroma_[c] = _mm256_set1_epi32(pair_of(e.m[1], e.m[2]));
      first_[c] = _mm256_set1_epi32(pair_of(e.m[0], e.m[1]));
      third_[c] = _mm256_set1_epi32(pair_of(e.m[2], 0));
      lo_[c] = _mm256_set1_epi16(e.lo);
      hi_[c] = _mm256_set1_epi16(e.hi);
    }
    pairs_ = in_lanes(kPairs);
    thirds_ = in_lanes(kThirds);
    for (int i = 0; i < 4; ++i) {
      in_order_[i] = in_lanes(kInOrder.masks[i]);
      even_odd_[i] = in_lanes(kEvenOdd.masks[i]);
    }
  }

  void nv12(const std::uint8_t* luma, const std::uint8_t* chroma, std::uint8_t* out) const {
    const __m256i y = _mm256_cvtepi8_epi16(_mm_xor_si128(load(luma), luma_flip_));
    const __m256i uv = _mm256_cvtepi8_epi16(_mm_xor_si128(load(chroma), chroma_flip_));
    __m256i v[3];
    for (int c = 0; c < 3; ++c) {
      const __m256i shared = _mm256_add_epi32(_mm256_madd_epi16(uv, chroma_[c]), b_[c]);
      const __m256i a = _mm256_sra_epi32(_mm256_add_epi32(shared, _mm256_madd_epi16(y, even_[c])), shift_);
      const __m256i b = _mm256_sra_epi32(_mm256_add_epi32(shared, _mm256_madd_epi16(y, odd_[c])), shift_);
      v[c] = clamped(_mm256_packs_epi32(a, b), c);
    }
    store(v, even_odd_, out);
  }

  void packed(const std::uint8_t* pixels, std::uint8_t* out) const {
    const __m256i a = four_and_four(pixels), b = four_and_four(pixels + 12);
    const __m256i a01 = words(a, pairs_), a2 = words(a, thirds_), b01 = words(b, pairs_), b2 = words(b, thirds_);
    __m256i v[3];
    for (int c = 0; c < 3; ++c) v[c] = clamped(_mm256_packs_epi32(affine(a01, a2, c), affine(b01, b2, c)), c);
    store(v, in_order_, out);
  }

 private:
  static __m128i load(const std::uint8_t* at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); }
  static __m256i words(__m256i bytes, __m256i mask) { return _mm256_srai_epi16(_mm256_shuffle_epi8(bytes, mask), 8); }
  // Pixels 0..3 and 8..11.
  __m256i four_and_four(const std::uint8_t* pixels) const {
    return _mm256_set_m128i(_mm_xor_si128(load(pixels + 24), luma_flip_), _mm_xor_si128(load(pixels), luma_flip_));
  }
  __m256i affine(__m256i first, __m256i third, int c) const {
    const __m256i sum = _mm256_add_epi32(_mm256_madd_epi16(first, first_[c]), _mm256_madd_epi16(third, third_[c]));
    return _mm256_sra_epi32(_mm256_add_epi32(sum, b_[c]), shift_);
  }
  __m256i clamped(__m256i v, int c) const { return _mm256_min_epi16(_mm256_max_epi16(v, lo_[c]), hi_[c]); }

  void store(const __m256i (&v)[3], const __m256i (&masks)[4], std::uint8_t* out) const {
    const __m256i v01 = _mm256_xor_si256(_mm256_packs_epi16(v[0], v[1]), out_flip_);
    const __m256i v2 = _mm256_xor_si256(_mm256_packs_epi16(v[2], v[2]), out_flip_);
    const __m256i head = _mm256_or_si256(_mm256_shuffle_epi8(v01, masks[0]), _mm256_shuffle_epi8(v2, masks[1]));
    const __m256i tail = _mm256_or_si256(_mm256_shuffle_epi8(v01, masks[2]), _mm256_shuffle_epi8(v2, masks[3]));
    auto* at = reinterpret_cast<__m128i*>(out);
    _mm_storeu_si128(at, _mm256_castsi256_si128(head));
    _mm_storel_epi64(at + 1, _mm256_castsi256_si128(tail));
    at = reinterpret_cast<__m128i*>(out + 24);
    _mm_storeu_si128(at, _mm256_extracti128_si256(head, 1));
    _mm_storel_epi64(at + 1, _mm256_extracti128_si256(tail, 1));
  }

  __m256i in_order_[4], even_odd_[4];
  __m128i shift_, luma_flip_, chroma_flip_;
  __m256i out_flip_, pairs_, thirds_;
  __m256i b_[3], even_[3], odd_[3], chroma_[3], first_[3], third_[3], lo_[3], hi_[3];
};

}  // namespace
}  // namespace openbpu::kernels

// Block comes first.
#include "kernels/csc/csc_vector.hpp"

namespace openbpu::kernels {

const Row<CscParams> kCscAvx2{"csc_avx2", Isa::Avx2, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
