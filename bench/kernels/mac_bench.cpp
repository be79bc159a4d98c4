// One benchmark per row of the MAC tables and per shape, one thread. Counters: GMAC/s (products with padding excluded)
// and the share of the instruction peak measured beside it.
//
//   openbpu_bench_mac --benchmark_filter=avx2
#include <benchmark/benchmark.h>

#include <functional>

#include "cases.hpp"
#include "engine/peak.hpp"

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

void add_all() {
  for (const MatMulShape& s : kMatMulShapes)
    add<MatMulParams>(s.name(), matmul_rows(), s.macs(), [=](Case& c) { return matmul_params(c, s); });
  for (const ConvShape& s : kConvShapes)
    add<ConvParams>(s.name(), conv_rows(), s.macs(), [=](Case& c) { return conv_params(c, s); });
  for (const ConvShape& s : kDepthwiseShapes)
    add<DwConvParams>(s.name(), dwconv_rows(), s.macs(), [=](Case& c) { return depthwise_params(c, s); });
  for (const TransposedShape& s : kTransposedShapes)
    add<TConvParams>(s.name(), tconv_rows(), s.macs(), [=](Case& c) { return transposed_params(c, s); });
  for (const DynamicShape& s : kDynamicShapes)
    add<MatMulDParams>(s.name(), matmuld_rows(), s.macs(), [=](Case& c) { return dynamic_params(c, s); });
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
