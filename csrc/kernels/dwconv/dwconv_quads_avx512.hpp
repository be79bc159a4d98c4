// Quads: four input bytes of one channel in a 32-bit lane, for up to 64 channels in four vectors (dwconv_avx512vnni.cpp
// says what for), included by the file of a row. They are interleaved column by column into a buffer, where lane 4 l +
// j of vector q holds channel 16 l + 4 q + j.
#pragma once

#include "kernels/kernel.hpp"
#include "kernels/x86/avx512.hpp"

namespace openbpu::kernels::avx512 {
namespace {

constexpr std::int32_t kQuadVectors = 4;
constexpr std::int32_t kQuadBytes = kQuadVectors * 64;

// Vectors of 64, 32 and 16 channels; low16() and high16() store.
struct Bytes64 {
  __m512i v;
  OPENBPU_INLINE Bytes64 load(const std::uint8_t* p) { return {load_once(p)}; }
  OPENBPU_INLINE Bytes64 low8(Bytes64 a, Bytes64 b) { return {_mm512_unpacklo_epi8(a.v, b.v)}; }
  OPENBPU_INLINE Bytes64 high8(Bytes64 a, Bytes64 b) { return {_mm512_unpackhi_epi8(a.v, b.v)}; }
  OPENBPU_INLINE void low16(std::uint8_t* to, Bytes64 a, Bytes64 b) {
    _mm512_store_si512(to, _mm512_unpacklo_epi16(a.v, b.v));
  }
  OPENBPU_INLINE void high16(std::uint8_t* to, Bytes64 a, Bytes64 b) {
    _mm512_store_si512(to, _mm512_unpackhi_epi16(a.v, b.v));
  }
};

struct Bytes32 {
  __m256i v;
  OPENBPU_INLINE Bytes32 load(const std::uint8_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  OPENBPU_INLINE Bytes32 low8(Bytes32 a, Bytes32 b) { return {_mm256_unpacklo_epi8(a.v, b.v)}; }
  OPENBPU_INLINE Bytes32 high8(Bytes32 a, Bytes32 b) { return {_mm256_unpackhi_epi8(a.v, b.v)}; }
  OPENBPU_INLINE void low16(std::uint8_t* to, Bytes32 a, Bytes32 b) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(to), _mm256_unpacklo_epi16(a.v, b.v));
  }
  OPENBPU_INLINE void high16(std::uint8_t* to, Bytes32 a, Bytes32 b) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(to), _mm256_unpackhi_epi16(a.v, b.v));
  }
};

struct Bytes16 {
  __m128i v;
  OPENBPU_INLINE Bytes16 load(const std::uint8_t* p) { return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))}; }
  OPENBPU_INLINE Bytes16 low8(Bytes16 a, Bytes16 b) { return {_mm_unpacklo_epi8(a.v, b.v)}; }
  OPENBPU_INLINE Bytes16 high8(Bytes16 a, Bytes16 b) { return {_mm_unpackhi_epi8(a.v, b.v)}; }
  OPENBPU_INLINE void low16(std::uint8_t* to, Bytes16 a, Bytes16 b) {
    _mm_store_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi16(a.v, b.v));
  }
  OPENBPU_INLINE void high16(std::uint8_t* to, Bytes16 a, Bytes16 b) {
    _mm_store_si128(reinterpret_cast<__m128i*>(to), _mm_unpackhi_epi16(a.v, b.v));
  }
};

template <class Vector>
OPENBPU_INLINE void store_quad(Vector v0, Vector v1, Vector v2, Vector v3, std::uint8_t* to) {
  const Vector low01 = Vector::low8(v0, v1), high01 = Vector::high8(v0, v1);
  const Vector low23 = Vector::low8(v2, v3), high23 = Vector::high8(v2, v3);
  Vector::low16(to, low01, low23);
  Vector::high16(to + 64, low01, low23);
  Vector::low16(to + 128, high01, high23);
  Vector::high16(to + 192, high01, high23);
}

// Where the quads of a row come from: byte b of quad i is that of row[b], column x + i or, in pairs of columns,
// x + 2 i + b % 2.
struct QuadColumns {
  bool pairs;
  std::int32_t x, width;
  std::int64_t pixel;  // bytes
  const std::uint8_t* zeros;
  std::int32_t count, left, right;  // quads; those from `left` to `right` read no column outside the input

  static QuadColumns make(bool pairs, std::int32_t x, std::int32_t count, const View& in, const std::uint8_t* zeros) {
    const std::int32_t before = max(0, -x), inside = max(0, in.w - x);
    const std::int32_t left = min(count, pairs ? (before + 1) / 2 : before);
    return {pairs, x, in.w, in.sw, zeros, count, left, max(left, min(count, pairs ? inside / 2 : inside))};
  }
};

// Rows outside the input are null.
template <class Vector>
void make_quads(const QuadColumns& c, const std::uint8_t* const (&row)[4], std::uint8_t* to) {
  // A quad with columns outside.
  const auto make_checked = [&](std::int32_t i) {
    const std::uint8_t* at[4];
    for (std::int32_t b = 0; b < 4; ++b) {
      const std::int32_t x = c.pairs ? c.x + 2 * i + b % 2 : c.x + i;
      at[b] = row[b] && x >= 0 && x < c.width ? row[b] + x * c.pixel : c.zeros;
    }
    store_quad(Vector::load(at[0]), Vector::load(at[1]), Vector::load(at[2]), Vector::load(at[3]), to + i * kQuadBytes);
  };
  for (std::int32_t i = 0; i < c.left; ++i) make_checked(i);
  const std::int64_t step = c.pairs ? 2 * c.pixel : c.pixel, shift = c.pairs ? c.pixel : 0;
  const std::int64_t first = c.x * c.pixel + c.left * step;
  const std::uint8_t *r0 = row[0] ? row[0] + first : c.zeros, *r1 = row[1] ? row[1] + first + shift : c.zeros;
  const std::uint8_t *r2 = row[2] ? row[2] + first : c.zeros, *r3 = row[3] ? row[3] + first + shift : c.zeros;
  const std::int64_t step0 = row[0] ? step : 0, step1 = row[1] ? step : 0;
  const std::int64_t step2 = row[2] ? step : 0, step3 = row[3] ? step : 0;
  std::uint8_t *quad = to + c.left * kQuadBytes, *const end = to + c.right * kQuadBytes;
  for (; quad != end; quad += kQuadBytes, r0 += step0, r1 += step1, r2 += step2, r3 += step3)
    store_quad(Vector::load(r0), Vector::load(r1), Vector::load(r2), Vector::load(r3), quad);
  for (std::int32_t i = c.right; i < c.count; ++i) make_checked(i);
}

}  // namespace
}  // namespace openbpu::kernels::avx512
