// Einsum, Det, Unique.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "kernels/cpu/kernel.hpp"
#include "kernels/cpu/types.hpp"
#include "kernels/cpu/walk.hpp"
#include "kernels/cpu/wide.hpp"

namespace openbpu::kernels::cpu {
namespace {

// ---- Einsum: for each output element a sum over the labels that it lacks

constexpr int kOperands = 3;

struct Contraction {
  Walk<kOperands> kept, summed;
};

Plan einsum_plan(const Call& call, const Vector&) {
  return plan_of_units(std::min<std::int64_t>(call.out().elements(), 256), sizeof(Contraction));
}

void einsum_prepare(const Call& call, const Vector&, std::uint8_t* prepared) {
  auto& c = *new (prepared) Contraction();
  const operators::Integers labels = call.list("labels");
  std::int64_t extent[32] = {}, stride[32][kOperands] = {}, next = 0;
  for (std::size_t i = 0; i < call.inputs.size(); ++i) {
    const Tensor& x = call.in(i);
    for (int k = 0; k < x.rank; ++k) {  // a label that stands twice walks the diagonal
      const std::int64_t label = labels[next++];
      extent[label] = x.extent[k];
      stride[label][i] += x.product(k + 1, x.rank);
    }
  }
  std::uint32_t kept = 0;
  for (int k = 0; k < call.out().rank; ++k) {
    const std::int64_t label = labels[next++];
    kept |= 1u << label;
    c.kept.push(extent[label], stride[label]);
  }
  for (int label = 0; label < 32; ++label)
    if (extent[label] > 0 && !(kept >> label & 1)) c.summed.push(extent[label], stride[label]);
}

const char* einsum_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const auto& c = *reinterpret_cast<const Contraction*>(task.prepared);
  const std::int64_t outputs = task.call.out().elements(), units = einsum_plan(task.call, task.vector).units;
  const std::size_t inputs = task.call.inputs.size();
  visit_wide(task.call.out().type, [&](auto tag) {
    using W = typename decltype(tag)::type;
    const int inner = c.summed.rank - 1, last = c.kept.rank - 1;
    std::int64_t at = outputs * begin / units;
    walk_rows(c.kept, at, outputs * end / units, [&](const std::int64_t(&base)[kOperands], std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i, ++at) {
        double sum = 0;
        walk_rows(c.summed, 0, c.summed.elements(), [&](const std::int64_t(&offset)[kOperands], std::int64_t count) {
          for (std::int64_t j = 0; j < count; j += kWideBlock) {
            const std::int64_t part = std::min(kWideBlock, count - j);
            double product[kWideBlock];
            std::fill(product, product + part, 1);
            for (std::size_t o = 0; o < inputs; ++o) {
              const std::int64_t step = inner < 0 ? 0 : c.summed.stride[o][inner];
              W x[kWideBlock];
              load_wide(task.call.in(o), base[o] + offset[o] + (last < 0 ? 0 : i * c.kept.stride[o][last]) + j * step,
                        step, part, x);
              for (std::int64_t k = 0; k < part; ++k) product[k] *= static_cast<double>(x[k]);
            }
            for (std::int64_t k = 0; k < part; ++k) sum += product[k];
          }
        });
        const auto value = static_cast<W>(sum);
        store_wide(task.call.out(), at, 1, &value);
      }
    });
  });
  return nullptr;
}

// ---- Det: elimination with the largest pivot, in double

Plan det_plan(const Call& call, const Vector&) {
  const Tensor& x = call.in(0);
  const std::int64_t n = x.extent[x.rank - 1];
  return plan_of_units(1, 0, static_cast<std::size_t>(n * n) * sizeof(double));
}

double determinant(double* m, std::int64_t n) {
  double result = 1;
  for (std::int64_t k = 0; k < n; ++k) {
    std::int64_t pivot = k;
    for (std::int64_t r = k + 1; r < n; ++r)
      if (std::fabs(m[r * n + k]) > std::fabs(m[pivot * n + k])) pivot = r;
    if (m[pivot * n + k] == 0) return 0;
    if (pivot != k) {
      std::swap_ranges(m + k * n, m + (k + 1) * n, m + pivot * n);
      result = -result;
    }
    result *= m[k * n + k];
    for (std::int64_t r = k + 1; r < n; ++r) {
      const double factor = m[r * n + k] / m[k * n + k];
      for (std::int64_t c = k; c < n; ++c) m[r * n + c] -= factor * m[k * n + c];
    }
  }
  return result;
}

