#include "engine/ledger.hpp"

#include <algorithm>
#include <cstring>

#include "isa/verify_detail.hpp"

namespace openbpu::engine {
namespace {

using isa::Surface;
using Ranges = std::vector<std::int64_t>;

std::uint64_t element(const Surface& s) { return isa::element_size(static_cast<isa::DType>(s.dtype)); }
std::uint64_t count(const Surface& s) { return std::uint64_t{s.n} * s.h * s.w * s.c; }

bool is_contiguous(const Surface& s) {
  return isa::detail::surface_reach(s) == count(s) * element(s) && isa::detail::is_injective(s);
}

bool same_order(const Surface& a, const Surface& b) {
  return (a.n == 1 || a.stride_n == b.stride_n) && (a.h == 1 || a.stride_h == b.stride_h) &&
         (a.w == 1 || a.stride_w == b.stride_w) && (a.c == 1 || a.stride_c == b.stride_c);
}

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

constexpr std::uint64_t kMostRuns = std::uint64_t{1} << 18;

// The number of pieces of adjacent bytes in which for_each_run() visits a block.
std::uint64_t run_count(const Surface& s) {
  if (is_contiguous(s)) return 1;
  return std::uint64_t{s.n} * s.h * s.w * (s.stride_c == element(s) ? 1 : s.c);
}

// Calls visit(begin, end) with the addresses of each piece, until it says false.
template <class Visit>
bool for_each_run(const Surface& s, Visit visit) {
  const auto base = static_cast<std::int64_t>(s.base), size = static_cast<std::int64_t>(element(s));
  if (is_contiguous(s)) return visit(base, base + static_cast<std::int64_t>(count(s)) * size);
  const bool adjacent = s.stride_c == element(s);
  const std::int64_t run = adjacent ? s.c * size : size;
  for (std::int64_t n = 0; n < s.n; ++n)
    for (std::int64_t y = 0; y < s.h; ++y)
      for (std::int64_t x = 0; x < s.w; ++x)
        for (std::int64_t c = 0; c < (adjacent ? 1 : s.c); ++c) {
          const std::int64_t at = base + n * s.stride_n + y * s.stride_h + x * s.stride_w + c * s.stride_c;
          if (!visit(at, at + run)) return false;
        }
  return true;
}

void insert(std::map<std::int64_t, std::int64_t>& intervals, std::int64_t begin, std::int64_t end) {
  auto next = intervals.upper_bound(begin);
  if (next != intervals.begin() && std::prev(next)->second >= begin) {
    --next;
    begin = next->first;
    end = std::max(end, next->second);
    next = intervals.erase(next);
  }
  while (next != intervals.end() && next->first <= end) {
    end = std::max(end, next->second);
    next = intervals.erase(next);
  }
  intervals.emplace_hint(next, begin, end);
}

void erase(std::map<std::int64_t, std::int64_t>& intervals, std::int64_t begin, std::int64_t end) {
  auto next = intervals.upper_bound(begin);
  if (next != intervals.begin()) --next;
  while (next != intervals.end() && next->first < end) {
    const auto [first, last] = *next;
    if (last <= begin) {
      ++next;
      continue;
    }
    next = intervals.erase(next);
    if (first < begin) intervals.emplace(first, begin);
    if (last > end) intervals.emplace(end, last);
  }
}

}  // namespace

bool Ledger::Box::empty() const {
  for (int d = 0; d < 4; ++d)
    if (begin[d] >= end[d]) return true;
  return false;
}

bool Ledger::Map::operator==(const Map& o) const {
  return region == o.region && home_region == o.home_region && bytes_origin == o.bytes_origin &&
         home_origin == o.home_origin && std::equal(bytes_stride, bytes_stride + 3, o.bytes_stride) &&
         std::equal(home_stride, home_stride + 3, o.home_stride);
}

// Both sides have the same strides: one address follows from the other.
bool Ledger::find_shift(const Surface& bytes, const Surface& home, Shift& shift) {
  shift = {bytes.region, home.region, static_cast<std::int64_t>(bytes.base) - static_cast<std::int64_t>(home.base)};
  return same_order(bytes, home);
}

// Coordinates count from the start of the logical buffer, by the strides of the home.
bool Ledger::find_box(const Surface& bytes, const Surface& home, Claim& claim) const {
  if (home.region != static_cast<std::uint8_t>(isa::Region::Home) || home.stride_c != element(home) ||
      bytes.stride_c != element(bytes) || home.stride_n == 0 || home.stride_h == 0 || home.stride_w == 0)
    return false;
  const auto start = *(std::upper_bound(buffers_.begin(), buffers_.end(), home.base) - 1);
  const std::int64_t strides[3] = {home.stride_n, home.stride_h, home.stride_w};
  const std::int64_t own[3] = {bytes.stride_n, bytes.stride_h, bytes.stride_w};
  const std::int64_t extents[4] = {home.n, home.h, home.w, static_cast<std::int64_t>(home.c * element(home))};
  auto rest = static_cast<std::int64_t>(home.base - start), origin = static_cast<std::int64_t>(bytes.base);
  for (int d = 0; d < 4; ++d) {
    const std::int64_t at = d < 3 ? rest / strides[d] : rest;
    if (d < 3) rest -= at * strides[d];
    origin -= at * (d < 3 ? own[d] : 1);
    claim.box.begin[d] = at;
    claim.box.end[d] = at + extents[d];
  }
  claim.map = {bytes.region, home.region, origin, static_cast<std::int64_t>(start), {}, {}};
  std::copy(own, own + 3, claim.map.bytes_stride);
  std::copy(strides, strides + 3, claim.map.home_stride);
  return true;
}

// What is left of the wanted box after all claims of its map have been taken off.
bool Ledger::covered(const Claim& wanted) const {
  std::vector<Box> left = {wanted.box};
  work_ += claims_.size();
  for (const Claim& claim : claims_) {
    if (left.empty()) return true;
    if (!(claim.map == wanted.map)) continue;
    std::vector<Box> next;
    for (Box box : left) {
      bool apart = false;
      for (int d = 0; d < 4; ++d) apart = apart || claim.box.end[d] <= box.begin[d] || box.end[d] <= claim.box.begin[d];
      if (apart) {
        next.push_back(box);
        continue;
      }
      for (int d = 0; d < 4; ++d) {  // slabs before and behind the claim
        Box before = box, behind = box;
        before.end[d] = std::min(box.end[d], claim.box.begin[d]);
        behind.begin[d] = std::max(box.begin[d], claim.box.end[d]);
        if (!before.empty()) next.push_back(before);
        if (!behind.empty()) next.push_back(behind);
        box.begin[d] = std::max(box.begin[d], claim.box.begin[d]);
        box.end[d] = std::min(box.end[d], claim.box.end[d]);
      }
    }
    left = std::move(next);
    if (left.size() > 256) return false;
  }
  return left.empty();
}

bool Ledger::covered(const Shift& shift, const Surface& home) const {
  const auto known = shifts_.find(shift);
  if (known == shifts_.end() || run_count(home) > kMostRuns) return false;
  work_ += run_count(home);
  return for_each_run(home, [&](std::int64_t begin, std::int64_t end) {
    auto at = known->second.upper_bound(begin);
    return at != known->second.begin() && (--at)->second >= end;
  });
}

Ledger::Claim Ledger::add(const Claim& claim) {
  for (Claim& old : claims_) {
    if (!(old.map == claim.map)) continue;
    int differing = -1, differences = 0;
    for (int d = 0; d < 4; ++d)
      if (old.box.begin[d] != claim.box.begin[d] || old.box.end[d] != claim.box.end[d]) differing = d, ++differences;
    if (differences == 0) return old;
    if (differences != 1 || claim.box.begin[differing] > old.box.end[differing] ||
        old.box.begin[differing] > claim.box.end[differing])
      continue;
    Claim joined = old;
    joined.box.begin[differing] = std::min(old.box.begin[differing], claim.box.begin[differing]);
    joined.box.end[differing] = std::max(old.box.end[differing], claim.box.end[differing]);
    std::swap(old, claims_.back());
    claims_.pop_back();
    return add(joined);
  }
  claims_.push_back(claim);
  return claim;
}

void Ledger::add(const Shift& shift, const Surface& home) {
  Intervals& intervals = shifts_[shift];
  work_ += run_count(home);
  for_each_run(home, [&](std::int64_t begin, std::int64_t end) {
    insert(intervals, begin, end);
    return true;
  });
}

void Ledger::add_all(const Surface& bytes, const Surface& home) {
  Shift shift;
  Claim claim;
  const bool shifted = find_shift(bytes, home, shift);
  if (!find_box(bytes, home, claim)) {
    if (shifted && run_count(home) <= kMostRuns) add(shift, home);
    return;
  }
  if (shifted && is_contiguous(home)) add(shift, home);
  const Claim joined = add(claim);  // slices may have come to the whole, which views under other extents may read
  const Surface all = block(joined, Side::Home);
  if (is_contiguous(all) && find_shift(block(joined, Side::Bytes), all, shift)) add(shift, all);
}

// All claims on a logical buffer as addresses, because a view mixes what boxes of several kinds have brought.
void Ledger::spell_out(const Surface& home) {
  const auto start = *(std::upper_bound(buffers_.begin(), buffers_.end(), home.base) - 1);
  for (const Claim& claim : claims_) {
    if (claim.map.home_origin != static_cast<std::int64_t>(start)) continue;
    const Surface bytes = block(claim, Side::Bytes), all = block(claim, Side::Home);
    if (Shift shift; find_shift(bytes, all, shift) && run_count(all) <= kMostRuns) add(shift, all);
  }
}

bool Ledger::holds(Surface bytes, Surface home) {
  for (const auto& axis :
       {std::make_pair(&Surface::n, &Surface::stride_n), std::make_pair(&Surface::h, &Surface::stride_h),
        std::make_pair(&Surface::w, &Surface::stride_w), std::make_pair(&Surface::c, &Surface::stride_c)})
    if (bytes.*axis.second == 0 && home.*axis.second == 0) bytes.*axis.first = home.*axis.first = 1;  // repeated
  Shift shift;
  Claim box;
  const bool shifted = find_shift(bytes, home, shift);
  if (shifted && is_contiguous(home) && covered(shift, home)) return true;
  if (find_box(bytes, home, box) && covered(box)) return true;
  if (!shifted || home.region != static_cast<std::uint8_t>(isa::Region::Home)) return false;
  if (covered(shift, home)) return true;
  spell_out(home);
  return covered(shift, home);
}

void Ledger::copied(const Surface& bytes, const Surface& home) {
  overwrite(bytes, Side::Bytes);
  add_all(bytes, home);
}

void Ledger::written(const Surface& bytes, const Surface& home) {
  overwrite(bytes, Side::Bytes);
  overwrite(home, Side::Home);
  add_all(bytes, home);
}

// The bytes of a claim as a surface of bytes.
Surface Ledger::block(const Claim& claim, Side side) {
  const Map& m = claim.map;
  const std::int64_t* strides = side == Side::Bytes ? m.bytes_stride : m.home_stride;
  std::int64_t base = side == Side::Bytes ? m.bytes_origin : m.home_origin;
  for (int d = 0; d < 3; ++d) base += claim.box.begin[d] * strides[d];
  Surface s{};
  s.region = side == Side::Bytes ? m.region : m.home_region;
  s.dtype = static_cast<std::uint8_t>(isa::DType::U8);
  s.base = static_cast<std::uint64_t>(base + claim.box.begin[3]);
  std::uint32_t* extents[4] = {&s.n, &s.h, &s.w, &s.c};
  for (int d = 0; d < 4; ++d) *extents[d] = static_cast<std::uint32_t>(claim.box.end[d] - claim.box.begin[d]);
  s.stride_n = static_cast<std::uint32_t>(strides[0]);
  s.stride_h = static_cast<std::uint32_t>(strides[1]);
  s.stride_w = static_cast<std::uint32_t>(strides[2]);
  s.stride_c = 1;
  return s;
}

void Ledger::overwrite(const Surface& written, Side side) {
  work_ += claims_.size() + shifts_.size();
  cut_boxes(written, side);
  cut_intervals(written, side);
}

void Ledger::cut_intervals(const Surface& written, Side side) {
  const bool exact = run_count(written) <= kMostRuns;
  const auto low = static_cast<std::int64_t>(written.base);
  const auto high = low + static_cast<std::int64_t>(isa::detail::surface_reach(written));
  for (auto at = shifts_.begin(); at != shifts_.end();) {
    const Shift& shift = at->first;
    Intervals& intervals = at->second;
    const std::int64_t distance = side == Side::Bytes ? shift.distance : 0;
    const bool concerned = (side == Side::Bytes ? shift.region : shift.home_region) == written.region &&
                           intervals.begin()->first < high - distance &&
                           std::prev(intervals.end())->second > low - distance;
    if (concerned) work_ += run_count(written);
    if (concerned && exact) {
      for_each_run(written, [&](std::int64_t begin, std::int64_t end) {
        erase(intervals, begin - distance, end - distance);
        return true;
      });
    } else if (concerned) {
      erase(intervals, low - distance, high - distance);
    }
    at = intervals.empty() ? shifts_.erase(at) : std::next(at);
  }
}

// Claims keep the rows that surely lie outside the block.
void Ledger::cut_boxes(const Surface& written, Side side) {
  const auto low = static_cast<std::int64_t>(written.base);
  const auto high = low + static_cast<std::int64_t>(isa::detail::surface_reach(written));
  std::vector<Claim> pieces;
  for (std::size_t k = 0; k < claims_.size();) {
    Claim& claim = claims_[k];
    const Surface own = block(claim, side);
    Surface other = written;
    other.port = 0;
    if (!isa::detail::may_overlap(own, other)) {
      ++k;
      continue;
    }
    const std::int64_t stride = side == Side::Bytes ? claim.map.bytes_stride[1] : claim.map.home_stride[1];
    if (own.n == 1 && stride > 0) {
      Surface row = own;
      row.h = 1;
      const auto reach = static_cast<std::int64_t>(isa::detail::surface_reach(row));
      const auto first = static_cast<std::int64_t>(own.base), begin = claim.box.begin[1];
      Claim before = claim, behind = claim;
      before.box.end[1] =
          std::min(claim.box.end[1], begin + std::max<std::int64_t>(0, floor_div(low - reach - first, stride) + 1));
      behind.box.begin[1] = std::max(begin, begin - floor_div(first - high, stride));
      if (!before.box.empty()) pieces.push_back(before);
      if (!behind.box.empty()) pieces.push_back(behind);
    }
    std::swap(claim, claims_.back());
    claims_.pop_back();
  }
  claims_.insert(claims_.end(), pieces.begin(), pieces.end());
}

}  // namespace openbpu::engine
