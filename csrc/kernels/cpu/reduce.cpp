// Reductions over any axes, arg-max, running sums.
#include <cmath>
#include <cstring>
#include <new>
#include <string_view>

#include "kernels/cpu/kernel.hpp"
#include "kernels/cpu/types.hpp"
#include "kernels/cpu/walk.hpp"
#include "kernels/cpu/wide.hpp"

namespace openbpu::kernels::cpu {
namespace {

enum class Kind { Sum, Mean, Max, Min, Prod, L1, L2, LogSum, LogSumExp, SumSquare };

// The kept dimensions in output order, and the reduced ones under each of their positions.
struct Shape {
  Walk<1> kept, reduced;
  std::int64_t outputs, count;
};

Plan plan(const Call& call, const Vector&) {
  const std::int64_t work = call.in(0).elements(), outputs = call.out().elements();
  return plan_of_units(std::min(outputs, (work + kUnitElements - 1) / kUnitElements), sizeof(Shape));
}

void fill_shape(const Tensor& x, std::uint32_t mask, Shape& shape) {
  std::int64_t strides[operators::kMaxRank];
  broadcast_strides(x, x.rank, strides);
  for (int k = 0; k < x.rank; ++k) (mask >> k & 1 ? shape.reduced : shape.kept).push(x.extent[k], {strides[k]});
  shape.outputs = shape.kept.elements();
  shape.count = shape.reduced.elements();
}

void prepare(const Call& call, const Vector&, std::uint8_t* prepared) {
  std::uint32_t mask = 0;
  if (operators::reduced_of(call, mask)) return;
  fill_shape(call.in(0), mask, *new (prepared) Shape());
}

// Outputs of units [begin, end).
struct Part {
  std::int64_t first, last;
};
Part part_of(const Task& task, std::int64_t outputs, std::int32_t begin, std::int32_t end) {
  const std::int64_t units = plan(task.call, task.vector).units;
  return {outputs * begin / units, outputs * end / units};
}

// Sums of integers wrap; those of floats are in double, but for the primitives of float32.
template <class W>
using Sum = std::conditional_t<std::is_integral_v<W>, std::uint64_t, double>;

// What exponents of LogSumExp are taken against.
template <class W>
double shift_of(W most) {
  return std::isfinite(static_cast<double>(most)) ? static_cast<double>(most) : 0;
}

template <Kind kind, class W>
Sum<W> term(W x, W most) {
  using S = Sum<W>;
  if constexpr (kind == Kind::L1) return x < 0 ? S(0) - static_cast<S>(x) : static_cast<S>(x);
  if constexpr (kind == Kind::L2 || kind == Kind::SumSquare) return static_cast<S>(x) * static_cast<S>(x);
  if constexpr (kind == Kind::LogSumExp) {
    if constexpr (std::is_integral_v<W>) return 0;
    return static_cast<S>(std::exp(static_cast<double>(x) - shift_of(most)));
  }
  return static_cast<S>(x);
}

// The result, to be stored in the output's type.
template <Kind kind, class W>
W finished(Sum<W> sum, std::int64_t count, W most, [[maybe_unused]] Type type) {
  const auto real = [&](double v) {
    if constexpr (std::is_integral_v<W>)
      return saturated(v, range_of<W>(type));
    else
      return v;
  };
  if constexpr (kind == Kind::Mean) {
    if constexpr (std::is_integral_v<W>) return static_cast<W>(static_cast<std::int64_t>(sum) / count);
    return real(static_cast<double>(sum) / static_cast<double>(count));
  }
  if constexpr (kind == Kind::L2) return real(std::sqrt(static_cast<double>(sum)));
  if constexpr (kind == Kind::LogSum) return real(std::log(static_cast<double>(sum)));
  if constexpr (kind == Kind::LogSumExp) return real(std::log(static_cast<double>(sum)) + shift_of(most));
  return static_cast<W>(sum);
}

// Calls each(wide element) for what is reduced to the output whose first element lies at `base`.
template <class W, class Each>
void reduced_elements(const Tensor& x, std::int64_t base, const Shape& shape, Each each) {
  const int end = shape.reduced.rank - 1;
  const std::int64_t step = end < 0 ? 0 : shape.reduced.stride[0][end];
  W block[kWideBlock];
  walk_rows(shape.reduced, 0, shape.count, [&](const std::int64_t(&offset)[1], std::int64_t count) {
    for (std::int64_t i = 0; i < count; i += kWideBlock) {
      const std::int64_t n = std::min(kWideBlock, count - i);
      load_wide(x, base + offset[0] + i * step, step, n, block);
      for (std::int64_t k = 0; k < n; ++k) each(block[k]);
    }
  });
}

template <Kind kind, class W>
W reduced(const Tensor& x, std::int64_t base, const Shape& shape) {
  W most;
  load_wide(x, base, 1, 1, &most);
  if constexpr (kind == Kind::Max || kind == Kind::Min || kind == Kind::LogSumExp)
    reduced_elements<W>(x, base, shape, [&most](W v) {
      if (v != v || (kind == Kind::Min ? v < most : v > most)) most = v;
    });
  if constexpr (kind == Kind::Max || kind == Kind::Min) return most;
  Sum<W> sum = kind == Kind::Prod ? 1 : 0;
  reduced_elements<W>(x, base, shape, [&sum, most](W v) {
    const Sum<W> t = term<kind>(v, most);
    if constexpr (kind == Kind::Prod)
      sum *= t;
    else
      sum += t;
  });
  return finished<kind>(sum, shape.count, most, x.type);
}

constexpr bool has_rows(Kind kind) {
  return kind == Kind::Sum || kind == Kind::Mean || kind == Kind::Max || kind == Kind::L2 || kind == Kind::SumSquare;
}

// One dense row of float32.
template <Kind kind>
float row_of(const Vector& vector, const float* x, std::int64_t n) {
  if constexpr (kind == Kind::Max) return vector.maximum(x, n);
  if constexpr (kind == Kind::L2 || kind == Kind::SumSquare) {
    const float squares = vector.dot(x, x, n);
    return kind == Kind::L2 ? std::sqrt(squares) : squares;
  }
  const float sum = vector.sum(x, n);
  return kind == Kind::Mean ? sum / static_cast<float>(n) : sum;
}

// Whole rows of the input added up into rows of the output: reduced dimensions outside, kept ones inside.
template <Kind kind>
bool by_columns(const Task& task, const Shape& shape, const Part& part) {
  if constexpr (kind != Kind::Sum && kind != Kind::Mean && kind != Kind::Max && kind != Kind::Min) return false;
  const int end = shape.kept.rank - 1;
  if (end < 0 || shape.kept.stride[0][end] != 1 || shape.kept.extent[end] < 8) return false;
  const Arithmetic f = kind == Kind::Max ? Arithmetic::Max : kind == Kind::Min ? Arithmetic::Min : Arithmetic::Add;
  const auto combine = task.vector.arithmetic[static_cast<int>(f)];
  const auto* x = task.call.in(0).as<const float>();
  float* y = task.call.out().as<float>() + part.first;
  walk_rows(shape.kept, part.first, part.last, [&](const std::int64_t(&at)[1], std::int64_t n) {
    bool first = true;
    walk_rows(shape.reduced, 0, shape.count, [&](const std::int64_t(&offset)[1], std::int64_t rows) {
      const int last = shape.reduced.rank - 1;
      for (std::int64_t r = 0; r < rows; ++r) {
        const float* row = x + at[0] + offset[0] + (last < 0 ? 0 : r * shape.reduced.stride[0][last]);
        if (first)
          std::memcpy(y, row, static_cast<std::size_t>(n) * sizeof(float));
        else
          combine(y, 1, row, 1, y, n);
        first = false;
      }
    });
    if (kind == Kind::Mean)
      task.vector.math[static_cast<int>(Math::Affine)](y, y, n, 1.0f / static_cast<float>(shape.count), 0);
    y += n;
  });
  return true;
}

template <Kind kind>
void float_rows(const Task& task, const Shape& shape, const Part& part) {
  const auto* x = task.call.in(0).as<const float>();
  float* y = task.call.out().as<float>() + part.first;
  const int end = shape.kept.rank - 1;
  const std::int64_t step = end < 0 ? 0 : shape.kept.stride[0][end];
  walk_rows(shape.kept, part.first, part.last, [&](const std::int64_t(&at)[1], std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) *y++ = row_of<kind>(task.vector, x + at[0] + i * step, shape.count);
  });
}

template <Kind kind>
const char* run(const Task& task, std::int32_t begin, std::int32_t end) {
  const auto& shape = *reinterpret_cast<const Shape*>(task.prepared);
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const Part part = part_of(task, shape.outputs, begin, end);
  if (x.type == Type::F32) {
    const bool dense = shape.reduced.rank == 1 && shape.reduced.stride[0][0] == 1;
    if (has_rows(kind) && dense) return float_rows<kind>(task, shape, part), nullptr;
    if (shape.count > 1 && by_columns<kind>(task, shape, part)) return nullptr;
  }
  const int last = shape.kept.rank - 1;
  const std::int64_t step = last < 0 ? 0 : shape.kept.stride[0][last];
  visit_wide(x.type, [&](auto tag) {
    using W = typename decltype(tag)::type;
    std::int64_t to = part.first;
    walk_rows(shape.kept, part.first, part.last, [&](const std::int64_t(&at)[1], std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) {
        const W value = reduced<kind, W>(x, at[0] + i * step, shape);
        store_wide(y, to++, 1, &value);
      }
    });
  });
  return nullptr;
}

