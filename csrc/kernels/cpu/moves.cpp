// Operators that place elements elsewhere without computing.
#include <cstring>
#include <new>

#include "kernels/cpu/bytes.hpp"
#include "kernels/cpu/kernel.hpp"
#include "kernels/cpu/planes.hpp"
#include "kernels/cpu/types.hpp"
#include "kernels/cpu/walk.hpp"

namespace openbpu::kernels::cpu {
namespace {

using operators::Integers;
using operators::kMaxRank;

// ---- whole tensors

Plan copy_plan(const Call& call, const Vector&) { return plan_of_elements(call.out().elements()); }

const char* copy_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const std::int64_t size = operators::size_of(y.type), first = begin * kUnitElements;
  const std::int64_t last = std::min(end * kUnitElements, y.elements());
  copy_bytes(y.data + first * size, x.data + first * size, (last - first) * size);
  return nullptr;
}

// ---- dense output, strided input

// Where the elements of the output, in order, lie in the input.
struct Source {
  std::int64_t base = 0;
  Walk<1> walk;
};

void dense_strides(const Tensor& tensor, std::int64_t (&strides)[kMaxRank]) {
  std::int64_t step = 1;
  for (int k = tensor.rank - 1; k >= 0; --k) {
    strides[k] = step;
    step *= tensor.extent[k];
  }
}

void transpose_source(const Call& call, Source& source) {
  const Tensor& x = call.in(0);
  const Integers perm = call.list("perm");
  std::int64_t strides[kMaxRank];
  dense_strides(x, strides);
  for (std::int64_t axis : perm) source.walk.push(x.extent[axis], {strides[axis]});
}

void slice_source(const Call& call, Source& source) {
  const Tensor& x = call.in(0);
  operators::SliceRange range;
  if (operators::slice_of(call, range)) return;
  std::int64_t strides[kMaxRank];
  dense_strides(x, strides);
  for (int k = 0; k < x.rank; ++k) {
    source.base += range.start[k] * strides[k];
    source.walk.push(range.count[k], {range.step[k] * strides[k]});
  }
}

void expand_source(const Call& call, Source& source) { source.walk = broadcast_walk<1>(call.out(), {&call.in(0)}); }

void tile_source(const Call& call, Source& source) {
  const Tensor &x = call.in(0), &y = call.out();
  std::int64_t strides[kMaxRank];
  dense_strides(x, strides);
  for (int k = 0; k < x.rank; ++k) {
    source.walk.push(y.extent[k] / x.extent[k], {0});
    source.walk.push(x.extent[k], {strides[k]});
  }
}

void depth_to_space_source(const Call& call, Source& source) {
  const Tensor& x = call.in(0);
  const std::int64_t b = call.integer("blocksize"), c = x.extent[1] / (b * b), h = x.extent[2], w = x.extent[3];
  const bool block_first = call.choice("mode") == 0;  // channels are [b, b, c], else [c, b, b]
  const std::int64_t plane = h * w, channel = block_first ? plane : b * b * plane,
                     by = (block_first ? b * c : b) * plane;
  source.walk.push(x.extent[0], {b * b * c * plane});
  source.walk.push(c, {channel});
  source.walk.push(h, {w});
  source.walk.push(b, {by});
  source.walk.push(w, {1});
  source.walk.push(b, {(block_first ? c : 1) * plane});
}

void space_to_depth_source(const Call& call, Source& source) {
  const Tensor& x = call.in(0);
  const std::int64_t b = call.integer("blocksize"), c = x.extent[1], h = x.extent[2], w = x.extent[3];
  source.walk.push(x.extent[0], {c * h * w});
  const bool block_first = call.choice("mode") == 0;
  if (!block_first) source.walk.push(c, {h * w});
  source.walk.push(b, {w});
  source.walk.push(b, {1});
  if (block_first) source.walk.push(c, {h * w});
  source.walk.push(h / b, {b * w});
  source.walk.push(w / b, {b});
}

// Columns that lie end to end in the input become rows of the output.
bool is_turned(const Walk<1>& walk) {
  const int r = walk.rank;
  return r >= 2 && walk.stride[0][r - 2] == 1 && walk.stride[0][r - 1] > 1;
}
// The outermost dimension that repeats what lies under it, if that and its copies are few enough to be written in one
// go; else the rank.
int repeated_from(const Walk<1>& walk) {
  constexpr std::int64_t most = 4 * kUnitElements;
  int found = walk.rank;
  std::int64_t elements = 1;
  for (int k = walk.rank - 1; k >= 0; --k) {
    elements *= walk.extent[k];
    if (elements > most) break;
    if (walk.stride[0][k] == 0 && k < walk.rank - 1) found = k;
  }
  return found;
}

// Elements of the output that a unit begins and ends with: whole groups of rows where these are treated together.
std::int64_t group_of(const Walk<1>& walk) {
  if (is_turned(walk)) return walk.extent[walk.rank - 1];
  std::int64_t group = 1;
  for (int k = repeated_from(walk); k < walk.rank; ++k) group *= walk.extent[k];
  return group;
}
std::int64_t unit_of(const Walk<1>& walk) {
  const std::int64_t group = group_of(walk);
  return std::max<std::int64_t>(1, kUnitElements / group) * group;
}

template <void (*make)(const Call&, Source&)>
void source_prepare(const Call& call, const Vector&, std::uint8_t* prepared) {
  make(call, *new (prepared) Source());
}

template <void (*make)(const Call&, Source&)>
Plan source_plan(const Call& call, const Vector&) {
  Source source;
  make(call, source);
  const std::int64_t unit = unit_of(source.walk);
  return plan_of_units((call.out().elements() + unit - 1) / unit, sizeof(Source));
}

// n copies of a value, by doubling.
template <class T>
void repeat(T* y, std::int64_t have, std::int64_t n) {
  for (; have < n; have *= 2) copy_bytes(y + have, y, std::min(have, n - have) * static_cast<std::int64_t>(sizeof(T)));
}

template <class T>
void read_strided(const T* x, std::int64_t step, T* y, std::int64_t n) {
  if (step == 1) return copy_bytes(y, x, n * static_cast<std::int64_t>(sizeof(T)));
  if (step == 0) {
    *y = *x;
    return repeat(y, 1, n);
  }
  if constexpr (sizeof(T) == 4)
    if (step == 2) return copy_evens(x, n, y);
  for (std::int64_t i = 0; i < n; ++i) y[i] = x[i * step];
}

// 4 x 4 elements of 32 bits, turned in registers.
void turn_block(const std::uint32_t* x, std::int64_t x_row, std::uint32_t* y, std::int64_t y_row) {
  using Four = std::uint32_t __attribute__((vector_size(16)));
  Four row[4];
#pragma GCC unroll 4  // else the rows go through memory
  for (int i = 0; i < 4; ++i) std::memcpy(&row[i], x + i * x_row, sizeof(Four));
  const auto low = [](Four u, Four v) { return __builtin_shufflevector(u, v, 0, 4, 1, 5); };
  const auto high = [](Four u, Four v) { return __builtin_shufflevector(u, v, 2, 6, 3, 7); };
  const Four a = low(row[0], row[2]), b = low(row[1], row[3]), c = high(row[0], row[2]), d = high(row[1], row[3]);
  const Four turned[4] = {low(a, b), high(a, b), low(c, d), high(c, d)};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) std::memcpy(y + i * y_row, &turned[i], sizeof(Four));
}

