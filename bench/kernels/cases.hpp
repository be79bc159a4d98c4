// Kernel benchmarks share: operands in aligned memory, parameter blocks, and the shapes by which kernels are judged.
// Weights are normally distributed and scaled per channel to +-127, as a quantiser leaves them: the AVX2 rows depend on
// their distribution (docs/kernels.md).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/features.hpp"
#include "kernels/conv/conv.hpp"
#include "kernels/dwconv/dwconv.hpp"
#include "kernels/matmul/matmul.hpp"
#include "kernels/tconv/tconv.hpp"

namespace openbpu::bench {

using namespace kernels;

// How the vector rows of this host hold int8.
inline std::uint8_t host_flip() { return engine::isa_table()[0].flip; }

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

// Taps inside the input, over all outputs of one axis.
inline int taps_inside(int in, int out, int kernel, int stride, int pad) {
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
  p.flip = host_flip();
}

// A square convolution with "same" padding; depthwise where it has no output channels.
struct ConvShape {
  int size, ci, co, kernel, stride;

  int pad() const { return kernel / 2; }
  int out() const { return (size + 2 * pad() - kernel) / stride + 1; }
  // Products with padding excluded.
  double macs() const {
    const double taps = taps_inside(size, out(), kernel, stride, pad());
    return taps * taps * ci * (co ? co : 1);
  }
  std::string name() const {
    return std::to_string(kernel) + "x" + std::to_string(kernel) + "_s" + std::to_string(stride) + "_" +
           std::to_string(size) + "_" + std::to_string(ci) + (co ? "to" + std::to_string(co) : "");
  }
};

struct MatMulShape {
  int rows, k, columns;

  double macs() const { return double(rows) * k * columns; }
  std::string name() const { return std::to_string(rows) + "_" + std::to_string(k) + "to" + std::to_string(columns); }
};

// A transposed convolution of size x size inputs that gives stride times as many rows and columns.
struct TransposedShape {
  int size, ci, co, kernel, stride;

  double macs() const { return double(size) * size * kernel * kernel * ci * co; }
  std::string name() const {
    return std::to_string(kernel) + "x" + std::to_string(kernel) + "_s" + std::to_string(stride) + "_" +
           std::to_string(size) + "_" + std::to_string(ci) + "to" + std::to_string(co);
  }
};

// n products of two activations.
struct DynamicShape {
  int n, rows, k, columns;
  bool transpose_b;

  double macs() const { return double(n) * rows * k * columns; }
  std::string name() const {
    return std::to_string(n) + "x" + std::to_string(rows) + "_" + std::to_string(k) + "to" + std::to_string(columns) +
           (transpose_b ? "_transposed" : "");
  }
};

constexpr ConvShape kConvShapes[] = {
    {56, 64, 256, 1, 1},  {56, 256, 64, 1, 1}, {28, 512, 128, 1, 1}, {14, 1024, 256, 1, 1}, {7, 512, 2048, 1, 1},
    {112, 32, 16, 1, 1},  {112, 16, 96, 1, 1}, {56, 24, 144, 1, 1},  {56, 144, 24, 1, 1},   {28, 32, 192, 1, 1},
    {14, 96, 576, 1, 1},  {14, 576, 96, 1, 1}, {7, 960, 320, 1, 1},  {56, 64, 64, 3, 1},    {28, 128, 128, 3, 1},
    {14, 256, 256, 3, 1}, {7, 512, 512, 3, 1}, {56, 128, 128, 3, 2}, {80, 32, 32, 3, 1},    {224, 3, 64, 7, 2},
    {224, 3, 32, 3, 2}};

constexpr ConvShape kDepthwiseShapes[] = {{112, 32, 0, 3, 1}, {112, 96, 0, 3, 2}, {56, 144, 0, 3, 1},
                                          {56, 144, 0, 3, 2}, {28, 192, 0, 3, 1}, {14, 384, 0, 3, 1},
                                          {14, 576, 0, 3, 1}, {7, 960, 0, 3, 1},  {28, 240, 0, 5, 1},
                                          {28, 240, 0, 5, 2}, {14, 672, 0, 5, 1}};

constexpr MatMulShape kMatMulShapes[] = {{256, 256, 256},  {512, 512, 512},  {1024, 1024, 1024},
                                         {128, 384, 1536}, {128, 1536, 384}, {197, 192, 576},
                                         {1, 2048, 1000},  {1, 768, 3072},   {1, 1280, 1000}};

constexpr TransposedShape kTransposedShapes[] = {{32, 64, 64, 4, 2}, {32, 64, 32, 2, 2}};

constexpr DynamicShape kDynamicShapes[] = {
    {12, 128, 32, 128, true}, {12, 128, 128, 32, false}, {3, 197, 64, 197, true}, {3, 197, 197, 64, false}};

inline ConvParams conv_params(Case& c, const ConvShape& s) {
  ConvParams p{};
  p.in = c.tensor(1, s.size, s.size, s.ci);
  p.out = c.tensor(1, s.out(), s.out(), s.co);
  set_square(p, s.kernel, s.stride, s.pad());
  p.groups = 1;
  p.weights = c.conv_weights(s.co, s.kernel * s.kernel, s.ci);
  // L > 0 where sums are short, as in trained networks.
  p.rq = c.tables(s.co, s.kernel * s.kernel * s.ci < 100 ? 6 : 8);
  return p;
}

inline DwConvParams depthwise_params(Case& c, const ConvShape& s) {
  DwConvParams p{};
  p.in = c.tensor(1, s.size, s.size, s.ci);
  p.out = c.tensor(1, s.out(), s.out(), s.ci);
  set_square(p, s.kernel, s.stride, s.pad());
  p.weights = c.depthwise_weights(s.ci, s.kernel * s.kernel);
  p.rq = c.tables(s.ci, 5);
  return p;
}

inline MatMulParams matmul_params(Case& c, const MatMulShape& s) {
  const View in = c.tensor(1, 1, s.rows, s.k), out = c.tensor(1, 1, s.rows, s.columns);
  return MatMulParams{in, out, c.conv_weights(s.columns, 1, s.k), c.tables(s.columns, 9), host_flip()};
}

inline TConvParams transposed_params(Case& c, const TransposedShape& s) {
  TConvParams p{};
  p.in = c.tensor(1, s.size, s.size, s.ci);
  p.out = c.tensor(1, s.size * s.stride, s.size * s.stride, s.co);
  set_square(p, s.kernel, s.stride, (s.kernel - s.stride) / 2);
  p.groups = 1;
  p.weights = c.conv_weights(s.co, s.kernel * s.kernel, s.ci);
  p.rq = c.tables(s.co, 8);
  return p;
}

inline MatMulDParams dynamic_params(Case& c, const DynamicShape& s) {
  const View a = c.tensor(s.n, 1, s.rows, s.k), out = c.tensor(s.n, 1, s.rows, s.columns);
  const View b = s.transpose_b ? c.tensor(s.n, 1, s.columns, s.k) : c.tensor(s.n, 1, s.k, s.columns);
  return {a, b, out, s.transpose_b, 3, -4, c.tables(1, 9), host_flip()};
}

}  // namespace openbpu::bench
