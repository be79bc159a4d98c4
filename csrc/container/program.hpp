// A verified program: what an Engine runs and what tools print. Immutable and shareable between threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "isa/isa.hpp"
#include "support/span.hpp"
#include "support/status.hpp"

namespace openbpu::container {

struct Limits {
  std::uint64_t file_bytes = std::uint64_t{4} << 30;
  std::uint64_t arena_bytes = std::uint64_t{8} << 30;  // per arena of an entry
};

class Program {
 public:
  // Copies `bytes` into 64-byte aligned memory, checks structure and semantics; nothing of it is used before.
  static Result<std::shared_ptr<const Program>> read(Span<const std::uint8_t> bytes, const Limits& limits = {});

  Span<const isa::Entry> entries() const;
  Span<const isa::Port> ports() const;
  Span<const isa::Surface> surfaces() const;
  Span<const isa::Const> consts() const;
  Span<const isa::Instruction> code() const;
  Span<const std::uint8_t> aux() const;
  Span<const std::uint8_t> constants() const;  // section CONST, 64-byte aligned
  std::string_view string(std::uint32_t offset) const;
  std::string_view meta() const;  // JSON of the tools, or empty

  const std::uint8_t* data(const isa::Const& item) const;  // 64-byte aligned
  template <class Record>
  const Record& aux_record(const isa::Instruction& instruction) const {  // the verifier has checked it
    return *reinterpret_cast<const Record*>(aux().data() + instruction.aux);
  }
};

// What a writer turns into a file. The bytes are a function of the parts alone.
struct Parts {
  std::vector<isa::Entry> entries;
  std::vector<isa::Port> ports;
  std::vector<isa::Surface> surfaces;
  std::vector<isa::Const> consts;
  std::vector<isa::Instruction> code;
  std::vector<std::uint8_t> aux;
  std::vector<std::uint8_t> constants;
  std::vector<std::uint8_t> strings;
  std::string meta;
};

std::vector<std::uint8_t> write(const Parts& parts);

}  // namespace openbpu::container
