// Outputs, and the values between, to files.
#pragma once

#include <vector>

#include "api/runner/inputs.hpp"
#include "api/runner/model.hpp"
#include "api/runner/options.hpp"
#include "api/runner/tensor.hpp"
#include "support/status.hpp"

namespace openbpu::runner {

// Checks the dump options and makes the folder, before anything has run.
Status prepare_dump(const Options& options, const std::vector<Tensor>& outputs);

// Writes one file per output, model_infer_output_<index>_<name>.<format>, each whole or not at all; the names of the
// files go to stdout.
Status dump_outputs(const Options& options, const std::vector<Tensor>& outputs, const Buffers& buffers);

// Runs once more and writes what each instruction writes: instruction_<index>_<operation>.bin, and .txt for
// options.dump_intermediate above 1.
Status dump_values(const Options& options, Worker& worker, const Buffers& inputs);

// Prints the five largest elements of each output with their positions.
void print_best_classes(const std::vector<Tensor>& outputs, const Buffers& buffers);

}  // namespace openbpu::runner
