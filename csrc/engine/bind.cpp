// Instructions to steps: records become parameter blocks, output boxes become views with shifted pads and tables.
#include <algorithm>
#include <new>

#include "engine/step.hpp"
#include "isa/reflect.hpp"
#include "isa/visit.hpp"
#include "kernels/conv/conv.hpp"
#include "kernels/dwconv/dwconv.hpp"
#include "kernels/eltwise/eltwise.hpp"
#include "kernels/layout/layout.hpp"
#include "kernels/lut/lut.hpp"
#include "kernels/matmul/matmul.hpp"
#include "kernels/pool/pool.hpp"
#include "kernels/quantize/quantize.hpp"
#include "kernels/rescale/rescale.hpp"
#include "kernels/resize/resize.hpp"
#include "kernels/softmax/softmax.hpp"
#include "kernels/tconv/tconv.hpp"

namespace openbpu::engine {
namespace {

using isa::Op;
using isa::Tag;
using kernels::View;
using StepResult = Result<std::unique_ptr<Step>>;

// Kernels read tables of the file in place through these twins of the file's records.
static_assert(sizeof(kernels::PoolScale) == sizeof(isa::PoolEntry));
static_assert(sizeof(kernels::ResizeTap) == sizeof(isa::ResizeEntry));
static_assert(sizeof(kernels::RescaleEntry) == sizeof(isa::Rq16Entry));

template <class Params>
class RowStep final : public Step {
 public:
  RowStep(const Params& params, const kernels::Row<Params>& row) : params_(params), row_(row) {
    plan = row.plan(params_);
  }

  bool pack() {
    if (plan.packed_bytes == 0) return true;
    packed_ = AlignedBytes(plan.packed_bytes);
    if (!packed_.data()) return false;
    row_.pack(params_, packed_.data());
    return true;
  }

  void run(std::uint8_t* scratch, std::int32_t begin, std::int32_t end) const override {
    row_.run(params_, packed_.data(), scratch, begin, end);
  }

  Params& params() { return params_; }

 private:
  Params params_;
  const kernels::Row<Params>& row_;
  AlignedBytes packed_;
};

// A channel box of an RQ8 table.
kernels::Rq8 shifted(kernels::Rq8 rq, std::int32_t channel) {
  rq.B += channel;
  rq.m += channel;
  rq.s += channel;
  return rq;
}

class Binder {
 public:
  Binder(const isa::Instruction& instruction, const Memory& memory, const IsaInfo& isa)
      : i_(instruction), m_(memory), isa_(isa) {}

  StepResult operator()(Tag<Op::NOP>) { return nothing(); }
  StepResult operator()(Tag<Op::END>) { return nothing(); }
  StepResult operator()(Tag<Op::MARK>) { return nothing(); }
  StepResult operator()(Tag<Op::TRAP>) {
    return Status{Code::Illegal, "instruction TRAP", "the program stops itself with trap " + std::to_string(i_.C)};
  }

  StepResult operator()(Tag<Op::LOAD>) { return copy(); }
  StepResult operator()(Tag<Op::STORE>) { return copy(); }
  StepResult operator()(Tag<Op::COPY>) { return copy(); }
  StepResult operator()(Tag<Op::LDW>) {
    const isa::Const& item = m_.program->consts()[i_.weight];
    kernels::CopyParams p{};
    p.in = dense_row(const_cast<std::uint8_t*>(m_.program->data(item)), item.size);
    p.out = dense_row(out().data, item.size);
    p.element_size = 1;
    return choose(p, kernels::copy_rows());
  }
  StepResult operator()(Tag<Op::FILL>) {
    kernels::FillParams p{};
    p.out = out();
    p.byte = static_cast<std::uint8_t>(static_cast<std::uint8_t>(i_.C) ^ isa_.flip);
    return choose(p, kernels::fill_rows());
  }

