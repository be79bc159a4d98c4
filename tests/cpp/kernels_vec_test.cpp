// Every row of the vector group against the scalar row of its table, as in kernels_mac_test.cpp; the scalar rows
// themselves are held against the oracle by the conformance tests.
#include "kernel_rows.hpp"
#include "kernels/csc/csc.hpp"
#include "kernels/eltwise/eltwise.hpp"
#include "kernels/layout/layout.hpp"
#include "kernels/lut/lut.hpp"
#include "kernels/norm/norm.hpp"
#include "kernels/pool/pool.hpp"
#include "kernels/quantize/quantize.hpp"
#include "kernels/reduce/reduce.hpp"
#include "kernels/rescale/rescale.hpp"
#include "kernels/resize/resize.hpp"
#include "kernels/roiresize/roiresize.hpp"
#include "kernels/softmax/softmax.hpp"

namespace openbpu::kernels {
namespace {

const std::uint8_t kFlip = host_flip();

int channels(Random& random) { return random.pick({1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 130}); }

// An int8 operand: a view and its memory, with the slack that rows may read.
struct Operand {
  Tensor tensor;
  Bytes memory;

  Operand(Random& random, int n, int h, int w, int c) : tensor(random, n, h, w, c), memory(tensor.bytes + kSlack) {
    fill(random, memory, any_values(random), kFlip);
    tensor.view.data = memory.data();
  }
};

struct Clamp {
  int lo, hi;
  explicit Clamp(Random& random)
      : lo(random.one_in(2) ? -128 : random.within(-128, 0)), hi(random.one_in(2) ? 127 : random.within(lo, 127)) {}
};

class VecRows : public testing::TestWithParam<std::uint32_t> {
 protected:
  Random random{GetParam()};
  int n = random.within(1, 2), h = random.within(1, 6), w = random.within(1, 9), c = channels(random);
  Clamp clamp{random};

