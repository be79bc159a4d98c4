// A verified program: what an Engine runs and what tools print. Immutable and shareable between threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "isa/isa.hpp"
#include "isa/verify.hpp"
#include "support/aligned.hpp"
#include "support/mapped_file.hpp"
#include "support/span.hpp"
#include "support/status.hpp"

namespace openbpu::container {

struct Limits {
  std::uint64_t file_bytes = std::uint64_t{4} << 30;
  std::uint64_t memory_bytes = std::uint64_t{8} << 30;  // of each arena of an entry and of each port
};

class Program {
 public:
  // Copies `bytes` into aligned memory and checks structure and semantics; nothing of it is used before.
  static Result<std::shared_ptr<const Program>> read(Span<const std::uint8_t> bytes, const Limits& limits = {});
  // The same for a file, which is read straight into that memory. Code::Io if the system refuses.
  static Result<std::shared_ptr<const Program>> load(const std::string& path, const Limits& limits = {});
  // The same on the pages of the file itself, which must not change as long as the program lives.
  static Result<std::shared_ptr<const Program>> map(const std::string& path, const Limits& limits = {});

  Span<const std::uint8_t> file() const { return {bytes_, size_}; }
  Span<const isa::Entry> entries() const { return sections_.entries; }
  Span<const isa::Port> ports() const { return sections_.ports; }
  Span<const isa::Surface> surfaces() const { return sections_.surfaces; }
  Span<const isa::Const> consts() const { return sections_.consts; }
  Span<const isa::Instruction> code() const { return sections_.code; }
  Span<const std::uint8_t> aux() const { return sections_.aux; }
  Span<const std::uint8_t> constants() const { return sections_.constants; }
  const isa::Sections& sections() const { return sections_; }
  std::string_view string(std::uint32_t offset) const;
  std::string_view meta() const { return meta_; }  // JSON of the tools, or empty

  const std::uint8_t* data(const isa::Const& item) const {
    return constants().data() + item.offset;
  }  // 64-byte aligned
  template <class Record>
  const Record& aux_record(const isa::Instruction& instruction) const {  // the verifier has checked it
    return *reinterpret_cast<const Record*>(aux().data() + instruction.aux);
  }

 private:
  Status reserve(std::uint64_t size, const Limits& limits);
  Status check(const Limits& limits);

  AlignedBytes file_;  // with slack at the end; empty where the file is mapped
  MappedFile mapped_;
  const std::uint8_t* bytes_ = nullptr;  // of one of these
  std::size_t size_ = 0;
  isa::Sections sections_;
  std::string_view meta_;
};

// What a writer turns into a file. Entry.macs is filled in by write().
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

// The bytes of the file: a function of the parts alone. Does not judge them; read() does.
std::vector<std::uint8_t> write(const Parts& parts);

}  // namespace openbpu::container
