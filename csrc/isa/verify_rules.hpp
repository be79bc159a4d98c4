// What the rules of operations share: types of operands, windows, and the proofs that nothing overflows.
#pragma once

#include <algorithm>

#include "isa/verify_detail.hpp"

namespace openbpu::isa::detail {

inline bool has_format(const Const& item, Format format) { return item.format == static_cast<u8>(format); }

// One instruction word that has passed check_word().
class WordRules {
 protected:
  WordRules(const Word& word, Facts& facts) : w_(word), wide_(word.wide()), facts_(facts) {}

  static i64 as_i64(u64 value) { return static_cast<i64>(value); }
  const ConvAux& conv_aux() const { return w_.aux<ConvAux>(); }
  const PoolAux& pool_aux() const { return w_.aux<PoolAux>(); }
  bool whole_box() const { return w_.i.box_h == w_.out().h && w_.i.box_w == w_.out().w && w_.i.box_n == w_.out().c; }

  Status int8_nhwc(const char* name, const Surface& s) const {
    if (dtype(s) != DType::I8) return w_.field(name, "must be int8", s.dtype);
    return s.layout == static_cast<u8>(Layout::Nhwc) ? Status{} : w_.field(name, "must be NHWC", s.layout);
  }

  Status int16_nhwc(const char* name, const Surface& s) const {
    if (dtype(s) != DType::I16) return w_.field(name, "must be int16", s.dtype);
    if (s.zero_point != 0) return w_.field(name, "int16 has the zero point 0", s.zero_point);
    return s.layout == static_cast<u8>(Layout::Nhwc) ? Status{} : w_.field(name, "must be NHWC", s.layout);
  }

  Status integer_nhwc(const char* name, const Surface& s) const {
    return dtype(s) == DType::I16 ? int16_nhwc(name, s) : int8_nhwc(name, s);
  }

  Status factor_nhwc(const char* name, const Surface& s) const {
    return wide_ ? int16_nhwc(name, s) : int8_nhwc(name, s);
  }

  // int8 to int8; in the 16-bit form int16 to int16 or int8.
  Status typed_pair() const {
    if (Status status = factor_nhwc("in0", w_.in0()); !status.ok()) return status;
    return wide_ ? integer_nhwc("out", w_.out()) : int8_nhwc("out", w_.out());
  }

  Status same_type() const {
    return w_.in0().dtype == w_.out().dtype ? Status{} : w_.field("out", "must have the type of in0", w_.out().dtype);
  }

  Status unary() const {
    if (Status status = typed_pair(); !status.ok()) return status;
    return same_extents(w_.in0(), w_.out()) ? Status{} : w_.fail("in0 and out must have equal extents");
  }

  Status broadcasts(const char* name, const Surface& s) const {
    if (Status status = factor_nhwc(name, s); !status.ok()) return status;
    const Surface& out = w_.out();
    const auto fits = [](u32 extent, u32 whole) { return extent == whole || extent == 1; };
    return fits(s.n, out.n) && fits(s.h, out.h) && fits(s.w, out.w) && fits(s.c, out.c)
               ? Status{}
               : w_.field(name, "extents must be those of out or 1");
  }

  Status binary() const {
    if (Status status = unary(); !status.ok()) return status;
    return broadcasts("in1", w_.in1());
  }

  Status extreme() const {
    if (Status status = binary(); !status.ok()) return status;
    if (Status status = equal_parameters(); !status.ok()) return status;
    return second_like_out();
  }

  Status second_like_out() const {
    return w_.in1().zero_point == w_.out().zero_point && w_.in1().scale == w_.out().scale
               ? Status{}
               : w_.fail("in1 and out must have equal scale and zero point");
  }

  Status over_channels() const {
    const Surface &in = w_.in0(), &out = w_.out();
    return in.n == out.n && in.h == out.h && in.w == out.w && out.c == 1
               ? Status{}
               : w_.fail("in0 and out must have equal n, h and w, and out 1 channel");
  }

  // Multiplier and shift of MUL and of a reduction.
  Status scaled() const {
    if (w_.i.C < 16384 || w_.i.C > 32767) return w_.field("C", "the multiplier must be 16384..32767", w_.i.C);
    return w_.i.sh >= 1 && w_.i.sh <= 46 ? Status{} : w_.field("sh", "must be 1..46", w_.i.sh);
  }

  Status equal_parameters() const {
    if (Status status = same_type(); !status.ok()) return status;
    return w_.in0().zero_point == w_.out().zero_point && w_.in0().scale == w_.out().scale
               ? Status{}
               : w_.fail("in0 and out must have equal scale and zero point");
  }

  struct Axis {
    i64 kernel, stride, dilation, in, out;
  };

  // Rows or columns, padding included, that the windows of an axis touch. Those of TCONV2D lie on the output.
  i64 span(const Axis& a) const {
    const i64 reach = (a.kernel - 1) * a.dilation;
    return w_.info.op == Op::TCONV2D ? std::max((a.in - 1) * a.stride + 1, a.out) + reach
                                     : (a.out - 1) * a.stride + 1 + reach;
  }

