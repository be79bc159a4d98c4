// QuantizeLinear and its inverse in all integer types, dynamic quantisation, integer products.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/kernel.hpp"
#include "kernels/cpu/types.hpp"
#include "kernels/cpu/walk.hpp"
#include "kernels/cpu/wide.hpp"

namespace openbpu::kernels::cpu {
namespace {

using operators::QuantBlocks;

Plan plan(const Call& call, const Vector&) { return plan_of_elements(call.out().elements()); }

std::int64_t integer_at(const Tensor& tensor, std::int64_t k) {
  std::int64_t value = 0;
  load_wide(tensor, k, 1, 1, &value);
  return value;
}

// Calls f(first element, count, parameter) for runs of elements [begin, end) that share scale and zero point.
template <class F>
void each_run(const QuantBlocks& b, std::int64_t begin, std::int64_t end, F f) {
  if (b.per_tensor) return f(begin, end - begin, 0);
  const std::int64_t blocks = (b.axis + b.block - 1) / b.block;
  for (std::int64_t at = begin; at < end;) {
    const std::int64_t inner = at % b.inner, axis = at / b.inner % b.axis, outer = at / b.inner / b.axis;
    if (b.blocked) {
      f(at, std::int64_t{1}, (outer * blocks + axis / b.block) * b.inner + inner);
      ++at;
      continue;
    }
    const std::int64_t count = std::min(end - at, b.inner - inner);
    f(at, count, axis);
    at += count;
  }
}

double double_at(const Tensor& tensor, std::int64_t k) {
  return tensor.type == Type::I32 ? tensor.as<const std::int32_t>()[k]
                                  : static_cast<double>(tensor.as<const float>()[k]);
}

const char* quantise_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &scale = task.call.in(1), &zero = task.call.in(2), &y = task.call.out();
  QuantBlocks blocks{};
  if (operators::quant_blocks_of(task.call, blocks)) return nullptr;
  visit_number(y.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_integral_v<T> && sizeof(T) <= 2) {
      const auto bound = [&](const char* name) {
        return static_cast<float>(std::clamp<std::int64_t>(task.call.integer(name), std::numeric_limits<T>::min(),
                                                           std::numeric_limits<T>::max()));
      };
      const float low = bound("lo"), high = bound("hi");
      each_run(blocks, begin * kUnitElements, std::min(end * kUnitElements, y.elements()),
               [&](std::int64_t at, std::int64_t count, std::int64_t p) {
                 const float s = scale.as<const float>()[p];
                 const auto z = static_cast<float>(zero ? zero.as<const T>()[p] : T{});
                 for (std::int64_t i = at; i < at + count; ++i) {
                   const float v = std::nearbyintf(static_cast<float>(double_at(x, i)) / s) + z;
                   y.as<T>()[i] = static_cast<T>(v > low ? (v < high ? v : high) : low);  // not-a-number: low
                 }
               });
    }
  });
  return nullptr;
}

const char* dequantise_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &scale = task.call.in(1), &zero = task.call.in(2), &y = task.call.out();
  QuantBlocks blocks{};
  if (operators::quant_blocks_of(task.call, blocks)) return nullptr;
  std::int64_t codes[kWideBlock];
  each_run(blocks, begin * kUnitElements, std::min(end * kUnitElements, y.elements()),
           [&](std::int64_t at, std::int64_t count, std::int64_t p) {
             const float s = scale.as<const float>()[p];
             const std::int64_t z = zero ? integer_at(zero, p) : 0;
             for (std::int64_t i = at; i < at + count; i += kWideBlock) {
               const std::int64_t n = std::min(kWideBlock, at + count - i);
               load_wide(x, i, 1, n, codes);
               for (std::int64_t k = 0; k < n; ++k) y.as<float>()[i + k] = static_cast<float>(codes[k] - z) * s;
             }
           });
  return nullptr;
}

// ---- DynamicQuantizeLinear

Plan one_unit(const Call&, const Vector&) { return plan_of_units(1); }

const char* dynamic_run(const Task& task, std::int32_t, std::int32_t) {
  const Tensor& x = task.call.in(0);
  const auto* in = x.as<const float>();
  float low = 0, high = 0;  // zero is always a value
  for (std::int64_t i = 0; i < x.elements(); ++i) {
    if (!std::isfinite(in[i])) return "the values must be finite";
    low = std::min(low, in[i]);
    high = std::max(high, in[i]);
  }
  const float step = (high - low) / 255, scale = step > 0 ? step : 1;  // of zeros alone 1, as in ONNX Runtime
  const float zero = std::nearbyintf(std::clamp(-low / scale, 0.0f, 255.0f));
  *task.call.out(1).as<float>() = scale;
  *task.call.out(2).data = static_cast<std::uint8_t>(zero);
  for (std::int64_t i = 0; i < x.elements(); ++i)
    task.call.out(0).data[i] =
        static_cast<std::uint8_t>(std::clamp(std::nearbyintf(in[i] / scale) + zero, 0.0f, 255.0f));
  return nullptr;
}

