// One benchmark per row of the MAC tables and per shape, one thread. Counters: GMAC/s (products with padding excluded)
// and the share of the instruction peak measured beside it. Weights are normally distributed and scaled per channel to
// +-127, as a quantiser leaves them: the AVX2 rows depend on their distribution (docs/kernels.md).
//
//   openbpu_bench_mac --benchmark_filter=avx2
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/features.hpp"
#include "engine/peak.hpp"
#include "kernels/conv/conv.hpp"
#include "kernels/dwconv/dwconv.hpp"
#include "kernels/matmul/matmul.hpp"
#include "kernels/tconv/tconv.hpp"

namespace openbpu::bench {
namespace {

using namespace kernels;

// 64-byte aligned memory, as the engine's.
class Buffer {
 public:
  explicit Buffer(std::size_t size) : data_(nullptr, std::free) {
    data_.reset(static_cast<std::uint8_t*>(std::aligned_alloc(64, (size / 64 + 1) * 64)));
    std::memset(data_.get(), 0, size);
  }
  std::uint8_t* data() const { return data_.get(); }

 private:
  std::unique_ptr<std::uint8_t, void (*)(void*)> data_;
};

class Case {
 public:
  View tensor(int n, int h, int w, int c) {
    const auto size = static_cast<std::size_t>(n) * static_cast<std::size_t>(h * w) * static_cast<std::size_t>(c);
    memory_.push_back(std::make_unique<Buffer>(size + kSlack));
    for (std::size_t i = 0; i < size; ++i) memory_.back()->data()[i] = static_cast<std::uint8_t>(random_());
    return {memory_.back()->data(), n, h, w, c, std::int64_t{h} * w * c, std::int64_t{w} * c, c, 1};
  }

  Rq8 tables(int channels, int shift) {
    const auto padded = static_cast<std::size_t>((channels + 15) / 16 * 16);
    B_.assign(padded, 1000);
    m_.assign(padded, 20000);
    s_.assign(padded, static_cast<std::uint8_t>(shift));
    return {B_.data(), m_.data(), s_.data(), shift < 8 ? 1 : 0, -128, 127};
  }

  const std::int8_t* conv_weights(int co, int taps, int ci) {
    const int co16 = (co + 15) / 16, ci4 = (ci + 3) / 4;
    weights_.assign(static_cast<std::size_t>(co16 * taps * ci4) * 64, 0);
    for (int o = 0; o < co; ++o) {
      const std::vector<std::int8_t> row = channel(taps * ci);
      for (int k = 0; k < taps * ci; ++k) {
        const int cell = (o / 16 * taps + k / ci) * ci4 + k % ci / 4;
        weights_[static_cast<std::size_t>(cell * 64 + o % 16 * 4 + k % ci % 4)] = row[static_cast<std::size_t>(k)];
      }
    }
    return weights_.data();
  }

  const std::int8_t* depthwise_weights(int c, int taps) {
    weights_.assign(static_cast<std::size_t>((c + 15) / 16 * taps) * 16, 0);
    for (int i = 0; i < c; ++i) {
      const std::vector<std::int8_t> row = channel(taps);
      for (int tap = 0; tap < taps; ++tap)
        weights_[static_cast<std::size_t>((i / 16 * taps + tap) * 16 + i % 16)] = row[static_cast<std::size_t>(tap)];
    }
    return weights_.data();
  }

 private:
  std::vector<std::int8_t> channel(int count) {
    std::vector<float> values(static_cast<std::size_t>(count));
    float largest = 0;
    for (float& v : values) {
      v = normal_(random_);
      largest = std::max(largest, std::fabs(v));
    }
    std::vector<std::int8_t> result;
    for (const float v : values) result.push_back(static_cast<std::int8_t>(std::lrint(v / largest * 127)));
    return result;
  }

