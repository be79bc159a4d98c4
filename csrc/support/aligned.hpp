// A fixed run of 64-byte aligned bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace openbpu {

class AlignedBytes {
 public:
  AlignedBytes() = default;
  // Zeroed. data() is null afterwards if there is no memory.
  explicit AlignedBytes(std::size_t size) : AlignedBytes(uninitialised(size)) {
    if (data_) std::memset(data_, 0, size);
  }
  static AlignedBytes uninitialised(std::size_t size) {
    AlignedBytes bytes;
    const std::size_t rounded = (size + 63) / 64 * 64;
    if (rounded < size) return bytes;
    bytes.data_ = static_cast<std::uint8_t*>(std::aligned_alloc(64, rounded ? rounded : 64));
    if (bytes.data_) bytes.size_ = size;
    return bytes;
  }
  AlignedBytes(AlignedBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBytes& operator=(AlignedBytes&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  AlignedBytes(const AlignedBytes&) = delete;
  AlignedBytes& operator=(const AlignedBytes&) = delete;
  ~AlignedBytes() { std::free(data_); }

  std::uint8_t* data() { return data_; }
  const std::uint8_t* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace openbpu
