// Reductions over any axes, arg-max, running sums.
#include <cmath>
#include <cstring>
#include <new>
#include <utility>

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

bool has_extreme(Kind kind) { return kind == Kind::Max || kind == Kind::Min || kind == Kind::LogSumExp; }
bool has_sum(Kind kind) { return kind != Kind::Max && kind != Kind::Min; }

template <bool least, class W>
W extreme(const W* x, std::int64_t n, W most) {
  for (std::int64_t k = 0; k < n; ++k)
    if (x[k] != x[k] || (least ? x[k] < most : x[k] > most)) most = x[k];
  return most;
}

// The sum (the product of Prod) with the terms of n elements, one after another.
template <class W>
Sum<W> added(Kind kind, const W* x, std::int64_t n, Sum<W> sum) {
  using S = Sum<W>;
  switch (kind) {
    case Kind::L1:
      for (std::int64_t k = 0; k < n; ++k) sum += x[k] < 0 ? S(0) - static_cast<S>(x[k]) : static_cast<S>(x[k]);
      break;
    case Kind::L2:
    case Kind::SumSquare:
      for (std::int64_t k = 0; k < n; ++k) sum += static_cast<S>(x[k]) * static_cast<S>(x[k]);
      break;
    case Kind::Prod:
      for (std::int64_t k = 0; k < n; ++k) sum *= static_cast<S>(x[k]);
      break;
    default:
      for (std::int64_t k = 0; k < n; ++k) sum += static_cast<S>(x[k]);
  }
  return sum;
}

// What exponents of LogSumExp are taken against.
template <class W>
double shift_of(W most) {
  return std::isfinite(static_cast<double>(most)) ? static_cast<double>(most) : 0;
}

template <class W>
double added_powers(const W* x, std::int64_t n, double shift, double sum) {
  for (std::int64_t k = 0; k < n; ++k) sum += std::exp(static_cast<double>(x[k]) - shift);
  return sum;
}

// What was found in the elements: the largest or smallest, their sum, the sum of their powers.
template <class W>
struct Found {
  W most;
  Sum<W> sum;
  double powers;
};

// The result, to be stored in the output's type.
template <class W>
W finished(Kind kind, const Found<W>& found, std::int64_t count, [[maybe_unused]] Type type) {
  const auto real = [&](double v) {
    if constexpr (std::is_integral_v<W>)
      return saturated(v, range_of<W>(type));
    else
      return v;
  };
  switch (kind) {
    case Kind::Max:
    case Kind::Min:
      return found.most;
    case Kind::Mean:
      if constexpr (std::is_integral_v<W>) return static_cast<W>(static_cast<std::int64_t>(found.sum) / count);
      return real(static_cast<double>(found.sum) / static_cast<double>(count));
    case Kind::L2:
      return real(std::sqrt(static_cast<double>(found.sum)));
    case Kind::LogSum:
      return real(std::log(static_cast<double>(found.sum)));
    case Kind::LogSumExp:
      return real(std::log(found.powers) + shift_of(found.most));
    default:
      return static_cast<W>(found.sum);
  }
}

// Calls each(block, n) for blocks of what is reduced to the output whose first element lies at `base`.
template <class W, class Each>
void reduced_blocks(const Tensor& x, std::int64_t base, const Shape& shape, Each each) {
  const int end = shape.reduced.rank - 1;
  const std::int64_t step = end < 0 ? 0 : shape.reduced.stride[0][end];
  W block[kWideBlock];
  walk_rows(shape.reduced, 0, shape.count, [&](const std::int64_t(&offset)[1], std::int64_t count) {
    for (std::int64_t i = 0; i < count; i += kWideBlock) {
      const std::int64_t n = std::min(kWideBlock, count - i);
      load_wide(x, base + offset[0] + i * step, step, n, block);
      each(block, n);
    }
  });
}

