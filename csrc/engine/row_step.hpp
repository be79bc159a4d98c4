// Selection of a kernel row, and the step that runs it.
#pragma once

#include <algorithm>
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
inline kernels::View part_of(kernels::View v, const kernels::Region& r) {
  v.data += r.n * v.sn + r.y * v.sh + r.x * v.sw + r.c * v.sc;
  v.n = 1;
  v.h = r.rows;
  v.w = r.columns;
  v.c = r.channels;
  return v;
}

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

template <class Params>
struct Choice {
  const kernels::Row<Params>* row;  // null if none takes the parameters
  std::string reason;               // why the row is not of the ISA asked for, or ""
};

// Whether a row is of the ISA or of an extension of it.
inline bool is_own(kernels::Isa row, const IsaInfo& isa) {
  const auto* own = std::find(isa.allowed.begin(), isa.allowed.end(), isa.isa);
  return std::find(isa.allowed.begin(), own + 1, row) != own + 1;
}

// The first row that may run under `isa` and takes the parameters.
template <class Params>
Choice<Params> choose_row(const Params& params, kernels::Rows<Params> rows, const IsaInfo& isa) {
  std::string refused;
  for (const kernels::Row<Params>& row : rows) {
    if (std::find(isa.allowed.begin(), isa.allowed.end(), row.isa) == isa.allowed.end()) continue;
    if (row.accepts(params)) {
      if (is_own(row.isa, isa)) return {&row, ""};
      return {&row,
              refused.empty() ? std::string("no row for ") + isa.name : refused + " does not take these parameters"};
    }
    if (row.isa == isa.isa) refused += (refused.empty() ? "" : ", ") + std::string(row.name);
  }
  return {nullptr, ""};
}

template <class Params>
Result<std::unique_ptr<RowStep<Params>>> make_row_step(const Params& params, kernels::Rows<Params> rows,
                                                       const IsaInfo& isa) {
  Choice<Params> choice = choose_row(params, rows, isa);
  if (!choice.row) return Status{Code::Internal, "engine", "no kernel row takes the instruction"};
  auto step = std::unique_ptr<RowStep<Params>>(new (std::nothrow) RowStep<Params>(params, *choice.row));
  if (!step) return Status{Code::NoMemory, "engine", "no memory for a step"};
  step->reason = std::move(choice.reason);
  step->info.reason = step->reason.c_str();
  return step;
}

}  // namespace openbpu::engine
