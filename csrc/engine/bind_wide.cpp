// Instructions of a 16-bit form to steps.
#include "engine/operand_views.hpp"
#include "isa/visit.hpp"
#include "kernels/conv/conv.hpp"
#include "kernels/dwconv/dwconv.hpp"
#include "kernels/eltwise/eltwise.hpp"
#include "kernels/lut/lut.hpp"
#include "kernels/matmul/matmul.hpp"
#include "kernels/norm/norm.hpp"
#include "kernels/pool/pool.hpp"
#include "kernels/rescale/rescale.hpp"
#include "kernels/resize/resize.hpp"
#include "kernels/softmax/softmax.hpp"
#include "kernels/tconv/tconv.hpp"

namespace openbpu::engine {
namespace {

using isa::Tag;

// Kernels read tables in place through these twins of the file's records.
static_assert(sizeof(kernels::Rq16Entry) == sizeof(isa::Rq16Entry));
static_assert(sizeof(kernels::Resize16Tap) == sizeof(isa::Resize16Entry));

class WideBinder : private OperandViews {
  using Op = isa::Op;

 public:
  WideBinder(const isa::Instruction& instruction, const Memory& memory, const IsaInfo& isa)
      : OperandViews(instruction, memory, isa) {}

  template <isa::Op op>
  StepResult operator()(Tag<op>) {
    return Status{Code::Internal, "engine", "the instruction has no 16-bit form"};  // the verifier refuses it
  }

  StepResult operator()(Tag<Op::CONV2D>) { return conv(kernels::Conv16Params{}, kernels::conv16_rows()); }
  StepResult operator()(Tag<Op::GCONV2D>) { return conv(kernels::Conv16Params{}, kernels::conv16_rows()); }
  StepResult operator()(Tag<Op::TCONV2D>) { return conv(kernels::TConv16Params{}, kernels::tconv16_rows()); }
  StepResult operator()(Tag<Op::DWCONV2D>) {
    kernels::DwConv16Params p{};
    std::int32_t first;
    p.in = channels(window(first));
    p.out = out();
    set_window(p, m_.program->aux_record<isa::ConvAux>(i_));
    p.pad_top += first;
    p.weights = weights() + std::int64_t{i_.box_c} / 16 * p.kernel_h * p.kernel_w * 16;
    p.rq = rq16(i_.box_c);
    return choose(p, kernels::dwconv16_rows());
  }
  // A convolution with one tap over a line of pixels.
  StepResult operator()(Tag<Op::MATMUL>) {
    const View in = columns(in0());
    return choose(kernels::Conv16Params{in, out(), 1, 1, 1, 1, 1, 1, 0, 0, 1, box_weights(1, in.c), rq16(i_.box_c)},
                  kernels::conv16_rows());
  }
  StepResult operator()(Tag<Op::MATMULD>) {
    const bool transpose_b = m_.program->aux_record<isa::MatMulAux>(i_).transpose_b != 0;
    return choose(kernels::MatMulD16Params{in0(), view(i_.in1, isa::B), out(), transpose_b, rq16(0)},
                  kernels::matmuld16_rows());
  }

  StepResult operator()(Tag<Op::ADD>) { return add(1); }
  StepResult operator()(Tag<Op::SUB>) { return add(-1); }
  StepResult operator()(Tag<Op::MUL>) {
    return choose(kernels::Mul16Params{boxed(in0()), broadcast(view(i_.in1, isa::B)), out(), rq16(0)},
                  kernels::mul16_rows());
  }
  StepResult operator()(Tag<Op::RESCALE>) {
    const bool per_channel = entries() != 1;
    return choose(kernels::Rescale16Params{boxed(in0()), out(), stored(i_.in0), rq16(per_channel ? i_.box_c : 0),
                                           per_channel ? i_.box_n : 1},
                  kernels::rescale16_rows());
  }
  StepResult operator()(Tag<Op::LUT16>) {
    return choose(kernels::Lut16Params{boxed(in0()), out(), item<std::int16_t>(i_.table), knot_shift()},
                  kernels::lut16_rows());
  }
  StepResult operator()(Tag<Op::SOFTMAX>) {
    kernels::Softmax16Params p{};
    p.in = boxed(in0());
    p.out = out();
    p.exp = item<std::uint16_t>(i_.table);
    p.shift = knot_shift();
    p.C = m_.program->aux_record<isa::SoftmaxAux>(i_).C;
    p.zero = surface(i_.out).zero_point;
    p.lo = i_.lo;
    p.hi = i_.hi;
    p.stored = stored(i_.out);
    return choose(p, kernels::softmax16_rows());
  }

