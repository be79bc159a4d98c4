// Selection of a kernel row, and the step that runs it.
#pragma once

#include <algorithm>
#include <new>

#include "engine/step.hpp"

namespace openbpu::engine {

template <class Params>
class RowStep final : public Step {
 public:
  RowStep(const Params& params, const kernels::Row<Params>& row) : params_(params), row_(row) {
    plan = row.plan(params_);
    info.row = row.name;
  }

  // False if there is no memory.
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
  if (!step || !step->pack()) return Status{Code::NoMemory, "engine", "no memory for packed weights"};
  step->reason = std::move(choice.reason);
  step->info.reason = step->reason.c_str();
  return step;
}

}  // namespace openbpu::engine