  StepResult operator()(Tag<Op::CONV2D>) { return conv(kernels::ConvParams{}, kernels::conv_rows()); }
  StepResult operator()(Tag<Op::GCONV2D>) { return conv(kernels::ConvParams{}, kernels::conv_rows()); }
  StepResult operator()(Tag<Op::TCONV2D>) { return conv(kernels::TConvParams{}, kernels::tconv_rows()); }
  StepResult operator()(Tag<Op::DWCONV2D>) {
    kernels::DwConvParams p{};
    p.in = channels(in0());
    p.out = out();
    geometry(p);
    p.weights = weights() + std::int64_t{i_.box_c} / 16 * p.kernel_h * p.kernel_w * 16;
    p.rq = shifted(rq8(), i_.box_c);
    return choose(p, kernels::dwconv_rows());
  }
  StepResult operator()(Tag<Op::MATMUL>) {
    kernels::MatMulParams p{};
    p.in = columns(in0());
    p.out = out();
    p.weights = weights() + std::int64_t{i_.box_c} / 16 * ((p.in.c + 3) / 4) * 64;
    p.rq = shifted(rq8(), i_.box_c);
    p.flip = isa_.flip;
    return choose(p, kernels::matmul_rows());
  }
  StepResult operator()(Tag<Op::MATMULD>) {
    kernels::MatMulDParams p{};
    p.a = in0();
    p.b = view(i_.in1);
    p.out = out();
    p.transpose_b = m_.program->aux_record<isa::MatMulAux>(i_).transpose_b != 0;
    p.a_zero = surface(i_.in0).zero_point;
    p.b_zero = surface(i_.in1).zero_point;
    p.rq = rq8();
    p.flip = isa_.flip;
    return choose(p, kernels::matmuld_rows());
  }

  StepResult operator()(Tag<Op::ADD>) { return add(i_.mb); }
  StepResult operator()(Tag<Op::SUB>) { return add(i_.mb); }
  StepResult operator()(Tag<Op::MUL>) {
    kernels::MulParams p{};
    p.a = boxed(in0());
    p.b = broadcast(view(i_.in1));
    p.out = out();
    p.a_zero = surface(i_.in0).zero_point;
    p.b_zero = surface(i_.in1).zero_point;
    p.zero = surface(i_.out).zero_point;
    p.m = i_.C;
    p.sh = i_.sh;
    p.lo = i_.lo;
    p.hi = i_.hi;
    p.flip = isa_.flip;
    return choose(p, kernels::mul_rows());
  }
  StepResult operator()(Tag<Op::RESCALE>) {
    kernels::RescaleParams p{};
    p.in = boxed(in0());
    p.out = out();
    const isa::Const& table = m_.program->consts()[i_.table];
    p.entries = item<kernels::RescaleEntry>(i_.table);
    p.entry_count = table.dims[0] == 1 ? 1 : p.out.c;
    if (table.dims[0] != 1) p.entries += i_.box_c;
    p.lo = i_.lo;
    p.hi = i_.hi;
    p.flip = isa_.flip;
    return choose(p, kernels::rescale_rows());
  }
  StepResult operator()(Tag<Op::LUT8>) {
    return choose(kernels::Lut8Params{boxed(in0()), out(), item<std::int8_t>(i_.table), isa_.flip},
                  kernels::lut8_rows());
  }
  StepResult operator()(Tag<Op::SOFTMAX>) {
    kernels::SoftmaxParams p{};
    p.in = boxed(in0());
    p.out = out();
    p.exp = item<std::uint16_t>(i_.table);
    p.C = m_.program->aux_record<isa::SoftmaxAux>(i_).C;
    p.zero = surface(i_.out).zero_point;
    p.lo = i_.lo;
    p.hi = i_.hi;
    p.flip = isa_.flip;
    return choose(p, kernels::softmax_rows());
  }

