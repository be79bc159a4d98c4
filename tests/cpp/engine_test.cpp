// Programs built by hand through the engine: storage, ports, boxes, threads, errors.
#include "engine/engine.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "program_builder.hpp"

namespace openbpu::engine {
namespace {

using isa::DType;
using isa::Op;
using isa::Region;
using testing::Extents;
using testing::ProgramBuilder;
using Bytes = std::vector<std::uint8_t>;
using ProgramPtr = std::shared_ptr<const container::Program>;

Bytes random_bytes(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  Bytes bytes(size);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

std::unique_ptr<Engine> engine(const ProgramPtr& program, const Options& options = {}) {
  auto result = Engine::create(program, options);
  EXPECT_TRUE(result.ok()) << result.status().where() << ": " << result.status().message();
  return std::move(result.value());
}

Bytes run(Engine& engine, const Bytes& input) {
  Bytes output(engine.outputs()[0].bytes, 0xEE);
  const void* inputs[] = {input.data()};
  void* outputs[] = {output.data()};
  const Status status = engine.run(inputs, outputs);
  EXPECT_TRUE(status.ok()) << status.where() << ": " << status.message();
  return output;
}

constexpr std::uint8_t kFlips[] = {0, 0x80};

Options with(const std::string& isa, int threads = 1, std::optional<std::uint8_t> flip = {}) {
  return {"", isa, threads, flip};
}

struct Stripe {
  std::uint16_t y, h, x, w, c, n;
};

constexpr Extents kIn{2, 19, 23, 12}, kOut{2, 10, 12, 40};
constexpr std::size_t kInBytes = 2 * 19 * 23 * 12, kOutBytes = 2 * 10 * 12 * 40;

// in -> 3x3 convolution of stride 2, in the given stripes -> out.
ProgramPtr conv_program(const std::vector<Stripe>& stripes) {
  ProgramBuilder b;
  std::mt19937 random(5);
  const std::uint8_t x = b.input(kIn), y = b.output(kOut);
  const std::uint16_t in = b.surface(Region::In, kIn, 0, x), out = b.surface(Region::Out, kOut, 0, y);
  const std::uint16_t a = b.surface(Region::Ddr, kIn, 0, 0, DType::I8, -7);
  const std::uint16_t r = b.surface(Region::Ddr, kOut, kInBytes);
  const std::uint16_t weights = b.conv_weights(40, 9, 12, random), table = b.rq8(40, random);
  isa::ConvAux geometry{};
  geometry.kernel_h = geometry.kernel_w = 3;
  geometry.stride_h = geometry.stride_w = 2;
  geometry.dilation_h = geometry.dilation_w = 1;
  geometry.pad_top = geometry.pad_left = 1;
  geometry.groups = 1;
  const std::uint32_t aux = b.aux(geometry);
  b.move(Op::COPY, a, in);
  for (const Stripe& s : stripes)
    b.emit(Op::CONV2D, [&](isa::Instruction& i) {
      i.in0 = a, i.out = r, i.weight = weights, i.table = table, i.aux = aux;
      i.lo = -128, i.hi = 127;
      i.box_y = s.y, i.box_h = s.h, i.box_x = s.x, i.box_w = s.w, i.box_c = s.c, i.box_n = s.n;
    });
  b.move(Op::COPY, out, r);
  return b.finish(kInBytes + kOutBytes);
}

const std::vector<Stripe> kWhole = {{0, 10, 0, 12, 0, 40}};

TEST(Engine, StripesGiveTheWhole) {
  const Bytes input = random_bytes(kInBytes, 1);
  const Bytes whole = run(*engine(conv_program(kWhole), with("scalar")), input);
  EXPECT_NE(whole, Bytes(whole.size(), whole[0]));
  const std::vector<std::vector<Stripe>> cuts = {
      {{0, 3, 0, 12, 0, 40}, {3, 7, 0, 12, 0, 40}},
      {{0, 10, 0, 5, 0, 40}, {0, 10, 5, 7, 0, 40}},
      {{0, 10, 0, 12, 0, 16}, {0, 10, 0, 12, 16, 24}},
      {{0, 4, 0, 12, 0, 32}, {4, 6, 0, 1, 0, 32}, {4, 6, 1, 11, 0, 32}, {0, 10, 0, 12, 32, 8}},
  };
  for (const auto& stripes : cuts)
    for (const std::string& isa : available_isas())
      EXPECT_EQ(run(*engine(conv_program(stripes), with(isa)), input), whole) << isa << " " << stripes.size();
}

TEST(Engine, ThreadsAndStorageChangeNothing) {
  const ProgramPtr program = conv_program(kWhole);
  const Bytes input = random_bytes(kInBytes, 2);
  const Bytes expected = run(*engine(program, with("scalar")), input);
  for (int threads : {0, 1, 2, 3, 5}) {
    Options options = with("scalar", threads);
    EXPECT_EQ(run(*engine(program, options), input), expected) << threads;
    options.flip = 0x80;
    EXPECT_EQ(run(*engine(program, options), input), expected) << threads << " flipped";
    for (const std::string& isa : available_isas())
      EXPECT_EQ(run(*engine(program, with(isa, threads)), input), expected) << isa << " " << threads;
  }
}

TEST(Engine, ManyEnginesOfOneProgramAtOnce) {
  const ProgramPtr program = conv_program(kWhole);
  std::vector<std::thread> callers;
  std::vector<int> wrong(4, 0);
  for (unsigned k = 0; k < 4; ++k)
    callers.emplace_back([&, k] {
      const Bytes input = random_bytes(kInBytes, k);
      const Bytes expected = run(*engine(program, with("scalar")), input);
      const auto mine = engine(program, with("auto", 2));
      for (int repeat = 0; repeat < 10; ++repeat)
        if (run(*mine, input) != expected) ++wrong[k];
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

// The byte that each way from IN to OUT makes of each value, on each storage.
TEST(Engine, MovesKeepValues) {
  constexpr Extents kAll{1, 1, 1, 256};
  const auto chain = [&](const std::vector<std::pair<Op, std::pair<Region, DType>>>& hops) {
    ProgramBuilder b;
    const std::uint8_t x = b.input(kAll);
    std::uint16_t at = b.surface(Region::In, kAll, 0, x);
    std::uint64_t base = 0;
    for (const auto& [op, place] : hops) {
      const bool last = place.first == Region::Out;
      const std::uint8_t port = last ? b.output(kAll, place.second) : std::uint8_t{0};
      const std::uint16_t next = b.surface(place.first, kAll, last ? 0 : base, port, place.second);
      b.move(op, next, at);
      at = next;
      base += 256;
    }
    return b.finish(2048, 2048);
  };
  Bytes values(256), moved(256);
  for (std::size_t k = 0; k < 256; ++k) {
    values[k] = static_cast<std::uint8_t>(k);
    moved[k] = static_cast<std::uint8_t>(k ^ 0x80);
  }
  const auto i8 = [](Region region) { return std::make_pair(region, DType::I8); };
  const auto u8 = [](Region region) { return std::make_pair(region, DType::U8); };
  const ProgramPtr plain[] = {
      chain({{Op::COPY, i8(Region::Out)}}),
      chain({{Op::COPY, i8(Region::Ddr)}, {Op::COPY, i8(Region::Out)}}),
      chain({{Op::LOAD, i8(Region::Sram)}, {Op::STORE, i8(Region::Out)}}),
      chain({{Op::COPY, i8(Region::Ddr)},
             {Op::LOAD, i8(Region::Sram)},
             {Op::STORE, i8(Region::Ddr)},
             {Op::COPY, i8(Region::Out)}}),
      chain({{Op::COPY, u8(Region::Ddr)}, {Op::COPY, i8(Region::Ddr)}, {Op::COPY, i8(Region::Out)}}),
  };
  const ProgramPtr shifted[] = {
      chain({{Op::COPY, u8(Region::Out)}}),
      chain({{Op::COPY, i8(Region::Ddr)}, {Op::COPY, u8(Region::Out)}}),
      chain({{Op::COPY, u8(Region::Ddr)}, {Op::COPY, u8(Region::Out)}}),
  };
  for (std::uint8_t flip : kFlips)
    for (const std::string& isa : available_isas()) {
      const Options options = with(isa, 1, flip);
      for (const ProgramPtr& program : plain) EXPECT_EQ(run(*engine(program, options), values), values) << isa;
      for (const ProgramPtr& program : shifted) EXPECT_EQ(run(*engine(program, options), values), moved) << isa;
    }
}

TEST(Engine, ConstantsAndFillsReachThePortsPlain) {
  constexpr Extents kHalf{1, 1, 1, 64};
  ProgramBuilder b;
  const Bytes item = random_bytes(64, 9);
  const std::uint16_t raw = b.constant(isa::Format::RAW, item, {64});
  const std::uint8_t y = b.output({1, 1, 1, 256});
  const auto out = [&](std::uint64_t base) { return b.surface(Region::Out, kHalf, base, y); };
  const std::uint16_t loaded = b.surface(Region::Sram, kHalf, 0), filled = b.surface(Region::Ddr, kHalf, 0);
  b.move(Op::COPY, out(0), b.surface(Region::Const, kHalf, 0));
  b.emit(Op::LDW, [&](isa::Instruction& i) { i.weight = raw, i.out = loaded; });
  b.move(Op::STORE, out(64), loaded);
  b.emit(Op::FILL, [&](isa::Instruction& i) { i.out = filled, i.C = -5; });
  b.move(Op::COPY, out(128), filled);
  // An operand in the file: in0 * 1 + constant * 1.
  const std::uint16_t sum = b.surface(Region::Ddr, kHalf, 64);
  b.emit(Op::ADD, [&](isa::Instruction& i) {
    i.in0 = filled, i.in1 = b.surface(Region::Const, kHalf, 0), i.out = sum;
    i.ma = i.mb = 1, i.lo = -128, i.hi = 127;
  });
  b.move(Op::COPY, out(192), sum);
  const ProgramPtr program = b.finish(128, 64);
  Bytes expected(256);
  for (std::size_t k = 0; k < 64; ++k) {
    expected[k] = expected[64 + k] = item[k];
    expected[128 + k] = 0xFB;
    expected[192 + k] = static_cast<std::uint8_t>(std::max(-128, static_cast<std::int8_t>(item[k]) - 5));
  }
  for (std::uint8_t flip : kFlips)
    for (const std::string& isa : available_isas()) {
      const auto e = engine(program, with(isa, 1, flip));
      Bytes output(256);
      void* outputs[] = {output.data()};
      ASSERT_TRUE(e->run({}, outputs).ok());
      EXPECT_EQ(output, expected) << isa << " " << int{flip};
    }
}

// float32 ports at odd addresses, and int8 ports of QUANTIZE and DEQUANTIZE.
TEST(Engine, PortConversions) {
  constexpr Extents kVector{1, 1, 1, 37};
  ProgramBuilder b;
  const std::uint8_t x = b.input(kVector, DType::F32), q = b.output(kVector), y = b.output(kVector, DType::F32);
  const std::uint16_t in = b.surface(Region::In, kVector, 0, x, DType::F32);
  const std::uint16_t held = b.surface(Region::Ddr, kVector, 0, 0, DType::I8, 3, 0.5);
  b.move(Op::QUANTIZE, held, in);
  b.move(Op::QUANTIZE, b.surface(Region::Out, kVector, 0, q, DType::I8, 3, 0.5), in);
  b.move(Op::DEQUANTIZE, b.surface(Region::Out, kVector, 0, y, DType::F32), held);
  const ProgramPtr program = b.finish(64);
  for (std::uint8_t flip : kFlips)
    for (const std::string& isa : available_isas()) {
      const auto e = engine(program, with(isa, 1, flip));
      Bytes input(37 * 4 + 1), real(37 * 4 + 3);
      Bytes quantised(37);
      for (std::size_t k = 0; k < 37; ++k) {
        const float value = static_cast<float>(k) * 0.5F - 9;
        std::memcpy(&input[1 + 4 * k], &value, 4);
      }
      const void* inputs[] = {&input[1]};
      void* outputs[] = {quantised.data(), &real[3]};
      ASSERT_TRUE(e->run(inputs, outputs).ok());
      for (std::size_t k = 0; k < 37; ++k) {
        float value = 0;
        std::memcpy(&value, &real[3 + 4 * k], 4);
        EXPECT_EQ(value, static_cast<float>(k) * 0.5F - 9) << isa;
        EXPECT_EQ(static_cast<std::int8_t>(quantised[k]), static_cast<int>(k) - 15) << isa;
      }
    }
}

TEST(Engine, TrapStopsTheRun) {
  ProgramBuilder b;
  const std::uint8_t y = b.output({1, 1, 1, 8});
  b.emit(Op::TRAP, [](isa::Instruction& i) { i.C = 42; });
  const std::uint16_t out = b.surface(Region::Out, {1, 1, 1, 8}, 0, y);
  b.move(Op::COPY, out, b.surface(Region::Ddr, {1, 1, 1, 8}));
  const auto e = engine(b.finish(8));
  Bytes output(8, 7);
  void* outputs[] = {output.data()};
  for (int repeat = 0; repeat < 2; ++repeat) {
    const Status status = e->run({}, outputs);
    EXPECT_EQ(status.code(), Code::Trap);
    EXPECT_NE(status.message().find("42"), std::string::npos) << status.message();
    EXPECT_EQ(output, Bytes(8, 7));
  }
}

TEST(Engine, RefusesWrongArguments) {
  const ProgramPtr program = conv_program(kWhole);
  const auto code = [&](const Options& options) { return Engine::create(program, options).status().code(); };
  EXPECT_EQ(Engine::create(nullptr).status().code(), Code::BadArgument);
  EXPECT_EQ(code({"other", "auto", 1, {}}), Code::BadArgument);
  EXPECT_EQ(code(with("sse9")), Code::Unsupported);
  EXPECT_EQ(code(with("auto", -1)), Code::BadArgument);
  EXPECT_EQ(code(with("auto", 100000)), Code::BadArgument);
  EXPECT_EQ(code(with("auto", 1, std::uint8_t{1})), Code::BadArgument);
  const auto e = engine(program);
  Bytes input(kInBytes), output(kOutBytes);
  const void* inputs[] = {input.data(), input.data()};
  void* outputs[] = {nullptr};
  EXPECT_EQ(e->run(inputs, outputs).code(), Code::BadArgument);
  EXPECT_EQ(e->run({inputs, 1}, outputs).code(), Code::BadArgument);
  inputs[0] = nullptr;
  outputs[0] = output.data();
  EXPECT_EQ(e->run({inputs, 1}, outputs).code(), Code::BadArgument);
}

TEST(Engine, SaysWhatItDoes) {
  const auto e = engine(conv_program({{0, 5, 0, 12, 0, 40}, {5, 5, 0, 12, 0, 40}}), {"net", "scalar", 1, {}});
  ASSERT_EQ(e->steps().size(), 4U);
  const StepInfo& conv = e->steps()[1];
  EXPECT_EQ(conv.op, Op::CONV2D);
  EXPECT_EQ(conv.instruction, 1U);
  EXPECT_STREQ(conv.row, "conv_scalar");
  EXPECT_STREQ(conv.reason, "");
  EXPECT_EQ(conv.macs, kOutBytes / 2 * 9 * 12);
  EXPECT_EQ(conv.bytes, kInBytes / 2 + kOutBytes / 2 + 48 * 9 * 12);
  const Bytes input = random_bytes(kInBytes, 3);
  Bytes output(kOutBytes);
  const void* inputs[] = {input.data()};
  void* outputs[] = {output.data()};
  ASSERT_TRUE(e->run_profiled(inputs, outputs).ok());
  EXPECT_GT(e->steps()[1].nanoseconds, 0U);
  EXPECT_EQ(output, run(*e, input));
}

TEST(Engine, ScalarIsTheLastIsa) {
  ASSERT_FALSE(available_isas().empty());
  EXPECT_EQ(available_isas().back(), "scalar");
  EXPECT_EQ(engine(conv_program(kWhole))->isa(), available_isas().front());
}

}  // namespace
}  // namespace openbpu::engine
