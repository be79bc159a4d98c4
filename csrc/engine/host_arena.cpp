#include "engine/host_arena.hpp"

#include <algorithm>

#include "isa/verify_detail.hpp"

namespace openbpu::engine {
namespace {

constexpr std::size_t kMostBuffers = 8192;

bool is_home(const isa::Surface& s) { return s.region == static_cast<std::uint8_t>(isa::Region::Home); }
std::uint64_t aligned(std::uint64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

HomeBuffers::HomeBuffers(Span<const isa::Surface> surfaces) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const isa::Surface& s : surfaces)
    if (is_home(s)) ranges.emplace_back(s.base, s.base + isa::detail::surface_reach(s));
  std::sort(ranges.begin(), ranges.end());
  std::uint64_t end = 0;
  for (const auto& range : ranges) {
    if (starts_.empty() || range.first >= end) {
      starts_.push_back(range.first);
      buffers_.push_back({0, 0, 0, 0, false});
    }
    end = starts_.back() == range.first ? std::max(range.second, range.first + buffers_.back().size)
                                        : std::max(end, range.second);
    buffers_.back().size = std::max(buffers_.back().size, range.second - starts_.back());
  }
}

std::size_t HomeBuffers::find(std::uint64_t home) const {
  return static_cast<std::size_t>(std::upper_bound(starts_.begin(), starts_.end(), home) - starts_.begin()) - 1;
}

bool HomeBuffers::contains(const isa::Surface& block) const {
  const std::size_t k = find(block.base);
  return block.base - starts_[k] + isa::detail::surface_reach(block) <= buffers_[k].size;
}

void HomeBuffers::use(std::uint64_t home, std::size_t time) {
  Buffer& buffer = buffers_[find(home)];
  if (!buffer.used) buffer.first = time;
  buffer.last = time;
  buffer.used = true;
}

// Largest first, each into the tightest gap between those that live at the same time, as the compiler does.
bool HomeBuffers::place(std::uint64_t limit) {
  std::vector<std::size_t> order;
  for (std::size_t k = 0; k < buffers_.size(); ++k)
    if (buffers_[k].used) order.push_back(k);
  if (order.size() > kMostBuffers) return false;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const Buffer &x = buffers_[a], &y = buffers_[b];
    if (aligned(x.size) != aligned(y.size)) return aligned(x.size) > aligned(y.size);
    return std::make_pair(x.first, x.last) < std::make_pair(y.first, y.last);
  });
  std::vector<std::size_t> placed;  // by address
  for (std::size_t k : order) {
    Buffer& buffer = buffers_[k];
    const std::uint64_t size = aligned(buffer.size);
    std::uint64_t end = 0, best = 0, best_gap = ~std::uint64_t{0};
    for (std::size_t other : placed) {
      const Buffer& rival = buffers_[other];
      if (rival.last < buffer.first || buffer.last < rival.first) continue;
      if (rival.address >= end + size && rival.address - end < best_gap) {
        best = end;
        best_gap = rival.address - end;
      }
      end = std::max(end, rival.address + aligned(rival.size));
    }
    buffer.address = best_gap == ~std::uint64_t{0} ? end : best;
    bytes_ = std::max(bytes_, buffer.address + size);
    if (bytes_ > limit) return false;
    const auto place = std::upper_bound(placed.begin(), placed.end(), k, [&](std::size_t a, std::size_t b) {
      return buffers_[a].address < buffers_[b].address;
    });
    placed.insert(place, k);
  }
  return true;
}

std::uint64_t HomeBuffers::address(std::uint64_t home) const {
  const std::size_t k = find(home);
  return buffers_[k].address + (home - starts_[k]);
}

}  // namespace openbpu::engine
