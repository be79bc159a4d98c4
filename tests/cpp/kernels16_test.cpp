// Every row of the 16-bit forms against the scalar row of its table, as in kernels_mac_test.cpp; the scalar rows
// themselves are held against the oracle by the conformance tests.
#include <cmath>

#include "kernel_rows.hpp"
#include "kernels/conv/conv.hpp"
#include "kernels/dwconv/dwconv.hpp"
#include "kernels/eltwise/eltwise.hpp"
#include "kernels/lut/lut.hpp"
#include "kernels/matmul/matmul.hpp"
#include "kernels/norm/norm.hpp"
#include "kernels/pool/pool.hpp"
#include "kernels/quantize/quantize.hpp"
#include "kernels/rescale/rescale.hpp"
#include "kernels/resize/resize.hpp"
#include "kernels/softmax/softmax.hpp"
#include "kernels/tconv/tconv.hpp"

namespace openbpu::kernels {
namespace {

int channels(Random& random) { return random.pick({1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100}); }

// A view of int16 with random gaps, and the bytes up to its last one.
struct Tensor16 {
  View view;
  std::size_t bytes;

  Tensor16(Random& random, int n, int h, int w, int c) : view{nullptr, n, h, w, c, 0, 0, 0, 2} {
    view.sw = 2 * c + (random.one_in(3) ? 2 * random.within(1, 20) : 0);
    view.sh = view.sw * w + (random.one_in(4) ? 2 * random.within(1, 20) : 0);
    view.sn = view.sh * h + (random.one_in(4) ? 2 * random.within(1, 20) : 0);
    bytes = static_cast<std::size_t>((n - 1) * view.sn + (h - 1) * view.sh + (w - 1) * view.sw + 2 * c);
  }
};

// int16 operands with the slack that rows may read: any values, extremes, or one of them.
struct Operand16 {
  Tensor16 tensor;
  Bytes memory;

  Operand16(Random& random, int n, int h, int w, int c) : tensor(random, n, h, w, c), memory(tensor.bytes + kSlack) {
    const int kind = random.within(0, 5), constant = random.one_in(2) ? -32768 : 32767;
    for (std::size_t i = 0; i + 1 < memory.size(); i += 2) {
      int v = random.within(-32768, 32767);
      if (kind == 1) v = random.one_in(2) ? -32768 : 32767;
      if (kind == 2) v = constant;
      const auto word = static_cast<std::int16_t>(v);
      std::memcpy(memory.data() + i, &word, 2);
    }
    tensor.view.data = memory.data();
  }
};

// Entries whose products with sums of at most 2^31 fill their type, for `channels` channels.
std::vector<Rq16Entry> entries(Random& random, int channels, int sum_bits) {
  std::vector<Rq16Entry> found(static_cast<std::size_t>(channels));
  for (Rq16Entry& e : found) {
    const int shift = std::max(1, sum_bits - 15 + random.within(-3, 3));  // of the whole product
    e = {0, random.within(1 << 30, 2147483647), static_cast<std::uint8_t>(std::min(62, 31 + shift)), {}};
    if (random.one_in(8)) e = {random.within(-40000, 40000) * 2 + 1, 1, 1, {}};
    e.bias += random.within(-3000, 3000) * (std::int64_t{1} << (e.sh - 1));
  }
  return found;
}

Rq16 rq16(Random& random, const std::vector<Rq16Entry>& table) {
  const int lo = random.one_in(2) ? -32768 : random.within(-32768, 0);
  return {table.data(), lo, random.one_in(2) ? 32767 : random.within(lo, 32767), {true, host_flip()}};
}

struct Axis {
  int in, out, kernel, stride, dilation, pad;

