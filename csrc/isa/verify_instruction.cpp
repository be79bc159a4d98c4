#include <cmath>
#include <cstdlib>

#include "isa/verify_detail.hpp"
#include "isa/visit.hpp"

namespace openbpu::isa::detail {
namespace {

constexpr i64 kMaxSpan = i64{1} << 30;  // coordinates derived from an output position stay int32
constexpr u64 kMaxTaps = u64{1} << 24;  // sums over a window stay far below int64

u64 magnitude(i64 value) { return static_cast<u64>(value < 0 ? -value : value); }

// Rules of one instruction; the overloads of operator() are the rules of single operations.
class Checker {
 public:
  Checker(const Instruction& instruction, const InstructionInfo& info, const Entry& entry, const Sections& sections,
          const std::string& where)
      : i_(instruction), info_(info), entry_(entry), s_(sections), where_(where) {}

  Status run() {
    if (Status status = operands(); !status.ok()) return status;
    if (Status status = unused_fields(); !status.ok()) return status;
    if (Status status = aux(); !status.ok()) return status;
    if (Status status = box(); !status.ok()) return status;
    if (Status status = overlap(); !status.ok()) return status;
    return visit(info_.op, *this);
  }

  // ---- control

  Status operator()(Tag<Op::NOP>) { return {}; }
  Status operator()(Tag<Op::END>) { return {}; }
  Status operator()(Tag<Op::TRAP>) { return {}; }
  Status operator()(Tag<Op::MARK>) { return {}; }

  // ---- moves

  Status operator()(Tag<Op::LOAD>) {
    if (region(in0()) == Region::Sram || region(out()) != Region::Sram)
      return fail("a LOAD goes from DDR, IN or CONST to SRAM");
    return move();
  }
  Status operator()(Tag<Op::STORE>) {
    if (region(in0()) != Region::Sram || region(out()) == Region::Sram)
      return fail("a STORE goes from SRAM to DDR or OUT");
    return move();
  }
  Status operator()(Tag<Op::COPY>) { return move(); }
  Status operator()(Tag<Op::LDW>) {
    if (region(out()) != Region::Sram) return field_fail("out", "an LDW goes to SRAM");
    const u64 bytes = u64{out().n} * out().h * out().w * out().c * element_size(dtype(out()));
    if (bytes != weight().size || surface_reach(out()) != bytes)
      return field_fail("out", "must be dense and of the size of the constant");
    return {};
  }
  Status operator()(Tag<Op::FILL>) {
    if (Status status = int8_nhwc("out", out()); !status.ok()) return status;
    if (i_.C < -128 || i_.C > 127) return fail("C must be an int8 value", i_.C);
    return {};
  }

  // ---- multiply-accumulate

  Status operator()(Tag<Op::CONV2D>) { return conv(1); }
  Status operator()(Tag<Op::GCONV2D>) { return conv(conv_aux().groups); }
  Status operator()(Tag<Op::TCONV2D>) { return conv(conv_aux().groups); }
  Status operator()(Tag<Op::DWCONV2D>) {
    const ConvAux& g = conv_aux();
    if (in0().c != out().c || g.groups != out().c) return fail("channels of in0, out and groups must be equal");
    if (Status status = conv_geometry(); !status.ok()) return status;
    if (!has_format(weight(), Format::DW_WEIGHTS)) return field_fail("weight", "must be of format DW_WEIGHTS");
    if (weight().dims[0] != out().c || weight().dims[1] != u32{g.kernel_h} * g.kernel_w)
      return field_fail("weight", "dims must be channels and kernel_h * kernel_w");
    return rq8(out().c);
  }
  Status operator()(Tag<Op::MATMUL>) {
    if (Status status = int8_pair(); !status.ok()) return status;
    if (in0().n != out().n || in0().h != 1 || out().h != 1 || in0().w != out().w)
      return fail("in0 and out must have equal n and w, and h 1");
    if (!has_format(weight(), Format::CONV_WEIGHTS)) return field_fail("weight", "must be of format CONV_WEIGHTS");
    const u32* d = weight().dims;
    if (d[0] != 1 || d[1] != out().c || d[2] != 1 || d[3] != in0().c)
      return field_fail("weight", "dims must be 1, out.c, 1, in0.c");
    return rq8(out().c);
  }
  Status operator()(Tag<Op::MATMULD>) {
    if (Status status = int8_pair(); !status.ok()) return status;
    if (Status status = int8_nhwc("in1", in1()); !status.ok()) return status;
    const auto& form = *reinterpret_cast<const MatMulAux*>(s_.aux.data() + i_.aux);
    if (form.transpose_b > 1) return fail("transpose_b must be 0 or 1", form.transpose_b);
    const u32 b_k = form.transpose_b ? in1().c : in1().w, b_n = form.transpose_b ? in1().w : in1().c;
    if (in0().h != 1 || in1().h != 1 || out().h != 1) return fail("h must be 1 for in0, in1 and out");
    if (in0().n != out().n || in1().n != out().n || in0().w != out().w || in0().c != b_k || out().c != b_n)
      return fail("the extents must be those of a matrix product");
    if (!whole_box()) return field_fail("box", "must be the whole of out");
    if (!has_format(table(), Format::RQ8) || table().dims[0] != 1)
      return field_fail("table", "must be RQ8 of one channel");
    const auto span = [](i32 zero) { return static_cast<u64>(zero >= 0 ? 128 + zero : 127 - zero); };
    const u64 reach = in0().c * span(in0().zero_point) * span(in1().zero_point);
    return overflow(0, reach);
  }

