// The C++ library: Program -> Engine -> run, and tasks.
#pragma once

#include "openbpu/engine.hpp"
#include "openbpu/program.hpp"
#include "openbpu/status.hpp"
#include "openbpu/task.hpp"
#include "openbpu/version.hpp"
