// Gather, scatter and one-hot: places given by data, which is checked.
#include <cstring>

#include "kernels/cpu/bytes.hpp"
#include "kernels/cpu/kernel.hpp"
#include "kernels/cpu/types.hpp"

namespace openbpu::kernels::cpu {
namespace {

constexpr const char* kOutside = "an index lies outside its axis";

Plan one_unit(const Call&, const Vector&) { return plan_of_units(1); }

// An index counted from the front; -1 if it lies outside.
std::int64_t in_range(std::int64_t index, std::int64_t size) {
  if (index < -size || index >= size) return -1;
  return index < 0 ? index + size : index;
}

struct Range {
  std::int64_t first, last;
};

// Slices of `length` elements, as many to a unit as make it worth while.
std::int64_t slices_per_unit(std::int64_t length) {
  return std::max<std::int64_t>(1, kUnitElements / std::max<std::int64_t>(1, length));
}
Plan plan_of_slices(std::int64_t count, std::int64_t length) {
  const std::int64_t per_unit = slices_per_unit(length);
  return plan_of_units((count + per_unit - 1) / per_unit);
}
Range slices_of(std::int64_t count, std::int64_t length, std::int32_t begin, std::int32_t end) {
  const std::int64_t per_unit = slices_per_unit(length);
  return {begin * per_unit, std::min(count, end * per_unit)};
}

void copy(const Tensor& y, std::int64_t to, const Tensor& x, std::int64_t from, std::int64_t n) {
  const std::int64_t size = operators::size_of(x.type);
  copy_bytes(y.data + to * size, x.data + from * size, n * size);
}

// ---- Gather

struct GatherShape {
  std::int64_t outer, axis, inner, indices;
};
GatherShape gather_shape(const Call& call) {
  const Tensor& x = call.in(0);
  const int axis = operators::axis_of(call.integer("axis"), x.rank);
  return {x.product(0, axis), x.extent[axis], x.product(axis + 1, x.rank), call.in(1).elements()};
}

Plan gather_plan(const Call& call, const Vector&) {
  const GatherShape s = gather_shape(call);
  Plan plan = plan_of_slices(s.outer * s.indices, s.inner);
  plan.scratch_bytes = static_cast<std::size_t>(s.indices) * sizeof(std::int64_t);
  return plan;
}

const char* gather_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const GatherShape s = gather_shape(task.call);
  const Range range = slices_of(s.outer * s.indices, s.inner, begin, end);
  const Tensor &x = task.call.in(0), &y = task.call.out();
  auto* places = reinterpret_cast<std::int64_t*>(task.scratch);
  for (std::int64_t i = 0; i < s.indices; ++i) {
    places[i] = in_range(index_at(task.call.in(1), i), s.axis) * s.inner;
    if (places[i] < 0) return kOutside;
  }
  visit_size(x.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (std::int64_t at = range.first; at < range.last;) {
      const std::int64_t i = at % s.indices, n = std::min(s.indices - i, range.last - at);
      const T* from = x.as<const T>() + at / s.indices * s.axis * s.inner;
      T* to = y.as<T>() + at * s.inner;
      for (std::int64_t k = i; k < i + n; ++k, to += s.inner)
        if (s.inner == 1)
          *to = from[places[k]];
        else
          copy_bytes(to, from + places[k], s.inner * static_cast<std::int64_t>(sizeof(T)));
      at += n;
    }
  });
  return nullptr;
}

// ---- elements along an axis: the position in `indices` gives all other coordinates

// Calls f(position in indices, offset in data) in order; false if an index lies outside.
template <class F>
bool each_element(const Tensor& data, const Tensor& indices, int axis, std::int64_t first, std::int64_t last, F f) {
  std::int64_t strides[operators::kMaxRank], step = 1;
  for (int k = data.rank - 1; k >= 0; --k) {
    strides[k] = step;
    step *= data.extent[k];
  }
  for (std::int64_t i = first; i < last; ++i) {
    const std::int64_t index = in_range(index_at(indices, i), data.extent[axis]);
    if (index < 0) return false;
    std::int64_t offset = index * strides[axis], rest = i;
    for (int k = indices.rank - 1; k >= 0; --k) {
      if (k != axis) offset += rest % indices.extent[k] * strides[k];
      rest /= indices.extent[k];
    }
    f(i, offset);
  }
  return true;
}

Plan elements_plan(const Call& call, const Vector&) { return plan_of_elements(call.in(1).elements()); }

const char* gather_elements_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &indices = task.call.in(1), &y = task.call.out();
  const int axis = operators::axis_of(task.call.integer("axis"), x.rank);
  const std::int64_t last = std::min(end * kUnitElements, indices.elements());
  const bool good = each_element(x, indices, axis, begin * kUnitElements, last,
                                 [&](std::int64_t i, std::int64_t offset) { copy(y, i, x, offset, 1); });
  return good ? nullptr : kOutside;
}

// ---- scatter