template <class W>
W reduced(Kind kind, const Tensor& x, std::int64_t base, const Shape& shape) {
  Found<W> found{};
  load_wide(x, base, 1, 1, &found.most);
  found.sum = kind == Kind::Prod ? 1 : 0;
  // Once for the extreme, once for the sum.
  for (int pass = has_extreme(kind) ? 0 : 1; pass < (has_sum(kind) ? 2 : 1); ++pass)
    reduced_blocks<W>(x, base, shape, [&](const W* block, std::int64_t n) {
      if (pass == 0)
        found.most = kind == Kind::Min ? extreme<true>(block, n, found.most) : extreme<false>(block, n, found.most);
      else if (kind == Kind::LogSumExp)
        found.powers = added_powers(block, n, shift_of(found.most), found.powers);
      else
        found.sum = added(kind, block, n, found.sum);
    });
  return finished(kind, found, shape.count, x.type);
}

// ---- float32 through the primitives

constexpr std::int64_t kColumns = 512;  // side by side

Math math_of(Kind kind) { return kind == Kind::L1 ? Math::Abs : kind == Kind::LogSumExp ? Math::Exp : Math::Count; }
Arithmetic arithmetic_of(Kind kind) {
  return kind == Kind::Max    ? Arithmetic::Max
         : kind == Kind::Min  ? Arithmetic::Min
         : kind == Kind::Prod ? Arithmetic::Mul
                              : Arithmetic::Add;
}

// A block of what is added up: x, or its terms in `room`.
const float* terms_of(Kind kind, const Vector& vector, const float* x, std::int64_t n, float* room) {
  if (kind == Kind::L2 || kind == Kind::SumSquare) {
    vector.arithmetic[static_cast<int>(Arithmetic::Mul)](x, 1, x, 1, room, n);
    return room;
  }
  if (math_of(kind) == Math::Count) return x;
  vector.math[static_cast<int>(math_of(kind))](x, room, n, 0, 0);
  return room;
}

float logarithm(const Vector& vector, float x) {
  vector.math[static_cast<int>(Math::Log)](&x, &x, 1, 0, 0);
  return x;
}

// One dense row.
float row_of(Kind kind, const Vector& vector, const float* x, std::int64_t n) {
  switch (kind) {
    case Kind::Max:
      return vector.maximum(x, n);
    case Kind::Min:
      return vector.minimum(x, n);
    case Kind::L2:
      return std::sqrt(vector.dot(x, x, n));
    case Kind::SumSquare:
      return vector.dot(x, x, n);
    case Kind::Mean:
      return vector.sum(x, n) / static_cast<float>(n);
    case Kind::LogSum:
      return logarithm(vector, vector.sum(x, n));
    default:
      break;
  }
  float room[kColumns], sum = 0;
  const float shift = kind == Kind::LogSumExp ? static_cast<float>(shift_of(vector.maximum(x, n))) : 0;
  if (kind == Kind::Prod) std::fill(room, room + kColumns, 1.0f);
  for (std::int64_t i = 0; i < n; i += kColumns) {
    const std::int64_t count = std::min(kColumns, n - i);
    if (kind == Kind::LogSumExp)
      sum += vector.exponentials(x + i, room, count, shift);
    else if (kind == Kind::Prod)
      vector.arithmetic[static_cast<int>(Arithmetic::Mul)](room, 1, x + i, 1, room, count);
    else
      sum += vector.sum(terms_of(kind, vector, x + i, count, room), count);
  }
  if (kind == Kind::LogSumExp) return logarithm(vector, sum) + shift;
  if (kind != Kind::Prod) return sum;
  for (std::int64_t half = kColumns / 2; half > 0; half /= 2)
    vector.arithmetic[static_cast<int>(Arithmetic::Mul)](room, 1, room + half, 1, room, half);
  return room[0];
}

// Calls each(row) for the rows of the input that fall on a run of outputs: reduced dimensions outside, kept ones
// inside.
template <class Each>
void reduced_rows(const Shape& shape, const float* x, Each each) {
  const int last = shape.reduced.rank - 1;
  const std::int64_t step = last < 0 ? 0 : shape.reduced.stride[0][last];
  walk_rows(shape.reduced, 0, shape.count, [&](const std::int64_t(&offset)[1], std::int64_t rows) {
    for (std::int64_t r = 0; r < rows; ++r) each(x + offset[0] + r * step);
  });
}

