// Instructions to steps: records become parameter blocks, output boxes become views with shifted pads and tables.
#include "engine/cpu_step.hpp"
#include "engine/operand_views.hpp"
#include "isa/visit.hpp"
#include "isa/wide.hpp"
#include "kernels/conv/conv.hpp"
#include "kernels/csc/csc.hpp"
#include "kernels/dwconv/dwconv.hpp"
#include "kernels/eltwise/eltwise.hpp"
#include "kernels/gather/gather.hpp"
#include "kernels/gridsample/gridsample.hpp"
#include "kernels/lut/lut.hpp"
#include "kernels/matmul/matmul.hpp"
#include "kernels/norm/norm.hpp"
#include "kernels/reduce/reduce.hpp"
#include "kernels/rescale/rescale.hpp"
#include "kernels/resize/resize.hpp"
#include "kernels/select/select.hpp"
#include "kernels/softmax/softmax.hpp"
#include "kernels/tconv/tconv.hpp"

namespace openbpu::engine {
namespace {

using isa::Op;
using isa::Tag;

// Kernels read tables of the file in place through these twins of the file's records.
static_assert(sizeof(kernels::PoolScale) == sizeof(isa::PoolEntry));
static_assert(sizeof(kernels::ResizeTap) == sizeof(isa::ResizeEntry));
static_assert(sizeof(kernels::Rq16Entry) == sizeof(isa::Rq16Entry));
static_assert(sizeof(kernels::CscEntry) == sizeof(isa::CscEntry));

// A program that stops itself; the engine reports it.
class TrapStep final : public Step {
 public:
  explicit TrapStep(std::int32_t number) {
    info.row = "trap";
    info.reason = "";
    stops = true;
    trap = number;
  }
  void run(std::uint8_t*, std::int32_t, std::int32_t) const override {}
};

// A channel box of an RQ8 table.
kernels::Rq8 shifted(kernels::Rq8 rq, std::int32_t channel) {
  rq.B += channel;
  rq.m += channel;
  rq.s += channel;
  return rq;
}

class Binder : private OperandViews {
 public:
  Binder(const isa::Instruction& instruction, const Memory& memory, const IsaInfo& isa)
      : OperandViews(instruction, memory, isa) {}

  StepResult operator()(Tag<Op::NOP>) { return nothing(); }
  StepResult operator()(Tag<Op::END>) { return nothing(); }
  StepResult operator()(Tag<Op::MARK>) { return nothing(); }
  StepResult operator()(Tag<Op::TRAP>) { return std::unique_ptr<Step>(new TrapStep(i_.C)); }

  StepResult operator()(Tag<Op::LOAD>) { return copy(); }
  StepResult operator()(Tag<Op::STORE>) { return copy(); }
  StepResult operator()(Tag<Op::COPY>) { return copy(); }
  StepResult operator()(Tag<Op::LDW>) {
    const isa::Const& item = m_.program->consts()[i_.weight];
    kernels::CopyParams p{};
    const isa::Surface& s = surface(i_.out);
    const std::uint64_t bytes =
        std::uint64_t{s.n} * s.h * s.w * s.c * isa::element_size(static_cast<isa::DType>(s.dtype));
    p.in = dense_row(const_cast<std::uint8_t*>(m_.program->data(item)) + i_.C, bytes);
    p.out = dense_row(view(i_.out, isa::O).data, bytes);
    if (surface(i_.out).dtype == static_cast<std::uint8_t>(isa::DType::I8)) p.flip = storage(surface(i_.out));
    p.element_size = 1;
    return choose(p, kernels::copy_rows());
  }
  StepResult operator()(Tag<Op::FILL>) {
    kernels::FillParams p{};
    p.out = out();
    const bool wide = surface(i_.out).dtype == static_cast<std::uint8_t>(isa::DType::I16);
    p.element_size = wide ? 2 : 1;
    p.value = static_cast<std::uint16_t>(wide ? i_.C : static_cast<std::uint8_t>(i_.C) ^ m_.flip);
    return choose(p, kernels::fill_rows());
  }

