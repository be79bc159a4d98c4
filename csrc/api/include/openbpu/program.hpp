// Compiled, verified programs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "openbpu/status.hpp"

namespace openbpu::runtime {

// The numbers of the file.
enum class DataType : std::uint8_t {
  Int8 = 1,
  UInt8,
  Int16,
  Int32,
  Float32,
  Int64,
  Bool,
  UInt16,
  UInt32,
  UInt64,
  Float16,
  Float64
};

OPENBPU_API std::size_t size_of(DataType type) noexcept;

// An input or output of a model. Buffers are dense and row major. The name lives as long as the program.
struct Port {
  std::string_view name;
  DataType type;
  std::uint32_t rank;      // 0 .. 8
  std::uint32_t shape[8];  // unused extents are 0
  double scale;            // real = scale * (value - zero_point); 0: not quantised
  std::int32_t zero_point;
  std::size_t bytes;  // of the whole buffer
  // Inputs of a camera. The buffer is dense and of the whole shape all the same: rows without gaps, an image smaller
  // than the shape in its upper left.
  bool may_have_strides;  // of a pyramid: applications have rows with gaps
  bool may_be_smaller;    // of a resizer: an image of any size up to the shape
  bool is_region;         // regions of interest in the inputs before it: left, top, right, bottom, all included
};

// The contents of a .bpux file: one or several models. Immutable; copies share the contents; safe from any thread.
// Nothing of a file is used before all of it has passed the verifier.
class OPENBPU_API Program {
 public:
  Program() noexcept;  // holds no model
  ~Program();
  Program(const Program&) noexcept;
  Program& operator=(const Program&) noexcept;
  Program(Program&&) noexcept;
  Program& operator=(Program&&) noexcept;

  // Reads the file. Fails with Io if the system refuses, else with Corrupt, Unsupported, Illegal or NoMemory.
  static Result<Program> from_file(const std::string& path) noexcept;
  // Copies the bytes.
  static Result<Program> from_memory(const void* data, std::size_t size) noexcept;
  // Uses the pages of the file in place, shared with other processes that do. The file must not change or shrink as
  // long as the program lives: what has been verified is not verified again.
  static Result<Program> map_file(const std::string& path) noexcept;

  std::size_t model_count() const noexcept;
  std::string_view model_name(std::size_t index) const noexcept;  // empty beyond the last
  // Ports of a model in the order in which run() takes them; no name: the first model. BadArgument for a name that the
  // program lacks.
  Result<Span<const Port>> inputs(std::string_view model = {}) const noexcept;
  Result<Span<const Port>> outputs(std::string_view model = {}) const noexcept;
  std::string_view metadata() const noexcept;  // JSON of the compiler, or empty
  std::size_t file_bytes() const noexcept;

 private:
  friend class Engine;
  struct OPENBPU_LOCAL Contents;
  OPENBPU_LOCAL explicit Program(std::shared_ptr<const Contents> contents) noexcept;
  template <class Load>
  static Result<Program> make(Load load) noexcept;
  std::shared_ptr<const Contents> contents_;
};

}  // namespace openbpu::runtime