// n <= kColumns outputs side by side.
void columns_of(Kind kind, const Vector& vector, const Shape& shape, const float* x, std::int64_t n, float* y) {
  const auto bytes = static_cast<std::size_t>(n) * sizeof(float);
  float room[kColumns], shift[kColumns];
  const auto fold = [&](Arithmetic f, const float* row, bool first, float* to) {
    if (first)
      std::memcpy(to, row, bytes);
    else
      vector.arithmetic[static_cast<int>(f)](to, 1, row, 1, to, n);
  };
  const auto apply = [&](Math f, float a) { vector.math[static_cast<int>(f)](y, y, n, a, 0); };
  bool first = true;
  if (kind == Kind::LogSumExp) {
    reduced_rows(shape, x, [&](const float* row) { fold(Arithmetic::Max, row, std::exchange(first, false), shift); });
    for (std::int64_t i = 0; i < n; ++i) shift[i] = static_cast<float>(shift_of(shift[i]));
    first = true;
  }
  reduced_rows(shape, x, [&](const float* row) {
    if (kind == Kind::LogSumExp) {
      vector.arithmetic[static_cast<int>(Arithmetic::Sub)](row, 1, shift, 1, room, n);
      row = room;
    }
    fold(arithmetic_of(kind), terms_of(kind, vector, row, n, room), std::exchange(first, false), y);
  });
  if (kind == Kind::Mean) apply(Math::Affine, 1.0f / static_cast<float>(shape.count));
  if (kind == Kind::L2) apply(Math::Sqrt, 0);
  if (kind == Kind::LogSum || kind == Kind::LogSumExp) apply(Math::Log, 0);
  if (kind == Kind::LogSumExp) fold(Arithmetic::Add, shift, false, y);
}

bool by_columns(Kind kind, const Task& task, const Shape& shape, const Part& part) {
  const int end = shape.kept.rank - 1;
  if (end < 0 || shape.kept.stride[0][end] != 1 || shape.kept.extent[end] < 8) return false;
  const auto* x = task.call.in(0).as<const float>();
  float* y = task.call.out().as<float>() + part.first;
  walk_rows(shape.kept, part.first, part.last, [&](const std::int64_t(&at)[1], std::int64_t count) {
    for (std::int64_t i = 0; i < count; i += kColumns)
      columns_of(kind, task.vector, shape, x + at[0] + i, std::min(kColumns, count - i), y + i);
    y += count;
  });
  return true;
}

// Calls each(first element of what is reduced) for the outputs of a part, in order.
template <class Each>
void outputs_of(const Shape& shape, const Part& part, Each each) {
  const int end = shape.kept.rank - 1;
  const std::int64_t step = end < 0 ? 0 : shape.kept.stride[0][end];
  walk_rows(shape.kept, part.first, part.last, [&](const std::int64_t(&at)[1], std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) each(at[0] + i * step);
  });
}

const char* reduce(Kind kind, const Task& task, std::int32_t begin, std::int32_t end) {
  const auto& shape = *reinterpret_cast<const Shape*>(task.prepared);
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const Part part = part_of(task, shape.outputs, begin, end);
  if (x.type == Type::F32) {
    if (shape.reduced.rank == 1 && shape.reduced.stride[0][0] == 1) {
      const auto* from = x.as<const float>();
      float* to = y.as<float>() + part.first;
      outputs_of(shape, part, [&](std::int64_t at) { *to++ = row_of(kind, task.vector, from + at, shape.count); });
      return nullptr;
    }
    if (shape.count > 1 && by_columns(kind, task, shape, part)) return nullptr;
  }
  visit_wide(x.type, [&](auto tag) {
    std::int64_t to = part.first;
    outputs_of(shape, part, [&](std::int64_t at) {
      const auto value = reduced<typename decltype(tag)::type>(kind, x, at, shape);
      store_wide(y, to++, 1, &value);
    });
  });
  return nullptr;
}

