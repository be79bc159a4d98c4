// A fixed run of 64-byte aligned bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace openbpu {

// Large runs are asked of the operating system in huge pages: their first touch costs a twentieth, and kernels miss the
// translation cache less.
class AlignedBytes {
 public:
  AlignedBytes() = default;
  // Zeroed. data() is null afterwards if there is no memory.
  explicit AlignedBytes(std::size_t size);
  static AlignedBytes uninitialised(std::size_t size);
  AlignedBytes(AlignedBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBytes& operator=(AlignedBytes&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  AlignedBytes(const AlignedBytes&) = delete;
  AlignedBytes& operator=(const AlignedBytes&) = delete;
  ~AlignedBytes();

  std::uint8_t* data() { return data_; }
  const std::uint8_t* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace openbpu
