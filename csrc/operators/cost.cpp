// Work of a call that the rules have accepted.
#include <algorithm>
#include <string_view>

#include "operators/shapes.hpp"

namespace openbpu::operators {
namespace {

std::uint64_t times(std::uint64_t a, std::uint64_t b) {
  return b != 0 && a > ~std::uint64_t{0} / b ? ~std::uint64_t{0} : a * b;
}
std::uint64_t plus(std::uint64_t a, std::uint64_t b) { return a > ~std::uint64_t{0} - b ? ~std::uint64_t{0} : a + b; }

std::uint64_t count(std::int64_t n) { return static_cast<std::uint64_t>(n); }

// Products of a convolution per element of `outputs`, whose weights are [outer, per group, kernel...].
std::uint64_t conv_macs(const Tensor& outputs, const Tensor& weights) {
  return times(count(outputs.elements()), count(weights.product(1, weights.rank)));
}

std::uint64_t einsum_macs(const Call& call) {
  std::uint32_t seen = 0;
  std::uint64_t product = 1;
  const Integers labels = call.list("labels");
  std::int64_t next = 0;
  for (const Tensor& tensor : call.inputs)
    for (int k = 0; k < tensor.rank; ++k, ++next) {
      if (seen >> labels[next] & 1) continue;
      seen |= 1u << labels[next];
      product = times(product, count(tensor.extent[k]));
    }
  return product;
}

}  // namespace

std::uint64_t macs(const Call& call) {
  const std::string_view name = call.kernel->name;
  const Tensor &a = call.in(0), &b = call.in(1), &y = call.out();
  if (name == "MatMul" || name == "MatMulInteger") return times(count(y.elements()), count(a.extent[a.rank - 1]));
  if (name == "Gemm") return times(count(y.elements()), count(a.extent[call.integer("transA") != 0 ? 0 : 1]));
  if (name == "Conv" || name == "ConvInteger" || name == "DeformConv") return conv_macs(y, b);
  if (name == "ConvTranspose") return conv_macs(a, b);
  if (name == "Einsum") return einsum_macs(call);
  if (name == "LSTM" || name == "GRU" || name == "RNN")  // each step: weights times input, weights times state
    return times(count(a.extent[0] * a.extent[1]), plus(count(b.elements()), count(call.in(2).elements())));
  return 0;
}

std::uint64_t work(const Call& call) {
  std::uint64_t total = macs(call);
  for (const auto& operands : {call.inputs, call.outputs})
    for (const Tensor& tensor : operands)
      if (tensor) total = plus(total, count(tensor.elements()));
  const std::string_view name = call.kernel->name;
  const Tensor& x = call.in(0);
  Window w;
  if (name == "MaxPool" || name == "AveragePool" || name == "LpPool")
    if (!pool_window_of(call, w))
      total = plus(total, times(count(w.taps()), count(x.extent[0] * x.extent[1] * w.out_pixels())));
  if (name == "NonMaxSuppression") total = plus(total, times(count(call.in(1).elements()), count(x.extent[1])));
  if (name == "LRN")
    total = plus(total, times(count(x.elements()), count(std::min(call.integer("size"), x.extent[1]))));
  if (name == "Det") total = plus(total, times(count(x.elements()), count(x.extent[x.rank - 1])));
  if (name == "Unique" || name == "Variadic") total = plus(total, times(count(x.elements()), 64));
  if (name == "RoiAlign" || name == "MaxRoiPool" || name == "Resize")
    total = plus(total, times(count(call.out().elements()), 1024));
  return total;
}

}  // namespace openbpu::operators