template <Kind kind>
const char* run(const Task& task, std::int32_t begin, std::int32_t end) {
  return reduce(kind, task, begin, end);
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
void first_extremes(const Vector& vector, const float* x, const Axes& a, const Part& part, bool largest,
                    std::int64_t* y) {
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

void extremes(const Tensor& x, const Axes& a, const Part& part, bool largest, bool take_last, std::int64_t* y) {
  std::uint64_t best[kArgBlock] = {}, keys[kArgBlock];
  for (std::int64_t first = part.first; first < part.last;) {
    const std::int64_t inside = first % a.inner, n = std::min({kArgBlock, a.inner - inside, part.last - first});
    const std::int64_t row = first / a.inner * a.size * a.inner + inside;
    std::fill(y + first, y + first + n, 0);
    for (std::int64_t k = 0; k < a.size; ++k) {
      load_keys(x, row + k * a.inner, 1, n, keys);
      for (std::int64_t i = 0; i < n; ++i) {
        const bool better = (largest ? keys[i] > best[i] : keys[i] < best[i]) || (take_last && keys[i] == best[i]);
        if (k > 0 && !better) continue;
        best[i] = keys[i];
        y[first + i] = k;
      }
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
    first_extremes(task.vector, x.as<const float>(), a, part, largest, y);
  else
    extremes(x, a, part, largest, take_last, y);
  return nullptr;
}

// ---- running sums and products

struct Running {
  bool product, exclusive, reverse;
};

// Of float32: rows side by side through the primitives, single columns in double.
void running_floats(const Vector& vector, const Axes& a, const Running& how, const float* x, float* y) {
  const auto combine = vector.arithmetic[static_cast<int>(how.product ? Arithmetic::Mul : Arithmetic::Add)];
  const auto row = [&](std::int64_t k) { return (how.reverse ? a.size - 1 - k : k) * a.inner; };
  for (std::int64_t o = 0; o < a.outer; ++o, x += a.size * a.inner, y += a.size * a.inner) {
    if (a.inner == 1) {
      double sum = how.product ? 1 : 0;
      for (std::int64_t k = 0; k < a.size; ++k) {
        const double before = sum, v = static_cast<double>(x[row(k)]);
        sum = how.product ? sum * v : sum + v;
        y[row(k)] = static_cast<float>(how.exclusive ? before : sum);
      }
      continue;
    }
    if (how.exclusive)
      std::fill(y + row(0), y + row(0) + a.inner, how.product ? 1.0f : 0.0f);
    else
      std::memcpy(y + row(0), x + row(0), static_cast<std::size_t>(a.inner) * sizeof(float));
    for (std::int64_t k = 1; k < a.size; ++k)
      combine(y + row(k - 1), 1, x + row(how.exclusive ? k - 1 : k), 1, y + row(k), a.inner);
  }
}

template <class W>
void running_wide(const Tensor& x, const Tensor& y, const Axes& a, const Running& how) {
  using S = Sum<W>;
  for (std::int64_t o = 0; o < a.outer * a.inner; ++o) {
    const std::int64_t base = o / a.inner * a.size * a.inner + o % a.inner;
    S sum = how.product ? 1 : 0;
    for (std::int64_t k = 0; k < a.size; ++k) {
      const std::int64_t at = base + (how.reverse ? a.size - 1 - k : k) * a.inner;
      W v;
      load_wide(x, at, 1, 1, &v);
      const S before = sum;
      sum = how.product ? sum * static_cast<S>(v) : sum + static_cast<S>(v);
      v = static_cast<W>(how.exclusive ? before : sum);
      store_wide(y, at, 1, &v);
    }
  }
}

template <bool product>
const char* running_run(const Task& task, std::int32_t, std::int32_t) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const Axes a = around(x, operators::axis_of(task.call.parameter(1)[0], x.rank));
  const Running how{product, task.call.integer("exclusive") != 0, task.call.integer("reverse") != 0};
  if (x.type == Type::F32)
    running_floats(task.vector, a, how, x.as<const float>(), y.as<float>());
  else
    visit_wide(x.type, [&](auto tag) { running_wide<typename decltype(tag)::type>(x, y, a, how); });
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
