// Every row of the MAC group against the scalar row of its table: equal bytes on random shapes, nothing written
// outside the output view, nothing read further than kSlack behind an operand (with AddressSanitizer), and any split
// of the units gives the same bytes. Rows that this host cannot run are named in the output.
#include "kernel_rows.hpp"
#include "kernels/conv/conv.hpp"
#include "kernels/dwconv/dwconv.hpp"
#include "kernels/matmul/matmul.hpp"
#include "kernels/tconv/tconv.hpp"

namespace openbpu::kernels {
namespace {

// RQ8 tables for `channels` outputs whose sums of |w| * 128 are at most `bound`.
struct Tables {
  std::vector<std::int32_t> B;
  std::vector<std::int16_t> m;
  std::vector<std::uint8_t> s;
  Rq8 rq;

  Tables(Random& random, int channels, std::int64_t bound)
      : B(padded(channels)), m(padded(channels), 16384), s(padded(channels)) {
    int L = random.one_in(2) ? 0 : random.within(0, 15);
    while (L > 0 && (bound << L) >= (std::int64_t{1} << 30)) --L;
    int usual = 0;  // the shift that brings typical sums into the range of int16
    while (usual < 31 && (bound << L) >> usual > 100000) ++usual;
    const auto room = static_cast<int>(std::min<std::int64_t>((std::int64_t{1} << 31) - 1 - (bound << L), 1 << 30));
    for (int c = 0; c < channels; ++c) {
      const auto i = static_cast<std::size_t>(c);
      s[i] = static_cast<std::uint8_t>(random.one_in(8) ? random.within(0, 31)
                                                        : std::clamp(usual + random.within(-3, 1), 0, 31));
      m[i] = static_cast<std::int16_t>(random.within(16384, 32767));
      const int limit = random.one_in(8) ? room : std::min<int>(room, 1 << std::min(30, s[i] + 12));
      B[i] = random.within(-limit, limit);
    }
    const int lo = random.one_in(2) ? -128 : random.within(-128, 0);
    const int hi = random.one_in(2) ? 127 : random.within(lo, 127);
    rq = {B.data(), m.data(), s.data(), L, lo, hi};
  }

  static std::size_t padded(int channels) { return static_cast<std::size_t>((channels + 15) / 16 * 16); }
};

// Canonical weights (formats.def), zero padded, and the largest sum of |w| of a channel times 128.
struct Weights {
  std::vector<std::int8_t> data;
  std::int64_t bound = 0;

  static Weights conv(Random& random, int groups, int co, int taps, int ci) {
    const Values kind = any_values(random);
    const int lowest = random.one_in(2) ? -128 : -127;
    const std::int64_t co16 = (co + 15) / 16, ci4 = (ci + 3) / 4;
    Weights w;
    w.data.assign(static_cast<std::size_t>(groups * co16 * taps * ci4 * 64), 0);
    // Small weights too, so that blocks without saturating pairs occur.
    const int scale = random.pick({1, 1, 2, 8});
    for (int g = 0; g < groups; ++g)
      for (int o = 0; o < co; ++o) {
        std::int64_t sum = 0;
        for (int tap = 0; tap < taps; ++tap)
          for (int i = 0; i < ci; ++i) {
            const int v = value(random, kind, lowest) / (random.one_in(9) ? 1 : scale);
            const std::int64_t cell = ((g * co16 + o / 16) * taps + tap) * ci4 + i / 4;
            w.data[static_cast<std::size_t>(cell * 64 + o % 16 * 4 + i % 4)] = static_cast<std::int8_t>(v);
            sum += std::abs(v);
          }
        w.bound = std::max(w.bound, sum * 128);
      }
    return w;
  }

  static Weights depthwise(Random& random, int c, int taps) {
    const Values kind = any_values(random);
    const int lowest = random.one_in(2) ? -128 : -127, scale = random.pick({1, 1, 2, 8});
    Weights w;
    w.data.assign(static_cast<std::size_t>((c + 15) / 16 * 16 * taps), 0);
    for (int i = 0; i < c; ++i) {
      std::int64_t sum = 0;
      for (int tap = 0; tap < taps; ++tap) {
        const int v = value(random, kind, lowest) / (random.one_in(9) ? 1 : scale);
        w.data[static_cast<std::size_t>((i / 16 * taps + tap) * 16 + i % 16)] = static_cast<std::int8_t>(v);
        sum += std::abs(v);
      }
      w.bound = std::max(w.bound, sum * 128);
    }
    return w;
  }
};

// Kernel, stride, dilation and padding of one axis. Padding may exceed the input and be negative.
struct Axis {
  int in, out, kernel, stride, dilation, pad;

