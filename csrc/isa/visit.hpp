// Dispatch on the operation code with the operation as a type: a handler without an overload for each instruction of
// instructions.def does not compile.
#pragma once

#include "isa/isa.hpp"

namespace openbpu::isa {

template <Op op>
using Tag = std::integral_constant<Op, op>;

// Calls handler(Tag<op>{}, arguments...). The operation must be one of the table (the verifier checks files).
template <class Handler, class... Arguments>
auto visit(Op op, Handler&& handler, Arguments&&... arguments) {
  switch (op) {
#define INSTRUCTION(name, opcode, queue, operands, aux, summary) \
  case Op::name:                                                 \
    return handler(Tag<Op::name>{}, arguments...);
#include "isa/instructions.def"
#undef INSTRUCTION
  }
  return handler(Tag<Op::NOP>{}, arguments...);
}

}  // namespace openbpu::isa
