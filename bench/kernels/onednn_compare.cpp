// Our kernels and oneDNN's on the same shapes, one thread, taking turns in one process: u8 activations, s8 weights, one
// scale per output channel, u8 results. Prints GMAC/s (products with padding excluded) and the ratio of medians. oneDNN
// has no zero points to mind, which is in its favour.
//
//   openbpu_bench_onednn [isa]        isa: auto (default), avx512vnni or avx2, for both sides
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "cases.hpp"
#include "engine/features.hpp"
#include "engine/peak.hpp"

namespace openbpu::bench {
namespace {

using dnnl::memory;

constexpr int kRounds = 41;

// The best row that the ISA may run, packed and ready.
template <class Params>
class Ours {
 public:
  Ours(const Params& p, Rows<Params> rows, const engine::IsaInfo& isa) : params_(p) {
    for (const Row<Params>& row : rows)
      if (!row_ && std::count(isa.allowed.begin(), isa.allowed.end(), row.isa) && row.accepts(p)) row_ = &row;
    plan_ = row_->plan(p);
    packed_ = std::make_unique<Buffer>(plan_.packed_bytes + 64);
    scratch_ = std::make_unique<Buffer>(plan_.scratch_bytes + 64);
    if (row_->pack) row_->pack(p, packed_->data());
  }
  void run() const { row_->run(params_, packed_->data(), scratch_->data(), 0, plan_.units); }
  const char* name() const { return row_->name; }

 private:
  Params params_;
  const Row<Params>* row_ = nullptr;
  Plan plan_{};
  std::unique_ptr<Buffer> packed_, scratch_;
};

// A primitive of oneDNN with its memory, in the layouts that it prefers.
struct Theirs {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::primitive primitive;
  std::unordered_map<int, memory> arguments;
  std::string implementation;

