// Softmax and the normalisations: whole rows at a time.
#include <cmath>
#include <cstring>
#include <new>
#include <string_view>

#include "kernels/cpu/kernel.hpp"
#include "kernels/cpu/walk.hpp"

namespace openbpu::kernels::cpu {
namespace {

constexpr std::size_t kFloat = sizeof(float);

Plan units_of(std::int64_t rows, std::int64_t length, std::size_t scratch = 0) {
  return plan_of_units(std::min(rows, (rows * length + kUnitElements - 1) / kUnitElements), 0, scratch);
}

struct Part {
  std::int64_t first, last;
};
Part part_of(std::int64_t rows, std::int64_t units, std::int32_t begin, std::int32_t end) {
  return {rows * begin / units, rows * end / units};
}

// ---- along an axis: rows that are not dense are copied to scratch and back

struct Axis {
  std::int64_t outer, size, inner;
};
Axis axis_of(const Call& call) {
  const Tensor& x = call.in(0);
  const int axis = operators::axis_of(call.integer("axis"), x.rank);
  return {x.product(0, axis), x.extent[axis], x.product(axis + 1, x.rank)};
}

Plan axis_plan(const Call& call, const Vector&) {
  const Axis a = axis_of(call);
  return units_of(a.outer * a.inner, a.size, a.inner > 1 ? static_cast<std::size_t>(a.size) * kFloat : 0);
}

using RowFunction = void (*)(const Task&, const float* x, float* y, std::int64_t n);

// Rows that lie side by side: n columns of `size` elements, `step` floats apart.
struct Columns {
  std::int64_t size, step, n;
};
constexpr std::int64_t kColumns = 256;  // most of them
using ColumnFunction = void (*)(const Vector&, const Columns&, const float* x, float* y);

template <RowFunction f, ColumnFunction columns = nullptr>
const char* axis_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Axis a = axis_of(task.call);
  const Part part = part_of(a.outer * a.inner, axis_plan(task.call, task.vector).units, begin, end);
  const auto* x = task.call.in(0).as<const float>();
  float* y = task.call.out().as<float>();
  auto* row = reinterpret_cast<float*>(task.scratch);
  if (columns && a.inner > 1) {
    for (std::int64_t r = part.first; r < part.last;) {
      const std::int64_t inside = r % a.inner, n = std::min({kColumns, a.inner - inside, part.last - r});
      const std::int64_t at = r / a.inner * a.size * a.inner + inside;
      columns(task.vector, {a.size, a.inner, n}, x + at, y + at);
      r += n;
    }
    return nullptr;
  }
  for (std::int64_t r = part.first; r < part.last; ++r) {
    const std::int64_t at = r / a.inner * a.size * a.inner + r % a.inner;
    if (a.inner == 1) {
      f(task, x + at, y + at, a.size);
      continue;
    }
    for (std::int64_t k = 0; k < a.size; ++k) row[k] = x[at + k * a.inner];
    f(task, row, row, a.size);
    for (std::int64_t k = 0; k < a.size; ++k) y[at + k * a.inner] = row[k];
  }
  return nullptr;
}

void scale_row(const Task& task, float* y, std::int64_t n, float factor) {
  task.vector.math[static_cast<int>(Math::Affine)](y, y, n, factor, 0);
}

void softmax(const Task& task, const float* x, float* y, std::int64_t n) {
  const float sum = task.vector.exponentials(x, y, n, task.vector.maximum(x, n));
  scale_row(task, y, n, 1 / sum);
}

void log_softmax(const Task& task, const float* x, float* y, std::int64_t n) {
  const float most = task.vector.maximum(x, n);
  const float sum = task.vector.exponentials(x, y, n, most);
  task.vector.normalise(x, y, n, most, 1, nullptr, nullptr);
  float shift = 0;
  task.vector.math[static_cast<int>(Math::Log)](&sum, &shift, 1, 0, 0);
  task.vector.math[static_cast<int>(Math::Affine)](y, y, n, 1, -shift);
}

template <bool logarithm>
void softmax_columns(const Vector& vector, const Columns& c, const float* x, float* y) {
  const auto bytes = static_cast<std::size_t>(c.n) * kFloat;
  const auto combine = [&](Arithmetic f, const float* a, const float* b, float* to) {
    vector.arithmetic[static_cast<int>(f)](a, 1, b, 1, to, c.n);
  };
  const auto apply = [&](Math f, const float* from, float* to) {
    vector.math[static_cast<int>(f)](from, to, c.n, 0, 0);
  };
  float most[kColumns], sum[kColumns], power[kColumns];
  std::memcpy(most, x, bytes);
  for (std::int64_t k = 1; k < c.size; ++k) combine(Arithmetic::Max, most, x + k * c.step, most);
  std::memset(sum, 0, bytes);
  for (std::int64_t k = 0; k < c.size; ++k) {
    float* to = y + k * c.step;
    combine(Arithmetic::Sub, x + k * c.step, most, to);
    apply(Math::Exp, to, logarithm ? power : to);
    combine(Arithmetic::Add, sum, logarithm ? power : to, sum);
  }
  apply(logarithm ? Math::Log : Math::Reciprocal, sum, sum);
  for (std::int64_t k = 0; k < c.size; ++k)
    combine(logarithm ? Arithmetic::Sub : Arithmetic::Mul, y + k * c.step, sum, y + k * c.step);
}

void hardmax(const Task&, const float* x, float* y, std::int64_t n) {
  std::int64_t best = 0;
  for (std::int64_t i = 1; i < n; ++i)
    if (x[i] > x[best]) best = i;
  for (std::int64_t i = 0; i < n; ++i) y[i] = 0;
  y[best] = 1;
}

void lp_normalise(const Task& task, const float* x, float* y, std::int64_t n) {
  const Vector& vector = task.vector;
  float norm = 0;
  if (task.call.integer("p") == 2) {
    norm = std::sqrt(vector.dot(x, x, n));
  } else {
    float block[kColumns];
    for (std::int64_t i = 0; i < n; i += kColumns) {
      const std::int64_t count = std::min(kColumns, n - i);
      vector.math[static_cast<int>(Math::Abs)](x + i, block, count, 0, 0);
      norm += vector.sum(block, count);
    }
  }
  if (norm == 0)
    std::memset(y, 0, static_cast<std::size_t>(n) * kFloat);
  else
    vector.arithmetic[static_cast<int>(Arithmetic::Div)](x, 1, &norm, 0, y, n);
}

// ---- LayerNormalization, RMSNormalization

// Parameters that broadcast to a row are written out once per call of the unit.
const float* whole_parameter(const Tensor& parameter, const Tensor& x, int axis, float* room) {
  if (!parameter) return nullptr;
  const std::int64_t length = x.product(axis, x.rank);
  if (parameter.elements() == length) return parameter.as<const float>();
  Tensor shape = x;
  shape.rank = x.rank - axis;
  for (int k = 0; k < shape.rank; ++k) shape.extent[k] = x.extent[axis + k];
  const Walk<1> walk = broadcast_walk<1>(shape, {&parameter});
  const std::int64_t step = walk.rank ? walk.stride[0][walk.rank - 1] : 0;
  float* to = room;
  walk_rows(walk, 0, length, [&](const std::int64_t(&at)[1], std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) *to++ = parameter.as<const float>()[at[0] + i * step];
  });
  return room;
}

