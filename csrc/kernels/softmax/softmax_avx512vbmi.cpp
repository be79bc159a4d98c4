// SOFTMAX on hosts that permute bytes of two registers. Exponentials are looked up as low and high bytes for the sum.
// The result is a function of the distance from the maximum and of the row's factor: it is computed once for each
// distance at which it can differ from that of a zero probability, most often 64 or fewer, and looked up.
#include "kernels/kernel.hpp"
#include "kernels/x86/vec512.hpp"
// Vec comes first.
#include "kernels/softmax/softmax_vector.hpp"

namespace openbpu::kernels {
namespace {

// The table of exponentials as it is used here.
struct alignas(64) Exponentials {
  std::uint32_t word[256];
  std::uint8_t low[256], high[256];
  std::uint32_t beyond[4];  // the largest of those from 64, 128 and 192 on; 0
};

Plan plan_vbmi(const SoftmaxParams& p) { return {sizeof(Exponentials), 0, pixel_units(p)}; }

void pack_vbmi(const SoftmaxParams& p, std::uint8_t* packed) {
  auto& e = *reinterpret_cast<Exponentials*>(packed);
  for (std::uint32_t& most : e.beyond) most = 0;
  for (std::int32_t d = 0; d < 256; ++d) {
    e.word[d] = p.exp[d];
    e.low[d] = static_cast<std::uint8_t>(p.exp[d] & 255);
    e.high[d] = static_cast<std::uint8_t>(p.exp[d] >> 8);
    for (std::int32_t block = 0; block < d / 64; ++block)
      if (e.beyond[block] < p.exp[d]) e.beyond[block] = p.exp[d];
  }
}

OPENBPU_INLINE std::uint64_t first_bytes(std::int32_t n) { return n >= 64 ? ~std::uint64_t{0} : Vec::first(n); }

OPENBPU_INLINE std::uint32_t highest_byte(__m512i v) {
  const __m256i half = _mm256_max_epu8(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  const __m128i bytes = _mm_max_epu8(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  const __m128i flipped = _mm_xor_si128(bytes, _mm_set1_epi8(-1));
  const __m128i pairs = _mm_min_epu8(flipped, _mm_srli_epi16(flipped, 8));
  return 255 - (static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(pairs))) & 255);
}

// 256 entries in four registers.
struct Entries {
  __m512i t[4];
};

OPENBPU_INLINE Entries load_entries(const std::uint8_t* p) {
  return {{Vec::load(p), Vec::load(p + 64), Vec::load(p + 128), Vec::load(p + 192)}};
}

OPENBPU_INLINE __m512i entries_at(const Entries& e, __m512i d) {
  const __m512i low = _mm512_permutex2var_epi8(e.t[0], d, e.t[1]), high = _mm512_permutex2var_epi8(e.t[2], d, e.t[3]);
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(d), low, high);
}

// Results for sixteen distances.
OPENBPU_INLINE __m128i results(const SoftmaxParams& p, const std::uint32_t* word, __m512i factor) {
  const __m512i half = Vec::set64(std::uint64_t{1} << 37), e = Vec::load(word);
  const __m512i even = _mm512_srli_epi64(_mm512_add_epi64(_mm512_mul_epu32(e, factor), half), 38);
  const __m512i odd = _mm512_srli_epi64(_mm512_add_epi64(_mm512_mul_epu32(_mm512_srli_epi64(e, 32), factor), half), 38);
  const __m512i y = _mm512_add_epi32(_mm512_or_si512(even, _mm512_slli_epi64(odd, 32)), Vec::set32(p.zero));
  const __m512i limited = Vec::min32(Vec::max32(y, Vec::set32(p.lo)), Vec::set32(p.hi));
  return _mm512_cvtepi32_epi8(_mm512_add_epi32(limited, Vec::set32(Vec::kOffset)));
}

OPENBPU_INLINE __m512i results64(const SoftmaxParams& p, const std::uint32_t* word, __m512i factor) {
  __m512i y = _mm512_castsi128_si512(results(p, word, factor));
  y = _mm512_inserti32x4(y, results(p, word + 16, factor), 1);
  y = _mm512_inserti32x4(y, results(p, word + 32, factor), 2);
  return _mm512_inserti32x4(y, results(p, word + 48, factor), 3);
}

void run_row(const SoftmaxParams& p, const Exponentials& e, const Entries& lows, const Entries& highs,
             const std::uint8_t* in, std::uint8_t* out) {
  const std::int32_t n = p.in.c;
  __m512i best = _mm512_setzero_si512();
  for (std::int32_t i = 0; i < n; i += 64)
    best = _mm512_max_epu8(best, _mm512_maskz_loadu_epi8(first_bytes(n - i), in + i));
  const __m512i top = _mm512_set1_epi8(static_cast<char>(highest_byte(best))), none = _mm512_setzero_si512();
  const auto distances = [&](std::int32_t i) {
    return _mm512_sub_epi8(top, _mm512_mask_loadu_epi8(top, first_bytes(n - i), in + i));
  };
  __m512i low = none, high = none;
  for (std::int32_t i = 0; i < n; i += 64) {
    const __m512i d = distances(i);
    const __mmask64 inside = first_bytes(n - i);
    low = _mm512_add_epi64(low, _mm512_sad_epu8(_mm512_maskz_mov_epi8(inside, entries_at(lows, d)), none));
    high = _mm512_add_epi64(high, _mm512_sad_epu8(_mm512_maskz_mov_epi8(inside, entries_at(highs, d)), none));
  }
  const __m512i both = _mm512_add_epi64(low, _mm512_slli_epi64(high, 8));
  const auto sum = static_cast<std::uint64_t>(_mm512_reduce_add_epi64(both));
  const std::uint64_t R = (p.C + sum / 2) / sum;
  if (R >> 32 != 0) return softmax_pixel(p, in, out);
  const auto matters = [&](std::int32_t block) { return e.beyond[block] * R >= std::uint64_t{1} << 37; };
  const __m512i factor = Vec::set64(R);
  const std::int32_t zero = Vec::kOffset + max(p.lo, min(p.zero, p.hi));
  const __m512i rest = _mm512_set1_epi8(static_cast<char>(zero)), y0 = results64(p, e.word, factor);
  if (!matters(0)) {
    for (std::int32_t i = 0; i < n; i += 64) {
      const __m512i d = distances(i);
      const __mmask64 near = _mm512_cmplt_epu8_mask(d, _mm512_set1_epi8(64));
      _mm512_mask_storeu_epi8(out + i, first_bytes(n - i), _mm512_mask_permutexvar_epi8(rest, near, d, y0));
    }
    return;
  }
  Entries y{{y0, results64(p, e.word + 64, factor), rest, rest}};
  if (matters(1)) {
    y.t[2] = results64(p, e.word + 128, factor);
    y.t[3] = results64(p, e.word + 192, factor);
  }
  for (std::int32_t i = 0; i < n; i += 64)
    _mm512_mask_storeu_epi8(out + i, first_bytes(n - i), entries_at(y, distances(i)));
}

void run_vbmi(const SoftmaxParams& p, const std::uint8_t* packed, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const auto& e = *reinterpret_cast<const Exponentials*>(packed);
  const Entries lows = load_entries(e.low), highs = load_entries(e.high);
  for_each_pixel(p, begin, end,
                 [&](const std::uint8_t* in, std::uint8_t* out) { run_row(p, e, lows, highs, in, out); });
}

}  // namespace

const Row<SoftmaxParams> kSoftmaxAvx512Vbmi{
    "softmax_avx512vbmi", Isa::Avx512Vbmi, accepts, plan_vbmi, pack_vbmi, run_vbmi};

}  // namespace openbpu::kernels