  // ---- vector

  Status operator()(Tag<Op::ADD>) { return add(); }
  Status operator()(Tag<Op::SUB>) { return add(); }
  Status operator()(Tag<Op::MUL>) {
    if (Status status = binary(); !status.ok()) return status;
    if (i_.C < 16384 || i_.C > 32767) return field_fail("C", "the multiplier must be 16384..32767", i_.C);
    if (i_.sh < 1 || i_.sh > 46) return field_fail("sh", "must be 1..46", i_.sh);
    return {};
  }
  Status operator()(Tag<Op::RESCALE>) {
    if (Status status = unary(); !status.ok()) return status;
    if (!has_format(table(), Format::RQ16)) return field_fail("table", "must be of format RQ16");
    if (table().dims[0] != 1 && table().dims[0] != out().c) return field_fail("table", "must have 1 or out.c entries");
    return {};
  }
  Status operator()(Tag<Op::LUT8>) {
    if (Status status = unary(); !status.ok()) return status;
    if (!has_format(table(), Format::LUT8)) return field_fail("table", "must be of format LUT8");
    return {};
  }
  Status operator()(Tag<Op::SOFTMAX>) {
    if (Status status = unary(); !status.ok()) return status;
    if (i_.box_n != out().c) return field_fail("box", "must hold all channels");
    if (!has_format(table(), Format::EXP)) return field_fail("table", "must be of format EXP");
    if (items<u16>(table(), s_)[0] != 65535) return field_fail("table", "must start with 65535");
    const u64 C = reinterpret_cast<const SoftmaxAux*>(s_.aux.data() + i_.aux)->C;
    if (C < 1 || C >= u64{1} << 62) return fail("C of the softmax must be 1..2^62 - 1");
    return {};
  }

  // ---- windows

  Status operator()(Tag<Op::MAXPOOL>) {
    if (Status status = pool(); !status.ok()) return status;
    const PoolAux& g = pool_aux();
    if (in0().zero_point != out().zero_point || in0().scale != out().scale)
      return fail("in0 and out must have equal parameters");
    if (!every_window_has_a_tap(out().h, in0().h, g.stride_h, g.dilation_h, g.kernel_h, g.pad_top) ||
        !every_window_has_a_tap(out().w, in0().w, g.stride_w, g.dilation_w, g.kernel_w, g.pad_left))
      return fail("every window must have a tap inside the input");
    return {};
  }
  Status operator()(Tag<Op::AVGPOOL>) {
    if (Status status = pool(); !status.ok()) return status;
    if (!has_format(table(), Format::POOL)) return field_fail("table", "must be of format POOL");
    const u32 taps = u32{pool_aux().kernel_h} * pool_aux().kernel_w, entries = table().dims[0];
    if (entries != 1 && entries != taps) return field_fail("table", "must have 1 entry or one per tap", entries);
    return {};
  }
  Status operator()(Tag<Op::RESIZE_NN>) { return resize(); }
  Status operator()(Tag<Op::RESIZE_BILIN>) { return resize(); }

  // ---- ports