  // An extent of the second operand: equal, or 1.
  int broadcast(int extent) { return random.one_in(3) ? 1 : extent; }
};

TEST_P(VecRows, Add) {
  const Operand a(random, n, h, w, c), b(random, broadcast(n), broadcast(h), broadcast(w), broadcast(c));
  const Tensor out(random, n, h, w, c);
  AddParams p{a.tensor.view, b.tensor.view, out.view, 0, 0, 0, random.within(0, 22), clamp.lo, clamp.hi, kFlip};
  p.ma = random.pick({32767, -32767, 0, 1, random.within(-32767, 32767)});
  p.mb = random.pick({32767, -32767, 0, 1, random.within(-32767, 32767)});
  p.C = random.within(-(1 << 30), 1 << 30);
  compare(add_rows(), p, out.bytes, random);
}

TEST_P(VecRows, Mul) {
  const Operand a(random, n, h, w, c), b(random, broadcast(n), broadcast(h), broadcast(w), broadcast(c));
  const Tensor out(random, n, h, w, c);
  MulParams p{a.tensor.view, b.tensor.view, out.view, 0, 0, 0, 0, 0, clamp.lo, clamp.hi, kFlip};
  p.a_zero = random.pick({-128, 127, 0, random.within(-128, 127)});
  p.b_zero = random.pick({-128, 127, 0, random.within(-128, 127)});
  p.zero = random.within(-128, 127);
  p.m = random.pick({16384, 32767, random.within(16384, 32767)});
  p.sh = random.one_in(3) ? random.within(1, 46) : random.within(14, 26);
  compare(mul_rows(), p, out.bytes, random);
}

TEST_P(VecRows, Extreme) {
  const Operand a(random, n, h, w, c), b(random, broadcast(n), broadcast(h), broadcast(w), broadcast(c));
  const Tensor out(random, n, h, w, c);
  for (const bool largest : {false, true})
    compare(extreme_rows(), ExtremeParams{a.tensor.view, b.tensor.view, out.view, largest, clamp.lo, clamp.hi, kFlip},
            out.bytes, random);
}

TEST_P(VecRows, Reduce) {
  const Operand in(random, n, h, w, c);
  const Tensor out(random, n, h, w, 1);
  ReduceParams p{in.tensor.view, out.view, Reduction::Largest, 0, 0, 0, 0, clamp.lo, clamp.hi, kFlip};
  compare(reduce_rows(), p, out.bytes, random);
  p.kind = Reduction::Smallest;
  compare(reduce_rows(), p, out.bytes, random);
  p.kind = Reduction::Sum;
  p.in_zero = random.pick({-128, 127, 0, random.within(-128, 127)});
  p.zero = random.within(-128, 127);
  p.m = random.pick({16384, 32767, random.within(16384, 32767)});
  p.sh = random.one_in(3) ? random.within(1, 46) : random.within(14, 26);
  compare(reduce_rows(), p, out.bytes, random);
}

TEST_P(VecRows, ArgMax) {
  const Operand in(random, n, h, w, c);
  const int gap = random.within(0, 2) * 8;
  View out{nullptr, n, h, w, 1, 0, 0, 8 + gap, 8};
  out.sh = out.sw * w;
  out.sn = out.sh * h;
  compare(argmax_rows(), ArgMaxParams{in.tensor.view, out, kFlip}, static_cast<std::size_t>(out.sn * n), random);
}

TEST_P(VecRows, Lut8) {
  const Operand in(random, n, h, w, c);
  const Tensor out(random, n, h, w, c);
  std::int8_t table[256];
  for (std::int8_t& entry : table) entry = static_cast<std::int8_t>(random.within(-128, 127));
  compare(lut8_rows(), Lut8Params{in.tensor.view, out.view, table, kFlip}, out.bytes, random);
}

TEST_P(VecRows, Rescale) {
  const Operand in(random, n, h, w, c);
  const Tensor out(random, n, h, w, c);
  std::vector<Rq16Entry> entries(random.one_in(2) ? 1 : static_cast<std::size_t>(c));
  for (Rq16Entry& e : entries) {
    e = {0, random.within(1 << 29, 2147483647), static_cast<std::uint8_t>(random.within(1, 40)), {}};
    e.bias = random.within(-128, 127) * (std::int64_t{1} << e.sh);
  }
  const RescaleParams p{in.tensor.view, out.view, entries.data(), static_cast<std::int32_t>(entries.size()),
                        clamp.lo,       clamp.hi, kFlip};
  compare(rescale_rows(), p, out.bytes, random);
}

PoolGeometry window(Random& random, int in_h, int in_w, int* out_h, int* out_w) {
  PoolGeometry g{random.within(1, in_h), random.within(1, in_w), random.within(1, 3), random.within(1, 3), 1, 1, 0, 0};
  if (random.one_in(4)) g.dilation_h = g.dilation_w = 2;
  g.pad_top = random.within(0, g.kernel_h - 1);
  g.pad_left = random.within(0, g.kernel_w - 1);
  // The last window still begins inside the input, so every window has a tap there.
  *out_h = (in_h - 1 + g.pad_top) / g.stride_h + 1;
  *out_w = (in_w - 1 + g.pad_left) / g.stride_w + 1;
  const auto first_tap_inside = [](int pad, int dilation, int kernel) {
    return (pad + dilation - 1) / dilation < kernel;
  };
  if (!first_tap_inside(g.pad_top, g.dilation_h, g.kernel_h)) g.pad_top = 0;
  if (!first_tap_inside(g.pad_left, g.dilation_w, g.kernel_w)) g.pad_left = 0;
  *out_h = (in_h - 1 + g.pad_top) / g.stride_h + 1;
  *out_w = (in_w - 1 + g.pad_left) / g.stride_w + 1;
  return g;
}

TEST_P(VecRows, MaxPool) {
  const Operand in(random, n, h, w, c);
  int oh, ow;
  const PoolGeometry g = window(random, h, w, &oh, &ow);
  const Tensor out(random, n, oh, ow, c);
  compare(maxpool_rows(), MaxPoolParams{in.tensor.view, out.view, g, kFlip}, out.bytes, random);
}

TEST_P(VecRows, AvgPool) {
  const Operand in(random, n, h, w, c);
  int oh, ow;
  const PoolGeometry g = window(random, h, w, &oh, &ow);
  const Tensor out(random, n, oh, ow, c);
  std::vector<PoolScale> scales(random.one_in(2) ? 1 : static_cast<std::size_t>(g.kernel_h * g.kernel_w));
  for (PoolScale& s : scales)
    s = {random.within(16384, 32767),
         static_cast<std::uint32_t>(random.one_in(4) ? random.within(1, 46) : random.within(14, 24))};
  AvgPoolParams p{in.tensor.view, out.view, g,    scales.data(), static_cast<std::int32_t>(scales.size()), 0, 0,
                  clamp.lo,       clamp.hi, kFlip};
  p.in_zero = random.within(-128, 127);
  p.zero = random.within(-128, 127);
  compare(avgpool_rows(), p, out.bytes, random);
}

TEST_P(VecRows, GlobalPoolOfALargeImage) {
  const Operand in(random, 1, 17, 16, c);  // more than 256 taps
  const Tensor out(random, 1, 1, 1, c);
  const PoolScale scale{random.within(16384, 32767), static_cast<std::uint32_t>(random.within(18, 28))};
  const AvgPoolParams p{in.tensor.view, out.view, {17, 16, 1, 1, 1, 1, 0, 0}, &scale, 1, -5, 9, clamp.lo,
                        clamp.hi,       kFlip};
  compare(avgpool_rows(), p, out.bytes, random);
}

std::vector<ResizeTap> taps(Random& random, int in, int out) {
  std::vector<ResizeTap> result(static_cast<std::size_t>(out));
  for (ResizeTap& tap : result) {
    const auto w1 = static_cast<std::int16_t>(random.pick({0, 2048, random.within(0, 2048)}));
    tap = {random.within(0, in - 1), random.within(0, in - 1), static_cast<std::int16_t>(2048 - w1), w1};
  }
  return result;
}

TEST_P(VecRows, Resize) {
  const Operand in(random, n, h, w, c);
  const Tensor out(random, n, random.within(1, 8), random.within(1, 8), c);
  const std::vector<ResizeTap> rows = taps(random, h, out.view.h), columns = taps(random, w, out.view.w);
  const ResizeParams p{in.tensor.view, out.view, rows.data(), columns.data(), kFlip};
  compare(resize_nearest_rows(), p, out.bytes, random);
  compare(resize_bilinear_rows(), p, out.bytes, random);
}

TEST_P(VecRows, Softmax) {
  c = random.one_in(2) ? random.within(60, 300) : c;
  const Operand in(random, n, h, w, c);
  const Tensor out(random, n, h, w, c);
  std::uint16_t exp[256];
  exp[0] = 65535;
  for (int d = 1; d < 256; ++d) exp[d] = static_cast<std::uint16_t>(random.within(0, exp[d - 1]));
  if (random.one_in(2))  // as in attention: next to nothing beyond some distance
    for (int d = random.within(30, 90); d < 256; ++d) exp[d] = static_cast<std::uint16_t>(random.within(0, 2));
  SoftmaxParams p{in.tensor.view, out.view, exp, 0, random.within(-128, 127), clamp.lo, clamp.hi, kFlip};
  p.C = random.one_in(4) ? std::uint64_t{1} << random.within(38, 61) : std::uint64_t{1} << random.within(44, 47);
  compare(softmax_rows(), p, out.bytes, random);
}

TEST_P(VecRows, Norm) {
  c = random.one_in(3) ? random.pick({192, 384, 511, 768, 1025}) : c;
  const Operand in(random, n, h, w, c);
  const Tensor out(random, n, h, w, c);
  if (random.one_in(3))  // rows of little spread
    for (std::size_t i = 0; i < in.memory.size(); ++i)
      in.memory.data()[i] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(random.one_in(9) + 40) ^ kFlip);
  std::vector<std::int32_t> b(static_cast<std::size_t>(c));
  std::vector<std::int16_t> g(static_cast<std::size_t>(c));
  for (std::int32_t& offset : b) offset = random.within(-(1 << 30) + 1, (1 << 30) - 1);
  for (std::int16_t& gain : g)
    gain = static_cast<std::int16_t>(random.pick({-32767, 32767, random.within(-32767, 32767)}));
  if (random.one_in(2))
    for (std::int32_t& offset : b) offset /= 64;
  NormParams p{in.tensor.view, out.view, b.data(), g.data(), 1, 0, 0, false, 0, clamp.lo, clamp.hi, kFlip};
  p.eps = random.one_in(3) ? 1 : std::uint64_t{1} << random.within(0, 59);
  p.F = random.one_in(2) ? 10 : random.within(0, 14);
  p.sh = random.one_in(2) ? random.within(17, 23) : random.within(1, 30);
  p.in_zero = random.pick({-128, 127, 0, random.within(-128, 127)});
  for (const bool centred : {false, true}) {
    p.centred = centred;
    compare(norm_rows(), p, out.bytes, random);
  }
}

TEST_P(VecRows, Copy) {
  const int size = random.pick({1, 1, 1, 2, 4, 8});
  const auto scaled = [&](Tensor t) {
    for (std::int64_t* stride : {&t.view.sn, &t.view.sh, &t.view.sw, &t.view.sc}) *stride *= size;
    return t;
  };
  Tensor in = scaled(Tensor(random, n, h, w, c));
  const Tensor out = scaled(Tensor(random, n, h, w, c));
  const Bytes memory(in.bytes * static_cast<std::size_t>(size));  // no slack: the caller's memory
  fill(random, memory, Values::Any, 0);
  in.view.data = memory.data();
  const CopyParams p{in.view, out.view, size,
                     size == 1 ? random.one_in(2) ? std::uint8_t{0x80} : std::uint8_t{0} : std::uint8_t{0}};
  compare(copy_rows(), p, out.bytes * static_cast<std::size_t>(size), random);
}

struct Colours {
  std::vector<CscEntry> entries;
  explicit Colours(Random& random) : entries(3) {
    for (CscEntry& e : entries) {
      e.b = random.within(-(1 << 21), 1 << 21);
      for (std::int16_t& m : e.m)
        m = static_cast<std::int16_t>(random.pick({-32767, 32767, random.within(-32767, 32767)}));
      e.lo = static_cast<std::int16_t>(random.pick({-128, random.within(-128, 0)}));
      e.hi = static_cast<std::int16_t>(random.pick({127, random.within(0, 127)}));
    }
  }
};

// A picture in memory of exactly its size, as the caller has it: rows with gaps, pixels without.
struct Picture {
  View view;
  Bytes memory;
  Picture(Random& random, int n, int h, int w, int c)
      : view{nullptr, n, h, w, c, 0, w * c + random.pick({0, 0, 5}), c, 1},
        memory(static_cast<std::size_t>((n * h - 1) * view.sh + w * c)) {
    view.sn = view.sh * h;
    fill(random, memory, any_values(random), 0);
    view.data = memory.data();
  }
};

TEST_P(VecRows, CscOfSharedChroma) {
  h = 2 * random.within(1, 4), w = 2 * random.within(1, 90);
  const Picture luma(random, n, h, w, 1), chroma(random, n, h / 2, w / 2, 2);
  Tensor out(random, n, h, w, 3);
  const Colours colours(random);
  CscParams p{luma.view, chroma.view, out.view, colours.entries.data(), random.within(0, 22), 1, 0, 0,
              false,     0x80,        0x80,     {false, kFlip}};
  if (h > 2 && random.one_in(2)) {  // rows and columns from a box on
    p.y = random.within(1, h - 1), p.x = random.within(1, w - 1);
    p.luma.data += p.y * p.luma.sh + p.x;
    p.luma.h = p.out.h = h - p.y, p.luma.w = p.out.w = w - p.x;
  }
  compare(csc_rows(), p, out.bytes, random);
}

TEST_P(VecRows, CscOfPixels) {
  w = random.within(1, 120);
  const Picture pixels(random, n, h, w, 3);
  const Tensor out(random, n, h, w, 3);
  const Colours colours(random);
  View first = pixels.view, rest = pixels.view;
  first.c = 1, rest.c = 2, rest.data += 1;
  const std::uint8_t flip = random.one_in(2) ? std::uint8_t{0x80} : std::uint8_t{0};
  compare(csc_rows(),
          CscParams{first,
                    rest,
                    out.view,
                    colours.entries.data(),
                    random.within(0, 22),
                    0,
                    0,
                    0,
                    true,
                    flip,
                    flip,
                    {false, kFlip}},
          out.bytes, random);
}

TEST_P(VecRows, CscOfPlanes) {
  w = random.within(1, 120);
  const Picture planes(random, 3 * n, h, w, 1);
  const Tensor out(random, n, h, w, 3);
  const Colours colours(random);
  View first = planes.view, rest = planes.view;
  const auto plane = h * first.sh;
  first.n = rest.n = n, first.sn = rest.sn = 3 * plane;
  rest.c = 2, rest.sc = plane, rest.data += plane;
  const auto flip = [&] { return random.one_in(2) ? std::uint8_t{0x80} : std::uint8_t{0}; };
  CscParams p{first, rest, out.view, colours.entries.data(), random.within(0, 22), 0, 0, 0,
              false, 0,    0,        {false, kFlip}};
  p.luma_flip = flip(), p.chroma_flip = flip();
  compare(csc_rows(), p, out.bytes, random);
}

TEST_P(VecRows, RoiResize) {
  const int channels_of = random.within(1, 2);
  const Picture picture(random, n, h, random.within(1, 40), channels_of);
  const Tensor out(random, n, random.within(1, 9), random.within(1, 40), channels_of);
  std::atomic<bool> fault{false};
  std::vector<std::int32_t> regions;
  RoiResizeParams p{
      picture.view, {nullptr, n, 1, 1, 4, 16, 16, 16, 4}, out.view, out.view.h, out.view.w, 0, 0, 0, 0, kFlip, &fault};
  p.shift = random.within(0, 1);
  p.in_flip = random.one_in(2) ? std::uint8_t{0x80} : std::uint8_t{0};
  p.height += p.y = random.within(0, 3), p.width += p.x = random.within(0, 3);
  for (int image = 0; image < n; ++image) {
    const int left = random.within(0, picture.view.w - 1), top = random.within(0, h - 1);
    const int right = random.within(left, picture.view.w - 1), bottom = random.within(top, h - 1), odd = p.shift;
    for (const int end : {left << p.shift, top << p.shift, (right << p.shift) + odd, (bottom << p.shift) + odd})
      regions.push_back(random.one_in(40) ? random.within(-3, 60) : end);
  }
  p.roi.data = reinterpret_cast<std::uint8_t*>(regions.data());
  compare(roiresize_rows(), p, out.bytes, random);
}

float any_float(Random& random, float scale) {
  const float extremes[] = {
      0.0f, -0.0f, 1e38f, -1e38f, 1e-40f, __builtin_inff(), -__builtin_inff(), __builtin_nanf("")};
  if (random.one_in(12)) return extremes[random.within(0, 7)];
  if (random.one_in(4)) return static_cast<float>(random.within(-300, 300)) * 0.5f * scale;  // ties
  return static_cast<float>(random.within(-20000, 20000)) * scale / 100;
}

// A float view: NCHW, NHWC or dense rows of one of them, in memory without slack.
struct Floats {
  View view;
  std::size_t bytes;