  static Axis conv(Random& random, int in) {
    Axis a{in, 0, random.pick({1, 1, 2, 3, 3, 3, 5, 7}), random.pick({1, 1, 1, 2, 3}), random.pick({1, 1, 1, 2, 3}), 0};
    a.pad = random.pick({0, (a.kernel - 1) * a.dilation / 2, random.within(-2, in + 2)});
    const int pad_end = random.pick({a.pad, 0, random.within(-2, 4)});
    const int span = (a.kernel - 1) * a.dilation + 1;
    a.out = std::max(1, (in + a.pad + pad_end - span) / a.stride + 1);
    return a;
  }

  static Axis transposed(Random& random, int in) {
    Axis a{in, 0, random.within(1, 5), random.within(1, 4), random.pick({1, 1, 2}), 0};
    a.pad = random.within(-1, (a.kernel - 1) * a.dilation);
    a.out = std::max(1, (in - 1) * a.stride + (a.kernel - 1) * a.dilation + 1 - 2 * a.pad + random.within(0, 2));
    return a;
  }
};

template <class Params>
void set_geometry(Params& p, const Axis& y, const Axis& x) {
  p.kernel_h = y.kernel;
  p.kernel_w = x.kernel;
  p.stride_h = y.stride;
  p.stride_w = x.stride;
  p.dilation_h = y.dilation;
  p.dilation_w = x.dilation;
  p.pad_top = y.pad;
  p.pad_left = x.pad;
}

int channels(Random& random) { return random.pick({1, 2, 3, 7, 8, 16, 17, 24, 31, 32, 40, 64, 65, 100}); }

// What a case of a convolution, transposed or not, needs beside its parameters.
template <class Params>
void run_conv_case(Random& random, Rows<Params> rows, const Axis& y, const Axis& x, int groups, int ci, int co) {
  const int n = random.one_in(4) ? 2 : 1;
  Tensor in(random, n, y.in, x.in, groups * ci), out(random, n, y.out, x.out, groups * co);
  const Bytes memory(in.bytes + kSlack);
  const Weights weights = Weights::conv(random, groups, co, y.kernel * x.kernel, ci);
  const Tables tables(random, groups * co, weights.bound);
  Params p{};
  fill(random, memory, any_values(random), host_flip());
  in.view.data = memory.data();
  p.in = in.view;
  p.out = out.view;
  set_geometry(p, y, x);
  p.groups = groups;
  p.weights = weights.data.data();
  p.rq = tables.rq;
  p.in_zero = random.within(-128, 127);
  p.flip = host_flip();
  compare(rows, p, out.bytes, random);
}

class MacRows : public testing::TestWithParam<std::uint32_t> {};

TEST_P(MacRows, Conv) {
  Random random(GetParam());
  for (int i = 0; i < 12; ++i) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", case " + std::to_string(i));
    const Axis y = Axis::conv(random, random.within(1, 9)), x = Axis::conv(random, random.within(1, 14));
    run_conv_case(random, conv_rows(), y, x, 1, channels(random), channels(random));
  }
}

TEST_P(MacRows, PointwiseConv) {
  Random random(GetParam());
  for (int i = 0; i < 8; ++i) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", case " + std::to_string(i));
    const int stride = random.within(1, 2), h = random.within(1, 12), w = random.within(1, 40);
    const Axis y{h, (h - 1) / stride + 1, 1, stride, 1, 0}, x{w, (w - 1) / stride + 1, 1, stride, 1, 0};
    run_conv_case(random, conv_rows(), y, x, 1, random.pick({channels(random), 130, 260}), channels(random));
  }
}

// Several tiles of pixels, blocks of channels and units, with every kind of padding.
TEST_P(MacRows, LargerConv) {
  Random random(GetParam());
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  const Axis y = Axis::conv(random, random.within(7, 20)), x = Axis::conv(random, random.within(7, 37));
  run_conv_case(random, conv_rows(), y, x, 1, random.pick({16, 40, 64, 96}), random.pick({48, 64, 100, 130}));
}

TEST_P(MacRows, FirstLayer) {
  Random random(GetParam());
  for (int i = 0; i < 4; ++i) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", case " + std::to_string(i));
    const int kernel = random.pick({3, 5, 6, 7}), size = random.within(8, 34), stride = random.within(1, 2);
    const int out = (size + 2 * (kernel / 2) - kernel) / stride + 1;
    const Axis a{size, out, kernel, stride, 1, kernel / 2};
    run_conv_case(random, conv_rows(), a, a, 1, random.pick({1, 3, 4}), random.pick({16, 24, 32, 64}));
  }
}

