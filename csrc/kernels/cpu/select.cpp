// Operators that pick elements: TopK, NonMaxSuppression, NonZero, Compress. What the data decides the number of is
// padded to the extent that the program gives.
#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/cpu/bytes.hpp"
#include "kernels/cpu/kernel.hpp"
#include "kernels/cpu/wide.hpp"

namespace openbpu::kernels::cpu {
namespace {

constexpr const char* kTooMany = "the data gives more results than the output has room for";

Plan one_unit(const Call&, const Vector&) { return plan_of_units(1); }

void set_count(const Tensor& count, std::int64_t value) {
  if (count) *count.as<std::int64_t>() = value;
}

// ---- TopK

struct TopShape {
  std::int64_t outer, size, inner, k;
};
TopShape top_shape(const Call& call) {
  const Tensor& x = call.in(0);
  const int axis = operators::axis_of(call.integer("axis"), x.rank);
  return {x.product(0, axis), x.extent[axis], x.product(axis + 1, x.rank), call.parameter(1)[0]};
}

constexpr int kBuckets = 2048;

// Bytes of scratch before the order.
std::size_t top_room(const TopShape& s) {
  return static_cast<std::size_t>(s.size) * (sizeof(std::uint64_t) + sizeof(std::uint32_t)) +
         kBuckets * sizeof(std::int32_t);
}

Plan top_plan(const Call& call, const Vector&) {
  const TopShape s = top_shape(call);
  return plan_of_units(std::min<std::int64_t>(s.outer * s.inner, 1 << 20), 0,
                       top_room(s) + static_cast<std::size_t>(s.size) * sizeof(std::int32_t));
}

// Bits in the order of the results, the best first: not-a-number counts as largest, equals by their index.
std::uint32_t rank_of(float x, bool largest) {
  if (x != x) return largest ? 0 : ~std::uint32_t{0};
  x += 0.0f;  // both zeros are equal
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const std::uint32_t ascending = bits >> 31 ? ~bits : bits | 0x80000000u;
  return largest ? ~ascending : ascending;
}

// The k best of float32 in order: those in buckets of leading bits that can hold one are sorted.
void top_floats(const float* x, const TopShape& s, bool largest, std::uint8_t* scratch, std::int32_t* order) {
  auto* candidates = reinterpret_cast<std::uint64_t*>(scratch);
  auto* ranks = reinterpret_cast<std::uint32_t*>(candidates + s.size);
  auto* buckets = reinterpret_cast<std::int32_t*>(ranks + s.size);
  constexpr int shift = 21;
  std::memset(buckets, 0, kBuckets * sizeof *buckets);
  for (std::int64_t i = 0; i < s.size; ++i) {
    ranks[i] = rank_of(x[i * s.inner], largest);
    ++buckets[ranks[i] >> shift];
  }
  std::uint32_t last = 0;
  for (std::int64_t have = buckets[0]; have < s.k; have += buckets[last]) ++last;
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < s.size; ++i) {
    candidates[count] = static_cast<std::uint64_t>(ranks[i]) << 32 | static_cast<std::uint64_t>(i);
    count += ranks[i] >> shift <= last;
  }
  std::nth_element(candidates, candidates + s.k, candidates + count);  // no two are equal
  std::sort(candidates, candidates + s.k);
  for (std::int64_t i = 0; i < s.k; ++i) order[i] = static_cast<std::int32_t>(candidates[i] & 0xFFFFFFFFu);
}

constexpr std::int64_t kFew = 32;

// How many of the values from `i` on, which lie end to end, are surely no better than `last`: blocks of four.
std::int64_t skipped(const float* x, std::int64_t i, std::int64_t n, float last, bool largest) {
  using Four = float __attribute__((vector_size(16)));
  const Four limit = {last, last, last, last};
  const std::int64_t first = i;
  for (; i + 4 <= n; i += 4) {
    Four v;
    std::memcpy(&v, x + i, sizeof v);
    const auto worse = largest ? v <= limit : v >= limit;  // false for not-a-number
    std::int64_t halves[2];
    std::memcpy(halves, &worse, sizeof halves);
    if ((halves[0] & halves[1]) != -1) break;
  }
  return i - first;
}

// The same for few results: those so far stay in order, and most values are no better than the last of them.
void top_few(const float* x, const TopShape& s, bool largest, std::int32_t* order) {
  std::uint32_t ranks[kFew];
  std::int64_t have = 0;
  for (std::int64_t i = 0; i < s.size; ++i) {
    if (have == s.k && s.inner == 1) {
      i += skipped(x, i, s.size, x[order[have - 1]], largest);
      if (i == s.size) return;
    }
    const std::uint32_t rank = rank_of(x[i * s.inner], largest);
    if (have == s.k && rank >= ranks[have - 1]) continue;
    std::int64_t at = have < s.k ? have++ : have - 1;
    for (; at > 0 && rank < ranks[at - 1]; --at) ranks[at] = ranks[at - 1], order[at] = order[at - 1];
    ranks[at] = rank, order[at] = static_cast<std::int32_t>(i);
  }
}

// The same for any other type, by keys in the place of the candidates.
void top_keys(const Tensor& x, std::int64_t first, const TopShape& s, bool largest, std::uint8_t* scratch,
              std::int32_t* order) {
  auto* keys = reinterpret_cast<std::uint64_t*>(scratch);
  load_keys(x, first, s.inner, s.size, keys);
  for (std::int64_t i = 0; i < s.size; ++i) {
    keys[i] = largest ? ~keys[i] : keys[i];
    order[i] = static_cast<std::int32_t>(i);
  }
  std::partial_sort(order, order + s.k, order + s.size,
                    [keys](std::int32_t a, std::int32_t b) { return keys[a] != keys[b] ? keys[a] < keys[b] : a < b; });
}

const char* top_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const TopShape s = top_shape(task.call);
  const Tensor &x = task.call.in(0), &values = task.call.out(0), &indices = task.call.out(1);
  const bool largest = task.call.integer("largest") != 0;
  const std::int64_t rows = s.outer * s.inner, units = top_plan(task.call, task.vector).units;
  const auto size = operators::size_of(x.type);
  auto* order = reinterpret_cast<std::int32_t*>(task.scratch + top_room(s));
  for (std::int64_t r = rows * begin / units; r < rows * end / units; ++r) {
    const std::int64_t first = r / s.inner * s.size * s.inner + r % s.inner;
    if (x.type == Type::F32 && s.k <= kFew)
      top_few(x.as<const float>() + first, s, largest, order);
    else if (x.type == Type::F32)
      top_floats(x.as<const float>() + first, s, largest, task.scratch, order);
    else
      top_keys(x, first, s, largest, task.scratch, order);
    for (std::int64_t i = 0; i < s.k; ++i) {
      const std::int64_t at = (r / s.inner * s.k + i) * s.inner + r % s.inner;
      if (values) copy_bytes(values.data + at * size, x.data + (first + order[i] * s.inner) * size, size);
      if (indices) indices.as<std::int64_t>()[at] = order[i];
    }
  }
  return nullptr;
}

