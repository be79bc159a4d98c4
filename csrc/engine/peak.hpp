// What the dot-product instructions of an ISA can do from registers: the ceiling beside every result.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::engine {

// int8 products per second of one core, in 1e9, measured now (well under a millisecond of work); 0 if the host lacks
// the ISA or it has no such instructions.
double peak_gmacs(kernels::Isa isa);

}  // namespace openbpu::engine
