// A file in memory, without a copy of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "support/status.hpp"

namespace openbpu {

// Read-only pages of a file, page-aligned, followed by at least `slack` zero bytes. The file must keep its contents and
// its size meanwhile: the system would show changes, and end the process where pages are gone.
class MappedFile {
 public:
  MappedFile() = default;
  // Code::Io if the system refuses.
  static Result<MappedFile> open(const std::string& path, std::size_t slack);
  MappedFile(MappedFile&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        reserved_(std::exchange(other.reserved_, 0)) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(reserved_, other.reserved_);
    return *this;
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  const std::uint8_t* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t reserved_ = 0;  // address space taken
};

}  // namespace openbpu