  StepResult operator()(Tag<Op::MAXPOOL>) {
    return choose(kernels::MaxPoolParams{channels(in0()), out(), window(), isa_.flip}, kernels::maxpool_rows());
  }
  StepResult operator()(Tag<Op::AVGPOOL>) {
    kernels::AvgPoolParams p{};
    p.in = channels(in0());
    p.out = out();
    p.window = window();
    p.scales = item<kernels::PoolScale>(i_.table);
    p.scale_count = static_cast<std::int32_t>(m_.program->consts()[i_.table].dims[0]);
    if (isa::has(i_, isa::Flag::COUNT_PAD)) {  // one divisor for all windows
      p.scales += p.scale_count - 1;
      p.scale_count = 1;
    }
    p.in_zero = surface(i_.in0).zero_point;
    p.zero = surface(i_.out).zero_point;
    p.lo = i_.lo;
    p.hi = i_.hi;
    p.flip = isa_.flip;
    return choose(p, kernels::avgpool_rows());
  }
  StepResult operator()(Tag<Op::RESIZE_NN>) { return resize(kernels::resize_nearest_rows()); }
  StepResult operator()(Tag<Op::RESIZE_BILIN>) { return resize(kernels::resize_bilinear_rows()); }

  StepResult operator()(Tag<Op::QUANTIZE>) { return ports(surface(i_.out), kernels::quantize_rows()); }
  StepResult operator()(Tag<Op::DEQUANTIZE>) { return ports(surface(i_.in0), kernels::dequantize_rows()); }

 private:
  const isa::Surface& surface(std::uint16_t id) const { return m_.program->surfaces()[id]; }
  template <class T>
  const T* item(std::uint16_t id) const {
    return reinterpret_cast<const T*>(m_.program->data(m_.program->consts()[id]));
  }
  static StepResult nothing() { return std::unique_ptr<Step>(); }

  // A tensor of the file as kernels expect it: int8 operands of compute instructions are stored with the flip.
  std::uint8_t* constant(const isa::Surface& s) {
    auto* plain = const_cast<std::uint8_t*>(m_.program->constants().data()) + s.base;
    const auto op = static_cast<Op>(i_.op);
    const bool moved = op == Op::COPY || op == Op::LOAD;  // they flip on their own
    if (isa_.flip == 0 || moved || s.dtype != static_cast<std::uint8_t>(isa::DType::I8)) return plain;
    const std::size_t size = (s.n - std::size_t{1}) * s.stride_n + (s.h - std::size_t{1}) * s.stride_h +
                             (s.w - std::size_t{1}) * s.stride_w + s.c;
    constants_.emplace_back(size + kernels::kSlack);
    if (!constants_.back().data()) {
      out_of_memory_ = true;
      return plain;
    }
    for (std::size_t k = 0; k < size; ++k)
      constants_.back().data()[k] = static_cast<std::uint8_t>(plain[k] ^ isa_.flip);
    return constants_.back().data();
  }

  View view(std::uint16_t id) {
    const isa::Surface& s = surface(id);
    std::uint8_t* region = nullptr;  // IN and OUT: an offset until run() knows the caller's pointer
    switch (static_cast<isa::Region>(s.region)) {
      case isa::Region::Const:
        region = constant(s) - s.base;
        break;
      case isa::Region::Ddr:
        region = m_.ddr;
        break;
      case isa::Region::Sram:
        region = m_.sram;
        break;
      case isa::Region::In:
      case isa::Region::Out:
        break;
    }
    return {region + s.base,
            static_cast<std::int32_t>(s.n),
            static_cast<std::int32_t>(s.h),
            static_cast<std::int32_t>(s.w),
            static_cast<std::int32_t>(s.c),
            s.stride_n,
            s.stride_h,
            s.stride_w,
            s.stride_c};
  }

  View in0() { return view(i_.in0); }
  View out() { return boxed(view(i_.out)); }

  // The part of a view that stands under the output box.
  View boxed(View v) const {
    v.data += i_.box_y * v.sh + i_.box_x * v.sw + i_.box_c * v.sc;
    v.h = i_.box_h;
    v.w = i_.box_w;
    v.c = i_.box_n;
    return v;
  }
  View channels(View v) const {
    v.data += i_.box_c * v.sc;
    v.c = i_.box_n;
    return v;
  }
  View columns(View v) const {
    v.data += i_.box_x * v.sw;
    v.w = i_.box_w;
    return v;
  }
  View broadcast(View v) const {
    if (v.h > 1) v.data += i_.box_y * v.sh, v.h = i_.box_h;
    if (v.w > 1) v.data += i_.box_x * v.sw, v.w = i_.box_w;
    if (v.c > 1) v.data += i_.box_c * v.sc, v.c = i_.box_n;
    return v;
  }
  static View dense_row(std::uint8_t* data, std::uint64_t size) {
    const auto n = static_cast<std::int64_t>(size);
    return {data, 1, 1, 1, static_cast<std::int32_t>(size), n, n, n, 1};
  }

