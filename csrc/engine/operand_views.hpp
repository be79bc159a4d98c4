// Operands of an instruction as views: regions, output boxes, constants, the caller's memory. Base of the binders.
#pragma once

#include <cstring>
#include <new>
#include <type_traits>
#include <vector>

#include "engine/row_step.hpp"
#include "isa/access.hpp"
#include "kernels/csc/csc.hpp"
#include "kernels/gather/gather.hpp"
#include "kernels/gridsample/gridsample.hpp"
#include "kernels/layout/layout.hpp"
#include "kernels/pool/pool.hpp"
#include "kernels/quantize/quantize.hpp"
#include "kernels/reduce/reduce.hpp"
#include "kernels/roiresize/roiresize.hpp"

namespace openbpu::engine {

using kernels::View;
using StepResult = Result<std::unique_ptr<Step>>;

// Operators whose operands may lie in the caller's memory.
template <class Params>
constexpr bool kMeetsCaller =
    std::is_same_v<Params, kernels::CopyParams> || std::is_same_v<Params, kernels::QuantizeParams> ||
    std::is_same_v<Params, kernels::Quantize16Params> || std::is_same_v<Params, kernels::CscParams> ||
    std::is_same_v<Params, kernels::RoiResizeParams> || std::is_same_v<Params, kernels::GatherParams> ||
    std::is_same_v<Params, kernels::GridSampleParams> || std::is_same_v<Params, kernels::ArgMaxParams>;

// A step that reads a rolling window which wraps: its rows are brought together first.
class UnrolledStep final : public Step {
 public:
  struct Row {
    const std::uint8_t* from;
    std::uint8_t* to;
    std::size_t bytes;
  };
  UnrolledStep(std::unique_ptr<Step> step, std::vector<Row> rows) : step_(std::move(step)), rows_(std::move(rows)) {
    plan = step_->plan;
    plan.units = 1;
    info = step_->info;
    ports = step_->ports;
  }
  void pack(std::uint8_t* memory) override { step_->pack(memory); }
  void run(std::uint8_t* scratch, std::int32_t, std::int32_t) const override {
    for (const Row& row : rows_) std::memcpy(row.to, row.from, row.bytes);
    step_->run(scratch, 0, step_->plan.units);
  }
  const char* failure() const override { return step_->failure(); }

 private:
  std::unique_ptr<Step> step_;
  std::vector<Row> rows_;
};

class OperandViews {
 protected:
  using Op = isa::Op;

  OperandViews(const isa::Instruction& instruction, const Memory& memory, const IsaInfo& isa)
      : i_(instruction), m_(memory), isa_(isa) {}

  const isa::Surface& surface(std::uint16_t id) const { return m_.sections->surfaces[id]; }
  template <class T>
  const T* item(std::uint16_t id) const {
    return reinterpret_cast<const T*>(m_.program->data(m_.program->consts()[id]));
  }

  // How an int8 value is stored in a surface: value ^ storage(surface). The caller and, for those that move or convert
  // its contents, the file hold int8 plain; uint8 is int8 + 128 everywhere.
  std::uint8_t storage(const isa::Surface& s) const {
    if (s.dtype == static_cast<std::uint8_t>(isa::DType::U8)) return 0x80;
    if (s.dtype != static_cast<std::uint8_t>(isa::DType::I8)) return 0;
    const auto region = static_cast<isa::Region>(s.region);
    return region == isa::Region::Ddr || region == isa::Region::Sram ? m_.flip : std::uint8_t{0};
  }
  bool reads_plain_constants() const {
    const auto op = static_cast<Op>(i_.op);
    return op == Op::COPY || op == Op::LOAD || op == Op::DEQUANTIZE || op == Op::QUANTIZE;
  }

  // The first byte of a tensor in the file. Others than those above get a copy that is stored as in the arenas.
  std::uint8_t* constant(const isa::Surface& s) {
    auto* plain = const_cast<std::uint8_t*>(m_.program->constants().data()) + s.base;
    if (m_.flip == 0 || s.dtype != static_cast<std::uint8_t>(isa::DType::I8) || reads_plain_constants()) return plain;
    const std::size_t size = (s.n - std::size_t{1}) * s.stride_n + (s.h - std::size_t{1}) * s.stride_h +
                             (s.w - std::size_t{1}) * s.stride_w + s.c;
    constants_.emplace_back(size + kernels::kSlack);
    if (!constants_.back().data()) {
      out_of_memory_ = true;
      return plain;
    }
    for (std::size_t k = 0; k < size; ++k) constants_.back().data()[k] = static_cast<std::uint8_t>(plain[k] ^ m_.flip);
    return constants_.back().data();
  }

