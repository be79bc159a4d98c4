#include <algorithm>
#include <cmath>

#include "isa/verify_detail.hpp"
#include "isa/visit.hpp"

namespace openbpu::isa::detail {
namespace {

bool has_format(const Const& item, Format format) { return item.format == static_cast<u8>(format); }

// The overloads of operator() are the rules of single operations.
class Rules {
 public:
  Rules(const Word& word, Facts& facts) : w_(word), wide_(word.wide()), facts_(facts) {}

  // ---- control

  Status operator()(Tag<Op::NOP>) { return {}; }
  Status operator()(Tag<Op::END>) { return {}; }
  Status operator()(Tag<Op::TRAP>) { return {}; }
  Status operator()(Tag<Op::MARK>) { return {}; }

  // ---- moves

  Status operator()(Tag<Op::LOAD>) {
    if (region(w_.in0()) == Region::Sram) return w_.field("in0", "a LOAD reads DDR, IN or CONST");
    if (region(w_.out()) != Region::Sram) return w_.field("out", "a LOAD writes SRAM");
    return move();
  }
  Status operator()(Tag<Op::STORE>) {
    if (region(w_.in0()) != Region::Sram) return w_.field("in0", "a STORE reads SRAM");
    if (region(w_.out()) == Region::Sram) return w_.field("out", "a STORE writes DDR or OUT");
    return move();
  }
  Status operator()(Tag<Op::COPY>) { return move(); }
  Status operator()(Tag<Op::LDW>) {
    const Surface& out = w_.out();
    if (region(out) != Region::Sram) return w_.field("out", "an LDW writes SRAM");
    if (!whole_box()) return w_.fail("the box of an LDW must be the whole of out");
    const u64 bytes = u64{out.n} * out.h * out.w * out.c * element_size(dtype(out));
    if (surface_reach(out) != bytes) return w_.field("out", "must be dense; it reaches over bytes", as_i64(bytes));
    if (bytes != w_.weight().size) return w_.field("out", "must be of the size of the constant", as_i64(bytes));
    return {};
  }
  Status operator()(Tag<Op::FILL>) {
    if (Status status = integer_nhwc("out", w_.out()); !status.ok()) return status;
    const i32 most = wide_ ? 32767 : 127;
    return w_.i.C >= -most - 1 && w_.i.C <= most
               ? Status{}
               : w_.field("C", wide_ ? "must be an int16 value" : "must be an int8 value", w_.i.C);
  }

  // ---- multiply-accumulate

  Status operator()(Tag<Op::CONV2D>) { return conv(1); }
  Status operator()(Tag<Op::GCONV2D>) { return conv(conv_aux().groups); }
  Status operator()(Tag<Op::TCONV2D>) {
    const u64 phases = u64{conv_aux().stride_h} * conv_aux().stride_w * w_.out().c;
    if (phases > kMaxPhases) return w_.field("aux", "stride_h * stride_w * out.c must be at most 2^18", as_i64(phases));
    return conv(conv_aux().groups);
  }
  Status operator()(Tag<Op::DWCONV2D>) {
    const ConvAux& g = conv_aux();
    if (Status status = conv_geometry(); !status.ok()) return status;
    if (w_.in0().c != w_.out().c || g.groups != w_.out().c)
      return w_.fail("channels of in0, out and groups must be equal; groups", g.groups);
    if (!has_format(w_.weight(), Format::DW_WEIGHTS)) return w_.field("weight", "must be of format DW_WEIGHTS");
    if (w_.weight().dims[0] != w_.out().c || w_.weight().dims[1] != u32{g.kernel_h} * g.kernel_w)
      return w_.field("weight", "dims must be channels and kernel_h * kernel_w");
    return rescaled();
  }
  Status operator()(Tag<Op::MATMUL>) {
    if (Status status = typed_pair(); !status.ok()) return status;
    if (w_.in0().n != w_.out().n || w_.in0().h != 1 || w_.out().h != 1 || w_.in0().w != w_.out().w)
      return w_.fail("in0 and out must have equal n and w, and h 1");
    if (!has_format(w_.weight(), Format::CONV_WEIGHTS)) return w_.field("weight", "must be of format CONV_WEIGHTS");
    const u32* d = w_.weight().dims;
    if (d[0] != 1 || d[1] != w_.out().c || d[2] != 1 || d[3] != w_.in0().c)
      return w_.field("weight", "dims must be 1, out.c, 1, in0.c");
    return rescaled();
  }
  Status operator()(Tag<Op::MATMULD>) {
    const Surface &a = w_.in0(), &b = w_.in1(), &out = w_.out();
    if (Status status = typed_pair(); !status.ok()) return status;
    if (Status status = factor_nhwc("in1", b); !status.ok()) return status;
    const u8 transpose_b = w_.aux<MatMulAux>().transpose_b;
    if (transpose_b > 1) return w_.field("transpose_b", "must be 0 or 1", transpose_b);
    const u32 b_k = transpose_b ? b.c : b.w, b_n = transpose_b ? b.w : b.c;
    if (a.h != 1 || b.h != 1 || out.h != 1) return w_.fail("h must be 1 for in0, in1 and out");
    if (a.n != out.n || b.n != out.n || a.w != out.w || a.c != b_k || out.c != b_n)
      return w_.fail("the extents must be those of a matrix product");
    if (!whole_box()) return w_.fail("the box of a MATMULD must be the whole of out");
    if (wide_) {
      if (Status status = rq16_table(1); !status.ok()) return status;
      return prove16(0, u64{a.c} << 15);
    }
    if (!has_format(w_.table(), Format::RQ8) || w_.table().dims[0] != 1)
      return w_.field("table", "must be of format RQ8 with one entry");
    const auto span = [](i32 zero) { return static_cast<u64>(zero >= 0 ? 128 + zero : 127 - zero); };
    return prove(0, a.c * span(a.zero_point) * span(b.zero_point));
  }