  Floats(Random& random, int n, int h, int w, int c) : view{nullptr, n, h, w, c, 0, 0, 0, 0} {
    if (random.one_in(2)) {
      view.sw = 4, view.sh = 4 * w, view.sc = 4 * h * w, view.sn = view.sc * c;
    } else {
      view.sc = 4, view.sw = 4 * c, view.sh = view.sw * w, view.sn = view.sh * h;
    }
    bytes = static_cast<std::size_t>(4 * n * h * w * c);
  }
};

TEST_P(VecRows, Quantize) {
  c = random.one_in(2) ? 3 : c;
  w = random.within(1, 40);
  Floats in(random, n, h, w, c);
  const Tensor out(random, n, h, w, c);
  const Bytes memory(in.bytes);
  const float scale = static_cast<float>(random.within(1, 1000)) / 300;
  for (std::size_t i = 0; i < in.bytes; i += 4) {
    const float x = any_float(random, scale);
    std::memcpy(memory.data() + i, &x, 4);
  }
  in.view.data = memory.data();
  compare(quantize_rows(), QuantizeParams{in.view, out.view, scale, random.within(-128, 127), kFlip}, out.bytes,
          random);
}

TEST_P(VecRows, Dequantize) {
  w = random.within(1, 40);
  const Operand in(random, n, h, w, c);
  const Floats out(random, n, h, w, c);
  const float scale = static_cast<float>(random.within(1, 1000)) / 300;
  const QuantizeParams p{in.tensor.view, out.view, scale, random.within(-128, 127), kFlip};
  compare(dequantize_rows(), p, out.bytes, random);
}

INSTANTIATE_TEST_SUITE_P(Seeds, VecRows, testing::Range<std::uint32_t>(1, 61));

TEST(VecRowTables, NameWhatWasNotRun) {
  name_rows_not_run("add", add_rows());
  name_rows_not_run("mul", mul_rows());
  name_rows_not_run("extreme", extreme_rows());
  name_rows_not_run("reduce", reduce_rows());
  name_rows_not_run("argmax", argmax_rows());
  name_rows_not_run("lut8", lut8_rows());
  name_rows_not_run("rescale", rescale_rows());
  name_rows_not_run("maxpool", maxpool_rows());
  name_rows_not_run("avgpool", avgpool_rows());
  name_rows_not_run("resize_nearest", resize_nearest_rows());
  name_rows_not_run("resize_bilinear", resize_bilinear_rows());
  name_rows_not_run("csc", csc_rows());
  name_rows_not_run("roiresize", roiresize_rows());
  name_rows_not_run("softmax", softmax_rows());
  name_rows_not_run("norm", norm_rows());
  name_rows_not_run("copy", copy_rows());
  name_rows_not_run("quantize", quantize_rows());
  name_rows_not_run("dequantize", dequantize_rows());
}

}  // namespace
}  // namespace openbpu::kernels
