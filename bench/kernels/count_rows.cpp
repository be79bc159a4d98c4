// Runs every row of the MAC tables, and some of the vector group, once per shape between two lines on standard output,
// so that what an emulator counts from line to line are the row's instructions (bench/kernels/instructions.py).
//
//   begin ROW SHAPE WORK UNIT     work in UNIT: products with padding excluded, or bytes of output
//   end
#include <unistd.h>

#include "cases.hpp"
#include "kernels/eltwise/eltwise.hpp"
#include "kernels/lut/lut.hpp"
#include "kernels/norm/norm.hpp"
#include "kernels/pool/pool.hpp"
#include "kernels/quantize/quantize.hpp"
#include "kernels/softmax/softmax.hpp"

namespace openbpu::bench {
namespace {

void say(const std::string& line) {
  if (write(STDOUT_FILENO, line.data(), line.size()) < 0) std::abort();
}

template <class Params>
void count(Rows<Params> rows, const std::string& shape, double work, const char* unit, const Params& p) {
  for (const Row<Params>& row : rows) {
    if (row.isa == Isa::Scalar || !engine::host_has(row.isa) || !row.accepts(p)) continue;
    const Plan plan = row.plan(p);
    const Buffer packed(plan.packed_bytes), scratch(plan.scratch_bytes);
    if (row.pack) row.pack(p, packed.data());
    say(std::string("begin ") + row.name + " " + shape + " " + std::to_string(work) + " " + unit + "\n");
    row.run(p, packed.data(), scratch.data(), 0, plan.units);
    say("end\n");
  }
}

// Shapes small enough for an emulator: of first layers, wide and narrow 1x1, 3x3, strides, depthwise, one row, many.
constexpr ConvShape kConv[] = {{56, 3, 32, 3, 2},   {28, 32, 192, 1, 1}, {14, 96, 576, 1, 1}, {14, 576, 96, 1, 1},
                               {28, 24, 144, 1, 1}, {28, 64, 64, 3, 1},  {14, 256, 256, 3, 1}};
constexpr ConvShape kDepthwise[] = {{56, 32, 0, 3, 1}, {56, 96, 0, 3, 2}, {14, 384, 0, 3, 1}, {28, 240, 0, 5, 1}};
constexpr MatMulShape kMatMul[] = {{197, 192, 576}, {128, 1536, 384}, {1, 1280, 1000}};

void count_mac() {
  for (const ConvShape& s : kConv) {
    Case c;
    count(conv_rows(), s.name(), s.macs(), "products", conv_params(c, s));
  }
  for (const MatMulShape& s : kMatMul) {
    Case c;
    count(matmul_rows(), s.name(), s.macs(), "products", matmul_params(c, s));
  }
  for (const ConvShape& s : kDepthwise) {
    Case c;
    count(dwconv_rows(), s.name(), s.macs(), "products", depthwise_params(c, s));
  }
  for (const TransposedShape& s : kTransposedShapes) {
    Case c;
    count(tconv_rows(), s.name(), s.macs(), "products", transposed_params(c, s));
  }
  for (const DynamicShape& s : kDynamicShapes) {
    Case c;
    count(matmuld_rows(), s.name(), s.macs(), "products", dynamic_params(c, s));
  }
}

void count_vector() {
  constexpr int kSize = 28, kChannels = 96;
  constexpr double kBytes = kSize * kSize * kChannels;
  const std::string shape = "28x28x96";
  const std::uint8_t flip = host_flip();
  Case c;
  const View a = c.tensor(1, kSize, kSize, kChannels), b = c.tensor(1, kSize, kSize, kChannels);
  const View out = c.tensor(1, kSize, kSize, kChannels);
  count(add_rows(), shape, kBytes, "bytes", AddParams{a, b, out, 20000, 14000, 1 << 14, 15, -128, 127, flip});
  count(mul_rows(), shape, kBytes, "bytes", MulParams{a, b, out, 3, -4, 5, 20000, 21, -128, 127, flip});
  const std::vector<std::int8_t> table(256, 7);
  count(lut8_rows(), shape, kBytes, "bytes", Lut8Params{a, out, table.data(), flip});
  count(maxpool_rows(), shape + "_3x3", kBytes, "bytes", MaxPoolParams{a, out, {3, 3, 1, 1, 1, 1, 1, 1}, flip});
  const PoolScale scale{20000, 20};
  const View mean = c.tensor(1, 14, 14, kChannels);
  count(avgpool_rows(), shape + "_2x2_s2", kBytes / 4, "bytes",
        AvgPoolParams{a, mean, {2, 2, 2, 2, 1, 1, 0, 0}, &scale, 1, 3, 4, -128, 127, flip});
  const std::vector<std::uint16_t> exponentials(256, 65535);
  count(softmax_rows(), shape, kBytes, "bytes",
        SoftmaxParams{a, out, exponentials.data(), std::uint64_t{1} << 45, -128, -128, 127, flip});
  const std::vector<std::int32_t> offsets(kChannels, 1 << 19);
  const std::vector<std::int16_t> gains(kChannels, 20000);
  count(norm_rows(), shape, kBytes, "bytes",
        NormParams{a, out, offsets.data(), gains.data(), 1, 11, 20, true, 0, -128, 127, flip});
  View planes = c.tensor(1, kSize, kSize, kChannels * 4);
  planes.c = kChannels, planes.sw = 4, planes.sh = 4 * kSize, planes.sc = 4 * kSize * kSize;
  planes.sn = planes.sc * kChannels;
  count(quantize_rows(), shape + "_planes", kBytes, "bytes", QuantizeParams{planes, out, 0.5F, 3, flip});
  count(dequantize_rows(), shape + "_planes", kBytes, "bytes", QuantizeParams{a, planes, 0.5F, 3, flip});
}

}  // namespace
}  // namespace openbpu::bench

int main() {
  openbpu::bench::count_mac();
  openbpu::bench::count_vector();
  return 0;
}