  const std::int8_t* weights() const { return item<std::int8_t>(i_.weight); }
  kernels::Rq8 rq8() const {
    const std::size_t padded = (m_.program->consts()[i_.table].dims[0] + std::size_t{15}) / 16 * 16;
    const auto* data = item<std::uint8_t>(i_.table);
    return {reinterpret_cast<const std::int32_t*>(data),
            reinterpret_cast<const std::int16_t*>(data + 4 * padded),
            data + 6 * padded,
            i_.L,
            i_.lo,
            i_.hi};
  }

  // Pads are the operator's own: output row 0 of the box is row box_y of the tensor.
  template <class Params>
  void geometry(Params& p) const {
    const auto& g = m_.program->aux_record<isa::ConvAux>(i_);
    p.kernel_h = g.kernel_h;
    p.kernel_w = g.kernel_w;
    p.stride_h = g.stride_h;
    p.stride_w = g.stride_w;
    p.dilation_h = g.dilation_h;
    p.dilation_w = g.dilation_w;
    p.pad_top = g.pad_top - i_.box_y * p.stride_h;
    p.pad_left = g.pad_left - i_.box_x * p.stride_w;
    p.in_zero = surface(i_.in0).zero_point;
    p.flip = isa_.flip;
  }

  template <class Params>
  StepResult conv(Params p, kernels::Rows<Params> rows) {
    p.in = in0();
    p.out = out();
    geometry(p);
    const auto& g = m_.program->aux_record<isa::ConvAux>(i_);
    if constexpr (std::is_same_v<Params, kernels::TConvParams>) {  // oy counts from the origin, not by strides
      p.pad_top = g.pad_top + i_.box_y;
      p.pad_left = g.pad_left + i_.box_x;
    }
    p.groups = static_cast<std::int32_t>(g.groups);
    const std::int64_t block = std::int64_t{p.kernel_h} * p.kernel_w * ((p.in.c / p.groups + 3) / 4) * 64;
    p.weights = weights() + i_.box_c / 16 * block;
    p.rq = shifted(rq8(), i_.box_c);
    return choose(p, rows);
  }

  StepResult add(std::int32_t mb) {
    kernels::AddParams p{};
    p.a = boxed(in0());
    p.b = broadcast(view(i_.in1));
    p.out = out();
    p.ma = i_.ma;
    p.mb = mb;
    p.C = i_.C;
    p.sh = i_.sh;
    p.lo = i_.lo;
    p.hi = i_.hi;
    p.flip = isa_.flip;
    return choose(p, kernels::add_rows());
  }

  kernels::PoolGeometry window() const {
    const auto& g = m_.program->aux_record<isa::PoolAux>(i_);
    return {g.kernel_h,
            g.kernel_w,
            g.stride_h,
            g.stride_w,
            g.dilation_h,
            g.dilation_w,
            g.pad_top - i_.box_y * g.stride_h,
            g.pad_left - i_.box_x * g.stride_w};
  }

  StepResult resize(kernels::Rows<kernels::ResizeParams> rows) {
    const auto& tables = m_.program->aux_record<isa::ResizeAux>(i_);
    kernels::ResizeParams p{};
    p.in = channels(in0());
    p.out = out();
    p.rows = item<kernels::ResizeTap>(tables.rows) + i_.box_y;
    p.columns = item<kernels::ResizeTap>(tables.columns) + i_.box_x;
    p.flip = isa_.flip;
    return choose(p, rows);
  }

