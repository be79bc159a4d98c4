// SOFTMAX with gathered exponentials; included by the file of each ISA, which supplies Vec.
//
// The table is widened to 32 bits when the engine is made, so that a gather reads whole entries. The row factor R fits
// 32 bits, and E * R is one 32 x 32 bit product, unless a result is more than four times as large as the output scale
// can hold: such rows are left to the scalar row.
//
// The result depends on the distance from the maximum and on R alone. Where it is that of a zero probability from a
// distance of 64 on, as in most rows of attention, it is computed for 64 distances and looked up.
#pragma once

#include "kernels/highest_vector.hpp"
#include "kernels/softmax/softmax_rows.hpp"
#include "kernels/vector_runs.hpp"

namespace openbpu::kernels {
namespace {

bool accepts(const SoftmaxParams& p) { return p.flip == Vec::kFlip; }

constexpr std::int32_t kNear = 64;  // distances

// Exponentials, then the largest of those from kNear on.
[[maybe_unused]] Plan plan(const SoftmaxParams& p) { return {256 * 4 + 64, 0, pixel_units(p)}; }

[[maybe_unused]] void pack(const SoftmaxParams& p, std::uint8_t* packed) {
  auto* table = reinterpret_cast<std::uint32_t*>(packed);
  table[256] = 0;
  for (std::int32_t i = 0; i < 256; ++i) {
    table[i] = p.exp[i];
    if (i >= kNear && table[256] < table[i]) table[256] = table[i];
  }
}

// Sums of up to 2^15 vectors of entries below 2^16 stay in 32 bits; c is at most 65535.
OPENBPU_INLINE std::uint64_t total(const std::uint8_t* in, std::int32_t n, std::int32_t top,
                                   const std::uint32_t* table) {
  const Vec::R tops = Vec::set32(top);
  Vec::R sum = Vec::zero();
  std::int32_t i = 0;
  for (; i + Vec::kWords <= n; i += Vec::kWords)
    sum = Vec::add32(sum, Vec::gather32(table, Vec::sub32(tops, Vec::widen(in + i))));
  alignas(64) std::uint32_t lanes[Vec::kWords];
  Vec::store(lanes, sum);
  std::uint64_t result = 0;
  for (const std::uint32_t lane : lanes) result += lane;
  for (; i < n; ++i) result += table[top - static_cast<Vec::Byte>(in[i])];
  return result;
}

// Results of a row by words of exponentials.
struct Results {
  Vec::R factor, half, zero_point, lo, hi, offset;

  Results(const SoftmaxParams& p, std::uint64_t R)
      : factor(Vec::set64(R)),
        half(Vec::set64(std::uint64_t{1} << 37)),
        zero_point(Vec::set32(p.zero)),
        lo(Vec::set32(p.lo)),
        hi(Vec::set32(p.hi)),
        offset(Vec::set32(Vec::kOffset)) {}

  // kWords of them, stored as bytes.
  OPENBPU_INLINE void store(const Results& r, Vec::R e, std::uint8_t* bytes) {
    const auto scaled = [&](Vec::R v) {
      return Vec::shift_right_u64<38>(Vec::add64(Vec::mul_u32_64(v, r.factor), r.half));
    };
    const Vec::R odd = Vec::shift_left_64_by_32(scaled(Vec::shift_right_u64<32>(e)));
    const Vec::R y = Vec::add32(Vec::or_(scaled(e), odd), r.zero_point);
    Vec::store_low_bytes(bytes, Vec::add32(Vec::min32(Vec::max32(y, r.lo), r.hi), r.offset));
  }
};

// Entries are held less, by exclusive or, the result for zero probability, which look_up() then gives beyond them.
void run_near(const SoftmaxParams& p, const std::uint32_t* table, const Results& results, std::int32_t top,
              const std::uint8_t* in, std::uint8_t* out) {
  const Vec::R rest = Vec::set8(max(p.lo, min(p.zero, p.hi)) + Vec::kOffset), tops = Vec::set8(top);
  alignas(64) std::uint8_t bytes[kNear];
  for (std::int32_t d = 0; d < kNear; d += Vec::kWords) Results::store(results, Vec::load(table + d), bytes + d);
  for (std::int32_t d = 0; d < kNear; d += Vec::kBytes) Vec::store(bytes + d, Vec::xor_(Vec::load(bytes + d), rest));
  const Tables64 tables = load_tables64(bytes);
  for (std::int32_t i = 0; i < p.in.c; i += Vec::kBytes) {
    const Vec::R d = Vec::sub8(tops, load_run(in + i, p.in.c - i));
    store_run(out + i, Vec::xor_(look_up(d, tables), rest), p.in.c - i);
  }
}

void run_pixel(const SoftmaxParams& p, const std::uint32_t* table, const std::uint8_t* in, std::uint8_t* out) {
  const std::int32_t n = p.in.c, top = highest(in, n);
  const std::uint64_t sum = total(in, n, top, table), R = (p.C + sum / 2) / sum;
  if (R >> 32 != 0) return softmax_pixel(p, in, out);
  const Results results(p, R);
  if (n >= kNear && table[256] * R < std::uint64_t{1} << 37) return run_near(p, table, results, top, in, out);
  const Vec::R tops = Vec::set32(top);
  for (std::int32_t i = 0; i < n; i += Vec::kWords) {
    // Bytes behind the row may exceed the maximum: their index is kept inside the table.
    const Vec::R index = Vec::max32(Vec::sub32(tops, Vec::widen(in + i)), Vec::zero());
    std::uint8_t bytes[Vec::kWords];
    Results::store(results, Vec::gather32(table, index), bytes);
    __builtin_memcpy(out + i, bytes, static_cast<std::size_t>(min(Vec::kWords, n - i)));
  }
}

[[maybe_unused]] void run(const SoftmaxParams& p, const std::uint8_t* packed, std::uint8_t*, std::int32_t begin,
                          std::int32_t end) {
  const auto* table = reinterpret_cast<const std::uint32_t*>(packed);
  for_each_pixel(p, begin, end, [&](const std::uint8_t* in, std::uint8_t* out) { run_pixel(p, table, in, out); });
}

}  // namespace
}  // namespace openbpu::kernels