  // ---- vector

  Status operator()(Tag<Op::ADD>) { return add(); }
  Status operator()(Tag<Op::SUB>) { return add(); }
  Status operator()(Tag<Op::MUL>) {
    if (Status status = binary(); !status.ok()) return status;
    return wide_ ? rq16_table(1) : scaled();  // 2^30 * 2^31 + 2^62 < 2^63
  }
  Status operator()(Tag<Op::RESCALE>) {
    if (Status status = integer_nhwc("in0", w_.in0()); !status.ok()) return status;
    if (Status status = integer_nhwc("out", w_.out()); !status.ok()) return status;
    if (!same_extents(w_.in0(), w_.out())) return w_.fail("in0 and out must have equal extents");
    if (!has_format(w_.table(), Format::RQ16)) return w_.field("table", "must be of format RQ16");
    const u32 entries = w_.table().dims[0];
    return entries == 1 || entries == w_.out().c ? Status{}
                                                 : w_.field("table", "must have 1 or out.c entries", entries);
  }
  Status operator()(Tag<Op::LUT8>) {
    if (Status status = unary(); !status.ok()) return status;
    return has_format(w_.table(), Format::LUT8) ? Status{} : w_.field("table", "must be of format LUT8");
  }
  Status operator()(Tag<Op::LUT16>) {
    if (!wide_) return w_.field("in0", "must be int16", w_.in0().dtype);
    if (Status status = unary(); !status.ok()) return status;
    if (Status status = same_type(); !status.ok()) return status;
    return has_format(w_.table(), Format::LUT16) ? Status{} : w_.field("table", "must be of format LUT16");
  }
  Status operator()(Tag<Op::SOFTMAX>) {
    if (Status status = unary(); !status.ok()) return status;
    if (w_.i.box_n != w_.out().c) return w_.field("box_n", "must be all channels", w_.i.box_n);
    if (!has_format(w_.table(), wide_ ? Format::EXP16 : Format::EXP))
      return w_.field("table", wide_ ? "must be of format EXP16" : "must be of format EXP");
    const u64 C = w_.aux<SoftmaxAux>().C;
    return C >= 1 && C < u64{1} << 62 ? Status{} : w_.field("C", "must be 1..2^62 - 1", as_i64(C));
  }
  Status operator()(Tag<Op::LAYERNORM>) { return norm(); }
  Status operator()(Tag<Op::RMSNORM>) { return norm(); }