  std::uint8_t* first_byte(const isa::Surface& s) {
    switch (static_cast<isa::Region>(s.region)) {
      case isa::Region::Const:
        return constant(s);
      case isa::Region::Ddr:
        return m_.ddr + s.base;
      case isa::Region::Sram:
        return m_.sram + s.base;
      case isa::Region::In:
      case isa::Region::Out:
      case isa::Region::Home:
        break;  // an offset until run() knows the caller's pointer
    }
    return reinterpret_cast<std::uint8_t*>(static_cast<std::uintptr_t>(s.base));
  }

  // Of a rolling surface, the rows under the box: `data` is where row 0 would be.
  View view(std::uint16_t id, isa::Operand which = isa::A) {
    const isa::Surface& s = surface(id);
    View v = plain_view(s);
    if (s.roll_h == 0) return v;
    const isa::Rows rows = which == isa::O ? isa::Rows{i_.box_y, std::uint32_t{i_.box_y} + i_.box_h}
                                           : isa::input_rows(i_, *m_.sections, which);
    const std::uint32_t first = rows.first % s.roll_h, count = rows.end - rows.first;
    advance(v, first * v.sh);
    if (first + count > s.roll_h) unroll(v, s, first, count);
    advance(v, -static_cast<std::int64_t>(rows.first) * v.sh);
    return v;
  }

  // The rows of in0 under the box alone, and the first of them; all rows of a surface that does not roll.
  View window(std::int32_t& first) {
    View v = in0();
    const isa::Surface& s = surface(i_.in0);
    first = 0;
    if (s.roll_h == 0) return v;
    const isa::Rows rows = isa::input_rows(i_, *m_.sections, isa::A);
    first = static_cast<std::int32_t>(rows.first);
    advance(v, first * v.sh);
    v.h = static_cast<std::int32_t>(rows.end - rows.first);
    return v;
  }

