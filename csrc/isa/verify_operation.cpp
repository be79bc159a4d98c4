#include <algorithm>
#include <cmath>

#include "isa/verify_rules.hpp"
#include "isa/visit.hpp"

namespace openbpu::isa::detail {
namespace {

// The overloads of operator() are the rules of single operations.
class Rules : private WordRules {
 public:
  Rules(const Word& word, Facts& facts) : WordRules(word, facts) {}

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
    const u64 size = w_.weight().size;
    if (w_.i.C < 0 || w_.i.C % 64 != 0) return w_.field("C", "must be a multiple of 64", w_.i.C);
    return static_cast<u64>(w_.i.C) <= size && bytes <= size - static_cast<u64>(w_.i.C)
               ? Status{}
               : w_.field("out", "must not reach past the end of the constant", as_i64(bytes));
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

  Status operator()(Tag<Op::CSC>) {
    const Surface &luma = w_.in0(), &chroma = w_.in1(), &out = w_.out();
    if (Status status = pixels("in0", luma, 1); !status.ok()) return status;
    if (Status status = pixels("in1", chroma, 2); !status.ok()) return status;
    if (Status status = integer_nhwc("out", out); !status.ok()) return status;
    if (luma.h != out.h || luma.w != out.w) return w_.field("in0", "extents must be those of out, with 1 channel");
    const bool whole = chroma.h == out.h && chroma.w == out.w, half = chroma.h * 2 == out.h && chroma.w * 2 == out.w;
    if (!whole && !half) return w_.field("in1", "rows and columns must be those of out, or half of them", chroma.h);
    if (!has_format(w_.table(), Format::CSC) || w_.table().dims[0] != out.c)
      return w_.field("table", "must be of format CSC with one entry per channel");
    if (w_.i.sh > 22) return w_.field("sh", "must be 0..22", w_.i.sh);
    const auto* entries = items<CscEntry>(w_.table(), w_.sections);
    for (u32 c = 0; dtype(out) == DType::I8 && c < out.c; ++c)
      if (entries[c].lo < -128 || entries[c].hi > 127)
        return w_.field("table", "clamps must be int8 values; channel", c);
    return {};
  }

  Status operator()(Tag<Op::ROIRESIZE>) {
    const Surface &in = w_.in0(), &roi = w_.in1(), &out = w_.out();
    if (Status status = pixels("in0", in, out.c); !status.ok()) return status;
    if (Status status = int8_nhwc("out", out); !status.ok()) return status;
    if (dtype(roi) != DType::I32) return w_.field("in1", "must be int32", roi.dtype);
    if (roi.n != out.n || roi.h != 1 || roi.w != 1 || roi.c != 4)
      return w_.field("in1", "extents must be out.n, 1, 1, 4", roi.c);
    const u8 shift = w_.aux<RoiResizeAux>().shift;
    return shift <= 1 ? Status{} : w_.field("shift", "must be 0 or 1", shift);
  }

  // ---- ports

  Status operator()(Tag<Op::QUANTIZE>) { return port_conversion(w_.in0(), w_.out(), "in0", "out"); }
  Status operator()(Tag<Op::CPUCALL>) { return check_cpu_call(w_); }
  Status operator()(Tag<Op::DEQUANTIZE>) { return port_conversion(w_.out(), w_.in0(), "out", "in0"); }

 private:
  // Bytes of a picture, at any strides.
  Status pixels(const char* name, const Surface& s, u32 channels) const {
    if (dtype(s) != DType::I8 && dtype(s) != DType::U8) return w_.field(name, "must be int8 or uint8", s.dtype);
    if (region(s) == Region::Const) return w_.field(name, "must not lie in CONST");
    return s.n == w_.out().n && s.c == channels ? Status{}
                                                : w_.field(name, "must have n of out and channels", channels);
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
    if (!has_format(w_.table(), wide_ ? Format::NORM16 : Format::NORM) || w_.table().dims[0] != w_.out().c)
      return w_.field("table", wide_ ? "must be of format NORM16 with one entry per channel"
                                     : "must be of format NORM with one entry per channel");
    if (w_.i.sh < 1 || w_.i.sh > (wide_ ? 46 : 30))
      return w_.field("sh", wide_ ? "must be 1..46" : "must be 1..30", w_.i.sh);
    const NormAux& aux = w_.aux<NormAux>();
    if (aux.eps < 1 || aux.eps >= u64{1} << 60) return w_.field("eps", "must be 1..2^60 - 1", as_i64(aux.eps));
    if (!wide_) return aux.F <= 14 ? Status{} : w_.field("F", "must be 0..14", aux.F);
    return aux.F <= 24 && u64{w_.out().c} << 2 * aux.F <= u64{1} << 58
               ? Status{}
               : w_.field("F", "must be 0..24, with out.c * 4^F at most 2^58", aux.F);
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
};

}  // namespace

Status check_operation(const Word& word, Facts& facts) { return visit(word.info.op, Rules(word, facts)); }

}  // namespace openbpu::isa::detail