  template <class Aux>
  Status geometry(const Aux& g) const {
    const Surface &in = w_.in0(), &out = w_.out();
    const Axis rows{g.kernel_h, g.stride_h, g.dilation_h, in.h, out.h};
    const Axis columns{g.kernel_w, g.stride_w, g.dilation_w, in.w, out.w};
    for (const Axis& axis : {rows, columns}) {
      if (axis.kernel < 1 || axis.stride < 1 || axis.dilation < 1)
        return w_.field("aux", "kernel, stride and dilation must be at least 1");
      if (span(axis) > kMaxSpan) return w_.field("aux", "windows reach over at most 2^20 rows or columns", span(axis));
    }
    if (const u64 taps = u64{g.kernel_h} * g.kernel_w; taps > kMaxTaps)
      return w_.field("aux", "a window has at most 2^24 taps", as_i64(taps));
    if (const u64 bytes = g.kernel_h * static_cast<u64>(span(columns)) * in.c * element_size(dtype(in));
        bytes > kMaxWindowBytes)
      return w_.field("aux", "the rows under a row of outputs have at most 2^28 bytes", as_i64(bytes));
    return {};
  }

  // The proof that makes the order of accumulation free, for each channel.
  Status rescaled() {
    const u32 channels = w_.out().c;
    if (wide_) return rq16(channels);
    if (!has_format(w_.table(), Format::RQ8) || w_.table().dims[0] != channels)
      return w_.field("table", "must be of format RQ8 with one entry per channel");
    if (facts_.is_proved(w_.i.weight, w_.i.table, w_.i.L)) return {};
    // Most operators are so short that any weights would do, and reading them all takes time.
    const auto* B = items<i32>(w_.table(), w_.sections);
    const u64 reach = u64{128} * 128 * facts_.weights_per_channel(w_.i.weight);
    if (std::any_of(B, B + channels, [&](i32 b) { return !fits(total(reach, b)); })) {
      const std::vector<u64>& weights = facts_.weight_magnitudes(w_.i.weight);
      for (u32 c = 0; c < channels; ++c)
        if (Status status = prove(c, weights[c] * 128); !status.ok()) return status;
    }
    facts_.set_proved(w_.i.weight, w_.i.table, w_.i.L);
    return {};
  }

  Status rq16_table(u32 entries) const {
    return has_format(w_.table(), Format::RQ16) && w_.table().dims[0] == entries
               ? Status{}
               : w_.field("table", "must be of format RQ16; its entries must number", entries);
  }

  // The same in int64: for each channel, |acc| * m + |bias| < 2^63.
  Status rq16(u32 channels) {
    if (Status status = rq16_table(channels); !status.ok()) return status;
    if (facts_.is_proved(w_.i.weight, w_.i.table, kWideProof)) return {};
    const u64 most = u64{128} * facts_.weights_per_channel(w_.i.weight);
    const auto* entries = items<Rq16Entry>(w_.table(), w_.sections);
    if (std::any_of(entries, entries + channels, [&](const Rq16Entry& e) { return !fits16(most, e); })) {
      const std::vector<u64>& weights = facts_.weight_magnitudes(w_.i.weight);
      for (u32 c = 0; c < channels; ++c)
        if (Status status = prove16(c, weights[c]); !status.ok()) return status;
    }
    facts_.set_proved(w_.i.weight, w_.i.table, kWideProof);
    return {};
  }

  // Sums of up to as many int16 values as the entry is for.
  Status prove_means(u32 taps, u32 entries) {
    if (entries == 1) return prove16(0, taps);
    if (facts_.is_proved(kNoId, w_.i.table, kWideProof)) return {};
    for (u32 k = 0; k < entries; ++k)
      if (Status status = prove16(k, k + 1); !status.ok()) return status;
    facts_.set_proved(kNoId, w_.i.table, kWideProof);
    return {};
  }

  // Sums of int16 values, each at most 2^15, with factors of which the magnitudes add up to `factors`.
  static bool fits16(u64 factors, const Rq16Entry& e) {
    const u64 room = ((u64{1} << 63) - 1 - magnitude(e.bias)) / static_cast<u64>(e.m);
    return factors <= room >> 15;
  }

  Status prove16(u32 entry, u64 factors) const {
    return fits16(factors, items<Rq16Entry>(w_.table(), w_.sections)[entry])
               ? Status{}
               : illegal(w_.where + ", entry " + std::to_string(entry),
                         "2^15 * factors * m + |bias| must be below 2^63; the factors are", as_i64(factors));
  }

  // The most that |acc << L| + |B| can be; |acc| <= reach < 2^48.
  u64 total(u64 reach, i32 B) const { return (reach << w_.i.L) + magnitude(B); }
  static bool fits(u64 total) { return total < u64{1} << 31; }

  Status prove(u32 channel, u64 reach) const {
    const u64 most = total(reach, items<i32>(w_.table(), w_.sections)[channel]);
    return fits(most) ? Status{}
                      : illegal(w_.where + ", channel " + std::to_string(channel),
                                "accumulator and B must be proved to fit int32; their magnitude", as_i64(most));
  }

  static constexpr u8 kWideProof = 0xFF;  // in place of L

  const Word& w_;
  const bool wide_;
  Facts& facts_;
};

}  // namespace openbpu::isa::detail