template <class T>
void reduce_into(T& to, T from, int reduction) {
  switch (reduction) {
    case 0:
      to = from;
      return;
    case 1:
      if constexpr (std::is_integral_v<T>)
        to = static_cast<T>(static_cast<std::uint64_t>(to) + static_cast<std::uint64_t>(from));
      else
        to += from;
      return;
    case 2:
      if constexpr (std::is_integral_v<T>)
        to = static_cast<T>(static_cast<std::uint64_t>(to) * static_cast<std::uint64_t>(from));
      else
        to *= from;
      return;
    case 3:
      to = std::max(to, from);
      return;
    default:
      to = std::min(to, from);
  }
}

// n updates from `from` on, reduced into y from `to` on.
void update(const Tensor& y, std::int64_t to, const Tensor& updates, std::int64_t from, std::int64_t n, int reduction) {
  if (reduction == 0) return copy(y, to, updates, from, n);
  visit_number(y.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (std::int64_t i = 0; i < n; ++i) reduce_into(y.as<T>()[to + i], updates.as<const T>()[from + i], reduction);
  });
}

const char* scatter_elements_run(const Task& task, std::int32_t, std::int32_t) {
  const Tensor &x = task.call.in(0), &indices = task.call.in(1), &y = task.call.out();
  copy(y, 0, x, 0, x.elements());
  const int axis = operators::axis_of(task.call.integer("axis"), x.rank), reduction = task.call.choice("reduction");
  const bool good = each_element(x, indices, axis, 0, indices.elements(), [&](std::int64_t i, std::int64_t offset) {
    update(y, offset, task.call.in(2), i, 1, reduction);
  });
  return good ? nullptr : kOutside;
}

// Offset of the slice that a tuple of indices names, in dimensions [first, first + length); -1 if it lies outside.
std::int64_t slice_offset(const Tensor& data, const Tensor& indices, std::int64_t tuple, int first,
                          std::int64_t length) {
  std::int64_t offset = 0;
  for (int k = 0; k < static_cast<int>(length); ++k) {
    const std::int64_t index = in_range(index_at(indices, tuple * length + k), data.extent[first + k]);
    if (index < 0) return -1;
    offset = offset * data.extent[first + k] + index;
  }
  return offset * data.product(first + static_cast<int>(length), data.rank);
}

const char* gather_nd_run(const Task& task, std::int32_t, std::int32_t) {
  const Tensor &x = task.call.in(0), &indices = task.call.in(1);
  const int batch = static_cast<int>(task.call.integer("batch_dims"));
  const std::int64_t length = indices.extent[indices.rank - 1], tuples = indices.product(0, indices.rank - 1);
  const std::int64_t batches = x.product(0, batch), per_batch = tuples / batches;
  const std::int64_t inner = x.product(batch + static_cast<int>(length), x.rank);
  for (std::int64_t t = 0; t < tuples; ++t) {
    const std::int64_t offset = slice_offset(x, indices, t, batch, length);
    if (offset < 0) return kOutside;
    copy(task.call.out(), t * inner, x, t / per_batch * x.product(batch, x.rank) + offset, inner);
  }
  return nullptr;
}

const char* scatter_nd_run(const Task& task, std::int32_t, std::int32_t) {
  const Tensor &x = task.call.in(0), &indices = task.call.in(1), &y = task.call.out();
  copy(y, 0, x, 0, x.elements());
  const std::int64_t length = indices.extent[indices.rank - 1], tuples = indices.product(0, indices.rank - 1);
  const std::int64_t inner = x.product(static_cast<int>(length), x.rank);
  const int reduction = task.call.choice("reduction");
  for (std::int64_t t = 0; t < tuples; ++t) {
    const std::int64_t offset = slice_offset(x, indices, t, 0, length);
    if (offset < 0) return kOutside;
    update(y, offset, task.call.in(2), t * inner, inner, reduction);
  }
  return nullptr;
}

// ---- OneHot: indices beyond the depth give no hot element

const char* one_hot_run(const Task& task, std::int32_t, std::int32_t) {
  const Tensor &indices = task.call.in(0), &values = task.call.in(2), &y = task.call.out();
  const int axis = operators::axis_of(task.call.integer("axis"), y.rank);
  const std::int64_t depth = y.extent[axis], inner = y.product(axis + 1, y.rank);
  for (std::int64_t i = 0; i < y.elements(); ++i) copy(y, i, values, 0, 1);
  visit_number(indices.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (std::int64_t i = 0; i < indices.elements(); ++i) {
      const auto value = static_cast<double>(indices.as<const T>()[i]);
      if (!(value >= static_cast<double>(-depth) && value < static_cast<double>(depth))) continue;
      const std::int64_t index = in_range(static_cast<std::int64_t>(value), depth);
      if (index >= 0) copy(y, (i / inner * depth + index) * inner + i % inner, values, 1, 1);
    }
  });
  return nullptr;
}

constexpr Kernel kTable[] = {
    {"Gather", gather_plan, nullptr, gather_run},     {"GatherElements", elements_plan, nullptr, gather_elements_run},
    {"GatherND", one_unit, nullptr, gather_nd_run},   {"ScatterElements", one_unit, nullptr, scatter_elements_run},
    {"ScatterND", one_unit, nullptr, scatter_nd_run}, {"OneHot", one_unit, nullptr, one_hot_run},
};

}  // namespace

const Span<const Kernel> kGatherKernels(kTable);

}  // namespace openbpu::kernels::cpu