// Rows [first, last) of a turned matrix: a block of them at a time, so that each line of the input is read once.
template <class T>
void turn_rows(const T* x, std::int64_t step, T* y, std::int64_t columns, std::int64_t first, std::int64_t last) {
  constexpr std::int64_t kBlock = 16;
  for (std::int64_t r = first; r < last; r += kBlock) {
    const std::int64_t count = std::min(kBlock, last - r);
    std::int64_t c = 0;
    if constexpr (sizeof(T) == 4)
      if (count == kBlock)
        for (; c + 4 <= columns; c += 4) {
          for (std::int64_t i = 0; i < 4; ++i) __builtin_prefetch(x + r + kBlock + (c + i) * step);
          for (std::int64_t i = 0; i < kBlock; i += 4)
            turn_block(x + r + i + c * step, step, y + (r + i) * columns + c, columns);
        }
    for (; c < columns; ++c) {
      const T* from = x + r + c * step;
      T* to = y + r * columns + c;
      for (std::int64_t i = 0; i < count; ++i) to[i * columns] = from[i];
    }
  }
}

// Where part `k` of the dimensions before `inner` begins in the input.
std::int64_t outer_offset(const Walk<1>& walk, int inner, std::int64_t k) {
  std::int64_t offset = 0;
  for (int d = inner - 1; d >= 0; --d) {
    offset += k % walk.extent[d] * walk.stride[0][d];
    k /= walk.extent[d];
  }
  return offset;
}