  StepResult copy() {
    const auto caller = [this](std::uint16_t id) {
      return surface(id).region == static_cast<std::uint8_t>(isa::Region::In) ||
             surface(id).region == static_cast<std::uint8_t>(isa::Region::Out) ||
             surface(id).region == static_cast<std::uint8_t>(isa::Region::Const);
    };
    kernels::CopyParams p{};
    p.in = boxed(in0());
    p.out = out();
    p.element_size = static_cast<std::int32_t>(isa::element_size(static_cast<isa::DType>(surface(i_.in0).dtype)));
    // Arenas hold value ^ flip, the caller and the file plain int8.
    const bool int8 = surface(i_.in0).dtype == static_cast<std::uint8_t>(isa::DType::I8);
    p.flip = int8 && caller(i_.in0) != caller(i_.out) ? isa_.flip : std::uint8_t{0};
    return choose(p, kernels::copy_rows());
  }

  StepResult ports(const isa::Surface& quantised, kernels::Rows<kernels::QuantizeParams> rows) {
    kernels::QuantizeParams p{};
    p.in = boxed(in0());
    p.out = out();
    p.scale = static_cast<float>(quantised.scale);
    p.zero = quantised.zero_point;
    p.flip = isa_.flip;
    return choose(p, rows);
  }

  template <class Params>
  StepResult choose(const Params& params, kernels::Rows<Params> rows) {
    const auto allowed = [this](kernels::Isa isa) {
      return std::find(isa_.allowed.begin(), isa_.allowed.end(), isa) != isa_.allowed.end();
    };
    const char* reason = "";
    for (const auto& row : rows) {
      if (!allowed(row.isa)) continue;
      if (!row.accepts(params)) {
        if (row.isa == isa_.isa) reason = "the faster rows do not take these parameters";
        continue;
      }
      auto step = std::unique_ptr<RowStep<Params>>(new (std::nothrow) RowStep<Params>(params, row));
      if (!step || out_of_memory_ || !step->pack())
        return Status{Code::NoMemory, "engine", "no memory for packed weights"};
      step->info.row = row.name;
      step->info.reason = row.isa == isa_.isa ? "" : *reason ? reason : "there is no row of this ISA";
      step->constants = std::move(constants_);
      note_ports(*step);
      return std::unique_ptr<Step>(std::move(step));
    }
    return Status{Code::Internal, "engine", "no kernel row takes the instruction"};
  }

  // Views of the caller's memory are completed at run time; only parameter blocks with `in` and `out` touch it.
  template <class Params>
  void note_ports(RowStep<Params>& step) {
    if constexpr (std::is_same_v<Params, kernels::CopyParams> || std::is_same_v<Params, kernels::QuantizeParams>) {
      note(step, step.params().in, i_.in0);
      note(step, step.params().out, i_.out);
    }
  }
  void note(Step& step, View& target, std::uint16_t id) {
    if (id == isa::kNoId) return;
    const isa::Surface& s = surface(id);
    const auto region = static_cast<isa::Region>(s.region);
    if (region != isa::Region::In && region != isa::Region::Out) return;
    step.ports.push_back({&target, region, s.port, reinterpret_cast<std::uint64_t>(target.data)});
    target.data = nullptr;
  }

  const isa::Instruction& i_;
  const Memory& m_;
  const IsaInfo& isa_;
  std::vector<AlignedBytes> constants_;
  bool out_of_memory_ = false;
};

std::uint64_t surface_bytes(const isa::Surface& s) {
  return std::uint64_t{s.n} * s.h * s.w * s.c * isa::element_size(static_cast<isa::DType>(s.dtype));
}

}  // namespace

Result<std::unique_ptr<Step>> bind(const isa::Instruction& instruction, const Memory& memory, const IsaInfo& isa) {
  StepResult result = isa::visit(static_cast<Op>(instruction.op), Binder(instruction, memory, isa));
  if (!result.ok() || !result.value()) return result;
  Step& step = *result.value();
  step.info.op = static_cast<Op>(instruction.op);
  step.info.layer = instruction.layer;
  step.info.macs = isa::macs(instruction, memory.program->sections());
  for (std::uint16_t id : {instruction.in0, instruction.in1, instruction.out})
    if (id != isa::kNoId) step.info.bytes += surface_bytes(memory.program->surfaces()[id]);
  if (instruction.weight != isa::kNoId) step.info.bytes += memory.program->consts()[instruction.weight].size;
  return result;
}

}  // namespace openbpu::engine