  Status operator()(Tag<Op::QUANTIZE>) { return port_conversion(in0(), out(), "in0", "out"); }
  Status operator()(Tag<Op::DEQUANTIZE>) { return port_conversion(out(), in0(), "out", "in0"); }

 private:
  const Surface& in0() const { return s_.surfaces[i_.in0]; }
  const Surface& in1() const { return s_.surfaces[i_.in1]; }
  const Surface& out() const { return s_.surfaces[i_.out]; }
  const Const& weight() const { return s_.consts[i_.weight]; }
  const Const& table() const { return s_.consts[i_.table]; }
  const ConvAux& conv_aux() const { return *reinterpret_cast<const ConvAux*>(s_.aux.data() + i_.aux); }
  const PoolAux& pool_aux() const { return *reinterpret_cast<const PoolAux*>(s_.aux.data() + i_.aux); }
  static Region region(const Surface& s) { return static_cast<Region>(s.region); }
  static DType dtype(const Surface& s) { return static_cast<DType>(s.dtype); }
  static bool has_format(const Const& item, Format format) { return item.format == static_cast<u8>(format); }
  bool uses(Operand bit) const { return (info_.operands & bit) != 0; }

  Status fail(const char* rule) const { return illegal(where_, rule); }
  Status fail(const char* rule, i64 seen) const { return illegal(where_, rule, seen); }
  Status field_fail(const char* field, const char* rule) const { return illegal(where_ + ", field " + field, rule); }
  Status field_fail(const char* field, const char* rule, i64 seen) const {
    return illegal(where_ + ", field " + field, rule, seen);
  }

  // Ids are set exactly where the table says, and lead to surfaces that lie inside their region.
  Status operands() const {
    struct Slot {
      const char* name;
      u16 id;
      Operand bit;
      std::size_t count;
    };
    const Slot slots[] = {{"in0", i_.in0, A, s_.surfaces.size()},
                          {"in1", i_.in1, B, s_.surfaces.size()},
                          {"out", i_.out, O, s_.surfaces.size()},
                          {"weight", i_.weight, W, s_.consts.size()},
                          {"table", i_.table, T, s_.consts.size()}};
    bool ddr = false;
    for (const Slot& slot : slots) {
      if (!uses(slot.bit)) {
        if (slot.id != kNoId) return field_fail(slot.name, "must be none (65535)", slot.id);
        continue;
      }
      if (slot.id >= slot.count) return field_fail(slot.name, "must be an id of the file", slot.id);
      if (slot.bit == W || slot.bit == T) continue;
      const Surface& surface = s_.surfaces[slot.id];
      if (Status status = place(slot.name, surface, slot.bit == O); !status.ok()) return status;
      ddr = ddr || region(surface) == Region::Ddr || region(surface) == Region::In || region(surface) == Region::Out;
    }
    if (has(i_, Flag::DDR_OPERAND) != ddr)
      return field_fail("flags", "DDR_OPERAND must be set exactly if an operand lies in DDR, IN or OUT");
    return {};
  }

  Status place(const char* name, const Surface& surface, bool written) const {
    const bool caller = region(surface) == Region::In || region(surface) == Region::Out;
    u64 size = 0;
    switch (region(surface)) {
      case Region::Const:
        if (written) return field_fail(name, "CONST is never written");
        size = s_.constants.size();
        break;
      case Region::Ddr:
        size = entry_.ddr_bytes;
        break;
      case Region::Sram:
        size = entry_.sram_bytes;
        break;
      case Region::In:
      case Region::Out: {
        const bool input = region(surface) == Region::In;
        if (written == input) return field_fail(name, input ? "IN is never written" : "OUT is never read");
        if (surface.port >= (input ? entry_.inputs : entry_.outputs))
          return field_fail(name, "no such port", surface.port);
        const Port& port = s_.ports[entry_.first_port + (input ? 0 : entry_.inputs) + surface.port];
        if (surface.dtype != port.dtype) return field_fail(name, "must have the type of its port", surface.dtype);
        size = port.bytes;
        break;
      }
    }
    if (caller && info_.op != Op::COPY && info_.op != Op::LOAD && info_.op != Op::STORE && info_.op != Op::QUANTIZE &&
        info_.op != Op::DEQUANTIZE)
      return field_fail(name, "only COPY, LOAD, STORE, QUANTIZE and DEQUANTIZE access IN and OUT");
    const u64 reach = surface_reach(surface);
    if (surface.base > size || reach > size - surface.base)
      return field_fail(name, "must lie inside its region; last byte", static_cast<i64>(surface.base + reach));
    if (written && !is_injective(surface)) return field_fail(name, "elements must not share bytes");
    return {};
  }