  std::mt19937 random_{1};
  std::normal_distribution<float> normal_;
  std::vector<std::unique_ptr<Buffer>> memory_;
  std::vector<std::int8_t> weights_;
  std::vector<std::int32_t> B_;
  std::vector<std::int16_t> m_;
  std::vector<std::uint8_t> s_;
};

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

// Taps inside the input, over all outputs of one axis.
int taps_inside(int in, int out, int kernel, int stride, int pad) {
  int count = 0;
  for (int o = 0; o < out; ++o)
    for (int k = 0; k < kernel; ++k) count += o * stride - pad + k >= 0 && o * stride - pad + k < in;
  return count;
}

template <class Params>
void set_square(Params& p, int kernel, int stride, int pad) {
  p.kernel_h = p.kernel_w = kernel;
  p.stride_h = p.stride_w = stride;
  p.dilation_h = p.dilation_w = 1;
  p.pad_top = p.pad_left = pad;
  p.flip = 0x80;
}

void add_conv(int size, int ci, int co, int kernel, int stride) {
  const int pad = kernel / 2, out = (size + 2 * pad - kernel) / stride + 1;
  const double taps = taps_inside(size, out, kernel, stride, pad);
  const std::string shape = std::to_string(kernel) + "x" + std::to_string(kernel) + "_s" + std::to_string(stride) +
                            "_" + std::to_string(size) + "_" + std::to_string(ci) + "to" + std::to_string(co);
  add<ConvParams>(shape, conv_rows(), taps * taps * ci * co, [=](Case& c) {
    ConvParams p{};
    p.in = c.tensor(1, size, size, ci);
    p.out = c.tensor(1, out, out, co);
    set_square(p, kernel, stride, pad);
    p.groups = 1;
    p.weights = c.conv_weights(co, kernel * kernel, ci);
    p.rq = c.tables(co, kernel * kernel * ci < 100 ? 6 : 8);  // L > 0 where sums are short, as in trained networks
    return p;
  });
}

void add_depthwise(int size, int channels, int kernel, int stride) {
  const int pad = kernel / 2, out = (size + 2 * pad - kernel) / stride + 1;
  const double taps = taps_inside(size, out, kernel, stride, pad);
  const std::string shape = std::to_string(kernel) + "x" + std::to_string(kernel) + "_s" + std::to_string(stride) +
                            "_" + std::to_string(size) + "_" + std::to_string(channels);
  add<DwConvParams>(shape, dwconv_rows(), taps * taps * channels, [=](Case& c) {
    DwConvParams p{};
    p.in = c.tensor(1, size, size, channels);
    p.out = c.tensor(1, out, out, channels);
    set_square(p, kernel, stride, pad);
    p.weights = c.depthwise_weights(channels, kernel * kernel);
    p.rq = c.tables(channels, 5);
    return p;
  });
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

void add_matmul(int rows, int k, int columns) {
  const std::string shape = std::to_string(rows) + "_" + std::to_string(k) + "to" + std::to_string(columns);
  add<MatMulParams>(shape, matmul_rows(), double(rows) * k * columns, [=](Case& c) {
    const View in = c.tensor(1, 1, rows, k), out = c.tensor(1, 1, rows, columns);
    return MatMulParams{in, out, c.conv_weights(columns, 1, k), c.tables(columns, 9), 0x80};
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

struct Shape {
  int size, ci, co, kernel, stride;
};

void add_all() {
  for (const int size : {256, 512, 1024}) add_matmul(size, size, size);
  add_matmul(128, 384, 1536);
  add_matmul(128, 1536, 384);
  add_matmul(197, 192, 576);
  for (const Shape& s :
       std::initializer_list<Shape>{{1, 2048, 1000, 0, 0}, {1, 768, 3072, 0, 0}, {1, 1280, 1000, 0, 0}})
    add_matmul(s.size, s.ci, s.co);
  for (const Shape& s : std::initializer_list<Shape>{
           {56, 64, 256, 1, 1},  {56, 256, 64, 1, 1}, {28, 512, 128, 1, 1}, {14, 1024, 256, 1, 1}, {7, 512, 2048, 1, 1},
           {112, 32, 16, 1, 1},  {112, 16, 96, 1, 1}, {56, 24, 144, 1, 1},  {56, 144, 24, 1, 1},   {28, 32, 192, 1, 1},
           {14, 96, 576, 1, 1},  {14, 576, 96, 1, 1}, {7, 960, 320, 1, 1},  {56, 64, 64, 3, 1},    {28, 128, 128, 3, 1},
           {14, 256, 256, 3, 1}, {7, 512, 512, 3, 1}, {56, 128, 128, 3, 2}, {80, 32, 32, 3, 1},    {224, 3, 64, 7, 2},
           {224, 3, 32, 3, 2}})
    add_conv(s.size, s.ci, s.co, s.kernel, s.stride);
  for (const Shape& s : std::initializer_list<Shape>{{112, 32, 0, 3, 1},
                                                     {112, 96, 0, 3, 2},
                                                     {56, 144, 0, 3, 1},
                                                     {28, 192, 0, 3, 1},
                                                     {14, 384, 0, 3, 1},
                                                     {14, 576, 0, 3, 1},
                                                     {7, 960, 0, 3, 1},
                                                     {28, 240, 0, 5, 1},
                                                     {28, 240, 0, 5, 2}})
    add_depthwise(s.size, s.ci, s.kernel, s.stride);
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