  StepResult operator()(Tag<Op::CONV2D>) { return conv(kernels::ConvParams{}, kernels::conv_rows()); }
  StepResult operator()(Tag<Op::GCONV2D>) { return conv(kernels::ConvParams{}, kernels::conv_rows()); }
  StepResult operator()(Tag<Op::TCONV2D>) { return conv(kernels::TConvParams{}, kernels::tconv_rows()); }
  StepResult operator()(Tag<Op::DWCONV2D>) {
    kernels::DwConvParams p{};
    p.out = out();
    geometry(p);
    p.in = channels(p.in);
    p.weights = weights() + std::int64_t{i_.box_c} / 16 * p.kernel_h * p.kernel_w * 16;
    p.rq = shifted(rq8(), i_.box_c);
    return choose(p, kernels::dwconv_rows());
  }
  StepResult operator()(Tag<Op::MATMUL>) {
    kernels::MatMulParams p{};
    p.in = columns(in0());
    p.out = out();
    p.weights = box_weights(1, p.in.c);
    p.rq = shifted(rq8(), i_.box_c);
    p.flip = m_.flip;
    return choose(p, kernels::matmul_rows());
  }
  StepResult operator()(Tag<Op::MATMULD>) {
    kernels::MatMulDParams p{};
    p.a = in0();
    p.b = view(i_.in1, isa::B);
    p.out = out();
    p.transpose_b = m_.program->aux_record<isa::MatMulAux>(i_).transpose_b != 0;
    p.a_zero = surface(i_.in0).zero_point;
    p.b_zero = surface(i_.in1).zero_point;
    p.rq = rq8();
    p.flip = m_.flip;
    return choose(p, kernels::matmuld_rows());
  }

  StepResult operator()(Tag<Op::ADD>) { return add(); }
  StepResult operator()(Tag<Op::SUB>) { return add(); }
  StepResult operator()(Tag<Op::MUL>) {
    kernels::MulParams p{};
    set_pair(p);
    p.a_zero = surface(i_.in0).zero_point;
    p.b_zero = surface(i_.in1).zero_point;
    p.zero = surface(i_.out).zero_point;
    p.m = i_.C;
    p.sh = i_.sh;
    set_limits(p);
    return choose(p, kernels::mul_rows());
  }
  StepResult operator()(Tag<Op::RESCALE>) {
    kernels::RescaleParams p{};
    p.in = boxed(in0());
    p.out = out();
    const isa::Const& table = m_.program->consts()[i_.table];
    p.entries = item<kernels::Rq16Entry>(i_.table);
    p.entry_count = table.dims[0] == 1 ? 1 : p.out.c;
    if (table.dims[0] != 1) p.entries += i_.box_c;
    set_limits(p);
    return choose(p, kernels::rescale_rows());
  }
  StepResult operator()(Tag<Op::LUT8>) {
    return choose(kernels::Lut8Params{boxed(in0()), out(), item<std::int8_t>(i_.table), m_.flip}, kernels::lut8_rows());
  }
  StepResult operator()(Tag<Op::LUT16>) { return bind_wide(i_, m_, isa_); }
  StepResult operator()(Tag<Op::SOFTMAX>) {
    kernels::SoftmaxParams p{};
    p.in = boxed(in0());
    p.out = out();
    p.exp = item<std::uint16_t>(i_.table);
    p.C = m_.program->aux_record<isa::SoftmaxAux>(i_).C;
    p.zero = surface(i_.out).zero_point;
    set_limits(p);
    return choose(p, kernels::softmax_rows());
  }
  StepResult operator()(Tag<Op::LAYERNORM>) { return norm(true); }
  StepResult operator()(Tag<Op::RMSNORM>) { return norm(false); }

