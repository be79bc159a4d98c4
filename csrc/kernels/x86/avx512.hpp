// What the AVX-512 VNNI kernels share: loads, masks, the RQ8 epilogue in registers.
//
// Activations are stored as u8 = value + 128, weights are s8: vpdpbusd multiplies them as they are. The offset 128 *
// sum(w) is taken off the accumulator's start value when weights are packed, so that the loops pay nothing for it.
#pragma once

#include <immintrin.h>

#include "kernels/arithmetic.hpp"

namespace openbpu::kernels::avx512 {

OPENBPU_INLINE __m512i load(const void* p) { return _mm512_loadu_si512(p); }

// The same, kept in a register: gcc 12 would rather load it anew for every use.
OPENBPU_INLINE __m512i load_once(const void* p) {
  __m512i v = load(p);
  asm("" : "+v"(v));
  return v;
}

// An accumulator. The intrinsics see it as __m512i, which is 64-bit lanes to gcc 12: a variable of that type is carried
// through a loop twice, once as either, and spilled in every turn.
using Acc = std::int32_t __attribute__((vector_size(64)));

// acc[i] + sum of x[4 i + j] * w[4 i + j] over j.
OPENBPU_INLINE Acc dot(Acc acc, __m512i x, __m512i w) {
  return reinterpret_cast<Acc>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(acc), x, w));
}

// Four bytes in every lane.
OPENBPU_INLINE __m512i broadcast4(const std::uint8_t* p) {
  std::int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return _mm512_set1_epi32(four);
}

// The lowest n of 64, 32 or 16 lanes; n may be larger or negative.
OPENBPU_INLINE std::uint64_t low_lanes(std::int32_t n) {
  return n >= 64 ? ~std::uint64_t{0} : n <= 0 ? 0 : (std::uint64_t{1} << n) - 1;
}

// ---- RQ8, y = clamp((t * m) >> 22) with t = clamp16(((acc << L) + B) >> s)
//
// Accumulators start at B >> L. Where s >= L the bits of B that this drops do not matter, and t is acc >> (s - L).
// Where s < L, t is acc << (L - s) plus what is left of those bits: done after narrowing, by saturating doublings, at a
// quarter of the instructions. A saturated t makes a saturated y; adding `low` to one keeps it so up to 8 doublings.

constexpr std::int32_t kMaxDoublings = 8;  // the most L that the kernels take

// Constants of up to 64 channels: start and shift in the order of the accumulators' lanes, the rest of the words after
// narrowing, of which there are more where a vector holds several pixels of a channel.
template <int Words>
struct Channels {
  std::int32_t start[64], shift[64];
  std::int16_t m[Words], low[Words];
  std::uint32_t doubled[kMaxDoublings][Words / 32];  // doubling j: words that take part
  std::int32_t doublings;                            // how many there are
};
using Channels64 = Channels<64>;

// Writes the constants of a lane of the accumulators: its channel's B (less 128 * sum, the offset of the activations,
// modulo 2^32 like the accumulation) and s.
template <class Constants>
OPENBPU_INLINE void pack_lane(std::int32_t lane, std::int32_t B, std::int32_t sum, std::int32_t s, std::int32_t L,
                              Constants* to) {
  const std::uint32_t start = static_cast<std::uint32_t>(B >> L) - (static_cast<std::uint32_t>(sum) << 7);
  to->start[lane] = static_cast<std::int32_t>(start);
  to->shift[lane] = max(s - L, 0);
}

// The same for a word after narrowing.
template <class Constants>
OPENBPU_INLINE void pack_word(std::int32_t word, std::int32_t B, std::int16_t m, std::int32_t s, std::int32_t L,
                              Constants* to) {
  to->m[word] = m;
  to->low[word] = s < L ? static_cast<std::int16_t>((B & ((1 << L) - 1)) >> s) : std::int16_t{0};
  for (std::int32_t j = 0; j < L - s; ++j) to->doubled[j][word / 32] |= std::uint32_t{1} << word % 32;
  to->doublings = max(to->doublings, L - s);
}

// What holds for a whole operator.
struct Clamp {
  __m512i lo, hi;
};

OPENBPU_INLINE Clamp make_clamp(std::int32_t lo, std::int32_t hi) {
  return {_mm512_set1_epi8(static_cast<char>(lo)), _mm512_set1_epi8(static_cast<char>(hi))};
}

// Kernels are compiled for each of these numbers of doublings, which keeps the masks in registers; kAny loops.
constexpr int kAny = 3;

// The kind of a kernel for a block with that many.
OPENBPU_INLINE int doublings(std::int32_t count) { return count < kAny ? count : kAny; }

OPENBPU_INLINE __m512i shift(Acc acc, const std::int32_t* s) {
  return _mm512_srav_epi32(reinterpret_cast<__m512i>(acc), load(s));
}

