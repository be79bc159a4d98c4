// Selection of a kernel row, and the step that runs it.
#pragma once

#include <atomic>
#include <new>
#include <type_traits>

#include "engine/step.hpp"
#include "kernels/conv/conv.hpp"
#include "kernels/dwconv/dwconv.hpp"
#include "kernels/eltwise/eltwise.hpp"
#include "kernels/gather/gather.hpp"
#include "kernels/lut/lut.hpp"
#include "kernels/matmul/matmul.hpp"
#include "kernels/roiresize/roiresize.hpp"

namespace openbpu::engine {

// The part of a view under a region.
kernels::View part_of(kernels::View v, const kernels::Region& r);

template <class Params>
constexpr bool kIsUnary = std::is_same_v<Params, kernels::Lut8Params>;
template <class Params>
constexpr bool kIsBinary = std::is_same_v<Params, kernels::AddParams> || std::is_same_v<Params, kernels::MulParams> ||
                           std::is_same_v<Params, kernels::ExtremeParams>;
template <class Params>
constexpr bool kIsFollowed =
    std::is_same_v<Params, kernels::ConvParams> || std::is_same_v<Params, kernels::DwConvParams> ||
    std::is_same_v<Params, kernels::MatMulParams>;

// Operators whose data may be wrong.
template <class Params>
constexpr bool kIsCheckedWhileRunning =
    std::is_same_v<Params, kernels::GatherParams> || std::is_same_v<Params, kernels::RoiResizeParams>;

// A kernel row with its parameters.
template <class Params>
class PlainStep : public Step {
 public:
  PlainStep(const Params& params, const kernels::Row<Params>& row) : params_(params), row_(row) {
    plan = row.plan(params_);
    info.row = row.name;
  }

  void pack(std::uint8_t* memory) override {
    packed_ = memory;
    row_.pack(params_, memory);
  }
  void run(std::uint8_t* scratch, std::int32_t begin, std::int32_t end) const override {
    row_.run(params_, packed_, scratch, begin, end);
  }

  Params& params() { return params_; }

 protected:
  Params params_;
  const kernels::Row<Params>& row_;
  const std::uint8_t* packed_ = nullptr;
};

// One that element-wise operators may follow.
template <class Params>
class FollowedStep : public PlainStep<Params> {
 public:
  using PlainStep<Params>::PlainStep;
  Operands operands() const override { return {{this->params_.in, {}}, 1, this->params_.out}; }
  bool has_regions() const override { return this->row_.region; }
  kernels::Region region(std::int32_t unit) const override { return this->row_.region(this->params_, unit); }
};

template <class Params>
class ElementwiseStep : public PlainStep<Params> {
 public:
  using PlainStep<Params>::PlainStep;
  Operands operands() const override {
    if constexpr (kIsBinary<Params>)
      return {{this->params_.a, this->params_.b}, 2, this->params_.out};
    else
      return {{this->params_.in, {}}, 1, this->params_.out};
  }
  bool is_elementwise() const override { return true; }
  void run_region(const kernels::Region& region) const override {
    Params p = this->params_;
    p.out = part_of(p.out, region);
    if constexpr (kIsBinary<Params>) {
      p.a = part_of(p.a, region);
      p.b = part_of(p.b, region);
    } else {
      p.in = part_of(p.in, region);
    }
    this->row_.run(p, this->packed_, nullptr, 0, this->row_.plan(p).units);
  }
};

template <class Params>
class CheckedStep : public PlainStep<Params> {
 public:
  CheckedStep(const Params& params, const kernels::Row<Params>& row) : PlainStep<Params>(params, row) {
    this->params_.fault = &fault_;
  }
  const char* failure() const override {
    constexpr const char* kWrong =
        std::is_same_v<Params, kernels::RoiResizeParams>
            ? "a region of interest does not lie in its image: left <= right and top <= bottom, the last pixels "
              "included; of images with chroma of half size, left and top even, right and bottom odd"
            : "an index lies outside its axis";
    return fault_.exchange(false, std::memory_order_relaxed) ? kWrong : nullptr;
  }

 private:
  mutable std::atomic<bool> fault_{false};
};

template <class Params>
using RowStep = std::conditional_t<
    kIsFollowed<Params>, FollowedStep<Params>,
    std::conditional_t<kIsUnary<Params> || kIsBinary<Params>, ElementwiseStep<Params>,
                       std::conditional_t<kIsCheckedWhileRunning<Params>, CheckedStep<Params>, PlainStep<Params>>>>;

// A table of rows and parameters for it without their type, so that choosing a row is written once for all operators.
struct RowTable {
  const void* rows;
  const void* params;
  std::size_t size;
  const char* (*name)(const RowTable&, std::size_t);
  kernels::Isa (*isa)(const RowTable&, std::size_t);
  bool (*accepts)(const RowTable&, std::size_t);
  Step* (*make)(const RowTable&, std::size_t);  // null if there is no memory

  template <class Params>
  const kernels::Row<Params>& row(std::size_t i) const {
    return static_cast<const kernels::Row<Params>*>(rows)[i];
  }
  template <class Params>
  const Params& parameters() const {
    return *static_cast<const Params*>(params);
  }
};

template <class Params>
RowTable row_table(const Params& params, kernels::Rows<Params> rows) {
  return {rows.data,
          &params,
          rows.size,
          [](const RowTable& t, std::size_t i) { return t.row<Params>(i).name; },
          [](const RowTable& t, std::size_t i) { return t.row<Params>(i).isa; },
          [](const RowTable& t, std::size_t i) { return t.row<Params>(i).accepts(t.parameters<Params>()); },
          [](const RowTable& t, std::size_t i) -> Step* {
            return new (std::nothrow) RowStep<Params>(t.parameters<Params>(), t.row<Params>(i));
          }};
}

// The step of the first row that may run under the ISA and takes the parameters.
Result<std::unique_ptr<Step>> make_row_step(const RowTable& table, const IsaInfo& isa);

}  // namespace openbpu::engine
