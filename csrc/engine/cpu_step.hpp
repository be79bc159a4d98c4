// CPUCALL as a step: operands placed, kernel found, constant operands prepared.
#pragma once

#include "engine/step.hpp"

namespace openbpu::engine {

Result<std::unique_ptr<Step>> bind_cpu_call(const isa::Instruction& instruction, const Memory& memory,
                                            const IsaInfo& isa);

}  // namespace openbpu::engine