// ---- NonMaxSuppression

struct Box {
  float top, left, bottom, right;
};

Box box_at(const float* p, bool centred) {
  if (centred) return {p[1] - p[3] / 2, p[0] - p[2] / 2, p[1] + p[3] / 2, p[0] + p[2] / 2};
  return {std::min(p[0], p[2]), std::min(p[1], p[3]), std::max(p[0], p[2]), std::max(p[1], p[3])};
}

float overlap(const Box& a, const Box& b) {
  const float height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
  const float width = std::min(a.right, b.right) - std::max(a.left, b.left);
  if (!(height > 0 && width > 0)) return 0;
  const float common = height * width;
  const float areas = (a.bottom - a.top) * (a.right - a.left) + (b.bottom - b.top) * (b.right - b.left);
  return areas - common > 0 ? common / (areas - common) : 0;
}

struct Candidate {
  float score;
  std::int32_t index;
};

Plan suppression_plan(const Call& call, const Vector&) {
  const auto boxes = static_cast<std::size_t>(call.in(0).extent[1]);
  return plan_of_units(1, 0, boxes * (sizeof(Candidate) + sizeof(Box)));
}

const char* suppression_run(const Task& task, std::int32_t, std::int32_t) {
  const Call& call = task.call;
  const Tensor &boxes = call.in(0), &scores = call.in(1), &y = call.out();
  const bool centred = call.integer("center_point_box") != 0;
  const std::int64_t count = boxes.extent[1], classes = scores.extent[1];
  const std::int64_t most = call.in(2) ? call.parameter(2)[0] : 0;
  const float limit = call.in(3) ? *call.in(3).as<const float>() : 0;
  const float lowest = call.in(4) ? *call.in(4).as<const float>() : -std::numeric_limits<float>::infinity();
  auto* candidates = reinterpret_cast<Candidate*>(task.scratch);
  auto* kept_boxes = reinterpret_cast<Box*>(candidates + count);
  auto* out = y.as<std::int64_t>();
  std::int64_t found = 0;
  for (std::int64_t row = 0; row < boxes.extent[0] * classes; ++row) {
    const float* box = boxes.as<const float>() + row / classes * count * 4;
    const float* score = scores.as<const float>() + row * count;
    std::int64_t n = 0, kept = 0;
    for (std::int64_t i = 0; i < count; ++i)
      if (score[i] > lowest) candidates[n++] = {score[i], static_cast<std::int32_t>(i)};
    std::sort(candidates, candidates + n, [](const Candidate& a, const Candidate& b) {
      return a.score != b.score ? a.score > b.score : a.index < b.index;
    });
    for (std::int64_t i = 0; i < n && kept < most; ++i) {
      const Box candidate = box_at(box + candidates[i].index * 4, centred);
      bool alone = true;
      for (std::int64_t k = 0; k < kept && alone; ++k) alone = !(overlap(candidate, kept_boxes[k]) > limit);
      if (!alone) continue;
      kept_boxes[kept++] = candidate;
      if (found == y.extent[0]) return kTooMany;
      out[found * 3] = row / classes;
      out[found * 3 + 1] = row % classes;
      out[found * 3 + 2] = candidates[i].index;
      ++found;
    }
  }
  std::fill(out + found * 3, out + y.extent[0] * 3, -1);
  set_count(call.out(1), found);
  return nullptr;
}