  StepResult operator()(Tag<Op::LAYERNORM>) { return norm(true); }
  StepResult operator()(Tag<Op::RMSNORM>) { return norm(false); }

  StepResult operator()(Tag<Op::MAXPOOL>) {
    const Windowed windowed = pool_window();
    return choose(kernels::MaxPool16Params{windowed.in, out(), windowed.geometry}, kernels::maxpool16_rows());
  }
  StepResult operator()(Tag<Op::AVGPOOL>) {
    const bool count_pad = isa::has(i_, isa::Flag::COUNT_PAD);  // one divisor for all windows
    const Windowed windowed = pool_window();
    return choose(kernels::AvgPool16Params{windowed.in, out(), windowed.geometry, rq16(count_pad ? entries() - 1 : 0),
                                           count_pad ? 1 : entries()},
                  kernels::avgpool16_rows());
  }
  StepResult operator()(Tag<Op::RESIZE_NN>) { return resize<kernels::ResizeTap>(kernels::resize_nearest16_rows()); }
  StepResult operator()(Tag<Op::RESIZE_BILIN>) {
    return resize<kernels::Resize16Tap>(kernels::resize_bilinear16_rows());
  }

  StepResult operator()(Tag<Op::GATHER>) { return gather(); }

  StepResult operator()(Tag<Op::QUANTIZE>) { return convert(surface(i_.out), kernels::quantize16_rows()); }
  StepResult operator()(Tag<Op::DEQUANTIZE>) { return convert(surface(i_.in0), kernels::dequantize16_rows()); }

 private:
  kernels::Stored stored(std::uint16_t id) const {
    return {surface(id).dtype == static_cast<std::uint8_t>(isa::DType::I16), m_.flip};
  }
  std::int32_t entries() const { return static_cast<std::int32_t>(m_.program->consts()[i_.table].dims[0]); }
  kernels::Rq16 rq16(std::int32_t first) const {
    return {item<kernels::Rq16Entry>(i_.table) + first, i_.lo, i_.hi, stored(i_.out)};
  }
  // Knots are 2^shift apart.
  std::int32_t knot_shift() const {
    std::int32_t shift = 0;
    while (((entries() - 1) << shift) < 65536) ++shift;
    return shift;
  }

  template <class Params>
  StepResult conv(Params p, kernels::Rows<Params> rows) {
    const auto& g = m_.program->aux_record<isa::ConvAux>(i_);
    std::int32_t first;
    p.in = window(first);
    p.out = out();
    set_window(p, g);
    p.pad_top += first;
    if constexpr (std::is_same_v<Params, kernels::TConv16Params>) {  // oy counts from the origin, not by strides
      p.pad_top = g.pad_top + i_.box_y - first * p.stride_h;
      p.pad_left = g.pad_left + i_.box_x;
    }
    p.groups = static_cast<std::int32_t>(g.groups);
    p.weights = box_weights(p.kernel_h * p.kernel_w, p.in.c / p.groups);
    p.rq = rq16(i_.box_c);
    return choose(p, rows);
  }

  StepResult add(std::int32_t sign) {
    const kernels::Rq16 rq = rq16(0);
    return choose(kernels::Add16Params{boxed(in0()), broadcast(view(i_.in1, isa::B)), out(), rq.entries[0].m,
                                       sign * rq.entries[1].m, rq},
                  kernels::add16_rows());
  }

  StepResult norm(bool centred) {
    const auto& aux = m_.program->aux_record<isa::NormAux>(i_);
    const auto* b = item<std::int64_t>(i_.table);
    const auto* g = reinterpret_cast<const std::int32_t*>(b + (surface(i_.out).c + 15) / 16 * 16);
    return choose(
        kernels::Norm16Params{boxed(in0()), out(), b, g, aux.eps, aux.F, i_.sh, centred, i_.lo, i_.hi, stored(i_.out)},
        kernels::norm16_rows());
  }

  template <class Tap, class Params>
  StepResult resize(kernels::Rows<Params> rows) {
    const auto& tables = m_.program->aux_record<isa::ResizeAux>(i_);
    return choose(
        Params{channels(in0()), out(), item<Tap>(tables.rows) + i_.box_y, item<Tap>(tables.columns) + i_.box_x}, rows);
  }

  StepResult convert(const isa::Surface& quantised, kernels::Rows<kernels::Quantize16Params> rows) {
    return choose(kernels::Quantize16Params{boxed(in0()), out(), static_cast<float>(quantised.scale)}, rows);
  }
};

}  // namespace

StepResult bind_wide(const isa::Instruction& instruction, const Memory& memory, const IsaInfo& isa) {
  return isa::visit(static_cast<isa::Op>(instruction.op), WideBinder(instruction, memory, isa));
}

}  // namespace openbpu::engine
