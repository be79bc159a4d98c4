// Selection of a kernel row, and the step that runs it.
#pragma once

#include <atomic>
#include <new>
#include <string>
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

template <class Params>
class RowStep final : public Step {
 public:
  RowStep(const Params& params, const kernels::Row<Params>& row) : params_(params), row_(row) {
    if constexpr (kIsCheckedWhileRunning<Params>) params_.fault = &fault_;
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

  Operands operands() const override {
    if constexpr (kIsBinary<Params>)
      return {{params_.a, params_.b}, 2, params_.out};
    else if constexpr (kIsUnary<Params> || kIsFollowed<Params>)
      return {{params_.in, {}}, 1, params_.out};
    else
      return {};
  }
  bool has_regions() const override { return kIsFollowed<Params> && row_.region; }
  kernels::Region region(std::int32_t unit) const override { return row_.region(params_, unit); }
  bool is_elementwise() const override { return kIsUnary<Params> || kIsBinary<Params>; }
  void run_region(const kernels::Region& region) const override {
    if constexpr (kIsUnary<Params> || kIsBinary<Params>) {
      Params p = params_;
      p.out = part_of(p.out, region);
      if constexpr (kIsBinary<Params>) {
        p.a = part_of(p.a, region);
        p.b = part_of(p.b, region);
      } else {
        p.in = part_of(p.in, region);
      }
      row_.run(p, packed_, nullptr, 0, row_.plan(p).units);
    }
  }

  const char* failure() const override {
    constexpr const char* kWrong =
        std::is_same_v<Params, kernels::RoiResizeParams>
            ? "a region of interest does not lie in its image: left <= right and top <= bottom, the last pixels "
              "included; of images with chroma of half size, left and top even, right and bottom odd"
            : "an index lies outside its axis";
    return fault_.exchange(false, std::memory_order_relaxed) ? kWrong : nullptr;
  }

  Params& params() { return params_; }

 private:
  Params params_;
  const kernels::Row<Params>& row_;
  const std::uint8_t* packed_ = nullptr;
  mutable std::atomic<bool> fault_{false};
};

// A walk through the rows of a table: what does not depend on the operator.
class RowSearch {
 public:
  explicit RowSearch(const IsaInfo& isa) : isa_(isa) {}

  bool may_run(kernels::Isa row) const;
  // A row that may run does not take the parameters.
  void refuse(kernels::Isa row, const char* name);
  // Why the row taken is not of the ISA asked for, or "".
  std::string reason(kernels::Isa taken) const;

  static Status no_row();
  static Status no_memory();

 private:
  const IsaInfo& isa_;
  std::string refused_;  // names
};

// The first row that may run under the search's ISA and takes the parameters, or null.
template <class Params>
const kernels::Row<Params>* choose_row(const Params& params, kernels::Rows<Params> rows, RowSearch& search) {
  for (const kernels::Row<Params>& row : rows) {
    if (!search.may_run(row.isa)) continue;
    if (row.accepts(params)) return &row;
    search.refuse(row.isa, row.name);
  }
  return nullptr;
}

template <class Params>
Result<std::unique_ptr<RowStep<Params>>> make_row_step(const Params& params, kernels::Rows<Params> rows,
                                                       const IsaInfo& isa) {
  RowSearch search(isa);
  const kernels::Row<Params>* row = choose_row(params, rows, search);
  if (!row) return RowSearch::no_row();
  auto step = std::unique_ptr<RowStep<Params>>(new (std::nothrow) RowStep<Params>(params, *row));
  if (!step) return RowSearch::no_memory();
  step->reason = search.reason(row->isa);
  step->info.reason = step->reason.c_str();
  return step;
}

}  // namespace openbpu::engine