  void run() {
    primitive.execute(stream, arguments);
    stream.wait();
  }
  void argument(int index, const memory::desc& description) {
    memory m(description, engine);
    std::mt19937 random(1);
    auto* bytes = static_cast<std::uint8_t*>(m.get_data_handle());
    for (std::size_t i = 0; i < description.get_size(); ++i) bytes[i] = static_cast<std::uint8_t>(random());
    arguments.emplace(index, m);
  }
  void scales(int channels) {
    memory m({{channels}, memory::data_type::f32, memory::format_tag::x}, engine);
    std::fill_n(static_cast<float*>(m.get_data_handle()), channels, 1e-3f);
    arguments.emplace(DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, m);
  }
};

memory::desc any(const memory::dims& dims, memory::data_type type) { return {dims, type, memory::format_tag::any}; }

template <class Description>
void finish(Theirs& t, const Description& d, int channels) {
  t.implementation = d.impl_info_str();
  t.argument(DNNL_ARG_SRC, d.src_desc());
  t.argument(DNNL_ARG_WEIGHTS, d.weights_desc());
  t.argument(DNNL_ARG_BIAS, d.bias_desc());
  t.argument(DNNL_ARG_DST, d.dst_desc());
  t.scales(channels);
}

Theirs onednn_conv(const ConvShape& s) {
  Theirs t;
  const bool depthwise = s.co == 0;
  const int co = depthwise ? s.ci : s.co;
  const memory::dims weights =
      depthwise ? memory::dims{s.ci, 1, 1, s.kernel, s.kernel} : memory::dims{s.co, s.ci, s.kernel, s.kernel};
  const memory::dim below = (s.out() - 1) * s.stride + s.kernel - s.size - s.pad();
  dnnl::primitive_attr attributes;
  attributes.set_scales_mask(DNNL_ARG_WEIGHTS, depthwise ? 3 : 1);
  using Type = memory::data_type;
  const dnnl::convolution_forward::primitive_desc d(
      t.engine, dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct,
      memory::desc({1, s.ci, s.size, s.size}, Type::u8, memory::format_tag::nhwc), any(weights, Type::s8),
      any({co}, Type::s32), memory::desc({1, co, s.out(), s.out()}, Type::u8, memory::format_tag::nhwc),
      {s.stride, s.stride}, {s.pad(), s.pad()}, {below, below}, attributes);
  t.primitive = dnnl::convolution_forward(d);
  finish(t, d, co);
  return t;
}

Theirs onednn_matmul(const MatMulShape& s) {
  Theirs t;
  dnnl::primitive_attr attributes;
  attributes.set_scales_mask(DNNL_ARG_WEIGHTS, 1);
  using Type = memory::data_type;
  const dnnl::inner_product_forward::primitive_desc d(
      t.engine, dnnl::prop_kind::forward_inference, any({s.rows, s.k}, Type::u8), any({s.columns, s.k}, Type::s8),
      any({s.columns}, Type::s32), any({s.rows, s.columns}, Type::u8), attributes);
  t.primitive = dnnl::inner_product_forward(d);
  finish(t, d, s.columns);
  return t;
}

// oneDNN takes the threads of its OpenMP runtime; which one that is depends on the package.
bool hold_to_one_thread() {
  void* const set_threads = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
  if (set_threads) reinterpret_cast<void (*)(int)>(set_threads)(1);
  return set_threads != nullptr;
}

double seconds_of(const std::function<void()>& call, int repeats) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repeats;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// False if either side beats the peak: the measurement is void.
template <class Params>
bool compare(const std::string& shape, double macs, const Ours<Params>& ours, Theirs theirs, double peak) {
  const auto run_ours = [&] { ours.run(); };
  const auto run_theirs = [&] { theirs.run(); };
  const int repeats = std::max(1, static_cast<int>(1e-4 / std::max(1e-7, seconds_of(run_ours, 3))));
  std::vector<double> a, b;
  for (int round = 0; round < kRounds; ++round) {
    a.push_back(seconds_of(run_ours, repeats));
    b.push_back(seconds_of(run_theirs, repeats));
  }
  const double mine = macs / median(a) / 1e9, other = macs / median(b) / 1e9;
  std::printf("%-22s %-24s %6.1f (%3.0f %%)   oneDNN %6.1f (%3.0f %%) %-24s  %5.2f\n", shape.c_str(), ours.name(), mine,
              100 * mine / peak, other, 100 * other / peak, theirs.implementation.c_str(), mine / other);
  std::fflush(stdout);
  if (std::max(mine, other) <= 1.05 * peak) return true;
  return std::fprintf(stderr, "%s: faster than the instruction peak: the run is void\n", shape.c_str()), false;
}

int run(const std::string& name) {
  const Result<const engine::IsaInfo*> found = engine::find_isa(name);
  if (!found.ok()) return std::fprintf(stderr, "%s\n", found.status().message().c_str()), 1;
  const engine::IsaInfo& isa = *found.value();
  if (isa.isa == Isa::Scalar) return std::fprintf(stderr, "nothing to compare without vector instructions\n"), 1;
  if (isa.isa == Isa::Avx2) dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
  if (isa.isa == Isa::Avx512Vnni) dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_vnni);
  if (!hold_to_one_thread()) return std::fprintf(stderr, "this oneDNN has no OpenMP: its threads are unknown\n"), 1;
  double peak = 0;
  for (int i = 0; i < 20; ++i) peak = std::max(peak, engine::peak_gmacs(isa.isa));
  std::printf("%s, one thread, peak %.0f GMAC/s; GMAC/s (of peak), ratio = ours / oneDNN\n", isa.name, peak);
  bool valid = true;
  for (const MatMulShape& s : kMatMulShapes) {
    Case c;
    const Ours<MatMulParams> ours(matmul_params(c, s), matmul_rows(), isa);
    valid &= compare("gemm_" + s.name(), s.macs(), ours, onednn_matmul(s), peak);
  }
  for (const ConvShape& s : kConvShapes) {
    Case c;
    const Ours<ConvParams> ours(conv_params(c, s), conv_rows(), isa);
    valid &= compare(s.name(), s.macs(), ours, onednn_conv(s), peak);
  }
  for (const ConvShape& s : kDepthwiseShapes) {
    Case c;
    const Ours<DwConvParams> ours(depthwise_params(c, s), dwconv_rows(), isa);
    valid &= compare("dw" + s.name(), s.macs(), ours, onednn_conv(s), peak);
  }
  return valid ? 0 : 1;
}

}  // namespace
}  // namespace openbpu::bench

int main(int argc, char** argv) { return openbpu::bench::run(argc > 1 ? argv[1] : "auto"); }