  Axis(Random& random, int in_) : in(in_) {
    kernel = random.pick({1, 1, 2, 3, 3, 5}), stride = random.pick({1, 1, 2, 3}), dilation = random.pick({1, 1, 2});
    pad = random.pick({0, (kernel - 1) * dilation / 2, random.within(-2, in + 2)});
    out = std::max(1, (in + pad + random.within(0, 3) - (kernel - 1) * dilation - 1) / stride + 1);
  }
};

class Rows16 : public testing::TestWithParam<std::uint32_t> {
 protected:
  Random random{GetParam()};
  int n = random.within(1, 2), h = random.within(1, 8), w = random.within(1, 11);
};

template <class Params>
void set_window(Params& p, const Axis& y, const Axis& x) {
  p.kernel_h = y.kernel, p.kernel_w = x.kernel, p.stride_h = y.stride, p.stride_w = x.stride;
  p.dilation_h = y.dilation, p.dilation_w = x.dilation, p.pad_top = y.pad, p.pad_left = x.pad;
}

// Weights i8 [groups][co/16][taps][ci/4][16][4].
std::vector<std::int8_t> canonical(Random& random, int groups, int co, int taps, int ci) {
  std::vector<std::int8_t> weights(static_cast<std::size_t>(groups * ((co + 15) / 16) * taps * ((ci + 3) / 4) * 64));
  const Values kind = any_values(random);
  const bool sparse = random.one_in(3);
  for (int g = 0; g < groups; ++g)
    for (int o = 0; o < co; ++o)
      for (int tap = 0; tap < taps; ++tap)
        for (int k = 0; k < ci; ++k) {
          const int cell = ((g * ((co + 15) / 16) + o / 16) * taps + tap) * ((ci + 3) / 4) + k / 4;
          weights[static_cast<std::size_t>(cell * 64 + o % 16 * 4 + k % 4)] =
              sparse && (tap + k / 2) % 3 ? std::int8_t{0} : static_cast<std::int8_t>(value(random, kind, -128));
        }
  return weights;
}

// What the verifier proves of sums of `products`.
std::vector<Rq16Entry> proved(std::vector<Rq16Entry> table, std::int64_t products) {
  for (Rq16Entry& e : table)
    while (e.m > (std::int64_t{1} << 62) / (products * 128 << 15)) e.m /= 2;
  return table;
}

TEST_P(Rows16, Conv) {
  for (int i = 0; i < 6; ++i) {
    const Axis y(random, h), x(random, w);
    const int groups = random.pick({1, 1, 1, 2, 3}), ci = random.pick({channels(random), 600}), co = channels(random);
    const int taps = y.kernel * x.kernel;
    const Operand16 in(random, n, h, w, groups * ci);
    const Tensor16 out(random, n, y.out, x.out, groups * co);
    const auto weights = canonical(random, groups, co, taps, ci);
    const auto table = proved(entries(random, groups * co, 29), std::int64_t{ci} * taps);
    Conv16Params p{};
    p.in = in.tensor.view, p.out = out.view, p.groups = groups, p.weights = weights.data();
    p.rq = rq16(random, table);
    set_window(p, y, x);
    SCOPED_TRACE("case " + std::to_string(i));
    compare(conv16_rows(), p, out.bytes, random);
  }
}

// Outputs with and without inputs under them, of every phase.
TEST_P(Rows16, TransposedConv) {
  for (int i = 0; i < 4; ++i) {
    const Axis y(random, h), x(random, w);
    const int groups = random.pick({1, 1, 1, 2, 3}), ci = random.pick({1, 2, 5, 16, 33}), co = channels(random);
    const auto extent = [&](const Axis& a) {
      return std::max(1, (a.in - 1) * a.stride + (a.kernel - 1) * a.dilation + 1 - a.pad + random.within(-2, 3));
    };
    const Operand16 in(random, n, h, w, groups * ci);
    const Tensor16 out(random, n, extent(y), extent(x), groups * co);
    const auto weights = canonical(random, groups, co, y.kernel * x.kernel, ci);
    const auto table = proved(entries(random, groups * co, 27), std::int64_t{ci} * y.kernel * x.kernel);
    TConv16Params p{};
    p.in = in.tensor.view, p.out = out.view, p.groups = groups, p.weights = weights.data();
    p.rq = rq16(random, table);
    set_window(p, y, x);
    SCOPED_TRACE("case " + std::to_string(i));
    compare(tconv16_rows(), p, out.bytes, random);
  }
}

TEST_P(Rows16, DepthwiseConv) {
  for (int i = 0; i < 6; ++i) {
    const Axis y(random, h), x(random, w);
    const int c = channels(random), taps = y.kernel * x.kernel;
    const Operand16 in(random, n, h, w, c);
    const Tensor16 out(random, n, y.out, x.out, c);
    std::vector<std::int8_t> weights(static_cast<std::size_t>((c + 15) / 16 * 16 * taps));
    const Values kind = any_values(random);
    for (auto& v : weights) v = static_cast<std::int8_t>(value(random, kind, -128));
    const auto table = entries(random, c, 24);
    DwConv16Params p{};
    p.in = in.tensor.view, p.out = out.view, p.weights = weights.data(), p.rq = rq16(random, table);
    set_window(p, y, x);
    compare(dwconv16_rows(), p, out.bytes, random);
  }
}

TEST_P(Rows16, Add) {
  const int c = channels(random);
  const auto broadcast = [&](int extent) { return random.one_in(3) ? 1 : extent; };
  const Operand16 a(random, n, h, w, c), b(random, broadcast(n), broadcast(h), broadcast(w), broadcast(c));
  const Tensor16 out(random, n, h, w, c);
  std::vector<Rq16Entry> table(2);
  const auto sh = static_cast<std::uint8_t>(random.within(15, 45));
  table[0] = {random.one_in(2) ? std::int64_t{1} << (sh - 1) : (std::int64_t{1} << sh) - 1, 1, sh, {}};
  const int ma = random.pick({1, 268435455, random.within(1, 268435455)}), mb = random.within(1, 268435455);
  const Add16Params p{a.tensor.view, b.tensor.view, out.view, ma, random.one_in(2) ? -mb : mb, rq16(random, table)};
  compare(add16_rows(), p, out.bytes, random);
}

TEST_P(Rows16, Mul) {
  const int c = channels(random);
  const auto broadcast = [&](int extent) { return random.one_in(3) ? 1 : extent; };
  const Operand16 a(random, n, h, w, c), b(random, broadcast(n), broadcast(h), broadcast(w), broadcast(c));
  const Tensor16 out(random, n, h, w, c);
  const auto table = entries(random, 1, 29);
  compare(mul16_rows(), {a.tensor.view, b.tensor.view, out.view, rq16(random, table)}, out.bytes, random);
}

// From int8 to int16, and from int16 to int16 or int8.
TEST_P(Rows16, Rescale) {
  const int c = channels(random), kind = random.within(0, 2);
  const Operand16 wide(random, n, h, w, c);
  Tensor narrow(random, n, h, w, c);
  const Bytes bytes(narrow.bytes + kSlack);
  fill(random, bytes, any_values(random), host_flip());
  narrow.view.data = bytes.data();
  const Tensor16 out16(random, n, h, w, c);
  const Tensor out8(random, n, h, w, c);
  const auto table = entries(random, 1, kind == 0 ? 8 : kind == 1 ? 16 : 24);
  Rescale16Params p{kind == 0 ? narrow.view : wide.tensor.view,
                    kind == 2 ? out8.view : out16.view,
                    {kind != 0, host_flip()},
                    rq16(random, table),
                    1};
  if (kind == 2) p.rq.lo = random.within(-128, 0), p.rq.hi = random.within(0, 127), p.rq.out.wide = false;
  compare(rescale16_rows(), p, kind == 2 ? out8.bytes : out16.bytes, random);
}

// To int16 or int8; rows of little spread, gains and offsets up to their limits.
TEST_P(Rows16, Norm) {
  const int c = random.one_in(3) ? random.pick({192, 384, 511, 768, 1025}) : channels(random);
  const Operand16 in(random, n, h, w, c);
  if (random.one_in(3))
    for (std::size_t i = 0; i + 1 < in.memory.size(); i += 2) {
      const auto word = static_cast<std::int16_t>(random.one_in(9) + 9000);
      std::memcpy(in.memory.data() + i, &word, 2);
    }
  const Tensor16 out16(random, n, h, w, c);
  const Tensor out8(random, n, h, w, c);
  const int sh = random.within(30, 46), gain_bits = random.within(1, 31);
  std::vector<std::int64_t> b(static_cast<std::size_t>(c));
  std::vector<std::int32_t> g(static_cast<std::size_t>(c));
  for (std::int64_t& v : b) v = random.within(-40000, 40000) * (std::int64_t{1} << sh);
  for (std::int32_t& v : g) v = random.within(-2147483647, 2147483647) >> (31 - gain_bits);
  Norm16Params p{};
  p.in = in.tensor.view, p.b = b.data(), p.g = g.data(), p.sh = sh;
  p.eps = random.one_in(3) ? 1 : std::uint64_t{1} << random.within(0, 59);
  p.F = random.one_in(2) ? c > 1024 ? 23 : 24 : random.within(0, 20);
  for (const bool narrow : {false, true})
    for (const bool centred : {false, true}) {
      p.centred = centred, p.out = narrow ? out8.view : out16.view, p.stored = {!narrow, host_flip()};
      p.lo = narrow ? -128 : random.within(-32768, 0), p.hi = narrow ? random.within(0, 127) : 32767;
      compare(norm16_rows(), p, narrow ? out8.bytes : out16.bytes, random);
    }
}

// Windows with and without taps inside the input; one entry, or one per number of taps.
TEST_P(Rows16, Pools) {
  const Axis y(random, h), x(random, w);
  const int c = channels(random), taps = y.kernel * x.kernel;
  const Operand16 in(random, n, h, w, c);
  const Tensor16 out(random, n, y.out, x.out, c);
  MaxPool16Params most{in.tensor.view, out.view, {}};
  set_window(most.window, y, x);
  compare(maxpool16_rows(), most, out.bytes, random);
  const auto table = entries(random, random.one_in(2) ? taps : 1, 20);
  const AvgPool16Params mean{in.tensor.view, out.view, most.window, rq16(random, table),
                             static_cast<int>(table.size())};
  compare(avgpool16_rows(), mean, out.bytes, random);
}

TEST_P(Rows16, Resize) {
  const int c = channels(random), oh = random.within(1, 12), ow = random.within(1, 12);
  const Operand16 in(random, n, h, w, c);
  const Tensor16 out(random, n, oh, ow, c);
  const auto taps = [&](int from, int count) {
    std::vector<Resize16Tap> found(static_cast<std::size_t>(count));
    for (Resize16Tap& t : found) {
      const auto second = static_cast<std::uint32_t>(random.pick({0, 1 << 20, random.within(0, 1 << 20)}));
      t = {random.within(0, from - 1), random.within(0, from - 1), (1u << 20) - second, second};
    }
    return found;
  };
  const auto rows = taps(h, oh), columns = taps(w, ow);
  compare(resize_bilinear16_rows(), {in.tensor.view, out.view, rows.data(), columns.data()}, out.bytes, random);
}

// Floats pixel by pixel, channel by channel within a pixel, and in planes; also such that are no numbers.
TEST_P(Rows16, Ports) {
  constexpr float kSpecial[] = {NAN, INFINITY, -INFINITY, 1e38F, -1e-45F};
  const int c = channels(random);
  const Operand16 steps(random, n, h, w, c);
  const auto planes = random.one_in(2);
  View reals{nullptr, n, h, w, c, std::int64_t{4} * h * w * c, 4 * w * (planes ? 1 : c), planes ? 4 : 4 * c, 4};
  if (planes) reals.sc = std::int64_t{4} * h * w;
  const std::size_t bytes = static_cast<std::size_t>(n) * h * w * c * 4;
  const Bytes memory(bytes);
  for (std::size_t i = 0; i < bytes; i += 4) {
    float v = static_cast<float>(random.within(-80000, 80000)) / 4;
    if (random.one_in(40)) v = kSpecial[random.within(0, 4)];
    std::memcpy(memory.data() + i, &v, 4);
  }
  const float scale = 0.25F * static_cast<float>(random.within(1, 30));
  View from = reals;
  from.data = memory.data();
  const Tensor16 out(random, n, h, w, c);
  compare(quantize16_rows(), {from, out.view, scale}, out.bytes, random);
  compare(dequantize16_rows(), {steps.tensor.view, reals, scale}, bytes, random);
}

// Sums of few products and of more than an int32 holds; both orders of the right operand.
TEST_P(Rows16, DynamicProduct) {
  const int m = random.within(1, 70), k = random.pick({channels(random), 197, 256, 257, 700}), o = channels(random);
  for (const bool transposed : {false, true}) {
    const Operand16 a(random, n, 1, m, k), b(random, n, 1, transposed ? o : k, transposed ? k : o);
    const Tensor16 out(random, n, 1, m, o);
    auto table = entries(random, 1, 30 + 10);
    while (table[0].m > (std::int64_t{1} << 32) / k) table[0].m /= 2, table[0].sh -= 1;  // what the verifier proves
    table[0].bias >>= 12;
    compare(matmuld16_rows(), {a.tensor.view, b.tensor.view, out.view, transposed, rq16(random, table)}, out.bytes,
            random);
  }
}

TEST_P(Rows16, Table) {
  const int c = channels(random), bits = random.pick({9, 10, 12, 16});
  const Operand16 in(random, n, h, w, c);
  const Tensor16 out(random, n, h, w, c);
  std::vector<std::int16_t> knots((std::size_t{1} << bits) + 1);
  for (std::int16_t& v : knots)
    v = static_cast<std::int16_t>(random.pick({-32768, 32767, random.within(-32768, 32767)}));
  compare(lut16_rows(), {in.tensor.view, out.view, knots.data(), 16 - bits}, out.bytes, random);
}

TEST_P(Rows16, Softmax) {
  const int c = random.pick({channels(random), 197, 1000}), bits = random.pick({9, 12, 16});
  const bool narrow = random.one_in(3);
  const Operand16 in(random, n, h, w, c);
  const Tensor16 out16(random, n, h, w, c);
  const Tensor out8(random, n, h, w, c);
  std::vector<std::uint16_t> exponentials((std::size_t{1} << bits) + 1);
  for (std::uint16_t& v : exponentials)
    v = static_cast<std::uint16_t>(random.pick({0, 65535, random.within(0, 65535)}));
  exponentials[0] = 65535;
  Softmax16Params p{};
  p.in = in.tensor.view, p.out = narrow ? out8.view : out16.view, p.stored = {!narrow, host_flip()};
  p.exp = exponentials.data(), p.shift = 16 - bits;
  p.C = random.pick({1, 0}) ? std::uint64_t{1} << random.within(0, 61) : (std::uint64_t{1} << 53) + 12345;
  p.zero = narrow ? random.within(-128, 127) : 0;
  p.lo = narrow ? -128 : random.within(-32768, 0), p.hi = narrow ? 127 : 32767;
  compare(softmax16_rows(), p, narrow ? out8.bytes : out16.bytes, random);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Rows16, testing::Range<std::uint32_t>(1, 41));

TEST(Row16Tables, EndWithTheScalarRowAndNameWhatWasNotRun) {
  const auto check = [](const char* op, auto rows) {
    ASSERT_GE(rows.size, 2u) << op;
    EXPECT_EQ(rows.data[rows.size - 1].isa, Isa::Scalar) << op;
    name_rows_not_run(op, rows);
  };
  check("CONV2D", conv16_rows());
  check("TCONV2D", tconv16_rows());
  check("DWCONV2D", dwconv16_rows());
  check("ADD", add16_rows());
  check("MUL", mul16_rows());
  check("RESCALE", rescale16_rows());
  check("LAYERNORM", norm16_rows());
  check("MATMULD", matmuld16_rows());
  check("LUT16", lut16_rows());
  check("SOFTMAX", softmax16_rows());
  check("MAXPOOL", maxpool16_rows());
  check("AVGPOOL", avgpool16_rows());
  check("RESIZE_BILIN", resize_bilinear16_rows());
  check("QUANTIZE", quantize16_rows());
  check("DEQUANTIZE", dequantize16_rows());
}

}  // namespace
}  // namespace openbpu::kernels