  // Fields that the operation does not use are zero, so that later versions may give them a meaning.
  Status unused_fields() const {
    const Op op = info_.op;
    const bool is_rq8 = info_.queue == Queue::Mac, sums = op == Op::ADD || op == Op::SUB;
    const bool clamps = is_rq8 || sums || op == Op::MUL || op == Op::RESCALE || op == Op::SOFTMAX || op == Op::AVGPOOL;
    constexpr u8 known = static_cast<u8>(Flag::DDR_OPERAND) | static_cast<u8>(Flag::COUNT_PAD);
    if (i_.flags & ~known) return field_fail("flags", "unknown bits", i_.flags);
    if (has(i_, Flag::COUNT_PAD) && op != Op::AVGPOOL) return field_fail("flags", "COUNT_PAD belongs to AVGPOOL");
    if (i_.reserved0 != 0) return field_fail("reserved0", "must be zero", i_.reserved0);
    if (is_rq8 ? i_.L > 15 : i_.L != 0) return field_fail("L", is_rq8 ? "must be 0..15" : "must be zero", i_.L);
    if (!sums && op != Op::MUL && i_.sh != 0) return field_fail("sh", "must be zero", i_.sh);
    if (!sums && (i_.ma != 0 || i_.mb != 0)) return field_fail("ma", "must be zero", i_.ma);
    if (!sums && op != Op::MUL && op != Op::FILL && op != Op::TRAP && i_.C != 0)
      return field_fail("C", "must be zero", i_.C);
    if (clamps ? i_.lo < -128 || i_.hi > 127 || i_.lo > i_.hi : i_.lo != 0 || i_.hi != 0)
      return field_fail("lo", clamps ? "lo and hi must be an int8 range" : "must be zero", i_.lo);
    return {};
  }

  Status aux() const {
    const RecordInfo* record = aux_record(info_.aux);
    if (!record) return i_.aux == kNoAux ? Status{} : field_fail("aux", "must be none", i_.aux);
    if (i_.aux % 8 != 0 || i_.aux > s_.aux.size() || record->size > s_.aux.size() - i_.aux)
      return field_fail("aux", "must be a multiple of 8 with the record inside section AUX", i_.aux);
    for (u16 f = 0; f < record->field_count; ++f) {
      const FieldInfo& field = record->fields[f];
      if (std::string(field.name).rfind("reserved", 0) != 0) continue;
      const u16 end = f + 1 < record->field_count ? record->fields[f + 1].offset : record->size;
      for (u16 byte = field.offset; byte < end; ++byte)
        if (s_.aux[i_.aux + byte] != 0) return field_fail("aux", "reserved bytes must be zero");
    }
    return {};
  }

  Status box() const {
    const u32 extents[] = {i_.box_h, i_.box_w, i_.box_n}, starts[] = {i_.box_y, i_.box_x, i_.box_c};
    if (!uses(O)) {
      for (int k = 0; k < 3; ++k)
        if (extents[k] != 0 || starts[k] != 0) return field_fail("box", "must be zero without an output");
      return {};
    }
    const u32 limits[] = {out().h, out().w, out().c};
    for (int k = 0; k < 3; ++k)
      if (extents[k] < 1 || starts[k] + extents[k] > limits[k]) return field_fail("box", "must lie inside out");
    if (info_.queue == Queue::Mac && i_.box_c % 16 != 0 && i_.box_n != out().c)
      return field_fail("box_c", "must be a multiple of 16", i_.box_c);
    return {};
  }

  bool whole_box() const { return i_.box_h == out().h && i_.box_w == out().w && i_.box_n == out().c; }

  // Output and operands share no byte, but for element-wise operators that work in place.
  Status overlap() const {
    if (!uses(O)) return {};
    const Op op = info_.op;
    const bool in_place = op == Op::ADD || op == Op::SUB || op == Op::MUL || op == Op::LUT8 || op == Op::RESCALE;
    const auto clash = [&](const Surface& in) {
      const bool same = in.base == out().base && same_extents(in, out()) && in.stride_n == out().stride_n &&
                        in.stride_h == out().stride_h && in.stride_w == out().stride_w && in.stride_c == out().stride_c;
      return may_overlap(in, out()) && !(in_place && same);
    };
    if (uses(A) && clash(in0())) return field_fail("in0", "must not share bytes with out");
    if (uses(B) && clash(in1())) return field_fail("in1", "must not share bytes with out");
    return {};
  }

