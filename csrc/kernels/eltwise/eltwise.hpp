// ADD, SUB: y = clamp((a * ma + b * mb + C) >> sh, lo, hi), int32 (docs/numerics.md, clause ADD).
// MUL: y = clamp(((a - za)(b - zb) * m + (1 << (sh - 1)) + (zp << sh)) >> sh, lo, hi), int64 (clause MUL).
// MAX, MIN: y = clamp(max(a, b), lo, hi) or with min (clause MAX).
// CMP: y = ranks[a + 128] stands in the relation to ranks[b + 384] (clause CMP).
// DIV: y = clamp(((a - za) * ratio[b + 128] + (1 << (sh - 1)) + (zp << sh)) >> sh, lo, hi), int64 (clause DIV).
//
// a and out have equal extents; a dimension of b is equal too, or 1 and then broadcasts. int8, sc == 1.
// SUB arrives with mb already negated.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct AddParams {
  View a, b, out;
  std::int32_t ma, mb, C,
      sh;  // |ma|, |mb| <= 32767; 0 <= sh <= 22; constants are for int8 values, not for stored bytes
  std::int32_t lo, hi;
  std::uint8_t flip;
};

struct MulParams {
  View a, b, out;
  std::int32_t a_zero, b_zero, zero;
  std::int32_t m, sh;  // 16384 <= m <= 32767; 1 <= sh <= 46
  std::int32_t lo, hi;
  std::uint8_t flip;
};

struct ExtremeParams {
  View a, b, out;
  bool largest;
  std::int32_t lo, hi;
  std::uint8_t flip;
};

enum class Relation : std::uint8_t { Equal, Less, LessOrEqual, Greater, GreaterOrEqual, Different };

struct CmpParams {
  View a, b, out;
  const std::int16_t* ranks;  // 512 entries
  Relation relation;
  std::uint8_t flip;
};

struct DivParams {
  View a, b, out;
  const std::int64_t* ratio;  // 256 entries, |ratio| <= 2^54
  std::int32_t a_zero, zero;
  std::int32_t sh;  // 1 <= sh <= 46
  std::int32_t lo, hi;
  std::uint8_t flip;
};

// int16 operands with zero point 0 (chapter int16). ADD: y = clamp((a * ma + b * mb + bias) >> sh), ma and bias of
// entry 0, mb of entry 1, negated for SUB. MUL: y = clamp((a * b * m + bias) >> sh). Both in int64.
struct Add16Params {
  View a, b, out;
  std::int32_t ma, mb;  // |ma| + |mb| < 2^29
  Rq16 rq;              // entry 0: bias, 15 <= sh <= 45
};

struct Mul16Params {
  View a, b, out;
  Rq16 rq;
};

Rows<AddParams> add_rows();
Rows<MulParams> mul_rows();
Rows<ExtremeParams> extreme_rows();
Rows<CmpParams> cmp_rows();
Rows<DivParams> div_rows();
Rows<Add16Params> add16_rows();
Rows<Mul16Params> mul16_rows();

}  // namespace openbpu::kernels
