#include "engine/row_step.hpp"

#include <algorithm>

namespace openbpu::engine {

Step::Step() = default;
Step::~Step() = default;

kernels::View part_of(kernels::View v, const kernels::Region& r) {
  v.data += r.n * v.sn + r.y * v.sh + r.x * v.sw + r.c * v.sc;
  v.n = 1;
  v.h = r.rows;
  v.w = r.columns;
  v.c = r.channels;
  return v;
}

bool RowSearch::may_run(kernels::Isa row) const {
  return std::find(isa_.allowed.begin(), isa_.allowed.end(), row) != isa_.allowed.end();
}

void RowSearch::refuse(kernels::Isa row, const char* name) {
  if (row != isa_.isa) return;
  if (!refused_.empty()) refused_ += ", ";
  refused_ += name;
}

std::string RowSearch::reason(kernels::Isa taken) const {
  // Extensions of the ISA stand before it.
  const auto* own = std::find(isa_.allowed.begin(), isa_.allowed.end(), isa_.isa);
  if (std::find(isa_.allowed.begin(), own + 1, taken) != own + 1) return "";
  return refused_.empty() ? std::string("no row for ") + isa_.name : refused_ + " does not take these parameters";
}

Status RowSearch::no_row() { return {Code::Internal, "engine", "no kernel row takes the instruction"}; }
Status RowSearch::no_memory() { return {Code::NoMemory, "engine", "no memory for a step"}; }

}  // namespace openbpu::engine
