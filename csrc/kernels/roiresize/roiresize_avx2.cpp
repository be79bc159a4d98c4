// Planes of one or two channels, eight pixels at a time: both neighbours of a row are four bytes of one load.
#include <immintrin.h>

#include "kernels/roiresize/roiresize_rows.hpp"

namespace openbpu::kernels {
namespace {

using numerics::Tap;

constexpr std::int32_t kPixels = 8;
constexpr std::int32_t kGathered = 4;  // bytes

// The columns of eight pixels: where their bytes are gathered, by how many bits too early, both weights as int16.
struct Columns {
  std::int32_t offset[kPixels], bits[kPixels], weights[kPixels];
};

std::int32_t blocks(const RoiResizeParams& p) { return (p.out.w + kPixels - 1) / kPixels; }
std::size_t column_bytes(const RoiResizeParams& p) { return static_cast<std::size_t>(blocks(p)) * sizeof(Columns); }

bool accepts(const RoiResizeParams& p) {
  const std::int32_t c = p.out.c;
  return (c == 1 || c == 2) && p.in.sc == 1 && p.in.sw == c && p.out.sw == c && p.in.w * c >= kGathered;
}

// One unit is one row of one image.
Plan plan(const RoiResizeParams& p) {
  return {0, column_bytes(p) + static_cast<std::size_t>(p.out.w) * sizeof(Tap), p.out.n * p.out.h};
}

// A pixel at the end of the image has no right neighbour, and no weight for it; nothing behind the row is read.
void columns(const RoiResizeParams& p, std::int32_t n, Columns* columns_of, Tap* taps) {
  roi_columns(p, n, taps);
  const std::int32_t last = p.in.w * p.out.c - kGathered;
  for (std::int32_t x = 0; x < blocks(p) * kPixels; ++x) {
    Columns& to = columns_of[x / kPixels];
    const Tap t = x < p.out.w ? taps[x] : Tap{0, 0, 0};
    const std::int32_t at = t.i0 * p.out.c, offset = at < last ? at : last;
    to.offset[x % kPixels] = offset;
    to.bits[x % kPixels] = 8 * (at - offset);
    to.weights[x % kPixels] = (2048 - t.w1) | t.w1 << 16;
  }
}

__m256i load(const std::int32_t* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }

// Two bytes of each dword as int16 in the upper halves of words.
alignas(16) constexpr signed char kGrey[16] = {-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13};
alignas(16) constexpr signed char kFirst[16] = {-1, 0, -1, 2, -1, 4, -1, 6, -1, 8, -1, 10, -1, 12, -1, 14};
alignas(16) constexpr signed char kSecond[16] = {-1, 1, -1, 3, -1, 5, -1, 7, -1, 9, -1, 11, -1, 13, -1, 15};

__m256i in_lanes(const signed char (&bytes)[16]) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes)));
}

int dword(const std::uint8_t* at) {
  int value;
  __builtin_memcpy(&value, at, sizeof value);
  return value;
}

class Rows8 {
 public:
  Rows8(const RoiResizeParams& p, std::int32_t n, const Tap& row)
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
    const __m256i found =
        _mm256_setr_epi32(dword(row + at[0]), dword(row + at[1]), dword(row + at[2]), dword(row + at[3]),
                          dword(row + at[4]), dword(row + at[5]), dword(row + at[6]), dword(row + at[7]));
    return _mm256_xor_si256(_mm256_srlv_epi32(found, bits), flip_);
  }
  __m256i across(__m256i v, __m256i mask) const {
    return _mm256_madd_epi16(_mm256_srai_epi16(_mm256_shuffle_epi8(v, mask), 8), weights_);
  }

  const std::uint8_t *above_, *below_;
  __m256i top_, bottom_, flip_, weights_{}, a_{}, b_{};
};

// The bytes of eight pixels, one or two channels.
void compute(Rows8& rows, const Columns& columns_of, std::int32_t channels, std::uint8_t flip, std::uint8_t* out) {
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

void run(const RoiResizeParams& p, const std::uint8_t*, std::uint8_t* scratch, std::int32_t begin, std::int32_t end) {
  Columns* columns_of = reinterpret_cast<Columns*>(scratch);
  Tap* taps = reinterpret_cast<Tap*>(scratch + column_bytes(p));
  std::int32_t image = -1;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h, c = p.out.c;
    std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh;
    if (!roi_is_inside(p, n)) {
      roi_blank(p, out);
      continue;
    }
    if (n != image) columns(p, image = n, columns_of, taps);
    Rows8 rows(p, n, roi_row(p, n, y));
    std::int32_t x = 0;
    for (; x + kPixels <= p.out.w; x += kPixels) compute(rows, columns_of[x / kPixels], c, p.out_flip, out + x * c);
    if (x == p.out.w) continue;
    std::uint8_t rest[2 * kPixels];
    compute(rows, columns_of[x / kPixels], c, p.out_flip, rest);
    __builtin_memcpy(out + x * c, rest, static_cast<std::size_t>((p.out.w - x) * c));
  }
}

}  // namespace

const Row<RoiResizeParams> kRoiResizeAvx2{"roiresize_avx2", Isa::Avx2, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