TEST_P(MacRows, GroupedConv) {
  Random random(GetParam());
  for (int i = 0; i < 6; ++i) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", case " + std::to_string(i));
    const Axis y = Axis::conv(random, random.within(1, 7)), x = Axis::conv(random, random.within(1, 9));
    run_conv_case(random, conv_rows(), y, x, random.within(2, 5), random.within(1, 20), random.within(1, 36));
  }
}

TEST_P(MacRows, TransposedConv) {
  Random random(GetParam());
  for (int i = 0; i < 10; ++i) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", case " + std::to_string(i));
    const Axis y = Axis::transposed(random, random.within(1, 6)), x = Axis::transposed(random, random.within(1, 9));
    const int groups = random.one_in(4) ? 3 : 1;
    run_conv_case(random, tconv_rows(), y, x, groups, random.pick({1, 3, 8, 17, 40}), random.pick({1, 5, 8, 16, 24}));
  }
}

TEST_P(MacRows, DepthwiseConv) {
  Random random(GetParam());
  for (int i = 0; i < 16; ++i) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", case " + std::to_string(i));
    const Axis y = Axis::conv(random, random.within(1, 9)), x = Axis::conv(random, random.within(1, 17));
    const int n = random.one_in(4) ? 2 : 1, c = random.pick({channels(random), 48, 96, 144});
    Tensor in(random, n, y.in, x.in, c), out(random, n, y.out, x.out, c);
    const Bytes memory(in.bytes + kSlack);
    const Weights weights = Weights::depthwise(random, c, y.kernel * x.kernel);
    const Tables tables(random, c, weights.bound);
    fill(random, memory, any_values(random), host_flip());
    in.view.data = memory.data();
    DwConvParams p{};
    p.in = in.view;
    p.out = out.view;
    set_geometry(p, y, x);
    p.weights = weights.data.data();
    p.rq = tables.rq;
    p.in_zero = random.within(-128, 127);
    p.flip = host_flip();
    compare(dwconv_rows(), p, out.bytes, random);
  }
}

TEST_P(MacRows, MatMul) {
  Random random(GetParam());
  for (int i = 0; i < 12; ++i) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", case " + std::to_string(i));
    const int n = random.one_in(4) ? 3 : 1, rows = random.pick({1, 1, 2, 5, 6, 13, 33, 70});
    const int k = random.pick({channels(random), 130, 512}), columns = random.pick({channels(random), 200});
    Tensor in(random, n, 1, rows, k), out(random, n, 1, rows, columns);
    const Bytes memory(in.bytes + kSlack);
    const Weights weights = Weights::conv(random, 1, columns, 1, k);
    const Tables tables(random, columns, weights.bound);
    fill(random, memory, any_values(random), host_flip());
    in.view.data = memory.data();
    compare(matmul_rows(), {in.view, out.view, weights.data.data(), tables.rq, host_flip()}, out.bytes, random);
  }
}

TEST_P(MacRows, DynamicMatMul) {
  Random random(GetParam());
  for (int i = 0; i < 12; ++i) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", case " + std::to_string(i));
    const int n = random.one_in(2) ? 3 : 1, rows = random.pick({1, 2, 5, 13, 34}), k = random.pick({1, 7, 32, 64, 197});
    const int columns = channels(random);
    const bool transpose_b = random.one_in(2);
    Tensor a(random, n, 1, rows, k), out(random, n, 1, rows, columns);
    Tensor b(random, n, 1, transpose_b ? columns : k, transpose_b ? k : columns);
    const Bytes a_memory(a.bytes + kSlack), b_memory(b.bytes + kSlack);
    const Tables tables(random, 1, std::int64_t{k} * 255 * 255);
    fill(random, a_memory, any_values(random), host_flip());
    fill(random, b_memory, any_values(random), host_flip());
    a.view.data = a_memory.data();
    b.view.data = b_memory.data();
    const int a_zero = random.within(-128, 127), b_zero = random.within(-128, 127);
    compare(matmuld_rows(), {a.view, b.view, out.view, transpose_b, a_zero, b_zero, tables.rq, host_flip()}, out.bytes,
            random);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, MacRows, testing::Range<std::uint32_t>(1, 41));

TEST(MacRowTables, EndWithTheScalarRowAndNameWhatWasNotRun) {
  const auto check = [](const char* op, auto rows) {
    ASSERT_GE(rows.size, 1u);
    EXPECT_EQ(rows.data[rows.size - 1].isa, Isa::Scalar) << op;
    name_rows_not_run(op, rows);
  };
  check("CONV2D", conv_rows());
  check("DWCONV2D", dwconv_rows());
  check("TCONV2D", tconv_rows());
  check("MATMUL", matmul_rows());
  check("MATMULD", matmuld_rows());
}

}  // namespace
}  // namespace openbpu::kernels
