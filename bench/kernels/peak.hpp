// What the instructions of an ISA can do from registers: the ceiling beside every result.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::bench {

// int8 products per second of one core, in 1e9, measured now; 0 if the host lacks the ISA or it has no such ceiling.
double peak_gmacs(kernels::Isa isa);

bool host_runs(kernels::Isa isa);

}  // namespace openbpu::bench