  View plain_view(const isa::Surface& s) {
    return {first_byte(s),
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
  View out() { return boxed(view(i_.out, isa::O)); }

  // Rows that go on at the start of a rolling buffer get one piece of memory, filled before each run.
  void unroll(View& v, const isa::Surface& s, std::uint32_t first, std::uint32_t count) {
    const std::int64_t image = count * v.sh;
    constants_.emplace_back(static_cast<std::size_t>(image * v.n) + 2 * kernels::kSlack);
    if (!constants_.back().data()) {
      out_of_memory_ = true;
      return;
    }
    std::uint8_t* target = constants_.back().data() + kernels::kSlack;
    const std::uint8_t* start = v.data - first * v.sh;
    const std::size_t bytes = (s.w - std::size_t{1}) * s.stride_w + (s.c - std::size_t{1}) * s.stride_c +
                              isa::element_size(static_cast<isa::DType>(s.dtype));
    for (std::int32_t n = 0; n < v.n; ++n)
      for (std::int64_t y = 0; y < count; ++y)
        unrolled_.push_back({start + n * v.sn + (first + y) % s.roll_h * v.sh, target + n * image + y * v.sh, bytes});
    v.data = target;
    v.sn = image;
  }

  // In integers: the address may be an offset still.
  static void advance(View& v, std::int64_t bytes) {
    v.data =
        reinterpret_cast<std::uint8_t*>(reinterpret_cast<std::uintptr_t>(v.data) + static_cast<std::uintptr_t>(bytes));
  }
  void take_rows(View& v) const { advance(v, i_.box_y * v.sh), v.h = i_.box_h; }
  void take_columns(View& v) const { advance(v, i_.box_x * v.sw), v.w = i_.box_w; }
  void take_channels(View& v) const { advance(v, i_.box_c * v.sc), v.c = i_.box_n; }

  // The part of a view that stands under the output box.
  View boxed(View v) const {
    take_rows(v);
    take_columns(v);
    take_channels(v);
    return v;
  }
  View channels(View v) const {
    take_channels(v);
    return v;
  }
  View columns(View v) const {
    take_columns(v);
    return v;
  }
  View pixels(View v) const {
    take_rows(v);
    take_columns(v);
    return v;
  }
  View broadcast(View v) const {
    if (v.h > 1) take_rows(v);
    if (v.w > 1) take_columns(v);
    if (v.c > 1) take_channels(v);
    return v;
  }
  static View dense_row(std::uint8_t* data, std::uint64_t size) {
    const auto n = static_cast<std::int64_t>(size);
    return {data, 1, 1, 1, static_cast<std::int32_t>(size), n, n, n, 1};
  }

  const std::int8_t* weights() const { return item<std::int8_t>(i_.weight); }

  // Pads are the operator's own: output row 0 of the box is row box_y of the tensor.
  template <class Params>
  void set_window(Params& p, const isa::ConvAux& g) const {
    p.kernel_h = g.kernel_h;
    p.kernel_w = g.kernel_w;
    p.stride_h = g.stride_h;
    p.stride_w = g.stride_w;
    p.dilation_h = g.dilation_h;
    p.dilation_w = g.dilation_w;
    p.pad_top = g.pad_top - i_.box_y * p.stride_h;
    p.pad_left = g.pad_left - i_.box_x * p.stride_w;
  }

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

  // The weights of a convolution from channel box_c on.
  const std::int8_t* box_weights(std::int32_t taps, std::int32_t inputs) const {
    return weights() + i_.box_c / 16 * (std::int64_t{taps} * ((inputs + 3) / 4) * 64);
  }

  // int16 has zero point 0, whose bytes are equal.
  StepResult gather() {
    kernels::GatherParams p{};
    p.in = channels(in0());
    take_rows(p.in);
    p.index = columns(view(i_.in1, isa::B));
    p.out = out();
    p.index_bytes = static_cast<std::int32_t>(isa::element_size(static_cast<isa::DType>(surface(i_.in1).dtype)));
    p.element_bytes = static_cast<std::int32_t>(isa::element_size(static_cast<isa::DType>(surface(i_.out).dtype)));
    p.zero =
        static_cast<std::uint8_t>(static_cast<std::uint8_t>(surface(i_.out).zero_point) ^ storage(surface(i_.out)));
    return choose(p, kernels::gather_rows());
  }

  // The rows and channels that the windows of a pooling read, and where the windows lie on them.
  struct Windowed {
    View in;
    kernels::PoolGeometry geometry;
  };
  Windowed pool_window() {
    const auto& g = m_.program->aux_record<isa::PoolAux>(i_);
    std::int32_t first;
    const View in = channels(window(first));
    return {in,
            {g.kernel_h, g.kernel_w, g.stride_h, g.stride_w, g.dilation_h, g.dilation_w,
             g.pad_top - i_.box_y * g.stride_h + first, g.pad_left - i_.box_x * g.stride_w}};
  }

  template <class Params>
  StepResult choose(const Params& params, kernels::Rows<Params> rows) {
    StepResult made = made_step(row_table(params, rows));
    if constexpr (kMeetsCaller<Params>) {
      if (made.ok()) note_ports(*made.value(), static_cast<RowStep<Params>&>(*made.value()).params());
    }
    return finished(std::move(made));
  }

  StepResult made_step(const RowTable& table) {
    if (out_of_memory_) return Status{Code::NoMemory, "engine", "no memory for constants"};
    StepResult made = make_row_step(table, isa_);
    if (made.ok()) made.value()->constants = std::move(constants_);
    return made;
  }

  StepResult finished(StepResult made) {
    if (!made.ok() || unrolled_.empty()) return made;
    return std::unique_ptr<Step>(new UnrolledStep(std::move(made.value()), std::move(unrolled_)));
  }

  template <class Params>
  void note_ports(Step& step, Params& params) {
    if constexpr (std::is_same_v<Params, kernels::CscParams>) {
      note_port(step, params.luma, i_.in0);
      note_port(step, params.chroma, i_.in1);
    } else if constexpr (std::is_same_v<Params, kernels::RoiResizeParams>) {
      note_port(step, params.in, i_.in0);
      note_port(step, params.roi, i_.in1);
    } else if constexpr (std::is_same_v<Params, kernels::GatherParams>) {
      note_port(step, params.index, i_.in1);
    } else if constexpr (std::is_same_v<Params, kernels::GridSampleParams>) {
      note_port(step, params.grid, i_.in1);
    } else if constexpr (std::is_same_v<Params, kernels::ArgMaxParams>) {
      note_port(step, params.out, i_.out);
    } else {
      note_port(step, params.in, i_.in0);
      note_port(step, params.out, i_.out);
    }
  }

  // Views of the caller's memory are completed at run time; until then `data` holds the offset.
  void note_port(Step& step, View& target, std::uint16_t id) {
    if (id == isa::kNoId) return;
    const isa::Surface& s = surface(id);
    const auto region = static_cast<isa::Region>(s.region);
    if (region != isa::Region::In && region != isa::Region::Out) return;
    step.ports.push_back({&target.data, region, s.port, reinterpret_cast<std::uintptr_t>(target.data)});
    target.data = nullptr;
  }

  const isa::Instruction& i_;
  const Memory& m_;
  const IsaInfo& isa_;
  std::vector<AlignedBytes> constants_;
  std::vector<UnrolledStep::Row> unrolled_;
  bool out_of_memory_ = false;
};

// The 16-bit forms (isa/wide.hpp).
StepResult bind_wide(const isa::Instruction& instruction, const Memory& memory, const IsaInfo& isa);

}  // namespace openbpu::engine