struct Rows {
  std::int64_t count, length;
  int axis;
};
Rows layer_rows(const Call& call) {
  const Tensor& x = call.in(0);
  const int axis = operators::axis_of(call.integer("axis"), x.rank);
  return {x.product(0, axis), x.product(axis, x.rank), axis};
}

Plan layer_plan(const Call& call, const Vector&) {
  const Rows rows = layer_rows(call);
  return units_of(rows.count, rows.length, static_cast<std::size_t>(rows.length) * 3 * kFloat);
}

template <bool centred>
const char* layer_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Rows rows = layer_rows(task.call);
  const std::int64_t n = rows.length;
  const Tensor& x = task.call.in(0);
  auto* room = reinterpret_cast<float*>(task.scratch);
  const float* scale = whole_parameter(task.call.in(1), x, rows.axis, room);
  const float* bias = whole_parameter(task.call.in(2), x, rows.axis, room + n);
  const auto epsilon = static_cast<float>(task.call.number("epsilon"));
  const Part part = part_of(rows.count, layer_plan(task.call, task.vector).units, begin, end);
  for (std::int64_t r = part.first; r < part.last; ++r) {
    const float* from = x.as<const float>() + r * n;
    const float mean = centred ? task.vector.sum(from, n) / static_cast<float>(n) : 0;
    const float squares = task.vector.sum_of_squares(from, n, mean) / static_cast<float>(n);
    const float factor = 1 / std::sqrt(squares + epsilon);
    float* to = task.call.out() ? task.call.out().as<float>() + r * n : room + 2 * n;
    task.vector.normalise(from, to, n, mean, factor, scale, bias);
    if (task.call.out(1)) task.call.out(1).as<float>()[r] = mean;
    if (task.call.out(2)) task.call.out(2).as<float>()[r] = factor;
  }
  return nullptr;
}

