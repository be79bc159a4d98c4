// What the host can run: a set of features, and the ISA names that users may ask for.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernel.hpp"
#include "support/span.hpp"
#include "support/status.hpp"

namespace openbpu::engine {

struct IsaInfo {
  const char* name;
  kernels::Isa isa;
  bool (*available)();               // the host has it and the build holds its rows
  std::uint8_t flip;                 // how int8 is stored (kernels/kernel.hpp)
  double macs_per_nanosecond;        // of one thread in middling layers, for estimates
  double bytes_per_nanosecond;       // the same for what moves and combines bytes
  Span<const kernels::Isa> allowed;  // rows that may run under it, best first: extensions of it, itself, others
};

// Best first; the last is "scalar".
Span<const IsaInfo> isa_table();

bool host_has(kernels::Isa isa);

// "auto": the best available. An unknown or unavailable name is an error that lists the available ones.
Result<const IsaInfo*> find_isa(const std::string& name);

}  // namespace openbpu::engine