  Status int8_nhwc(const char* name, const Surface& s) const {
    if (dtype(s) != DType::I8) return field_fail(name, "must be int8", s.dtype);
    if (s.layout != static_cast<u8>(Layout::Nhwc)) return field_fail(name, "must be NHWC", s.layout);
    return {};
  }

  Status int8_pair() const {
    if (Status status = int8_nhwc("in0", in0()); !status.ok()) return status;
    return int8_nhwc("out", out());
  }

  Status unary() const {
    if (Status status = int8_pair(); !status.ok()) return status;
    return same_extents(in0(), out()) ? Status{} : fail("in0 and out must have equal extents");
  }

  Status binary() const {
    if (Status status = unary(); !status.ok()) return status;
    if (Status status = int8_nhwc("in1", in1()); !status.ok()) return status;
    const auto fits = [](u32 b, u32 o) { return b == o || b == 1; };
    if (!fits(in1().n, out().n) || !fits(in1().h, out().h) || !fits(in1().w, out().w) || !fits(in1().c, out().c))
      return field_fail("in1", "extents must be those of out or 1");
    return {};
  }

  Status add() const {
    if (Status status = binary(); !status.ok()) return status;
    if (i_.sh > 22) return field_fail("sh", "must be 0..22", i_.sh);
    if (i_.ma == -32768 || i_.mb == -32768) return field_fail("ma", "multipliers must be within +-32767");
    const u64 reach = 128 * (magnitude(i_.ma) + magnitude(i_.mb)) + magnitude(i_.C);
    if (reach >= u64{1} << 31) return field_fail("C", "the sum must be proved to fit int32", i_.C);
    return {};
  }

  Status move() const {
    if (!same_extents(in0(), out())) return fail("in0 and out must have equal extents");
    const auto byte = [](DType type) { return type == DType::I8 || type == DType::U8; };
    if (in0().dtype != out().dtype && !(byte(dtype(in0())) && byte(dtype(out()))))
      return fail("in0 and out must have equal types, or int8 and uint8");
    return {};
  }

  Status geometry(u32 kernel_h, u32 kernel_w, u32 stride_h, u32 stride_w, u32 dilation_h, u32 dilation_w,
                  const Surface& strided) const {
    for (u32 value : {kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w})
      if (value < 1) return fail("kernel, stride and dilation must be at least 1");
    if (u64{kernel_h} * kernel_w > kMaxTaps) return fail("a window has at most 2^24 taps");
    if (i64{strided.h} * stride_h + i64{kernel_h} * dilation_h > kMaxSpan ||
        i64{strided.w} * stride_w + i64{kernel_w} * dilation_w > kMaxSpan)
      return fail("strides and dilations are too large");
    return {};
  }

  Status conv_geometry() const {
    if (Status status = int8_pair(); !status.ok()) return status;
    if (in0().n != out().n) return fail("in0 and out must have equal n");
    const ConvAux& g = conv_aux();
    const Surface& strided = info_.op == Op::TCONV2D ? in0() : out();
    return geometry(g.kernel_h, g.kernel_w, g.stride_h, g.stride_w, g.dilation_h, g.dilation_w, strided);
  }

  Status conv(u32 groups) const {
    if (Status status = conv_geometry(); !status.ok()) return status;
    const ConvAux& g = conv_aux();
    if (groups < 1 || g.groups != groups) return fail("groups must be 1 for CONV2D and at least 1 else", g.groups);
    if (in0().c % groups != 0 || out().c % groups != 0)
      return fail("groups must divide the channels of in0 and out", groups);
    if (groups > 1 && i_.box_n != out().c) return field_fail("box", "must hold all channels of a grouped operator");
    if (!has_format(weight(), Format::CONV_WEIGHTS)) return field_fail("weight", "must be of format CONV_WEIGHTS");
    const u32* d = weight().dims;
    if (d[0] != groups || d[1] != out().c / groups || d[2] != u32{g.kernel_h} * g.kernel_w || d[3] != in0().c / groups)
      return field_fail("weight", "dims must be groups, out.c / groups, kernel_h * kernel_w, in0.c / groups");
    return rq8(out().c);
  }

