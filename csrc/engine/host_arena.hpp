// Logical buffers: pieces of HOME that surfaces cover, and where they lie in the arena of the host.
#pragma once

#include <vector>

#include "isa/isa.hpp"
#include "support/span.hpp"

namespace openbpu::engine {

class HomeBuffers {
 public:
  explicit HomeBuffers(Span<const isa::Surface> surfaces);

  const std::vector<std::uint64_t>& starts() const { return starts_; }
  // Whether a block in HOME lies in one buffer.
  bool contains(const isa::Surface& block) const;
  // The buffer at that address is touched at that time; times do not go down.
  void use(std::uint64_t home, std::size_t time);
  // Gives buffers that live at the same time different bytes; fails beyond `limit` bytes or too many buffers.
  bool place(std::uint64_t limit);
  std::uint64_t bytes() const { return bytes_; }
  // Where an address in HOME lies in the arena.
  std::uint64_t address(std::uint64_t home) const;

 private:
  struct Buffer {
    std::uint64_t size, address;
    std::size_t first, last;
    bool used;
  };
  std::size_t find(std::uint64_t home) const;

  std::vector<std::uint64_t> starts_;
  std::vector<Buffer> buffers_;
  std::uint64_t bytes_ = 0;
};

}  // namespace openbpu::engine