// ---- arg-max, arg-min

// [outer, size, inner] around an axis.
struct Axes {
  std::int64_t outer, size, inner;
};
Axes around(const Tensor& x, int axis) { return {x.product(0, axis), x.extent[axis], x.product(axis + 1, x.rank)}; }

constexpr std::int64_t kArgBlock = 256;  // outputs side by side, so that the input is read in order

Plan arg_plan(const Call& call, const Vector& vector) { return plan_of_units(plan(call, vector).units); }

// The first of equals, of float32.
template <bool largest>
void first_extremes(const Vector& vector, const float* x, const Axes& a, const Part& part, std::int64_t* y) {
  if (a.inner == 1) {
    for (std::int64_t o = part.first; o < part.last; ++o) y[o] = vector.extreme(x + o * a.size, a.size, !largest);
    return;
  }
  float at[kArgBlock];
  for (std::int64_t first = part.first; first < part.last;) {
    const std::int64_t inside = first % a.inner, n = std::min({kArgBlock, a.inner - inside, part.last - first});
    vector.extremes({x + first / a.inner * a.size * a.inner + inside, a.inner, a.size, n, !largest, at});
    for (std::int64_t i = 0; i < n; ++i) y[first + i] = static_cast<std::int64_t>(at[i]);
    first += n;
  }
}

