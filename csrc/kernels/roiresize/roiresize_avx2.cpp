#include <immintrin.h>

#include "kernels/roiresize/roiresize_vector.hpp"

namespace openbpu::kernels {
namespace {

__m256i load(const std::int32_t* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }

// Two bytes of each dword as int16 in the upper halves of words.
alignas(16) constexpr signed char kGrey[16] = {-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13};
alignas(16) constexpr signed char kFirst[16] = {-1, 0, -1, 2, -1, 4, -1, 6, -1, 8, -1, 10, -1, 12, -1, 14};
alignas(16) constexpr signed char kSecond[16] = {-1, 1, -1, 3, -1, 5, -1, 7, -1, 9, -1, 11, -1, 13, -1, 15};

__m256i in_lanes(const signed char (&bytes)[16]) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes)));
}

class Neighbours {
 public:
  Neighbours(const RoiResizeParams& p, std::int32_t n, const Tap& row)
      : above_(p.in.data + n * p.in.sn + row.i0 * p.in.sh),
        below_(p.in.data + n * p.in.sn + row.i1 * p.in.sh),
        top_(_mm256_set1_epi32(2048 - row.w1)),
        bottom_(_mm256_set1_epi32(row.w1)),
        flip_(_mm256_set1_epi8(static_cast<char>(p.in_flip))) {}

  void gather(const Columns& columns_of) {
    const __m256i bits = load(columns_of.bits);
    weights_ = load(columns_of.weights);
    a_ = bytes(above_, columns_of.offset, bits);
    b_ = bytes(below_, columns_of.offset, bits);
  }

  // Eight results as int32.
  __m256i channel(__m256i mask) const {
    const __m256i sum =
        _mm256_add_epi32(_mm256_mullo_epi32(across(a_, mask), top_), _mm256_mullo_epi32(across(b_, mask), bottom_));
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(1 << 21)), 22);
  }

 private:
  // Single loads: gathers are slow on processors that guard them.
  __m256i bytes(const std::uint8_t* row, const std::int32_t* at, __m256i bits) const {
    const __m256i found = _mm256_setr_epi32(word(row + at[0]), word(row + at[1]), word(row + at[2]), word(row + at[3]),
                                            word(row + at[4]), word(row + at[5]), word(row + at[6]), word(row + at[7]));
    return _mm256_xor_si256(_mm256_srlv_epi32(found, bits), flip_);
  }
  static int word(const std::uint8_t* at) { return static_cast<int>(dword(at)); }
  __m256i across(__m256i v, __m256i mask) const {
    return _mm256_madd_epi16(_mm256_srai_epi16(_mm256_shuffle_epi8(v, mask), 8), weights_);
  }

  const std::uint8_t *above_, *below_;
  __m256i top_, bottom_, flip_, weights_{}, a_{}, b_{};
};

// The bytes of eight pixels, one or two channels.
void compute(Neighbours& rows, const Columns& columns_of, std::int32_t channels, std::uint8_t flip, std::uint8_t* out) {
  rows.gather(columns_of);
  const __m256i low = _mm256_set1_epi32(255), flips = _mm256_set1_epi8(static_cast<char>(flip));
  if (channels == 1) {
    const __m256i v = _mm256_and_si256(rows.channel(in_lanes(kGrey)), low);
    const __m256i words = _mm256_packus_epi32(v, v),
                  packed = _mm256_xor_si256(_mm256_packus_epi16(words, words), flips);
    const int first = _mm256_extract_epi32(packed, 0), second = _mm256_extract_epi32(packed, 4);
    __builtin_memcpy(out, &first, 4);
    __builtin_memcpy(out + 4, &second, 4);
    return;
  }
  const __m256i u = _mm256_and_si256(rows.channel(in_lanes(kFirst)), low);
  const __m256i v = _mm256_and_si256(rows.channel(in_lanes(kSecond)), low);
  const __m256i pairs = _mm256_or_si256(u, _mm256_slli_epi32(v, 8));
  const __m256i packed = _mm256_xor_si256(_mm256_packus_epi32(pairs, pairs), flips);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(packed));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 8), _mm256_extracti128_si256(packed, 1));
}

}  // namespace

const Row<RoiResizeParams> kRoiResizeAvx2{"roiresize_avx2", Isa::Avx2, accepts, plan, nullptr, run<Neighbours>};

}  // namespace openbpu::kernels