// ---- per channel: batch, instance and group normalisation

struct Channels {
  std::int64_t images, channels, pixels;
};
Channels channels_of(const Tensor& x) {
  if (x.rank < 2) return {x.rank == 1 ? x.extent[0] : 1, 1, 1};
  return {x.extent[0], x.extent[1], x.product(2, x.rank)};
}

Plan batch_plan(const Call& call, const Vector&) {
  const Channels c = channels_of(call.in(0));
  return units_of(c.images * c.channels, c.pixels);
}

void affine(const Task& task, const float* x, float* y, std::int64_t n, float factor, float shift) {
  task.vector.math[static_cast<int>(Math::Affine)](x, y, n, factor, shift);
}

const char* batch_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Call& call = task.call;
  const Channels c = channels_of(call.in(0));
  const Part part = part_of(c.images * c.channels, batch_plan(call, task.vector).units, begin, end);
  const auto epsilon = static_cast<float>(call.number("epsilon"));
  for (std::int64_t r = part.first; r < part.last; ++r) {
    const std::int64_t k = r % c.channels;
    const auto parameter = [&](std::size_t input) { return call.in(input).as<const float>()[k]; };
    const float factor = parameter(1) / std::sqrt(parameter(4) + epsilon);
    affine(task, call.in(0).as<const float>() + r * c.pixels, call.out().as<float>() + r * c.pixels, c.pixels, factor,
           parameter(2) - parameter(3) * factor);
  }
  return nullptr;
}

std::int64_t groups_of(const Call& call) {
  return std::string_view(call.kernel->name) == "GroupNormalization" ? call.integer("num_groups")
                                                                     : call.in(0).extent[1];
}

Plan group_plan(const Call& call, const Vector&) {
  const Channels c = channels_of(call.in(0));
  return units_of(c.images * groups_of(call), c.channels / groups_of(call) * c.pixels);
}

const char* group_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Call& call = task.call;
  const Channels c = channels_of(call.in(0));
  const std::int64_t groups = groups_of(call), members = c.channels / groups, n = members * c.pixels;
  const Part part = part_of(c.images * groups, group_plan(call, task.vector).units, begin, end);
  const auto epsilon = static_cast<float>(call.number("epsilon"));
  for (std::int64_t r = part.first; r < part.last; ++r) {
    const float* x = call.in(0).as<const float>() + r * n;
    const float mean = task.vector.sum(x, n) / static_cast<float>(n);
    const float squares = task.vector.sum_of_squares(x, n, mean) / static_cast<float>(n);
    const float inverse = 1 / std::sqrt(squares + epsilon);
    for (std::int64_t m = 0; m < members; ++m) {
      const std::int64_t channel = r % groups * members + m;
      const float factor = call.in(1).as<const float>()[channel] * inverse;
      affine(task, x + m * c.pixels, call.out().as<float>() + r * n + m * c.pixels, c.pixels, factor,
             call.in(2).as<const float>()[channel] - mean * factor);
    }
  }
  return nullptr;
}

// ---- LRN: a window of channels

Plan lrn_plan(const Call& call, const Vector&) { return plan_of_units(call.in(0).extent[0]); }