  Status operator()(Tag<Op::MAX>) { return extreme(); }
  Status operator()(Tag<Op::MIN>) { return extreme(); }
  Status operator()(Tag<Op::CMP>) {
    if (Status status = binary(); !status.ok()) return status;
    if (!has_format(w_.table(), Format::RANKS)) return w_.field("table", "must be of format RANKS");
    const u8 relation = w_.aux<CmpAux>().relation;
    return relation <= 5 ? Status{} : w_.field("relation", "must be 0..5", relation);
  }
  Status operator()(Tag<Op::SELECT>) {
    if (Status status = int8_nhwc("out", w_.out()); !status.ok()) return status;
    if (Status status = broadcasts("in0", w_.in0()); !status.ok()) return status;
    if (Status status = broadcasts("in1", w_.in1()); !status.ok()) return status;
    if (Status status = broadcasts("in2", w_.in2()); !status.ok()) return status;
    if (Status status = equal_parameters(); !status.ok()) return status;
    return second_like_out();
  }
  Status operator()(Tag<Op::DIV>) {
    if (Status status = binary(); !status.ok()) return status;
    if (!has_format(w_.table(), Format::RATIO)) return w_.field("table", "must be of format RATIO");
    return w_.i.sh >= 1 && w_.i.sh <= 46 ? Status{} : w_.field("sh", "must be 1..46", w_.i.sh);
  }
  Status operator()(Tag<Op::REDUCE>) {
    if (Status status = typed_pair(); !status.ok()) return status;
    if (Status status = over_channels(); !status.ok()) return status;
    const u8 kind = w_.aux<ReduceAux>().kind;
    if (kind > 5) return w_.field("kind", "must be 0..5", kind);
    if (kind > 1) return scaled();
    if (w_.i.C != 0) return w_.field("C", "must be zero", w_.i.C);
    return w_.i.sh == 0 ? equal_parameters() : w_.field("sh", "must be zero", w_.i.sh);
  }
  Status operator()(Tag<Op::ARGMAX>) {
    if (Status status = int8_nhwc("in0", w_.in0()); !status.ok()) return status;
    if (dtype(w_.out()) != DType::I64) return w_.field("out", "must be int64", w_.out().dtype);
    return over_channels();
  }
  Status operator()(Tag<Op::GATHER>) {
    if (Status status = typed_pair(); !status.ok()) return status;
    if (Status status = equal_parameters(); !status.ok()) return status;
    const Surface &x = w_.in0(), &index = w_.in1(), &out = w_.out();
    if (x.n != out.n || x.h != out.h || x.c != out.c) return w_.fail("in0 and out must have equal n, h and c");
    if (region(x) == Region::In) return w_.field("in0", "only indices lie in IN");
    if (dtype(index) != DType::I32 && dtype(index) != DType::I64)
      return w_.field("in1", "must be int32 or int64", index.dtype);
    return index.n == 1 && index.h == 1 && index.w == out.w && index.c == 1
               ? Status{}
               : w_.field("in1", "extents must be 1, 1, out.w, 1");
  }

  // ---- windows

  Status operator()(Tag<Op::MAXPOOL>) {
    if (Status status = pool(); !status.ok()) return status;
    if (Status status = equal_parameters(); !status.ok()) return status;
    return every_window_has_a_tap();
  }
  Status operator()(Tag<Op::AVGPOOL>) {
    if (Status status = pool(); !status.ok()) return status;
    if (!has_format(w_.table(), wide_ ? Format::RQ16 : Format::POOL))
      return w_.field("table", wide_ ? "must be of format RQ16" : "must be of format POOL");
    const u32 taps = u32{pool_aux().kernel_h} * pool_aux().kernel_w, entries = w_.table().dims[0];
    if (entries != 1 && entries != taps) return w_.field("table", "must have 1 entry or one per tap", entries);
    if (wide_)
      if (Status status = prove_means(taps, entries); !status.ok()) return status;
    return has(w_.i, Flag::COUNT_PAD) ? Status{} : every_window_has_a_tap();
  }
  Status operator()(Tag<Op::RESIZE_NN>) { return resize(); }
  Status operator()(Tag<Op::RESIZE_BILIN>) { return resize(); }