template <class T>
void move_turned(const Walk<1>& walk, const T* x, T* y, std::int64_t first, std::int64_t last) {
  const std::int64_t rows = walk.extent[walk.rank - 2], columns = walk.extent[walk.rank - 1];
  for (std::int64_t row = first / columns; row < last / columns;) {
    const std::int64_t matrix = row / rows, begin = row % rows, end = std::min(rows, begin + last / columns - row);
    turn_rows(x + outer_offset(walk, walk.rank - 2, matrix), walk.stride[0][walk.rank - 1], y + matrix * rows * columns,
              columns, begin, end);
    row += end - begin;
  }
}

// Dimensions from `d` on, dense; the end of what was written. Repetitions are copies of the first.
template <class T>
T* fill_repeated(const Walk<1>& walk, int d, const T* x, T* y) {
  const std::int64_t n = walk.extent[d], step = walk.stride[0][d];
  if (d == walk.rank - 1) {
    read_strided(x, step, y, n);
    return y + n;
  }
  T* end = fill_repeated(walk, d + 1, x, y);
  if (step == 0) {
    const std::int64_t have = end - y;
    repeat(y, have, n * have);
    return y + n * have;
  }
  for (std::int64_t i = 1; i < n; ++i) end = fill_repeated(walk, d + 1, x + i * step, end);
  return end;
}

const char* source_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const auto& source = *reinterpret_cast<const Source*>(task.prepared);
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const Walk<1>& walk = source.walk;
  const std::int64_t unit = unit_of(walk), first = begin * unit, last = std::min(end * unit, y.elements());
  visit_size(y.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = x.as<const T>() + source.base;
    T* to = y.as<T>();
    if (is_turned(walk)) return move_turned(walk, from, to, first, last);
    if (const int d = repeated_from(walk); d < walk.rank) {
      const std::int64_t group = group_of(walk);
      for (std::int64_t at = first; at < last; at += group)
        fill_repeated(walk, d, from + outer_offset(walk, d, at / group), to + at);
      return;
    }
    const std::int64_t step = walk.rank == 0 ? 1 : walk.stride[0][walk.rank - 1];
    to += first;
    walk_rows(walk, first, last, [&](const std::int64_t(&offset)[1], std::int64_t n) {
      read_strided(from + offset[0], step, to, n);
      to += n;
    });
  });
  return nullptr;
}

// ---- Concat, Split: slices of one tensor and whole others

// Copies between `part` and its place in `whole`, from slice `at` of the axis on.
void copy_part(const Tensor& whole, const Tensor& part, int axis, std::int64_t at, bool join) {
  const std::int64_t size = operators::size_of(whole.type), outer = whole.product(0, axis);
  const std::int64_t inner = whole.product(axis + 1, whole.rank) * size;
  const std::int64_t run = part.extent[axis] * inner, stride = whole.extent[axis] * inner;
  for (std::int64_t o = 0; o < outer; ++o) {
    std::uint8_t *place = whole.data + o * stride + at * inner, *own = part.data + o * run;
    copy_bytes(join ? place : own, join ? own : place, run);
  }
}

const char* parts_run(const Task& task, Span<const Tensor> parts, const Tensor& whole, std::int32_t begin,
                      std::int32_t end, bool join) {
  const int axis = operators::axis_of(task.call.integer("axis"), whole.rank);
  std::int64_t at = 0;
  for (std::int32_t k = 0; k < end; ++k) {
    const Tensor& part = parts[static_cast<std::size_t>(k)];
    if (k >= begin) copy_part(whole, part, axis, at, join);
    at += part.extent[axis];
  }
  return nullptr;
}

