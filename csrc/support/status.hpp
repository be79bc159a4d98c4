// Error values of everything below api/: no exceptions, no RTTI.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace openbpu {

enum class Code : std::uint8_t {
  Ok,
  Corrupt,      // bytes that are not a file of ours, or are damaged
  Unsupported,  // well formed, but of a version, ISA or feature that this build lacks
  Illegal,      // well formed, but breaks a rule of the instruction set
  BadArgument,  // the caller's index, name, shape, type or size is wrong
  NoMemory,
  Io,
  Cancelled,
  Timeout,
  Trap,  // the program stopped itself (instruction TRAP), or data broke a rule of an operator
  Internal,
};

// What went wrong, where ("section CODE, instruction 12, field out"), and which rule it breaks.
// The message holds the value seen. An empty Status is success.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string where, std::string message)
      : code_(code), where_(std::move(where)), message_(std::move(message)) {}

  bool ok() const { return code_ == Code::Ok; }
  Code code() const { return code_; }
  const std::string& where() const { return where_; }
  const std::string& message() const { return message_; }

 private:
  Code code_ = Code::Ok;
  std::string where_;
  std::string message_;
};

// A value or the Status that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) {}

  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }
  T& value() { return value_; }
  const T& value() const { return value_; }

 private:
  Status status_;
  T value_{};
};

}  // namespace openbpu
