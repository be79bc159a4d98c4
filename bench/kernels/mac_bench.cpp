// One benchmark per row of the MAC tables and per shape, one thread. Counters: GMAC/s (products with padding excluded)
// and the share of the instruction peak measured beside it.
//
//   openbpu_bench_mac --benchmark_filter=avx2
#include <benchmark/benchmark.h>

#include <functional>

#include "cases.hpp"
#include "engine/features.hpp"
#include "engine/peak.hpp"
#include "kernels/tconv/tconv.hpp"

namespace openbpu::bench {
namespace {

template <class Params>
void measure(benchmark::State& state, const Row<Params>& row, const std::function<Params(Case&)>& make, double macs) {
  Case memory;
  const Params p = make(memory);
  if (!row.accepts(p)) return state.SkipWithError("the row does not accept these parameters");
  const Plan plan = row.plan(p);
  const Buffer packed(plan.packed_bytes), scratch(plan.scratch_bytes);
  if (row.pack) row.pack(p, packed.data());
  const double peak = engine::peak_gmacs(row.isa);
  for (auto _ : state) row.run(p, packed.data(), scratch.data(), 0, plan.units);
  const double total = macs * static_cast<double>(state.iterations());
  state.counters["GMAC/s"] = benchmark::Counter(total / 1e9, benchmark::Counter::kIsRate);
  if (peak > 0) state.counters["of_peak"] = benchmark::Counter(total / 1e9 / peak, benchmark::Counter::kIsRate);
}

template <class Params>
void add(const std::string& shape, Rows<Params> rows, double macs, std::function<Params(Case&)> make) {
  for (const Row<Params>& row : rows) {
    if (row.isa == Isa::Scalar || !engine::host_has(row.isa)) continue;
    benchmark::RegisterBenchmark((std::string(row.name) + "/" + shape).c_str(),
                                 [&row, make, macs](benchmark::State& state) { measure(state, row, make, macs); });
  }
}

void add_transposed(int size, int ci, int co, int kernel, int stride) {
  const std::string shape = std::to_string(kernel) + "x" + std::to_string(kernel) + "_s" + std::to_string(stride) +
                            "_" + std::to_string(size) + "_" + std::to_string(ci) + "to" + std::to_string(co);
  add<TConvParams>(shape, tconv_rows(), double(size) * size * kernel * kernel * ci * co, [=](Case& c) {
    TConvParams p{};
    p.in = c.tensor(1, size, size, ci);
    p.out = c.tensor(1, size * stride, size * stride, co);
    set_square(p, kernel, stride, (kernel - stride) / 2);
    p.groups = 1;
    p.weights = c.conv_weights(co, kernel * kernel, ci);
    p.rq = c.tables(co, 8);
    return p;
  });
}

void add_dynamic(int n, int rows, int k, int columns, bool transpose_b) {
  const std::string shape = std::to_string(n) + "x" + std::to_string(rows) + "_" + std::to_string(k) + "to" +
                            std::to_string(columns) + (transpose_b ? "_transposed" : "");
  add<MatMulDParams>(shape, matmuld_rows(), double(n) * rows * k * columns, [=](Case& c) {
    const View a = c.tensor(n, 1, rows, k), out = c.tensor(n, 1, rows, columns);
    const View b = transpose_b ? c.tensor(n, 1, columns, k) : c.tensor(n, 1, k, columns);
    return MatMulDParams{a, b, out, transpose_b, 3, -4, c.tables(1, 9), 0x80};
  });
}

void add_all() {
  for (const MatMulShape& s : kMatMulShapes)
    add<MatMulParams>(s.name(), matmul_rows(), s.macs(), [=](Case& c) { return matmul_params(c, s); });
  for (const ConvShape& s : kConvShapes)
    add<ConvParams>(s.name(), conv_rows(), s.macs(), [=](Case& c) { return conv_params(c, s); });
  for (const ConvShape& s : kDepthwiseShapes)
    add<DwConvParams>(s.name(), dwconv_rows(), s.macs(), [=](Case& c) { return depthwise_params(c, s); });
  add_transposed(32, 64, 64, 4, 2);
  add_transposed(32, 64, 32, 2, 2);
  add_dynamic(12, 128, 32, 128, true);
  add_dynamic(12, 128, 128, 32, false);
  add_dynamic(3, 197, 64, 197, true);
  add_dynamic(3, 197, 197, 64, false);
}

}  // namespace
}  // namespace openbpu::bench

int main(int argc, char** argv) {
  openbpu::bench::add_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
