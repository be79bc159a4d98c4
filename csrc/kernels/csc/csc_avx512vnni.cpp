#include "kernels/kernel.hpp"
#include "kernels/x86/vec512.hpp"
// Vec comes first.
#include "kernels/csc/csc_x86.hpp"

namespace openbpu::kernels {
namespace {

class Block : Colours {
 public:
  static constexpr int kPixels = 32, kBehind = 2;

  explicit Block(const CscParams& p)
      : Colours(p),
        luma_flip_(_mm256_set1_epi8(static_cast<char>(p.luma_flip))),
        chroma_flip_(_mm256_set1_epi8(static_cast<char>(p.chroma_flip))),
        pixel_flip_(Vec::set8(p.luma_flip)),
        joined_(_mm512_setr_epi32(0, 1, 2, 3, 16, 17, 4, 5, 6, 7, 20, 21, 8, 9, 10, 11)),
        rest_(_mm512_setr_epi32(24, 25, 12, 13, 14, 15, 28, 29, 0, 0, 0, 0, 0, 0, 0, 0)) {}

  void nv12(const std::uint8_t* luma, const std::uint8_t* chroma, std::uint8_t* out) const {
    store(of_nv12(words(luma, luma_flip_), words(chroma, chroma_flip_)), out);
  }
  void packed(const std::uint8_t* pixels, std::uint8_t* out) const {
    store(of_packed(fours(pixels), fours(pixels + 12)), out);
  }
  void planar(const std::uint8_t* first, const std::uint8_t* second, const std::uint8_t* third,
              std::uint8_t* out) const {
    store(of_planar(words(first, luma_flip_), words(second, chroma_flip_), words(third, chroma_flip_)), out);
  }

 private:
  static __m512i words(const std::uint8_t* at, __m256i flip) {
    return _mm512_cvtepi8_epi16(_mm256_xor_si256(load(at), flip));
  }
  static __m256i load(const std::uint8_t* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }
  // Pixels 0..3, 8..11, 16..19 and 24..27.
  __m512i fours(const std::uint8_t* pixels) const {
    const auto four = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels + 24 * i)); };
    const __m512i low = _mm512_inserti32x4(_mm512_castsi128_si512(four(0)), four(1), 1);
    return Vec::xor_(_mm512_inserti32x4(_mm512_inserti32x4(low, four(2), 2), four(3), 3), pixel_flip_);
  }
  void store(const Woven& v, std::uint8_t* out) const {
    Vec::store(out, _mm512_permutex2var_epi32(v.head, joined_, v.tail));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 64),
                        _mm512_castsi512_si256(_mm512_permutex2var_epi32(v.head, rest_, v.tail)));
  }

  __m256i luma_flip_, chroma_flip_;
  __m512i pixel_flip_, joined_, rest_;
};

}  // namespace
}  // namespace openbpu::kernels

// Block comes first.
#include "kernels/csc/csc_vector.hpp"

namespace openbpu::kernels {

const Row<CscParams> kCscAvx512Vnni{"csc_avx512vnni", Isa::Avx512Vnni, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
