#include "kernels/kernel.hpp"
#include "kernels/x86/vec256.hpp"
// Vec comes first.
#include "kernels/csc/csc_x86.hpp"

namespace openbpu::kernels {
namespace {

class Block : Colours {
 public:
  static constexpr int kPixels = 16, kBehind = 2;

  explicit Block(const CscParams& p)
      : Colours(p),
        luma_flip_(_mm_set1_epi8(static_cast<char>(p.luma_flip))),
        chroma_flip_(_mm_set1_epi8(static_cast<char>(p.chroma_flip))) {}

  void nv12(const std::uint8_t* luma, const std::uint8_t* chroma, std::uint8_t* out) const {
    store(of_nv12(words(luma, luma_flip_), words(chroma, chroma_flip_)), out);
  }
  void packed(const std::uint8_t* pixels, std::uint8_t* out) const {
    store(of_packed(four_and_four(pixels), four_and_four(pixels + 12)), out);
  }
  void planar(const std::uint8_t* first, const std::uint8_t* second, const std::uint8_t* third,
              std::uint8_t* out) const {
    store(of_planar(words(first, luma_flip_), words(second, chroma_flip_), words(third, chroma_flip_)), out);
  }

 private:
  static __m256i words(const std::uint8_t* at, __m128i flip) {
    return _mm256_cvtepi8_epi16(_mm_xor_si128(load(at), flip));
  }
  static __m128i load(const std::uint8_t* at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); }
  // Pixels 0..3 and 8..11.
  __m256i four_and_four(const std::uint8_t* pixels) const {
    return _mm256_set_m128i(_mm_xor_si128(load(pixels + 24), luma_flip_), _mm_xor_si128(load(pixels), luma_flip_));
  }
  static void store(const Woven& v, std::uint8_t* out) {
    auto* at = reinterpret_cast<__m128i*>(out);
    _mm_storeu_si128(at, _mm256_castsi256_si128(v.head));
    _mm_storel_epi64(at + 1, _mm256_castsi256_si128(v.tail));
    at = reinterpret_cast<__m128i*>(out + 24);
    _mm_storeu_si128(at, _mm256_extracti128_si256(v.head, 1));
    _mm_storel_epi64(at + 1, _mm256_extracti128_si256(v.tail, 1));
  }

  __m128i luma_flip_, chroma_flip_;
};

}  // namespace
}  // namespace openbpu::kernels

// Block comes first.
#include "kernels/csc/csc_vector.hpp"

namespace openbpu::kernels {

const Row<CscParams> kCscAvx2{"csc_avx2", Isa::Avx2, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