template <bool largest, class T>
void extremes(const T* x, const Axes& a, const Part& part, bool take_last, std::int64_t* y) {
  T most[kArgBlock];
  for (std::int64_t first = part.first; first < part.last;) {
    const std::int64_t inside = first % a.inner, n = std::min({kArgBlock, a.inner - inside, part.last - first});
    const T* row = x + first / a.inner * a.size * a.inner + inside;
    std::copy(row, row + n, most);
    std::fill(y + first, y + first + n, 0);
    for (std::int64_t k = 1; k < a.size; ++k)
      for (std::int64_t i = 0; i < n; ++i) {
        const T v = row[k * a.inner + i];
        const bool better = (largest ? v > most[i] : v < most[i]) || (take_last && v == most[i]);
        most[i] = better ? v : most[i];
        y[first + i] = better ? k : y[first + i];
      }
    first += n;
  }
}

template <bool largest>
const char* arg_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor& x = task.call.in(0);
  const Axes a = around(x, operators::axis_of(task.call.integer("axis"), x.rank));
  const bool take_last = task.call.integer("select_last_index") != 0;
  auto* y = task.call.out().as<std::int64_t>();
  const Part part = part_of(task, a.outer * a.inner, begin, end);
  if (x.type == Type::F32 && !take_last && a.size < kMostExtremes)
    return first_extremes<largest>(task.vector, x.as<const float>(), a, part, y), nullptr;
  visit_number(x.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    extremes<largest, T>(x.as<const T>(), a, part, take_last, y);
  });
  return nullptr;
}

// ---- running sums and products

template <bool product>
const char* running_run(const Task& task, std::int32_t, std::int32_t) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const Axes a = around(x, operators::axis_of(task.call.parameter(1)[0], x.rank));
  const bool exclusive = task.call.integer("exclusive") != 0, reverse = task.call.integer("reverse") != 0;
  visit_wide(x.type, [&](auto tag) {
    using W = typename decltype(tag)::type;
    using S = Sum<W>;
    for (std::int64_t o = 0; o < a.outer * a.inner; ++o) {
      const std::int64_t base = o / a.inner * a.size * a.inner + o % a.inner;
      S sum = product ? 1 : 0;
      for (std::int64_t k = 0; k < a.size; ++k) {
        const std::int64_t at = base + (reverse ? a.size - 1 - k : k) * a.inner;
        W v;
        load_wide(x, at, 1, 1, &v);
        const S before = sum;
        sum = product ? sum * static_cast<S>(v) : sum + static_cast<S>(v);
        v = static_cast<W>(exclusive ? before : sum);
        store_wide(y, at, 1, &v);
      }
    }
  });
  return nullptr;
}

Plan one_unit(const Call&, const Vector&) { return plan_of_units(1); }

constexpr Kernel kTable[] = {
    {"ReduceSum", plan, prepare, run<Kind::Sum>},
    {"ReduceMean", plan, prepare, run<Kind::Mean>},
    {"ReduceMax", plan, prepare, run<Kind::Max>},
    {"ReduceMin", plan, prepare, run<Kind::Min>},
    {"ReduceProd", plan, prepare, run<Kind::Prod>},
    {"ReduceL1", plan, prepare, run<Kind::L1>},
    {"ReduceL2", plan, prepare, run<Kind::L2>},
    {"ReduceLogSum", plan, prepare, run<Kind::LogSum>},
    {"ReduceLogSumExp", plan, prepare, run<Kind::LogSumExp>},
    {"ReduceSumSquare", plan, prepare, run<Kind::SumSquare>},
    {"ArgMax", arg_plan, nullptr, arg_run<true>},
    {"ArgMin", arg_plan, nullptr, arg_run<false>},
    {"CumSum", one_unit, nullptr, running_run<false>},
    {"CumProd", one_unit, nullptr, running_run<true>},
};

}  // namespace

const Span<const Kernel> kReduceKernels(kTable);

}  // namespace openbpu::kernels::cpu