Plan concat_plan(const Call& call, const Vector&) {
  return plan_of_units(static_cast<std::int64_t>(call.inputs.size()));
}
const char* concat_run(const Task& task, std::int32_t begin, std::int32_t end) {
  return parts_run(task, task.call.inputs, task.call.out(), begin, end, true);
}
Plan split_plan(const Call& call, const Vector&) {
  return plan_of_units(static_cast<std::int64_t>(call.outputs.size()));
}
const char* split_run(const Task& task, std::int32_t begin, std::int32_t end) {
  return parts_run(task, task.call.outputs, task.call.in(0), begin, end, false);
}

// ---- Pad

// For each dimension the source index of each output index, -1 for the value.
std::size_t pad_table_size(const Tensor& y) {
  std::size_t size = 0;
  for (int k = 0; k < y.rank; ++k) size += static_cast<std::size_t>(y.extent[k]);
  return size * sizeof(std::int64_t);
}

std::int64_t padded_index(std::int64_t at, std::int64_t size, int mode) {
  if (at >= 0 && at < size) return at;
  const auto modulo = [](std::int64_t a, std::int64_t n) { return (a % n + n) % n; };
  switch (mode) {
    case 1: {  // reflect
      if (size == 1) return 0;
      const std::int64_t turn = modulo(at, 2 * size - 2);
      return turn < size ? turn : 2 * size - 2 - turn;
    }
    case 2:  // edge
      return at < 0 ? 0 : size - 1;
    case 3:  // wrap
      return modulo(at, size);
    default:
      return -1;
  }
}

// Rows, many of them to a unit.
std::int64_t pad_rows(const Tensor& y) { return y.product(0, y.rank - 1); }
std::int64_t pad_rows_of_unit(const Tensor& y) {
  return std::max<std::int64_t>(1, kUnitElements / std::max<std::int64_t>(1, y.rank ? y.extent[y.rank - 1] : 1));
}

Plan pad_plan(const Call& call, const Vector&) {
  const Tensor& y = call.out();
  if (y.rank == 0) return plan_of_units(1);
  const std::int64_t per_unit = pad_rows_of_unit(y);
  return plan_of_units((pad_rows(y) + per_unit - 1) / per_unit, pad_table_size(y));
}

void pad_prepare(const Call& call, const Vector&, std::uint8_t* prepared) {
  operators::Padding padding;
  if (operators::padding_of(call, padding)) return;
  auto* table = reinterpret_cast<std::int64_t*>(prepared);
  const int mode = call.choice("mode");
  for (int k = 0; k < call.out().rank; ++k)
    for (std::int64_t i = 0; i < call.out().extent[k]; ++i)
      *table++ = padded_index(i - padding.before[k], call.in(0).extent[k], mode);
}

// Where plane `k` of the output (two dimensions of it) begins in the input; -1 if it lies in the padding.
std::int64_t padded_plane(const Tensor& x, const Tensor& y, const std::int64_t* table, std::int64_t k) {
  std::int64_t offset = 0, stride = x.product(std::max(0, x.rank - 2), x.rank);
  for (int d = 0; d < y.rank - 2; ++d) table += y.extent[d];
  for (int d = y.rank - 3; d >= 0; --d) {
    table -= y.extent[d];
    const std::int64_t source = table[k % y.extent[d]];
    if (source < 0) return -1;
    offset += source * stride;
    k /= y.extent[d];
    stride *= x.extent[d];
  }
  return offset;
}

// How a row of the output follows from one of the input.
struct PaddedRow {
  const std::int64_t* columns;  // source of each, -1 for the value
  std::int64_t low, high, n;    // columns [low, high) lie end to end in the input

  template <class T>
  void copy(const T* from, T fill, T* to) const {
    const auto each = [&](std::int64_t i, std::int64_t stop) {
      for (; i < stop; ++i) to[i] = columns[i] < 0 ? fill : from[columns[i]];
    };
    each(0, low);
    if (low < high) copy_bytes(to + low, from + columns[low], (high - low) * static_cast<std::int64_t>(sizeof(T)));
    each(high, n);
  }
};

