// The sub-commands that run a model.
#pragma once

#include "api/runner/options.hpp"
#include "support/status.hpp"

namespace openbpu::runner {

// Runs the model on the input files; prints times, dumps outputs.
Status infer(const Options& options);

// Runs the model again and again on options.thread_num threads, each with an engine of its own; prints latency and
// frames per second, writes the profile. SIGINT ends it early with the results so far.
Status perf(const Options& options);

// Prints what the files hold.
Status model_info(const Options& options);

}  // namespace openbpu::runner