  Status operator()(Tag<Op::GRIDSAMPLE>) {
    if (Status status = typed_pair(); !status.ok()) return status;
    if (Status status = equal_parameters(); !status.ok()) return status;
    const Surface &x = w_.in0(), &grid = w_.in1(), &out = w_.out();
    if (x.n != out.n || x.c != out.c) return w_.fail("in0 and out must have equal n and c");
    if (region(x) == Region::In) return w_.field("in0", "only coordinates lie in IN");
    if (dtype(grid) != DType::F32) return w_.field("in1", "must be float32", grid.dtype);
    if (grid.n != out.n || grid.h != out.h || grid.w != out.w || grid.c != 2)
      return w_.field("in1", "extents must be those of out, with 2 channels");
    const auto& aux = w_.aux<GridSampleAux>();
    if (aux.mode > 1) return w_.field("mode", "must be 0 or 1", aux.mode);
    if (aux.padding > 1) return w_.field("padding", "must be 0 or 1", aux.padding);
    return aux.align_corners <= 1 ? Status{} : w_.field("align_corners", "must be 0 or 1", aux.align_corners);
  }

  // ---- ports

  Status operator()(Tag<Op::QUANTIZE>) { return port_conversion(w_.in0(), w_.out(), "in0", "out"); }
  Status operator()(Tag<Op::CPUCALL>) { return check_cpu_call(w_); }
  Status operator()(Tag<Op::DEQUANTIZE>) { return port_conversion(w_.out(), w_.in0(), "out", "in0"); }

 private:
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

  Status add() const {
    if (Status status = binary(); !status.ok()) return status;
    if (wide_) return add16();
    if (w_.i.sh > 22) return w_.field("sh", "must be 0..22", w_.i.sh);
    if (w_.i.ma == -32768) return w_.field("ma", "must be within +-32767", w_.i.ma);
    if (w_.i.mb == -32768) return w_.field("mb", "must be within +-32767", w_.i.mb);
    const u64 reach = 128 * (magnitude(w_.i.ma) + magnitude(w_.i.mb)) + magnitude(w_.i.C);
    return reach < u64{1} << 31 ? Status{}
                                : w_.field("C", "the sum must be proved to fit int32; its magnitude", as_i64(reach));
  }

  Status norm() const {
    if (Status status = unary(); !status.ok()) return status;
    if (w_.i.box_n != w_.out().c) return w_.field("box_n", "must be all channels", w_.i.box_n);
    if (!has_format(w_.table(), Format::NORM) || w_.table().dims[0] != w_.out().c)
      return w_.field("table", "must be of format NORM with one entry per channel");
    if (w_.i.sh < 1 || w_.i.sh > 30) return w_.field("sh", "must be 1..30", w_.i.sh);
    const NormAux& aux = w_.aux<NormAux>();
    if (aux.eps < 1 || aux.eps >= u64{1} << 60) return w_.field("eps", "must be 1..2^60 - 1", as_i64(aux.eps));
    return aux.F <= 14 ? Status{} : w_.field("F", "must be 0..14", aux.F);
  }

  Status add16() const {
    if (Status status = rq16_table(2); !status.ok()) return status;
    const auto* e = items<Rq16Entry>(w_.table(), w_.sections);
    if (e[0].sh < 15 || e[0].sh > 45 || e[1].sh != e[0].sh)
      return w_.field("table", "both entries must have the same sh, 15..45; the first", e[0].sh);
    if (e[1].bias != 0) return w_.field("table", "the second entry must have bias 0");
    const i64 sum = i64{e[0].m} + e[1].m;
    return sum < i64{1} << 29 ? Status{} : w_.field("table", "both m together must be below 2^29; they are", sum);
  }

