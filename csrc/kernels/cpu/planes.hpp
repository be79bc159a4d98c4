// Images laid out for windows that move by strides: padded, and the columns of a row sorted by their remainder modulo
// the stride, so that what a tap meets along a row of outputs lies end to end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "operators/shapes.hpp"

namespace openbpu::kernels::cpu {

struct Planes {
  std::int64_t rows, phases, columns;
  std::int64_t row() const { return phases * columns; }
  std::int64_t size() const { return rows * row(); }
  // Of tap kx in a row.
  std::int64_t offset(std::int64_t x) const { return x % phases * columns + x / phases; }
};

inline Planes planes_of(const operators::Window& w) {
  const std::int64_t rows = (w.out[1] - 1) * w.stride[1] + (w.kernel[1] - 1) * w.dilation[1] + 1;
  const std::int64_t columns = (w.out[2] - 1) * w.stride[2] + (w.kernel[2] - 1) * w.dilation[2] + 1;
  return {rows, w.stride[2], (columns + w.stride[2] - 1) / w.stride[2]};
}

// Whether an image of one or two dimensions fits into memory in that form.
inline bool has_planes(const operators::Window& w) {
  constexpr std::int64_t most = 1 << 24;
  if (w.kernel[0] != 1 || w.in[0] != 1 || w.out[0] != 1 || w.before[0] != 0 || w.taps() > 4096) return false;
  const Planes p = planes_of(w);
  return p.rows <= most && p.columns <= most && p.phases <= 256 && p.rows * p.columns <= most / p.phases;
}

// Every second of elements of 32 bits, n of them.
template <class T>
void copy_evens(const T* from, std::int64_t n, T* to) {
  using Four = std::uint32_t __attribute__((vector_size(16)));
  std::int64_t i = 0;
  for (; i + 4 < n; i += 4) {  // the last block would read one float too many
    Four a, b;
    std::memcpy(&a, from + 2 * i, sizeof a);
    std::memcpy(&b, from + 2 * i + 4, sizeof b);
    const Four evens = __builtin_shufflevector(a, b, 0, 2, 4, 6);
    std::memcpy(to + i, &evens, sizeof evens);
  }
  for (; i < n; ++i) to[i] = from[2 * i];
}

inline void fill_row(const operators::Window& w, const Planes& p, const float* from, std::int64_t first, float padding,
                     float* to) {
  const auto count_below = [&](std::int64_t bound) {  // columns whose source lies below the bound
    const std::int64_t n = bound <= first ? 0 : (bound - first + p.phases - 1) / p.phases;
    return std::min(n, p.columns);
  };
  const std::int64_t begin = count_below(0), end = std::max(begin, count_below(w.in[2]));
  std::fill(to, to + begin, padding);
  if (p.phases == 1)
    std::copy(from + first + begin, from + first + end, to + begin);
  else if (p.phases == 2)
    copy_evens(from + first + 2 * begin, end - begin, to + begin);
  else
    for (std::int64_t i = begin; i < end; ++i) to[i] = from[first + i * p.phases];
  std::fill(to + end, to + p.columns, padding);
}

inline void fill_planes(const operators::Window& w, const float* x, float padding, float* to) {
  const Planes p = planes_of(w);
  for (std::int64_t row = 0; row < p.rows; ++row)
    for (std::int64_t phase = 0; phase < p.phases; ++phase, to += p.columns) {
      const std::int64_t y = row - w.before[1];
      if (y < 0 || y >= w.in[1])
        std::fill(to, to + p.columns, padding);
      else
        fill_row(w, p, x + y * w.in[2], phase - w.before[2], padding, to);
    }
}

}  // namespace openbpu::kernels::cpu
