// What calls give back instead of exceptions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#if defined(__GNUC__)
#define OPENBPU_API __attribute__((visibility("default")))
#define OPENBPU_LOCAL __attribute__((visibility("hidden")))  // members of exported classes that are not
#else
#define OPENBPU_API
#define OPENBPU_LOCAL
#endif

namespace openbpu::runtime {

enum class ErrorCode : std::uint8_t {
  Ok,
  Corrupt,      // bytes that are not a .bpux file, or are damaged
  Unsupported,  // well formed, but of a version, ISA or feature that this build lacks
  Illegal,      // well formed, but breaks a rule of the instruction set
  BadArgument,  // an index, name, shape, type, size or state of the caller's is wrong
  NoMemory,
  Io,
  Cancelled,
  Timeout,
  Trap,  // the program stopped itself
  Internal,
};

// "Ok", "Corrupt", ...
OPENBPU_API const char* name_of(ErrorCode code) noexcept;

// What went wrong, where, and which rule it breaks with the value seen. An empty Status is success.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(ErrorCode code, std::string where, std::string message)
      : code_(code), where_(std::move(where)), message_(std::move(message)) {}

  bool ok() const { return code_ == ErrorCode::Ok; }
  ErrorCode code() const { return code_; }
  const std::string& where() const { return where_; }
  const std::string& message() const { return message_; }

 private:
  ErrorCode code_ = ErrorCode::Ok;
  std::string where_;
  std::string message_;
};

// A value, or the Status that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) {}

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  // Only if ok().
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T value() && { return std::move(*value_); }

 private:
  Status status_;
  std::optional<T> value_;
};

// A borrowed run of objects (C++17 has no std::span). The owner must outlive it.
template <class T>
class Span {
 public:
  constexpr Span() = default;
  constexpr Span(T* data, std::size_t size) : data_(data), size_(size) {}
  template <std::size_t N>
  constexpr Span(T (&array)[N]) : data_(array), size_(N) {}
  template <class U>
  Span(const std::vector<U>& v) : data_(v.data()), size_(v.size()) {}
  template <class U>
  Span(std::vector<U>& v) : data_(v.data()), size_(v.size()) {}

  constexpr T* data() const { return data_; }
  constexpr std::size_t size() const { return size_; }
  constexpr bool empty() const { return size_ == 0; }
  constexpr T& operator[](std::size_t i) const { return data_[i]; }
  constexpr T* begin() const { return data_; }
  constexpr T* end() const { return data_ + size_; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace openbpu::runtime
