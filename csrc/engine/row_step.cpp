#include "engine/row_step.hpp"

#include <algorithm>

namespace openbpu::engine {

Step::Step() = default;
Step::~Step() = default;

namespace {

// Why the row taken is not of the ISA asked for, or "".
std::string why_not_own(kernels::Isa taken, const std::string& refused, const IsaInfo& isa) {
  // Extensions of the ISA stand before it.
  const auto* own = std::find(isa.allowed.begin(), isa.allowed.end(), isa.isa);
  if (std::find(isa.allowed.begin(), own + 1, taken) != own + 1) return "";
  return refused.empty() ? std::string("no row for ") + isa.name : refused + " does not take these parameters";
}

}  // namespace

kernels::View part_of(kernels::View v, const kernels::Region& r) {
  v.data += r.n * v.sn + r.y * v.sh + r.x * v.sw + r.c * v.sc;
  v.n = 1;
  v.h = r.rows;
  v.w = r.columns;
  v.c = r.channels;
  return v;
}

Result<std::unique_ptr<Step>> make_row_step(const RowTable& table, const IsaInfo& isa) {
  std::string refused;  // rows of the ISA asked for that do not take the parameters
  for (std::size_t i = 0; i < table.size; ++i) {
    const kernels::Isa row = table.isa(table, i);
    if (std::find(isa.allowed.begin(), isa.allowed.end(), row) == isa.allowed.end()) continue;
    if (!table.accepts(table, i)) {
      if (row != isa.isa) continue;
      if (!refused.empty()) refused += ", ";
      refused += table.name(table, i);
      continue;
    }
    auto step = std::unique_ptr<Step>(table.make(table, i));
    if (!step) return Status{Code::NoMemory, "engine", "no memory for a step"};
    step->reason = why_not_own(row, refused, isa);
    step->info.reason = step->reason.c_str();
    return step;
  }
  return Status{Code::Internal, "engine", "no kernel row takes the instruction"};
}

}  // namespace openbpu::engine