  Status move() const {
    if (!same_extents(w_.in0(), w_.out())) return w_.fail("in0 and out must have equal extents");
    const auto byte = [](const Surface& s) { return dtype(s) == DType::I8 || dtype(s) == DType::U8; };
    return w_.in0().dtype == w_.out().dtype || (byte(w_.in0()) && byte(w_.out()))
               ? Status{}
               : w_.fail("in0 and out must have equal types, or int8 and uint8");
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

  Status conv_geometry() const {
    if (Status status = typed_pair(); !status.ok()) return status;
    if (w_.in0().n != w_.out().n) return w_.fail("in0 and out must have equal n");
    return geometry(conv_aux());
  }

  Status conv(u32 groups) {
    if (Status status = conv_geometry(); !status.ok()) return status;
    const ConvAux& g = conv_aux();
    if (groups < 1 || g.groups != groups)
      return w_.field("groups", "must be 1 for CONV2D and at least 1 else", g.groups);
    if (w_.in0().c % groups != 0 || w_.out().c % groups != 0)
      return w_.field("groups", "must divide the channels of in0 and out", groups);
    if (groups > 1 && w_.i.box_n != w_.out().c)
      return w_.field("box_n", "must be all channels of a grouped operator", w_.i.box_n);
    if (!has_format(w_.weight(), Format::CONV_WEIGHTS)) return w_.field("weight", "must be of format CONV_WEIGHTS");
    const u32* d = w_.weight().dims;
    const u32 taps = u32{g.kernel_h} * g.kernel_w;
    if (d[0] != groups || d[1] != w_.out().c / groups || d[2] != taps || d[3] != w_.in0().c / groups)
      return w_.field("weight", "dims must be groups, out.c / groups, kernel_h * kernel_w, in0.c / groups");
    return rescaled();
  }

  Status pool() const {
    if (Status status = typed_pair(); !status.ok()) return status;
    if (w_.in0().n != w_.out().n || w_.in0().c != w_.out().c) return w_.fail("in0 and out must have equal n and c");
    return geometry(pool_aux());
  }

  Status every_window_has_a_tap() const {
    const PoolAux& g = pool_aux();
    struct Windows {
      i64 first, count, in, kernel, stride, dilation, pad;
    };
    for (const Windows& a :
         {Windows{w_.i.box_y, w_.i.box_h, w_.in0().h, g.kernel_h, g.stride_h, g.dilation_h, g.pad_top},
          Windows{w_.i.box_x, w_.i.box_w, w_.in0().w, g.kernel_w, g.stride_w, g.dilation_w, g.pad_left}})
      for (i64 o = a.first; o < a.first + a.count; ++o) {
        const i64 start = o * a.stride - a.pad;
        const i64 skipped = start < 0 ? (-start + a.dilation - 1) / a.dilation : 0;
        if (skipped >= a.kernel || start + skipped * a.dilation >= a.in)
          return w_.field("aux", "every window must have a tap inside the input; the first without", o);
      }
    return {};
  }

  Status resize() {
    if (Status status = typed_pair(); !status.ok()) return status;
    if (w_.in0().n != w_.out().n || w_.in0().c != w_.out().c) return w_.fail("in0 and out must have equal n and c");
    if (Status status = equal_parameters(); !status.ok()) return status;
    const auto& ids = w_.aux<ResizeAux>();
    if (Status status = resize_table("rows", ids.rows, w_.in0().h, w_.out().h); !status.ok()) return status;
    return resize_table("columns", ids.columns, w_.in0().w, w_.out().w);
  }

  Status resize_table(const char* name, u16 id, u32 in, u32 out) {
    const bool weighted = wide_ && w_.info.op == Op::RESIZE_BILIN;
    if (id >= w_.sections.consts.size() ||
        !has_format(w_.sections.consts[id], weighted ? Format::RESIZE16 : Format::RESIZE))
      return w_.field(name, weighted ? "must be a constant of format RESIZE16" : "must be a constant of format RESIZE",
                      id);
    const u32 entries = w_.sections.consts[id].dims[0];
    if (entries != out) return w_.field(name, "must have one entry per output row or column", entries);
    const i32 last = facts_.last_index(id);
    return last < static_cast<i32>(in) ? Status{} : w_.field(name, "source indices must lie inside in0; one", last);
  }

  Status port_conversion(const Surface& real, const Surface& quantised, const char* real_name,
                         const char* quantised_name) const {
    if (dtype(real) != DType::F32) return w_.field(real_name, "must be float32", real.dtype);
    if (Status status = integer_nhwc(quantised_name, quantised); !status.ok()) return status;
    if (!same_extents(real, quantised)) return w_.fail("in0 and out must have equal extents");
    const auto scale = static_cast<float>(quantised.scale);
    return std::isnormal(scale) && scale > 0 && static_cast<f64>(scale) == quantised.scale
               ? Status{}
               : w_.field(quantised_name, "scale must be a positive normal float32");
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

}  // namespace

Status check_operation(const Word& word, Facts& facts) { return visit(word.info.op, Rules(word, facts)); }

}  // namespace openbpu::isa::detail
