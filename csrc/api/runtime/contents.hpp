// What stands behind the public classes: conversions, and the contents of a program.
#pragma once

#include <new>
#include <vector>

#include "container/program.hpp"
#include "openbpu/program.hpp"
#include "support/status.hpp"

namespace openbpu::runtime {

struct Model {
  std::vector<Port> inputs, outputs;
};

struct Program::Contents {
  std::shared_ptr<const container::Program> program;
  std::vector<Model> models;  // one per entry
};

inline Status to_public(const openbpu::Status& status) {
  if (status.ok()) return {};
  return {static_cast<ErrorCode>(status.code()), status.where(), status.message()};
}

inline openbpu::Status to_internal(const Status& status) {
  if (status.ok()) return {};
  return {static_cast<Code>(status.code()), status.where(), status.message()};
}

template <class T>
openbpu::Span<T> to_internal(Span<T> span) {
  return {span.data(), span.size()};
}

// Turns the exceptions of the standard library, which stand for a lack of memory, into a status.
template <class Call>
auto guarded(Call call) noexcept -> decltype(call()) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::NoMemory, {}, {});
  } catch (...) {
    return Status(ErrorCode::Internal, {}, {});
  }
}

}  // namespace openbpu::runtime
