// Element-wise operators behind a convolution: joined where bits stay the same, left alone where they would not. The
// scalar engine joins nothing and is the reference.
#include "engine/fuse.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "engine/engine.hpp"
#include "program_builder.hpp"

namespace openbpu::engine {
namespace {

using isa::Op;
using isa::Region;
using testing::Extents;
using testing::ProgramBuilder;
using Bytes = std::vector<std::uint8_t>;

// So many images and so few channels that every unit computes all channels, which joining asks for.
constexpr Extents kIn{4, 14, 13, 24}, kOut{4, 14, 13, 40};
constexpr std::uint64_t kOutBytes = 4 * 14 * 13 * 40;
constexpr std::uint64_t kX = 0, kR = 32768, kQ = kR + 2 * 65536, kS = kQ + 2 * 65536, kDdr = kS + 65536;

struct Follower {
  Op op;
  std::uint64_t a, b, out;  // addresses; b is used by ADD and MUL
};

struct Chain {
  const char* name;
  std::uint16_t kernel;
  std::vector<Follower> followers;
  std::size_t joined;  // of the followers, by an engine with vector rows
  Extents in = kIn;
};

std::shared_ptr<const container::Program> program_of(const Chain& chain) {
  ProgramBuilder b;
  std::mt19937 random(9);
  const std::uint8_t x = b.input(chain.in), q = b.input(kOut), y = b.output(kOut);
  b.move(Op::COPY, b.surface(Region::Ddr, chain.in, kX), b.surface(Region::In, chain.in, 0, x));
  b.move(Op::COPY, b.surface(Region::Ddr, kOut, kQ), b.surface(Region::In, kOut, 0, q));
  // Behind the convolution's results too there are defined values.
  b.move(Op::COPY, b.surface(Region::Ddr, kOut, kR + 40), b.surface(Region::In, kOut, 0, q));
  isa::ConvAux geometry{};
  geometry.kernel_h = geometry.kernel_w = chain.kernel;
  geometry.stride_h = geometry.stride_w = geometry.dilation_h = geometry.dilation_w = 1;
  geometry.pad_top = geometry.pad_left = static_cast<std::uint16_t>(chain.kernel / 2);
  geometry.groups = 1;
  b.emit(Op::CONV2D, [&](isa::Instruction& i) {
    i.in0 = b.surface(Region::Ddr, chain.in, kX), i.out = b.surface(Region::Ddr, kOut, kR);
    i.weight = b.conv_weights(40, std::uint32_t{chain.kernel} * chain.kernel, chain.in[3], random);
    i.table = b.rq8(40, random), i.aux = b.aux(geometry), i.lo = -128, i.hi = 127;
  });
  Bytes table(256);
  for (auto& entry : table) entry = static_cast<std::uint8_t>(random());
  const std::uint16_t lut = b.constant(isa::Format::LUT8, table, {256});
  for (const Follower& f : chain.followers)
    b.emit(f.op, [&](isa::Instruction& i) {
      i.in0 = b.surface(Region::Ddr, kOut, f.a), i.out = b.surface(Region::Ddr, kOut, f.out);
      if (f.op == Op::LUT8) return static_cast<void>(i.table = lut);
      i.in1 = b.surface(Region::Ddr, kOut, f.b);
      i.lo = -120, i.hi = 119, i.sh = 14;
      if (f.op == Op::MUL)
        i.C = 17000;
      else
        i.ma = 9000, i.mb = 11000, i.C = 4321;
    });
  b.move(Op::COPY, b.surface(Region::Out, kOut, 0, y), b.surface(Region::Ddr, kOut, chain.followers.back().out));
  return b.finish(kDdr);
}

class Fuse : public ::testing::TestWithParam<Chain> {};

TEST_P(Fuse, BitsStayTheSame) {
  const auto program = program_of(GetParam());
  ASSERT_TRUE(program);
  std::mt19937 random(3);
  Bytes x(kOutBytes), q(kOutBytes), expected;
  for (auto* bytes : {&x, &q})
    for (auto& byte : *bytes) byte = static_cast<std::uint8_t>(random());
  std::vector<std::string> isas = available_isas();
  std::reverse(isas.begin(), isas.end());
  for (const std::string& isa : isas)
    for (const int threads : {1, 2}) {
      auto engine = Engine::create(program, {"", isa, threads, {}});
      ASSERT_TRUE(engine.ok()) << engine.status().message();
      std::size_t joined = 0;
      for (const StepInfo& step : engine.value()->steps())
        joined += std::strcmp(step.reason, "runs with the instruction before it") == 0;
      EXPECT_EQ(joined, isa == "scalar" ? 0 : GetParam().joined) << isa;
      for (int repeat = 0; repeat < 2; ++repeat) {  // the arena holds the first run's values in the second
        Bytes y(kOutBytes, 0xEE);
        const void* inputs[] = {x.data(), q.data()};
        void* outputs[] = {y.data()};
        ASSERT_TRUE(engine.value()->run(inputs, outputs).ok());
        if (expected.empty()) expected = y;
        EXPECT_TRUE(y == expected) << isa << ", " << threads << " threads";
      }
    }
}

const Chain kChains[] = {
    {"table_in_place", 1, {{Op::LUT8, kR, 0, kR}}, 1},
    {"table_elsewhere", 3, {{Op::LUT8, kR, 0, kS}}, 1},
    {"sum_in_place", 1, {{Op::ADD, kR, kQ, kR}}, 1},
    {"sum_in_place_of_the_other", 3, {{Op::ADD, kQ, kR, kQ}}, 1},
    {"product", 1, {{Op::MUL, kR, kQ, kS}}, 1},
    {"sum_with_itself", 1, {{Op::ADD, kR, kR, kS}}, 1},
    {"table_then_sum", 3, {{Op::LUT8, kR, 0, kR}, {Op::ADD, kQ, kR, kQ}}, 2},
    {"other_tensor", 1, {{Op::LUT8, kQ, 0, kS}}, 0},
    {"onto_the_input", 3, {{Op::LUT8, kR, 0, kX}}, 0},
    {"onto_the_input_of_equal_extents", 3, {{Op::LUT8, kR, 0, kX}}, 0, kOut},
    {"reads_other_pixels", 1, {{Op::ADD, kR, kR + 40, kS}}, 0},
    {"second_onto_what_the_first_reads", 1, {{Op::ADD, kR, kQ, kS}, {Op::LUT8, kS, 0, kQ + 40}}, 1},
};

INSTANTIATE_TEST_SUITE_P(Chains, Fuse, ::testing::ValuesIn(kChains),
                         [](const auto& chain) { return chain.param.name; });

}  // namespace
}  // namespace openbpu::engine