const char* det_run(const Task& task, std::int32_t, std::int32_t) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const std::int64_t n = x.extent[x.rank - 1];
  auto* m = reinterpret_cast<double*>(task.scratch);
  for (std::int64_t k = 0; k < y.elements(); ++k) {
    for (std::int64_t i = 0; i < n * n; ++i) m[i] = static_cast<double>(x.as<const float>()[k * n * n + i]);
    y.as<float>()[k] = static_cast<float>(determinant(m, n));
  }
  return nullptr;
}

// ---- Unique: slices along an axis, or elements

struct Slices {
  std::int64_t outer, count, inner;
};
Slices slices_of(const Call& call) {
  const Tensor& x = call.in(0);
  if (call.integer("axis") == -2147483648LL) return {1, x.elements(), 1};
  const int axis = operators::axis_of(call.integer("axis"), x.rank);
  return {x.product(0, axis), x.extent[axis], x.product(axis + 1, x.rank)};
}

Plan unique_plan(const Call& call, const Vector&) {
  return plan_of_units(
      1, 0, static_cast<std::size_t>(slices_of(call).count * 4 + call.in(0).elements()) * sizeof(std::int64_t));
}

int compare_slices(const std::uint64_t* keys, const Slices& s, std::int64_t a, std::int64_t b) {
  for (std::int64_t o = 0; o < s.outer; ++o)
    for (std::int64_t i = 0; i < s.inner; ++i) {
      const std::uint64_t u = keys[(o * s.count + a) * s.inner + i], v = keys[(o * s.count + b) * s.inner + i];
      if (u != v) return u < v ? -1 : 1;
    }
  return 0;
}

const char* unique_run(const Task& task, std::int32_t, std::int32_t) {
  const Call& call = task.call;
  const Tensor &x = call.in(0), &y = call.out(0);
  const Slices s = slices_of(call);
  const std::int64_t room = y.product(0, y.rank) / (s.outer * s.inner), size = operators::size_of(x.type);
  auto *order = reinterpret_cast<std::int64_t*>(task.scratch), *group = order + s.count, *first = group + s.count;
  auto* rank = first + s.count;
  std::int64_t found = 0;
  auto* keys = reinterpret_cast<std::uint64_t*>(rank + s.count);
  load_keys(x, 0, 1, x.elements(), keys);
  for (std::int64_t i = 0; i < s.count; ++i) order[i] = i;
  std::sort(order, order + s.count, [&](std::int64_t a, std::int64_t b) {
    const int c = compare_slices(keys, s, a, b);
    return c != 0 ? c < 0 : a < b;
  });
  for (std::int64_t i = 0; i < s.count; ++i) {  // within a group the first position comes first
    if (i == 0 || compare_slices(keys, s, order[i - 1], order[i]) != 0) first[found++] = order[i];
    group[order[i]] = found - 1;
  }
  if (found > room) return "the data gives more results than the output has room for";
  if (call.integer("sorted") == 0) {  // by first position
    for (std::int64_t g = 0; g < found; ++g) order[g] = g;
    std::sort(order, order + found, [&](std::int64_t a, std::int64_t b) { return first[a] < first[b]; });
  } else {
    for (std::int64_t g = 0; g < found; ++g) order[g] = g;
  }
  std::memset(y.data, 0, static_cast<std::size_t>(y.bytes()));
  for (std::int64_t g = 0; g < found; ++g)
    for (std::int64_t o = 0; o < s.outer; ++o)
      std::memcpy(y.data + (o * room + g) * s.inner * size, x.data + (o * s.count + first[order[g]]) * s.inner * size,
                  static_cast<std::size_t>(s.inner * size));
  const auto fill = [&](std::size_t k, std::int64_t value) -> std::int64_t* {
    if (!call.out(k)) return nullptr;
    auto* to = call.out(k).as<std::int64_t>();
    std::fill(to, to + call.out(k).elements(), value);
    return to;
  };
  std::int64_t *positions = fill(1, -1), *inverse = fill(2, 0), *counts = fill(3, 0);
  fill(4, found);
  for (std::int64_t g = 0; g < found; ++g) {
    rank[order[g]] = g;
    if (positions) positions[g] = first[order[g]];
  }
  for (std::int64_t i = 0; i < s.count; ++i) {
    if (inverse) inverse[i] = rank[group[i]];
    if (counts) ++counts[rank[group[i]]];
  }
  return nullptr;
}

constexpr Kernel kTable[] = {
    {"Einsum", einsum_plan, einsum_prepare, einsum_run},
    {"Det", det_plan, nullptr, det_run},
    {"Unique", unique_plan, nullptr, unique_run},
};

}  // namespace

const Span<const Kernel> kAlgebraKernels(kTable);

}  // namespace openbpu::kernels::cpu
