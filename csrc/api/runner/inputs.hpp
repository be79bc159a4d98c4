// Input files, or random data, to the bytes of input ports.
#pragma once

#include <cstdint>
#include <vector>

#include "api/runner/options.hpp"
#include "api/runner/tensor.hpp"
#include "support/status.hpp"

namespace openbpu::runner {

using Buffers = std::vector<std::vector<std::uint8_t>>;

// One buffer per port, dense and row major, from options.input_file as options.input_stride says; from seeded random
// numbers if there are no files. Nothing is converted: type, shape and size must be the port's. Errors name input and
// file.
Result<Buffers> load_inputs(const Options& options, const std::vector<Tensor>& ports);

}  // namespace openbpu::runner