  StepResult operator()(Tag<Op::MAX>) { return extreme(true); }
  StepResult operator()(Tag<Op::MIN>) { return extreme(false); }
  StepResult operator()(Tag<Op::CMP>) {
    const auto relation = static_cast<kernels::Relation>(m_.program->aux_record<isa::CmpAux>(i_).relation);
    return choose(kernels::CmpParams{boxed(in0()), broadcast(view(i_.in1, isa::B)), out(), item<std::int16_t>(i_.table),
                                     relation, m_.flip},
                  kernels::cmp_rows());
  }
  StepResult operator()(Tag<Op::SELECT>) {
    return choose(kernels::SelectParams{broadcast(in0()), broadcast(view(i_.in1, isa::B)),
                                        broadcast(view(i_.in2, isa::M)), out(), m_.flip},
                  kernels::select_rows());
  }
  StepResult operator()(Tag<Op::DIV>) {
    kernels::DivParams p{};
    set_pair(p);
    p.ratio = item<std::int64_t>(i_.table);
    p.a_zero = surface(i_.in0).zero_point;
    p.zero = surface(i_.out).zero_point;
    p.sh = i_.sh;
    set_limits(p);
    return choose(p, kernels::div_rows());
  }
  StepResult operator()(Tag<Op::REDUCE>) {
    kernels::ReduceParams p{};
    p.in = pixels(in0());
    p.out = out();
    p.kind = static_cast<kernels::Reduction>(m_.program->aux_record<isa::ReduceAux>(i_).kind);
    p.in_zero = surface(i_.in0).zero_point;
    p.zero = surface(i_.out).zero_point;
    p.m = i_.C;
    p.sh = i_.sh;
    set_limits(p);
    return choose(p, kernels::reduce_rows());
  }
  StepResult operator()(Tag<Op::ARGMAX>) {
    return choose(kernels::ArgMaxParams{pixels(in0()), out(), m_.flip}, kernels::argmax_rows());
  }
  StepResult operator()(Tag<Op::GATHER>) { return gather(); }

  StepResult operator()(Tag<Op::GRIDSAMPLE>) {
    const auto& aux = m_.program->aux_record<isa::GridSampleAux>(i_);
    kernels::GridSampleParams p{};
    p.in = channels(in0());
    p.grid = pixels(view(i_.in1, isa::B));
    p.out = out();
    p.nearest = aux.mode == 1;
    p.border = aux.padding == 1;
    p.align_corners = aux.align_corners == 1;
    p.zero = surface(i_.in0).zero_point;
    p.flip = m_.flip;
    return choose(p, kernels::gridsample_rows());
  }

  StepResult operator()(Tag<Op::CSC>) {
    const isa::Surface &luma = surface(i_.in0), &chroma = surface(i_.in1), &result = surface(i_.out);
    kernels::CscParams p{};
    p.luma = pixels(in0());
    p.chroma = view(i_.in1);
    p.out = out();
    p.entries = item<kernels::CscEntry>(i_.table) + i_.box_c;
    p.sh = i_.sh;
    p.half = chroma.h < result.h || chroma.w < result.w ? 1 : 0;
    p.y = i_.box_y;
    p.x = i_.box_x;
    p.packed = p.half == 0 && luma.region == chroma.region && luma.port == chroma.port &&
               luma.base + 1 == chroma.base && luma.stride_n == chroma.stride_n && luma.stride_h == chroma.stride_h &&
               luma.stride_w == chroma.stride_w && chroma.stride_c == 1;
    p.luma_flip = storage(luma);
    p.chroma_flip = storage(chroma);
    p.stored = {result.dtype == static_cast<std::uint8_t>(isa::DType::I16), m_.flip};
    return choose(p, kernels::csc_rows());
  }

  StepResult operator()(Tag<Op::ROIRESIZE>) {
    const isa::Surface& result = surface(i_.out);
    kernels::RoiResizeParams p{};
    p.in = channels(in0());
    p.roi = view(i_.in1);
    p.out = out();
    p.height = static_cast<std::int32_t>(result.h);
    p.width = static_cast<std::int32_t>(result.w);
    p.y = i_.box_y;
    p.x = i_.box_x;
    p.shift = m_.program->aux_record<isa::RoiResizeAux>(i_).shift;
    p.in_flip = storage(surface(i_.in0));
    p.out_flip = m_.flip;
    return choose(p, kernels::roiresize_rows());
  }