const char* lrn_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Call& call = task.call;
  const Channels c = channels_of(call.in(0));
  const std::int64_t size = call.integer("size"), before = (size - 1) / 2;
  const double alpha = call.number("alpha") / static_cast<double>(size), beta = call.number("beta");
  const double bias = call.number("bias");
  for (std::int64_t image = begin; image < end; ++image) {
    const float* x = call.in(0).as<const float>() + image * c.channels * c.pixels;
    float* y = call.out().as<float>() + image * c.channels * c.pixels;
    for (std::int64_t k = 0; k < c.channels; ++k) {
      const std::int64_t first = std::max<std::int64_t>(0, k - before), last = std::min(c.channels, k - before + size);
      for (std::int64_t p = 0; p < c.pixels; ++p) {
        double squares = 0;
        for (std::int64_t j = first; j < last; ++j) {
          const auto v = static_cast<double>(x[j * c.pixels + p]);
          squares += v * v;
        }
        y[k * c.pixels + p] =
            static_cast<float>(static_cast<double>(x[k * c.pixels + p]) * std::pow(bias + alpha * squares, -beta));
      }
    }
  }
  return nullptr;
}

// ---- MeanVarianceNormalization

struct Variance {
  Walk<1> kept, reduced;
};

Plan variance_plan(const Call&, const Vector&) { return plan_of_units(1, sizeof(Variance)); }

void variance_prepare(const Call& call, const Vector&, std::uint8_t* prepared) {
  auto& v = *new (prepared) Variance();
  const Tensor& x = call.in(0);
  std::uint32_t mask = 0;
  if (operators::reduced_of(call.list("axes"), x.rank, mask)) return;
  std::int64_t strides[operators::kMaxRank];
  broadcast_strides(x, x.rank, strides);
  for (int k = 0; k < x.rank; ++k) (mask >> k & 1 ? v.reduced : v.kept).push(x.extent[k], {strides[k]});
}

// Calls f(offset) for each position of a walk.
template <class F>
void each(const Walk<1>& walk, F f) {
  const std::int64_t step = walk.rank ? walk.stride[0][walk.rank - 1] : 0;
  walk_rows(walk, 0, walk.elements(), [&](const std::int64_t(&at)[1], std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) f(at[0] + i * step);
  });
}

const char* variance_run(const Task& task, std::int32_t, std::int32_t) {
  const auto& v = *reinterpret_cast<const Variance*>(task.prepared);
  const auto* x = task.call.in(0).as<const float>();
  float* y = task.call.out().as<float>();
  const auto count = static_cast<double>(v.reduced.elements());
  each(v.kept, [&](std::int64_t base) {
    double sum = 0, squares = 0;
    each(v.reduced, [&](std::int64_t at) { sum += static_cast<double>(x[base + at]); });
    const double mean = sum / count;
    each(v.reduced, [&](std::int64_t at) {
      const double d = static_cast<double>(x[base + at]) - mean;
      squares += d * d;
    });
    const double factor = 1 / (std::sqrt(squares / count) + 1e-9);
    each(v.reduced, [&](std::int64_t at) {
      y[base + at] = static_cast<float>((static_cast<double>(x[base + at]) - mean) * factor);
    });
  });
  return nullptr;
}

constexpr Kernel kTable[] = {
    {"Softmax", axis_plan, nullptr, axis_run<softmax, softmax_columns<false>>},
    {"LogSoftmax", axis_plan, nullptr, axis_run<log_softmax, softmax_columns<true>>},
    {"Hardmax", axis_plan, nullptr, axis_run<hardmax>},
    {"LpNormalization", axis_plan, nullptr, axis_run<lp_normalise>},
    {"LayerNormalization", layer_plan, nullptr, layer_run<true>},
    {"RMSNormalization", layer_plan, nullptr, layer_run<false>},
    {"BatchNormalization", batch_plan, nullptr, batch_run},
    {"InstanceNormalization", group_plan, nullptr, group_run},
    {"GroupNormalization", group_plan, nullptr, group_run},
    {"LRN", lrn_plan, nullptr, lrn_run},
    {"MeanVarianceNormalization", variance_plan, variance_prepare, variance_run},
};

}  // namespace

const Span<const Kernel> kRowKernels(kTable);

}  // namespace openbpu::kernels::cpu
