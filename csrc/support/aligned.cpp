#include "support/aligned.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace openbpu {
namespace {

constexpr std::size_t kHugePage = std::size_t{1} << 21;

std::size_t round_up(std::size_t size, std::size_t step) { return (size + step - 1) / step * step; }

// A mapping is a whole number of pages.
std::size_t mapped_bytes(std::size_t size) { return round_up(size, static_cast<std::size_t>(sysconf(_SC_PAGESIZE))); }

// Zeroed memory at a multiple of kHugePage; null if there is none. What does not fill a huge page gets ordinary ones.
std::uint8_t* map(std::size_t size) {
  const std::size_t wanted = mapped_bytes(size), reserved = wanted + kHugePage;
  if (reserved < size) return nullptr;
  void* const start = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  const auto first = reinterpret_cast<std::uintptr_t>(start);
  const std::size_t before = round_up(first, kHugePage) - first, after = kHugePage - before;
  auto* const data = static_cast<std::uint8_t*>(start) + before;
  if (before > 0) munmap(start, before);
  if (after > 0) munmap(data + wanted, after);
#ifdef MADV_HUGEPAGE
  madvise(data, size / kHugePage * kHugePage, MADV_HUGEPAGE);  // advice: a refusal costs nothing but time
#endif
  return data;
}

}  // namespace

AlignedBytes::AlignedBytes(std::size_t size) : AlignedBytes(uninitialised(size)) {
  if (data_ && size < kHugePage) std::memset(data_, 0, size);
}

AlignedBytes AlignedBytes::uninitialised(std::size_t size) {
  AlignedBytes bytes;
  const std::size_t rounded = round_up(size, 64);
  if (rounded < size) return bytes;
  bytes.data_ =
      size >= kHugePage ? map(size) : static_cast<std::uint8_t*>(std::aligned_alloc(64, rounded ? rounded : 64));
  if (bytes.data_) bytes.size_ = size;
  return bytes;
}

AlignedBytes::~AlignedBytes() {
  if (size_ >= kHugePage)
    munmap(data_, mapped_bytes(size_));
  else
    std::free(data_);
}

}  // namespace openbpu