  StepResult operator()(Tag<Op::MAXPOOL>) {
    const Windowed windowed = pool_window();
    return choose(kernels::MaxPoolParams{windowed.in, out(), windowed.geometry, m_.flip}, kernels::maxpool_rows());
  }
  StepResult operator()(Tag<Op::AVGPOOL>) {
    kernels::AvgPoolParams p{};
    const Windowed windowed = pool_window();
    p.in = windowed.in;
    p.out = out();
    p.window = windowed.geometry;
    p.scales = item<kernels::PoolScale>(i_.table);
    p.scale_count = static_cast<std::int32_t>(m_.program->consts()[i_.table].dims[0]);
    if (isa::has(i_, isa::Flag::COUNT_PAD)) {  // one divisor for all windows
      p.scales += p.scale_count - 1;
      p.scale_count = 1;
    }
    p.in_zero = surface(i_.in0).zero_point;
    p.zero = surface(i_.out).zero_point;
    set_limits(p);
    return choose(p, kernels::avgpool_rows());
  }
  StepResult operator()(Tag<Op::RESIZE_NN>) { return resize(kernels::resize_nearest_rows()); }
  StepResult operator()(Tag<Op::RESIZE_BILIN>) { return resize(kernels::resize_bilinear_rows()); }

  StepResult operator()(Tag<Op::CPUCALL>) { return bind_cpu_call(i_, m_, isa_); }
  StepResult operator()(Tag<Op::QUANTIZE>) { return convert(surface(i_.out), kernels::quantize_rows()); }
  StepResult operator()(Tag<Op::DEQUANTIZE>) { return convert(surface(i_.in0), kernels::dequantize_rows()); }

 private:
  // Two operands of which the second may repeat, and the result.
  template <class Params>
  void set_pair(Params& p) {
    p.a = boxed(in0());
    p.b = broadcast(view(i_.in1, isa::B));
    p.out = out();
  }
  template <class Params>
  void set_limits(Params& p) const {
    p.lo = i_.lo;
    p.hi = i_.hi;
    p.flip = m_.flip;
  }

  static StepResult nothing() { return std::unique_ptr<Step>(); }

  template <class Params>
  void geometry(Params& p) {
    const auto& g = m_.program->aux_record<isa::ConvAux>(i_);
    std::int32_t first;
    p.in = window(first);
    set_window(p, g);
    p.pad_top += first;
    p.in_zero = surface(i_.in0).zero_point;
    p.flip = m_.flip;
  }

  template <class Params>
  StepResult conv(Params p, kernels::Rows<Params> rows) {
    p.out = out();
    geometry(p);
    const auto& g = m_.program->aux_record<isa::ConvAux>(i_);
    if constexpr (std::is_same_v<Params, kernels::TConvParams>) {  // oy counts from the origin, not by strides
      std::int32_t first;
      p.in = window(first);
      p.pad_top = g.pad_top + i_.box_y - first * p.stride_h;
      p.pad_left = g.pad_left + i_.box_x;
    }
    p.groups = static_cast<std::int32_t>(g.groups);
    p.weights = box_weights(p.kernel_h * p.kernel_w, p.in.c / p.groups);
    p.rq = shifted(rq8(), i_.box_c);
    return choose(p, rows);
  }

  StepResult add() {
    kernels::AddParams p{};
    set_pair(p);
    p.ma = i_.ma;
    p.mb = i_.mb;
    p.C = i_.C;
    p.sh = i_.sh;
    set_limits(p);
    return choose(p, kernels::add_rows());
  }