// ---- NonZero, Compress

const char* non_zero_run(const Task& task, std::int32_t, std::int32_t) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const std::int64_t most = y.extent[1];
  auto* out = y.as<std::int64_t>();
  std::int64_t found = 0;
  bool fits = true;
  const std::uint64_t zero = zero_key(x.type);
  std::uint64_t keys[kWideBlock];
  for (std::int64_t at = 0; at < x.elements() && fits; at += kWideBlock) {
    const std::int64_t n = std::min(kWideBlock, x.elements() - at);
    load_keys(x, at, 1, n, keys);
    for (std::int64_t i = 0; i < n && fits; ++i) {
      if (keys[i] == zero) continue;
      fits = found < most;
      std::int64_t rest = at + i;
      for (int k = x.rank - 1; k >= 0 && fits; --k) {
        out[k * most + found] = rest % x.extent[k];
        rest /= x.extent[k];
      }
      found += fits;
    }
  }
  if (!fits) return kTooMany;
  for (int k = 0; k < x.rank; ++k) std::fill(out + k * most + found, out + (k + 1) * most, -1);
  set_count(task.call.out(1), found);
  return nullptr;
}

const char* compress_run(const Task& task, std::int32_t, std::int32_t) {
  const Tensor &x = task.call.in(0), &condition = task.call.in(1), &y = task.call.out();
  const bool flat = y.rank == 1 && task.call.integer("axis") == -2147483648LL;
  const int axis = flat ? 0 : operators::axis_of(task.call.integer("axis"), x.rank);
  const std::int64_t outer = flat ? 1 : x.product(0, axis), size = flat ? x.elements() : x.extent[axis];
  const std::int64_t inner = (flat ? 1 : x.product(axis + 1, x.rank)) * operators::size_of(x.type);
  const std::int64_t room = y.extent[axis];
  std::memset(y.data, 0, static_cast<std::size_t>(y.bytes()));
  std::int64_t found = 0;
  for (std::int64_t k = 0; k < condition.extent[0]; ++k) {
    if (!condition.data[k]) continue;
    if (found == room) return kTooMany;
    for (std::int64_t o = 0; o < outer; ++o)
      std::memcpy(y.data + (o * room + found) * inner, x.data + (o * size + k) * inner,
                  static_cast<std::size_t>(inner));
    ++found;
  }
  set_count(task.call.out(1), found);
  return nullptr;
}

constexpr Kernel kTable[] = {
    {"TopK", top_plan, nullptr, top_run},
    {"NonMaxSuppression", suppression_plan, nullptr, suppression_run},
    {"NonZero", one_unit, nullptr, non_zero_run},
    {"Compress", one_unit, nullptr, compress_run},
};

}  // namespace

const Span<const Kernel> kSelectKernels(kTable);

}  // namespace openbpu::kernels::cpu
