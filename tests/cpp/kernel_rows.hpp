// What the tests of kernel rows share: random views in guarded memory, and the comparison of every row of a table with
// its scalar row.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/features.hpp"
#include "kernels/kernel.hpp"

namespace openbpu::kernels {
namespace {

bool host_runs(Isa isa) {
  switch (isa) {
    case Isa::Scalar:
      return true;
#if defined(__x86_64__)
    case Isa::Avx2:
      return __builtin_cpu_supports("avx2") != 0;
    case Isa::AvxVnni:
    case Isa::Amx:
      return engine::host_has(isa);
    case Isa::Avx512Vnni:
      return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    case Isa::Avx512Vbmi:
      return host_runs(Isa::Avx512Vnni) && __builtin_cpu_supports("avx512vbmi");
#elif defined(__aarch64__)
    case Isa::Neon:
    case Isa::NeonDot:
    case Isa::NeonI8mm:
      return engine::host_has(isa);
#endif
    default:
      return false;
  }
}

// How the vector rows of this host hold int8.
std::uint8_t host_flip() { return engine::isa_table()[0].flip; }

class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  int within(int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(engine_); }
  bool one_in(int n) { return within(1, n) == 1; }
  int pick(std::initializer_list<int> values) { return values.begin()[within(0, static_cast<int>(values.size()) - 1)]; }

 private:
  std::mt19937 engine_;
};

// Memory of exactly the promised extent, so that AddressSanitizer sees every byte beyond it.
class Bytes {
 public:
  explicit Bytes(std::size_t size) : size_(size), data_(nullptr, std::free) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, size + (size == 0)) == 0) data_.reset(static_cast<std::uint8_t*>(memory));
  }
  std::uint8_t* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  std::size_t size_;
  std::unique_ptr<std::uint8_t, void (*)(void*)> data_;
};

// A view with random gaps between pixels, rows and images, and the memory it stands in.
struct Tensor {
  View view;
  std::size_t bytes;  // up to the last byte of the view

  Tensor(Random& random, int n, int h, int w, int c) : view{nullptr, n, h, w, c, 0, 0, 0, 1} {
    view.sw = c + (random.one_in(3) ? random.within(1, 40) : 0);
    view.sh = view.sw * w + (random.one_in(4) ? random.within(1, 40) : 0);
    view.sn = view.sh * h + (random.one_in(4) ? random.within(1, 40) : 0);
    bytes = static_cast<std::size_t>((n - 1) * view.sn + (h - 1) * view.sh + (w - 1) * view.sw + c);
  }
};

enum class Values { Any, Extreme, Lowest, Highest };

[[maybe_unused]] int value(Random& random, Values kind, int lo) {
  switch (kind) {
    case Values::Any:
      return random.within(lo, 127);
    case Values::Extreme:
      return random.one_in(2) ? lo : 127;
    case Values::Lowest:
      return lo;
    default:
      return 127;
  }
}

[[maybe_unused]] Values any_values(Random& random) { return static_cast<Values>(std::max(0, random.within(-6, 3))); }

[[maybe_unused]] void fill(Random& random, const Bytes& bytes, Values kind, std::uint8_t flip) {
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes.data()[i] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(value(random, kind, -128)) ^ flip);
}

// The bytes that a row leaves in the memory around its output. The units are cut at random places and run in random
// order, each with fresh scratch.
template <class Params>
std::vector<std::uint8_t> bytes_of(const Row<Params>& row, Params p, std::size_t out_bytes, Random& random) {
  constexpr std::size_t kGuard = 96;
  std::vector<std::uint8_t> memory(kGuard + out_bytes + kGuard, 0xa5);
  p.out.data = memory.data() + kGuard;
  const Plan plan = row.plan(p);
  EXPECT_GE(plan.units, 1);
  const Bytes packed(plan.packed_bytes), scratch(plan.scratch_bytes);
  if (row.pack) row.pack(p, packed.data());

  std::vector<std::int32_t> cuts{0, plan.units};
  for (int i = random.within(0, 4); i > 0; --i) cuts.push_back(random.within(0, plan.units));
  std::sort(cuts.begin(), cuts.end());
  std::vector<std::size_t> order(cuts.size() - 1);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), std::mt19937(static_cast<std::uint32_t>(random.within(0, 1 << 20))));
  for (const std::size_t i : order) {
    std::memset(scratch.data(), random.within(0, 255), plan.scratch_bytes);
    row.run(p, packed.data(), scratch.data(), cuts[i], cuts[i + 1]);
  }
  return memory;
}

// All rows of the table that take p, against its last row, the scalar one.
template <class Params>
void compare(Rows<Params> rows, const Params& p, std::size_t out_bytes, Random& random) {
  const Row<Params>& scalar = rows.data[rows.size - 1];
  ASSERT_EQ(scalar.isa, Isa::Scalar);
  const std::vector<std::uint8_t> expected = bytes_of(scalar, p, out_bytes, random);
  for (const Row<Params>& row : rows) {
    if (row.isa == Isa::Scalar || !host_runs(row.isa) || !row.accepts(p)) continue;
    const std::vector<std::uint8_t> seen = bytes_of(row, p, out_bytes, random);
    if (seen == expected) continue;
    const auto at = std::mismatch(seen.begin(), seen.end(), expected.begin()).first - seen.begin();
    ADD_FAILURE() << row.name << ": byte " << at << " of " << seen.size() << " is "
                  << int{seen[static_cast<std::size_t>(at)]} << ", must be "
                  << int{expected[static_cast<std::size_t>(at)]};
  }
}

template <class Params>
void name_rows_not_run(const char* op, Rows<Params> rows) {
  for (const Row<Params>& row : rows)
    if (!host_runs(row.isa)) std::printf("%s: %s was not run, this host lacks its instructions\n", op, row.name);
}

}  // namespace
}  // namespace openbpu::kernels
