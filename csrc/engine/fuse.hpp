// Element-wise operators run with the convolution before them, unit by unit, while its results are in the cache.
//
// Every instruction still writes what the program says, to where it says: only the order of writes changes, so that
// bits stay the same as long as no view of the group overlaps what the group writes, unless it is the very same view.
#pragma once

#include <memory>
#include <vector>

#include "engine/step.hpp"

namespace openbpu::engine {

// Joins steps; what has been joined stays in `infos` with a note, and has no time of its own.
void fuse(std::vector<std::unique_ptr<Step>>& steps, std::vector<StepInfo>& infos);

}  // namespace openbpu::engine
