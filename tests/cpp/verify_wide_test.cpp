// The rules of the 16-bit forms: a program that keeps them all, then one breach each, refused and named.
#include <gtest/gtest.h>

#include "golden.hpp"
#include "isa/disassemble.hpp"
#include "isa/verify.hpp"
#include "program_builder.hpp"

namespace openbpu::testing {
namespace {

using isa::DType;
using isa::Op;
using isa::Region;
using isa::Rq16Entry;

constexpr Extents kShape{1, 4, 4, 16};
constexpr std::uint64_t kBytes = 512, kDdr = 32 * kBytes;

template <class T>
std::vector<std::uint8_t> bytes_of(const std::vector<T>& values) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(values.data());
  return {data, data + values.size() * sizeof(T)};
}

struct Wide {
  ProgramBuilder b;
  std::uint64_t next = kBytes;

  std::uint16_t surface(std::uint64_t base, Extents e = kShape, DType type = DType::I16) {
    return b.surface(Region::Ddr, e, base, 0, type);
  }
  std::uint16_t rq16(std::size_t entries, std::uint8_t sh = 40, std::int32_t m = 1 << 27) {
    std::vector<Rq16Entry> table(entries, Rq16Entry{0, m, sh, {}});
    return b.constant(isa::Format::RQ16, bytes_of(table), {static_cast<std::uint32_t>(entries)});
  }
  // An instruction from the input to a buffer of its own.
  template <class Change>
  void emit(Op op, Extents e, Change change) {
    b.emit(op, [&](isa::Instruction& i) {
      i.in0 = surface(0), i.out = surface(next, e), i.lo = -32768, i.hi = 32767;
      change(i);
    });
    next += kBytes;
  }
};

container::Parts wide_parts() {
  Wide w;
  ProgramBuilder& b = w.b;
  std::mt19937 random(3);
  const std::uint8_t x = b.input(kShape, DType::F32), y = b.output(kShape, DType::I16);
  b.emit(Op::QUANTIZE, [&](isa::Instruction& i) {
    i.in0 = b.surface(Region::In, kShape, 0, x, DType::F32);
    i.out = b.surface(Region::Ddr, kShape, 0, 0, DType::I16, 0, 0.5);
  });
  isa::ConvAux conv{};
  conv.kernel_h = conv.kernel_w = conv.stride_h = conv.stride_w = conv.dilation_h = conv.dilation_w = 1;
  conv.groups = 1;
  w.emit(Op::CONV2D, kShape, [&](isa::Instruction& i) {
    i.weight = b.conv_weights(16, 1, 16, random), i.table = w.rq16(16), i.aux = b.aux(conv);
  });
  w.emit(Op::ADD, kShape, [&](isa::Instruction& i) { i.in1 = w.surface(0), i.table = w.rq16(2); });
  w.emit(Op::MUL, kShape, [&](isa::Instruction& i) { i.in1 = w.surface(0), i.table = w.rq16(1); });
  w.emit(Op::RESCALE, kShape, [&](isa::Instruction& i) {
    i.table = w.rq16(1), i.out = w.surface(w.next, kShape, DType::I8), i.lo = -128, i.hi = 127;
  });
  const std::vector<std::int16_t> knots(513, 7);
  w.emit(Op::LUT16, kShape, [&](isa::Instruction& i) {
    i.table = b.constant(isa::Format::LUT16, bytes_of(knots), {513}), i.lo = i.hi = 0;
  });
  std::vector<std::uint16_t> exp(513, 9);
  exp[0] = 65535;
  w.emit(Op::SOFTMAX, kShape, [&](isa::Instruction& i) {
    i.table = b.constant(isa::Format::EXP16, bytes_of(exp), {513}), i.aux = b.aux(isa::SoftmaxAux{1u << 30});
  });
  std::vector<std::int64_t> norm(16, 1 << 20);
  norm.insert(norm.end(), 8, (std::int64_t{3} << 32) + 3);  // sixteen gains of 3
  w.emit(Op::LAYERNORM, kShape, [&](isa::Instruction& i) {
    i.table = b.constant(isa::Format::NORM16, bytes_of(norm), {16}), i.sh = 41;
    i.aux = b.aux(isa::NormAux{5, 24, {}});
  });
  isa::PoolAux pool{};
  pool.kernel_h = pool.kernel_w = 4;
  pool.stride_h = pool.stride_w = pool.dilation_h = pool.dilation_w = 1;
  w.emit(Op::AVGPOOL, {1, 1, 1, 16}, [&](isa::Instruction& i) { i.table = w.rq16(16), i.aux = b.aux(pool); });
  w.emit(Op::MAXPOOL, {1, 1, 1, 16}, [&](isa::Instruction& i) { i.aux = b.aux(pool), i.lo = i.hi = 0; });
  const std::vector<isa::Resize16Entry> taps(4, isa::Resize16Entry{0, 1, 1u << 19, 1u << 19});
  w.emit(Op::RESIZE_BILIN, kShape, [&](isa::Instruction& i) {
    const std::uint16_t id = b.constant(isa::Format::RESIZE16, bytes_of(taps), {4});
    i.aux = b.aux(isa::ResizeAux{id, id, 0}), i.lo = i.hi = 0;
  });
  w.emit(Op::MATMULD, {1, 1, 4, 4}, [&](isa::Instruction& i) {
    i.in0 = w.surface(0, {1, 1, 4, 16}), i.in1 = w.surface(0, {1, 1, 4, 16});
    isa::MatMulAux transposed{};
    transposed.transpose_b = 1;
    i.aux = b.aux(transposed), i.table = w.rq16(1);
  });
  b.emit(Op::MATMUL, [&](isa::Instruction& i) {
    i.in0 = w.surface(0, {1, 1, 1, 4096}), i.out = w.surface(24 * kBytes, {1, 1, 1, 16});
    i.weight = b.conv_weights(16, 1, 4096, random), i.table = w.rq16(16), i.lo = -32768, i.hi = 32767;
  });
  w.emit(Op::FILL, kShape, [&](isa::Instruction& i) { i.in0 = isa::kNoId, i.C = -3000, i.lo = i.hi = 0; });
  b.move(Op::COPY, b.surface(Region::Out, kShape, 0, y, DType::I16), w.surface(0));
  return parts_of(*b.finish(kDdr));
}

struct WideBreach {
  const char* name;
  void (*plant)(Editor&);
  const char* where;
  const char* rule;
};

class WideForms : public ::testing::TestWithParam<WideBreach> {};

TEST_P(WideForms, AreRefused) {
  container::Parts parts = wide_parts();
  Editor editor{parts};
  GetParam().plant(editor);
  const Status status = container::Program::read(container::write(parts)).status();
  ASSERT_FALSE(status.ok()) << "accepted";
  EXPECT_NE(status.where().find(GetParam().where), std::string::npos) << status.where() << ": " << status.message();
  EXPECT_NE(status.message().find(GetParam().rule), std::string::npos) << status.where() << ": " << status.message();
}

void set(std::uint8_t& field, DType type) { field = static_cast<std::uint8_t>(type); }

// Half the strides with it.
void make_int8(isa::Surface& s) {
  set(s.dtype, DType::I8);
  s.stride_c /= 2, s.stride_w /= 2, s.stride_h /= 2, s.stride_n /= 2;
}

const WideBreach kBreaches[] = {
    {"operand_int8", [](Editor& e) { make_int8(e.in0(Op::CONV2D)); }, "(CONV2D), field in0", "int16"},
    {"second_int8", [](Editor& e) { make_int8(e.in1(Op::ADD)); }, "(ADD), field in1", "int16"},
    {"result_uint8",
     [](Editor& e) {
       e.code(Op::MUL).lo = 0, e.code(Op::MUL).hi = 127;
       make_int8(e.out(Op::MUL));
       set(e.out(Op::MUL).dtype, DType::U8);
     },
     "(MUL), field out", "int8"},
    {"zero_point", [](Editor& e) { e.in0(Op::CONV2D).zero_point = 1; }, "(CONV2D), field in0", "zero point 0"},
    {"result_zero_point", [](Editor& e) { e.out(Op::CONV2D).zero_point = 1; }, "(CONV2D), field out", "zero point 0"},
    {"quantize_zero_point", [](Editor& e) { e.out(Op::QUANTIZE).zero_point = 1; }, "field out", "zero point 0"},
    {"L", [](Editor& e) { e.code(Op::CONV2D).L = 1; }, "(CONV2D), field L", "zero"},
    {"ma", [](Editor& e) { e.code(Op::ADD).ma = 1; }, "(ADD), field ma", "zero"},
    {"C", [](Editor& e) { e.code(Op::MUL).C = 1; }, "(MUL), field C", "zero"},
    {"sh", [](Editor& e) { e.code(Op::MUL).sh = 1; }, "(MUL), field sh", "zero"},
    {"hi_of_int8", [](Editor& e) { e.code(Op::RESCALE).hi = 128; }, "(RESCALE), field hi", "int8"},
    {"lo_above_hi", [](Editor& e) { e.code(Op::CONV2D).hi = -32768, e.code(Op::CONV2D).lo = 0; }, "field lo", "hi"},
    {"table_none", [](Editor& e) { e.code(Op::ADD).table = isa::kNoId; }, "(ADD), field table", "id of the file"},
    {"table_short", [](Editor& e) { e.code(Op::ADD).table = e.code(Op::MUL).table; }, "(ADD), field table", "2"},
    {"table_of_conv", [](Editor& e) { e.code(Op::CONV2D).table = e.code(Op::MUL).table; }, "field table", "16"},
    {"sum_shifts", [](Editor& e) { e.table<Rq16Entry>(Op::ADD)[1].sh = 39; }, "(ADD), field table", "same sh"},
    {"sum_shift_14",
     [](Editor& e) {
       auto* t = e.table<Rq16Entry>(Op::ADD);
       t[0].sh = t[1].sh = 14;
     },
     "(ADD), field table", "15..45"},
    {"sum_bias", [](Editor& e) { e.table<Rq16Entry>(Op::ADD)[1].bias = 1; }, "(ADD), field table", "bias 0"},
    {"sum_wide", [](Editor& e) { e.table<Rq16Entry>(Op::ADD)[0].m = (1 << 29) - (1 << 27); }, "table", "2^29"},
    {"weights_proof", [](Editor& e) { e.table<Rq16Entry>(Op::MATMUL)[3].m = 2147483647; }, "(MATMUL), entry 3", "2^63"},
    {"product_proof", [](Editor& e) { e.table<Rq16Entry>(Op::MATMULD)[0].m = 2147483647; }, "(MATMULD), entry 0",
     "2^63"},
    {"lut8", [](Editor& e) { e.code(Op::LUT16).op = static_cast<std::uint8_t>(Op::LUT8); }, "(LUT8), field in0",
     "int8"},
    {"lut16_to_int8", [](Editor& e) { make_int8(e.out(Op::LUT16)); }, "(LUT16), field out", "type of in0"},
    {"lut16_of_int8", [](Editor& e) { make_int8(e.in0(Op::LUT16)), make_int8(e.out(Op::LUT16)); }, "(LUT16)", "int16"},
    {"lut16_format", [](Editor& e) { e.code(Op::LUT16).table = e.code(Op::SOFTMAX).table; }, "(LUT16)", "LUT16"},
    {"knots_512",
     [](Editor& e) {
       isa::Const& c = e.constant(e.code(Op::LUT16).table);
       c.dims[0] = 512, c.size = 1024;
     },
     "field dims", "2^k + 1"},
    {"exp_first", [](Editor& e) { e.table<std::uint16_t>(Op::SOFTMAX)[0] = 1; }, "constant", "65535"},
    {"softmax_format", [](Editor& e) { e.code(Op::SOFTMAX).table = e.code(Op::LUT16).table; }, "(SOFTMAX)", "EXP16"},
    {"norm_format", [](Editor& e) { e.code(Op::LAYERNORM).table = e.code(Op::LUT16).table; }, "(LAYERNORM)", "NORM16"},
    {"norm_sh_0", [](Editor& e) { e.code(Op::LAYERNORM).sh = 0; }, "(LAYERNORM), field sh", "1..46"},
    {"norm_sh_47", [](Editor& e) { e.code(Op::LAYERNORM).sh = 47; }, "(LAYERNORM), field sh", "1..46"},
    {"norm_F", [](Editor& e) { e.aux<isa::NormAux>(Op::LAYERNORM).F = 25; }, "(LAYERNORM), field F", "0..24"},
    {"norm_F_of_long_rows",
     [](Editor& e) {
       e.in0(Op::LAYERNORM) = e.in0(Op::MATMUL), e.out(Op::LAYERNORM) = e.in0(Op::MATMUL);
       e.out(Op::LAYERNORM).base = 16 * kBytes, e.out(Op::LAYERNORM).n = 1;
       isa::Instruction& i = e.code(Op::LAYERNORM);
       i.box_h = i.box_w = 1, i.box_n = 4096;
       isa::Const& table = e.constant(i.table);
       table.dims[0] = 4096, table.size = 4096 * 12;
       table.offset = e.parts.constants.size();
       e.parts.constants.resize(e.parts.constants.size() + table.size);
     },
     "(LAYERNORM), field F", "2^58"},
    {"norm_b", [](Editor& e) { e.table<std::int64_t>(Op::LAYERNORM)[2] = INT64_MIN; }, "channel 2", "2^61"},
    {"norm_g", [](Editor& e) { e.table<std::int32_t>(Op::LAYERNORM)[33] = INT32_MIN; }, "channel 1", "lowest"},
    {"mean_format", [](Editor& e) { e.code(Op::AVGPOOL).table = e.code(Op::LUT16).table; }, "(AVGPOOL)", "RQ16"},
    {"maximum_to_int8", [](Editor& e) { make_int8(e.out(Op::MAXPOOL)); }, "(MAXPOOL), field out", "type of in0"},
    {"resize_weights",
     [](Editor& e) {
       auto& aux = e.aux<isa::ResizeAux>(Op::RESIZE_BILIN);
       std::uint16_t id = aux.rows;
       reinterpret_cast<isa::Resize16Entry*>(e.bytes(e.constant(id)))[2].w0 += 1;
     },
     "constant", "1048576"},
    {"fill", [](Editor& e) { e.code(Op::FILL).C = 32768; }, "(FILL), field C", "int16"},
};
INSTANTIATE_TEST_SUITE_P(Rules, WideForms, ::testing::ValuesIn(kBreaches), name_of<WideBreach>);

TEST(WideProgram, NeedsContainer14AndShowsItsTables) {
  const container::Parts parts = wide_parts();
  const Bytes file = container::write(parts);
  container::Header header;
  std::memcpy(&header, file.data(), sizeof header);
  EXPECT_EQ(header.min_minor, 4);  // of its norm; without one 2
  const auto program = container::Program::read(file);
  ASSERT_TRUE(program.ok());
  const std::string text = isa::disassemble(program.value()->entries()[0], program.value()->sections());
  EXPECT_NE(text.find("ADD            DDR"), std::string::npos) << text;
  EXPECT_NE(text.find(":RQ16[2]"), std::string::npos) << text;
  EXPECT_NE(text.find(":LUT16[513]"), std::string::npos) << text;
  EXPECT_NE(text.find(":NORM16[16]"), std::string::npos) << text;
}

}  // namespace
}  // namespace openbpu::testing