// ---- MatMulInteger, ConvInteger: plain loops in int32, which wrap

// Value less its zero point, as an unsigned number that wraps.
std::uint32_t difference(const Tensor& x, std::int64_t k, const Tensor& zero, std::int64_t p) {
  return static_cast<std::uint32_t>(integer_at(x, k) -
                                    (zero ? integer_at(zero, operators::is_scalar(zero) ? 0 : p) : 0));
}

Plan matmul_plan(const Call& call, const Vector&) {
  const Tensor& y = call.out();
  return plan_of_units(y.rank ? y.product(0, y.rank - 1) : 1);
}

const char* matmul_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &a = task.call.in(0), &b = task.call.in(1), &y = task.call.out();
  operators::MatMulShape s{};
  if (operators::matmul_of(a, b, y, s)) return nullptr;
  Tensor left = a, right = b, whole = y;
  left.rank = std::max(0, a.rank - 2);
  right.rank = std::max(0, b.rank - 2);
  whole.rank = y.rank - (a.rank > 1) - (b.rank > 1);
  const Walk<2> batch = broadcast_walk<2>(whole, {&left, &right});
  const std::int64_t units = matmul_plan(task.call, task.vector).units, rows = s.batches * s.m;
  for (std::int64_t row = rows * begin / units; row < rows * end / units; ++row) {
    std::int64_t at_a = 0, at_b = 0;
    walk_rows(batch, row / s.m, row / s.m + 1,
              [&](const std::int64_t(&at)[2], std::int64_t) { at_a = at[0], at_b = at[1]; });
    for (std::int64_t n = 0; n < s.n; ++n) {
      std::uint32_t sum = 0;
      for (std::int64_t k = 0; k < s.k; ++k)
        sum += difference(a, (at_a * s.m + row % s.m) * s.k + k, task.call.in(2), row % s.m) *
               difference(b, (at_b * s.k + k) * s.n + n, task.call.in(3), n);
      y.as<std::int32_t>()[row * s.n + n] = static_cast<std::int32_t>(sum);
    }
  }
  return nullptr;
}

Plan conv_plan(const Call& call, const Vector&) { return plan_of_units(call.out().extent[0] * call.out().extent[1]); }

const char* conv_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &weights = task.call.in(1), &y = task.call.out();
  operators::Window w;
  if (operators::window_of(task.call, x, y, weights.extent + 2, w)) return nullptr;
  const std::int64_t ci = weights.extent[1], co = weights.extent[0], per_group = co / task.call.integer("group");
  for (std::int64_t unit = begin; unit < end; ++unit) {
    const std::int64_t image = unit / co, channel = unit % co, first = channel / per_group * ci;
    for (std::int64_t p = 0; p < w.out_pixels(); ++p) {
      const std::int64_t out[3] = {p / (w.out[2] * w.out[1]), p / w.out[2] % w.out[1], p % w.out[2]};
      std::uint32_t sum = 0;
      for (std::int64_t t = 0; t < w.taps(); ++t) {
        const std::int64_t tap[3] = {t / (w.kernel[2] * w.kernel[1]), t / w.kernel[2] % w.kernel[1], t % w.kernel[2]};
        std::int64_t offset = 0;
        bool inside = true;
        for (int d = 0; d < 3; ++d) {
          const std::int64_t at = out[d] * w.stride[d] - w.before[d] + tap[d] * w.dilation[d];
          inside = inside && at >= 0 && at < w.in[d];
          offset = offset * w.in[d] + at;
        }
        if (!inside) continue;
        for (std::int64_t c = 0; c < ci; ++c)
          sum += difference(x, (image * x.extent[1] + first + c) * w.in_pixels() + offset, task.call.in(2), 0) *
                 difference(weights, (channel * ci + c) * w.taps() + t, task.call.in(3), channel);
      }
      y.as<std::int32_t>()[unit * w.out_pixels() + p] = static_cast<std::int32_t>(sum);
    }
  }
  return nullptr;
}

constexpr Kernel kTable[] = {
    {"QuantizeLinear", plan, nullptr, quantise_run},
    {"DequantizeLinear", plan, nullptr, dequantise_run},
    {"DynamicQuantizeLinear", one_unit, nullptr, dynamic_run},
    {"MatMulInteger", matmul_plan, nullptr, matmul_run},
    {"ConvInteger", conv_plan, nullptr, conv_run},
};

}  // namespace

const Span<const Kernel> kQuantiseKernels(kTable);

}  // namespace openbpu::kernels::cpu
