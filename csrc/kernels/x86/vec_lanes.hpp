// What follows from unpacking, multiply-add and shuffles within 128-bit lanes, the same for both x86 Vecs; included by
// their headers, after Vec.
#pragma once

namespace openbpu::kernels {
namespace {

// One 128-bit register of bytes.
struct Bytes16 {
  using R = __m128i;
  OPENBPU_INLINE R load(const void* p) { return _mm_loadu_si128(static_cast<const R*>(p)); }
  OPENBPU_INLINE void store(void* p, R v) { _mm_storeu_si128(static_cast<R*>(p), v); }
  OPENBPU_INLINE R low8(R a, R b) { return _mm_unpacklo_epi8(a, b); }
  OPENBPU_INLINE R high8(R a, R b) { return _mm_unpackhi_epi8(a, b); }
};

// Four registers of words, in the order that narrow32() and narrow16() restore to that of bytes.
struct Words {
  Vec::R r0, r1, r2, r3;
};

// Bytes as stored, one per word.
OPENBPU_INLINE Words words_of(Vec::R stored) {
  const Vec::R none = Vec::zero(), low = Vec::low8(stored, none), high = Vec::high8(stored, none);
  return {Vec::low16(low, none), Vec::high16(low, none), Vec::low16(high, none), Vec::high16(high, none)};
}

using Factors = Vec::R;  // pairs

OPENBPU_INLINE Factors make_factors(std::int32_t a, std::int32_t b) {
  return Vec::set32(static_cast<std::int32_t>(static_cast<std::uint32_t>(b) << 16 | (a & 0xFFFF)));
}

// Stored bytes: a * factor a + b * factor b + constant, one multiply-add per pair of words.
OPENBPU_INLINE Words weigh(Vec::R a, Vec::R b, Factors f, Vec::R constant) {
  const Vec::R none = Vec::zero(), low = Vec::low8(a, b), high = Vec::high8(a, b);
  const auto sum = [&](Vec::R pairs) { return Vec::add32(Vec::madd16(pairs, f), constant); };
  return {sum(Vec::low8(low, none)), sum(Vec::high8(low, none)), sum(Vec::low8(high, none)),
          sum(Vec::high8(high, none))};
}

// Stored bytes: (a - a_zero) * (b - b_zero); the zeros are words, as stored. Words stand in the low half of each lane,
// so that a multiply-add gives single products.
OPENBPU_INLINE Words products(Vec::R a, Vec::R b, Vec::R a_zero, Vec::R b_zero) {
  const Vec::R none = Vec::zero();
  const Vec::R a0 = Vec::sub16(Vec::low8(a, none), a_zero), a1 = Vec::sub16(Vec::high8(a, none), a_zero);
  const Vec::R b0 = Vec::sub16(Vec::low8(b, none), b_zero), b1 = Vec::sub16(Vec::high8(b, none), b_zero);
  return {Vec::madd16(Vec::low16(a0, none), Vec::low16(b0, none)),
          Vec::madd16(Vec::high16(a0, none), Vec::high16(b0, none)),
          Vec::madd16(Vec::low16(a1, none), Vec::low16(b1, none)),
          Vec::madd16(Vec::high16(a1, none), Vec::high16(b1, none))};
}

// 256 entries by stored byte, as sixteen tables of sixteen.
struct Tables {
  Vec::R t[16];
};

OPENBPU_INLINE Tables load_tables(const std::uint8_t* p) {
  Tables tables;
  for (std::int32_t k = 0; k < 16; ++k) tables.t[k] = Vec::table16(p + 16 * k);
  return tables;
}

// The saturating addition pushes indices outside a table's range to 0x80 and above, where the shuffle gives zero.
OPENBPU_INLINE Vec::R look_up(Vec::R x, const Tables& tables) {
  Vec::R y = Vec::zero();
  const Vec::R outside = Vec::set8(0x70), back = Vec::set8(-16);
  for (std::int32_t k = 0; k < 16; ++k) {
    y = Vec::or_(y, Vec::shuffle(tables.t[k], Vec::adds_u8(x, outside)));
    x = Vec::add8(x, back);
  }
  return y;
}

// 64 entries; a byte of 64 or more gives 0.
struct Tables64 {
  Vec::R t0, t1, t2, t3;
};

OPENBPU_INLINE Tables64 load_tables64(const std::uint8_t* p) {
  return {Vec::table16(p), Vec::table16(p + 16), Vec::table16(p + 32), Vec::table16(p + 48)};
}

OPENBPU_INLINE Vec::R look_up(Vec::R x, const Tables64& tables) {
  const Vec::R outside = Vec::set8(0x70);
  const auto entry = [&](Vec::R table, std::int32_t first) {
    return Vec::shuffle(table, Vec::adds_u8(Vec::sub8(x, Vec::set8(first)), outside));
  };
  return Vec::or_(Vec::or_(entry(tables.t0, 0), entry(tables.t1, 16)),
                  Vec::or_(entry(tables.t2, 32), entry(tables.t3, 48)));
}

}  // namespace
}  // namespace openbpu::kernels