  StepResult norm(bool centred) {
    const auto& aux = m_.program->aux_record<isa::NormAux>(i_);
    kernels::NormParams p{};
    p.in = boxed(in0());
    p.out = out();
    p.b = item<std::int32_t>(i_.table);
    p.g = reinterpret_cast<const std::int16_t*>(p.b + (p.out.c + 15) / 16 * 16);
    p.eps = aux.eps;
    p.F = aux.F;
    p.sh = i_.sh;
    p.centred = centred;
    p.in_zero = surface(i_.in0).zero_point;
    set_limits(p);
    return choose(p, kernels::norm_rows());
  }

  StepResult extreme(bool largest) {
    return choose(
        kernels::ExtremeParams{boxed(in0()), broadcast(view(i_.in1, isa::B)), out(), largest, i_.lo, i_.hi, m_.flip},
        kernels::extreme_rows());
  }

  StepResult resize(kernels::Rows<kernels::ResizeParams> rows) {
    const auto& tables = m_.program->aux_record<isa::ResizeAux>(i_);
    kernels::ResizeParams p{};
    p.in = channels(in0());
    p.out = out();
    p.rows = item<kernels::ResizeTap>(tables.rows) + i_.box_y;
    p.columns = item<kernels::ResizeTap>(tables.columns) + i_.box_x;
    p.flip = m_.flip;
    return choose(p, rows);
  }

  StepResult copy() {
    kernels::CopyParams p{};
    p.in = boxed(in0());
    p.out = out();
    p.element_size = static_cast<std::int32_t>(isa::element_size(static_cast<isa::DType>(surface(i_.in0).dtype)));
    p.flip = static_cast<std::uint8_t>(storage(surface(i_.in0)) ^ storage(surface(i_.out)));
    return choose(p, kernels::copy_rows());
  }

  StepResult convert(const isa::Surface& quantised, kernels::Rows<kernels::QuantizeParams> rows) {
    kernels::QuantizeParams p{};
    p.in = boxed(in0());
    p.out = out();
    p.scale = static_cast<float>(quantised.scale);
    p.zero = quantised.zero_point;
    p.flip = storage(quantised);
    return choose(p, rows);
  }
};

std::uint64_t surface_bytes(const isa::Surface& s) {
  return std::uint64_t{s.n} * s.h * s.w * s.c * isa::element_size(static_cast<isa::DType>(s.dtype));
}

// Operands once: the output box, that share of the input rows, that share of the weights.
std::uint64_t traffic(const isa::Instruction& i, const isa::Sections& program) {
  if (i.out == isa::kNoId) return 0;
  const isa::Surface& out = program.surfaces[i.out];
  std::uint64_t bytes = surface_bytes(out) / (std::uint64_t{out.h} * out.w * out.c) * i.box_h * i.box_w * i.box_n;
  for (std::uint16_t id : {i.in0, i.in1})
    if (id != isa::kNoId) bytes += surface_bytes(program.surfaces[id]) * i.box_h / out.h;
  if (static_cast<Op>(i.op) == Op::SELECT) bytes += surface_bytes(program.surfaces[i.in2]) * i.box_h / out.h;
  if (i.weight != isa::kNoId) bytes += program.consts[i.weight].size * i.box_n / out.c;
  return bytes;
}

}  // namespace

Result<std::unique_ptr<Step>> bind(const isa::Instruction& instruction, const Memory& memory, const IsaInfo& isa) {
  const auto op = static_cast<Op>(instruction.op);
  const bool wide = op != Op::FILL && isa::is_wide(instruction, memory.sections->surfaces);
  StepResult result = wide ? bind_wide(instruction, memory, isa) : isa::visit(op, Binder(instruction, memory, isa));
  if (!result.ok() || !result.value()) return result;
  StepInfo& info = result.value()->info;
  info.op = static_cast<Op>(instruction.op);
  info.layer = instruction.layer;
  info.macs = isa::macs(instruction, *memory.sections);
  if (info.op != Op::CPUCALL) info.bytes = traffic(instruction, *memory.sections);
  return result;
}

}  // namespace openbpu::engine
