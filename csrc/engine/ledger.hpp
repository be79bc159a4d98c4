// Which bytes of the arenas hold which elements of logical tensors, while a program is followed in order.
#pragma once

#include <map>
#include <tuple>
#include <vector>

#include "isa/access.hpp"

namespace openbpu::engine {

// A claim says that a block of bytes and a block in HOME (or, for weights, in CONST) hold the same values: what has
// been written to one was meant for both, and neither has been overwritten since.
class Ledger {
 public:
  explicit Ledger(const std::vector<std::uint64_t>& buffers) : buffers_(buffers) {}  // where logical buffers begin

  // Whether each byte of `bytes` holds the element of `home` in the same position.
  bool holds(isa::Surface bytes, isa::Surface home);
  // `bytes` have become a copy of `home`; other claims on them end.
  void copied(const isa::Surface& bytes, const isa::Surface& home);
  // The same, and `home` has new values: claims on older ones end.
  void written(const isa::Surface& bytes, const isa::Surface& home);

  // Steps of work so far: the caller gives up beyond a limit.
  std::uint64_t work() const { return work_; }

 private:
  // Half-open ranges of images, rows, columns and bytes along C.
  struct Box {
    std::int64_t begin[4], end[4];
    bool empty() const;
  };
  // How coordinates in a logical buffer become addresses on both sides.
  struct Map {
    std::uint8_t region, home_region;
    std::int64_t bytes_origin, home_origin;
    std::int64_t bytes_stride[3], home_stride[3];
    bool operator==(const Map& other) const;
  };
  struct Claim {
    Map map;
    Box box;
  };
  // Bytes that lie as far from their homes as all others of a set: addresses in HOME, begin -> end.
  struct Shift {
    std::uint8_t region, home_region;
    std::int64_t distance;
    bool operator<(const Shift& o) const {
      return std::tie(region, home_region, distance) < std::tie(o.region, o.home_region, o.distance);
    }
  };
  using Intervals = std::map<std::int64_t, std::int64_t>;
  enum class Side { Bytes, Home };

  static bool find_shift(const isa::Surface& bytes, const isa::Surface& home, Shift& shift);
  bool find_box(const isa::Surface& bytes, const isa::Surface& home, Claim& claim) const;
  bool covered(const Claim& wanted) const;
  bool covered(const Shift& shift, const isa::Surface& home) const;
  void spell_out(const isa::Surface& home);
  Claim add(const Claim& claim);  // as it is then, joined with its neighbours
  void add(const Shift& shift, const isa::Surface& home);
  void add_all(const isa::Surface& bytes, const isa::Surface& home);
  static isa::Surface block(const Claim& claim, Side side);
  void overwrite(const isa::Surface& block, Side side);
  void cut_boxes(const isa::Surface& block, Side side);
  void cut_intervals(const isa::Surface& block, Side side);

  const std::vector<std::uint64_t>& buffers_;
  std::vector<Claim> claims_;
  std::map<Shift, Intervals> shifts_;
  mutable std::uint64_t work_ = 0;
};

}  // namespace openbpu::engine
