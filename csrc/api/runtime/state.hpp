// What stands behind a public engine.
#pragma once

#include <memory>

#include "engine/engine.hpp"
#include "openbpu/engine.hpp"

namespace openbpu::runtime {

struct Engine::State {
  Program program;
  std::unique_ptr<engine::Engine> engine;
  Span<const Port> inputs, outputs;

  Status run(Span<const void* const> from, Span<void* const> to, const RunOptions& options);
};

}  // namespace openbpu::runtime