OPENBPU_INLINE __m512i adds(__m512i a, __m512i b) { return _mm512_adds_epi16(a, b); }
OPENBPU_INLINE __m256i adds(__m256i a, __m256i b) { return _mm256_adds_epi16(a, b); }
OPENBPU_INLINE __m512i twice(__m512i t, std::uint32_t mask) { return _mm512_mask_adds_epi16(t, mask, t, t); }
OPENBPU_INLINE __m256i twice(__m256i t, std::uint32_t mask) {
  return _mm256_mask_adds_epi16(t, static_cast<__mmask16>(mask), t, t);
}
OPENBPU_INLINE __m512i multiply(__m512i t, __m512i m) { return _mm512_srai_epi16(_mm512_mulhi_epi16(t, m), 6); }
OPENBPU_INLINE __m256i multiply(__m256i t, __m256i m) { return _mm256_srai_epi16(_mm256_mulhi_epi16(t, m), 6); }
OPENBPU_INLINE void load_into(__m512i* v, const void* p) { *v = load(p); }
OPENBPU_INLINE void load_into(__m256i* v, const void* p) { *v = _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

// The constants of a block, as its epilogue uses them: a copy, which stores to the output cannot alias.
template <int Doublings, int Words = 64>
struct Epilogue {
  const Channels<Words>& channels;
  __m512i lo, hi;
  std::uint32_t doubled[2][Words / 32];

  OPENBPU_INLINE Epilogue make(const Channels<Words>& channels, const Clamp& clamp) {
    Epilogue e{channels, clamp.lo, clamp.hi, {}};
    if constexpr (Doublings < kAny)
      for (int j = 0; j < Doublings; ++j)
        for (int part = 0; part < Words / 32; ++part) e.doubled[j][part] = channels.doubled[j][part];
    return e;
  }
};

// (t * m) >> 22 of saturated words, from word `first` (a multiple of 32) on; `m` and `low` are those of the words.
template <class Vector, int Doublings, int Words>
OPENBPU_INLINE Vector multiply(Vector t, Vector m, Vector low, std::int32_t first,
                               const Epilogue<Doublings, Words>& e) {
  if constexpr (Doublings == kAny) {
#pragma GCC unroll 1
    for (std::int32_t j = 0; j < e.channels.doublings; ++j) t = twice(t, e.channels.doubled[j][first / 32]);
  } else {
    if constexpr (Doublings > 0) t = twice(t, e.doubled[0][first / 32]);
    if constexpr (Doublings > 1) t = twice(t, e.doubled[1][first / 32]);
  }
  if constexpr (Doublings > 0) t = adds(t, low);
  return multiply(t, m);
}

template <class Vector, int Doublings, int Words>
OPENBPU_INLINE Vector multiply(Vector t, std::int32_t first, const Epilogue<Doublings, Words>& e) {
  Vector m, low{};
  load_into(&m, e.channels.m + first);
  if constexpr (Doublings > 0) load_into(&low, e.channels.low + first);
  return multiply(t, m, low, first, e);
}

// int8 values, clamped, as stored.
template <class Constants>
OPENBPU_INLINE __m512i finish(__m512i y, const Constants& c) {
  y = _mm512_min_epi8(_mm512_max_epi8(y, c.lo), c.hi);
  return _mm512_xor_si512(y, _mm512_set1_epi8(-128));
}
template <class Constants>
OPENBPU_INLINE __m256i finish(__m256i y, const Constants& c) {
  y = _mm256_min_epi8(_mm256_max_epi8(y, _mm512_castsi512_si256(c.lo)), _mm512_castsi512_si256(c.hi));
  return _mm256_xor_si256(y, _mm256_set1_epi8(-128));
}
template <class Constants>
OPENBPU_INLINE __m128i finish(__m128i y, const Constants& c) {
  y = _mm_min_epi8(_mm_max_epi8(y, _mm512_castsi512_si128(c.lo)), _mm512_castsi512_si128(c.hi));
  return _mm_xor_si128(y, _mm_set1_epi8(-128));
}

// The four accumulators of 64 channels to bytes.
template <int Doublings>
OPENBPU_INLINE __m512i requantise64(Acc a0, Acc a1, Acc a2, Acc a3, const Epilogue<Doublings>& e) {
  const std::int32_t* s = e.channels.shift;
  const __m512i low = _mm512_packs_epi32(shift(a0, s), shift(a1, s + 16));
  const __m512i high = _mm512_packs_epi32(shift(a2, s + 32), shift(a3, s + 48));
  return finish(_mm512_packs_epi16(multiply(low, 0, e), multiply(high, 32, e)), e);
}

}  // namespace openbpu::kernels::avx512