  Status pool() const {
    if (Status status = int8_pair(); !status.ok()) return status;
    if (in0().n != out().n || in0().c != out().c) return fail("in0 and out must have equal n and c");
    const PoolAux& g = pool_aux();
    return geometry(g.kernel_h, g.kernel_w, g.stride_h, g.stride_w, g.dilation_h, g.dilation_w, out());
  }

  static bool every_window_has_a_tap(u32 out, u32 in, i64 stride, i64 dilation, i64 kernel, i64 pad) {
    for (i64 o = 0; o < out; ++o) {
      const i64 first = o * stride - pad;
      const i64 skipped = first < 0 ? (-first + dilation - 1) / dilation : 0;
      if (skipped >= kernel || first + skipped * dilation >= in) return false;
    }
    return true;
  }

  Status resize() const {
    if (Status status = int8_pair(); !status.ok()) return status;
    if (in0().n != out().n || in0().c != out().c) return fail("in0 and out must have equal n and c");
    if (in0().zero_point != out().zero_point || in0().scale != out().scale)
      return fail("in0 and out must have equal parameters");
    const auto& ids = *reinterpret_cast<const ResizeAux*>(s_.aux.data() + i_.aux);
    if (Status status = resize_table("rows", ids.rows, in0().h, out().h); !status.ok()) return status;
    return resize_table("columns", ids.columns, in0().w, out().w);
  }

  Status resize_table(const char* name, u16 id, u32 in, u32 out) const {
    if (id >= s_.consts.size() || !has_format(s_.consts[id], Format::RESIZE))
      return field_fail(name, "must be a constant of format RESIZE", id);
    const Const& item = s_.consts[id];
    if (item.dims[0] != out) return field_fail(name, "must have one entry per output row or column", item.dims[0]);
    for (u32 k = 0; k < out; ++k) {
      const ResizeEntry& e = items<ResizeEntry>(item, s_)[k];
      if (e.i0 >= static_cast<i32>(in) || e.i1 >= static_cast<i32>(in))
        return field_fail(name, "source indices must lie inside in0; entry", k);
    }
    return {};
  }

  Status port_conversion(const Surface& real, const Surface& quantised, const char* real_name,
                         const char* quantised_name) const {
    if (dtype(real) != DType::F32) return field_fail(real_name, "must be float32", real.dtype);
    if (Status status = int8_nhwc(quantised_name, quantised); !status.ok()) return status;
    if (!same_extents(real, quantised)) return fail("in0 and out must have equal extents");
    const auto scale = static_cast<float>(quantised.scale);
    if (!(scale > 0) || !std::isfinite(scale) || static_cast<f64>(scale) != quantised.scale)
      return field_fail(quantised_name, "scale must be a positive float32");
    return {};
  }

  // The proof that makes the order of accumulation free, for each channel.
  Status rq8(u32 channels) const {
    if (!has_format(table(), Format::RQ8) || table().dims[0] != channels)
      return field_fail("table", "must be of format RQ8 with one entry per channel");
    for (u32 c = 0; c < channels; ++c)
      if (Status status = overflow(c, weight_magnitude(weight(), s_, c) * 128); !status.ok()) return status;
    return {};
  }

  Status overflow(u32 channel, u64 reach) const {
    const u64 B = magnitude(rq8_view(table(), s_).B[channel]);
    if (reach >= u64{1} << 31 || (reach << i_.L) + B >= u64{1} << 31)
      return illegal(where_ + ", channel " + std::to_string(channel),
                     "accumulator and B must be proved to fit int32; their magnitude",
                     static_cast<i64>(reach >= u64{1} << 31 ? reach : (reach << i_.L) + B));
    return {};
  }

  const Instruction& i_;
  const InstructionInfo& info_;
  const Entry& entry_;
  const Sections& s_;
  const std::string& where_;
};

}  // namespace

Status check_instruction(const Instruction& instruction, const Entry& entry, const Sections& sections,
                         const std::string& where) {
  const InstructionInfo* info = find_instruction(instruction.op);
  if (!info) return illegal(where + ", field op", "must be an operation of the instruction set", instruction.op);
  return Checker(instruction, *info, entry, sections, where + " (" + info->name + ")").run();
}

}  // namespace openbpu::isa::detail