const char* pad_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &y = task.call.out(), &value = task.call.in(2);
  if (y.rank == 0) return copy_run(task, begin, end);
  operators::Padding padding;
  if (operators::padding_of(task.call, padding)) return nullptr;
  const auto* table = reinterpret_cast<const std::int64_t*>(task.prepared);
  const int last_axis = y.rank - 1;
  const std::int64_t n = y.extent[last_axis], have = x.extent[last_axis],
                     height = y.rank > 1 ? y.extent[y.rank - 2] : 1;
  const std::int64_t low = std::clamp<std::int64_t>(padding.before[last_axis], 0, n);
  const PaddedRow how{table + pad_table_size(y) / sizeof *table - n, low,
                      std::clamp<std::int64_t>(padding.before[last_axis] + have, low, n), n};
  const std::int64_t stop = std::min(pad_rows(y), end * pad_rows_of_unit(y));
  visit_size(y.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T fill = value ? *value.as<const T>() : T{};
    for (std::int64_t row = begin * pad_rows_of_unit(y); row < stop;) {
      const std::int64_t plane = padded_plane(x, y, table, row / height);
      for (std::int64_t i = row % height; i < height && row < stop; ++i, ++row) {
        const std::int64_t source = plane < 0 ? -1 : y.rank > 1 ? how.columns[i - height] : 0;
        T* to = y.as<T>() + row * n;
        if (source < 0)
          read_strided(&fill, 0, to, n);
        else
          how.copy(x.as<const T>() + plane + source * have, fill, to);
      }
    }
  });
  return nullptr;
}

// ---- Trilu, ReverseSequence

const char* trilu_run(const Task& task, std::int32_t, std::int32_t) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const std::int64_t rows = x.extent[x.rank - 2], columns = x.extent[x.rank - 1], size = operators::size_of(x.type);
  const std::int64_t shift = std::clamp<std::int64_t>(task.call.in(1) ? task.call.parameter(1)[0] : 0, -rows, columns);
  const bool upper = task.call.integer("upper") != 0;
  for (std::int64_t r = 0; r < x.product(0, x.rank - 1); ++r) {
    const std::int64_t diagonal = std::clamp<std::int64_t>(r % rows + shift + (upper ? 0 : 1), 0, columns);
    const std::int64_t first = upper ? diagonal : 0, last = upper ? columns : diagonal, at = r * columns;
    clear_bytes(y.data + at * size, first * size);
    copy_bytes(y.data + (at + first) * size, x.data + (at + first) * size, (last - first) * size);
    clear_bytes(y.data + (at + last) * size, (columns - last) * size);
  }
  return nullptr;
}

const char* reverse_sequence_run(const Task& task, std::int32_t, std::int32_t) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const bool time_first = task.call.integer("time_axis") == 0;
  const std::int64_t inner = x.product(2, x.rank) * operators::size_of(x.type);
  const std::int64_t batch = x.extent[time_first ? 1 : 0], time = x.extent[time_first ? 0 : 1];
  for (std::int64_t b = 0; b < batch; ++b) {
    const std::int64_t length = task.call.in(1).as<const std::int64_t>()[b];
    if (length < 0 || length > time) return "sequence_lens must be 0 to the extent of the time axis";
    for (std::int64_t t = 0; t < time; ++t) {
      const std::int64_t source = t < length ? length - 1 - t : t;
      const auto place = [&](std::int64_t at) { return (time_first ? at * batch + b : b * time + at) * inner; };
      copy_bytes(y.data + place(t), x.data + place(source), inner);
    }
  }
  return nullptr;
}

Plan one_unit(const Call&, const Vector&) { return plan_of_units(1); }

constexpr Kernel kTable[] = {
    {"Identity", copy_plan, nullptr, copy_run},
    {"Transpose", source_plan<transpose_source>, source_prepare<transpose_source>, source_run},
    {"Slice", source_plan<slice_source>, source_prepare<slice_source>, source_run},
    {"Expand", source_plan<expand_source>, source_prepare<expand_source>, source_run},
    {"Tile", source_plan<tile_source>, source_prepare<tile_source>, source_run},
    {"DepthToSpace", source_plan<depth_to_space_source>, source_prepare<depth_to_space_source>, source_run},
    {"SpaceToDepth", source_plan<space_to_depth_source>, source_prepare<space_to_depth_source>, source_run},
    {"Concat", concat_plan, nullptr, concat_run},
    {"Split", split_plan, nullptr, split_run},
    {"Pad", pad_plan, pad_prepare, pad_run},
    {"Trilu", one_unit, nullptr, trilu_run},
    {"ReverseSequence", one_unit, nullptr, reverse_sequence_run},
};

}  // namespace

const Span<const Kernel> kMoveKernels(kTable);

}  // namespace openbpu::kernels::cpu
