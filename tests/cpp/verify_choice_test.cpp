// The rules for instructions that choose, compare, reduce and look up: one breach each, refused and named.
#include "breach.hpp"
#include "program_builder.hpp"

namespace openbpu::testing {
namespace {

using isa::Format;
using isa::Op;
using isa::Region;

// One of each instruction on surfaces of the arena: a and b whole, c of one pixel, indices, and results.
container::Parts base() {
  ProgramBuilder p;
  const auto at = [&](Extents e, std::uint64_t base, isa::DType type = isa::DType::I8) {
    return p.surface(Region::Ddr, e, base, 0, type, 0, 0.5);
  };
  const std::uint16_t a = at({2, 3, 4, 5}, 0), b = at({2, 3, 4, 5}, 128), c = at({1, 1, 1, 5}, 256);
  const std::uint16_t out = at({2, 3, 4, 5}, 320), row = at({2, 3, 4, 1}, 448),
                      indices = at({2, 3, 4, 1}, 512, isa::DType::I64);
  const std::uint16_t wanted = at({1, 1, 6, 1}, 704, isa::DType::I64), found = at({2, 3, 6, 5}, 768);
  const std::uint16_t ranks = p.constant(Format::RANKS, std::vector<std::uint8_t>(1024), {512});
  const std::uint16_t ratio = p.constant(Format::RATIO, std::vector<std::uint8_t>(2048), {256});
  const auto emit = [&](Op op, std::uint16_t to, std::uint16_t first, std::uint16_t second, auto change) {
    p.emit(op, [&](isa::Instruction& i) {
      i.out = to, i.in0 = first, i.in1 = second;
      i.lo = -128, i.hi = 127;
      change(i);
    });
  };
  const auto nothing = [](isa::Instruction&) {};
  const auto unclamped = [](isa::Instruction& i) { i.lo = i.hi = 0; };
  emit(Op::MAX, out, a, c, nothing);
  emit(Op::MIN, out, a, b, nothing);
  emit(Op::CMP, out, a, c, [&](isa::Instruction& i) {
    unclamped(i);
    i.table = ranks;
    i.aux = p.aux(isa::CmpAux{3, {}});
  });
  emit(Op::SELECT, out, c, b, [&](isa::Instruction& i) { unclamped(i), i.in2 = a; });
  emit(Op::DIV, out, a, b, [&](isa::Instruction& i) { i.table = ratio, i.sh = 20; });
  emit(Op::REDUCE, row, a, isa::kNoId, [&](isa::Instruction& i) { i.aux = p.aux(isa::ReduceAux{1, {}}); });
  emit(Op::REDUCE, row, a, isa::kNoId, [&](isa::Instruction& i) {
    i.C = 20000, i.sh = 18;
    i.aux = p.aux(isa::ReduceAux{5, {}});
  });
  emit(Op::ARGMAX, indices, a, isa::kNoId, unclamped);
  emit(Op::GATHER, found, a, wanted, unclamped);
  const std::uint16_t grid = at({2, 5, 6, 2}, 1024, isa::DType::F32), sampled = at({2, 5, 6, 5}, 2048);
  emit(Op::GRIDSAMPLE, sampled, a, grid, [&](isa::Instruction& i) {
    unclamped(i);
    i.aux = p.aux(isa::GridSampleAux{1, 1, 1, {}});
  });
  return parts_of(*p.finish(4096));
}

class Choices : public ::testing::TestWithParam<Breach> {};

TEST_P(Choices, AreRefused) { expect_refused(GetParam(), base()); }

void set(isa::Surface& surface, isa::DType type) {
  surface.dtype = static_cast<std::uint8_t>(type);
  surface.layout = static_cast<std::uint8_t>(isa::Layout::Strided);
}

const Breach kChoices[] = {
    {"max_extents", [](Editor& e) { e.in1(Op::MAX).w = 2; }, "(MAX), field in1", "those of out or 1"},
    {"max_scale", [](Editor& e) { e.in1(Op::MAX).scale = 0.25; }, "(MAX)", "equal scale"},
    {"min_zero_point", [](Editor& e) { e.out(Op::MIN).zero_point = 1; }, "(MIN)", "equal scale"},
    {"max_shift", [](Editor& e) { e.code(Op::MAX).sh = 1; }, "(MAX), field sh", "zero"},
    {"max_clamp", [](Editor& e) { e.code(Op::MAX).hi = 128; }, "(MAX), field hi", "int8"},
    {"cmp_relation", [](Editor& e) { e.aux<isa::CmpAux>(Op::CMP).relation = 6; }, "field relation", "0..5"},
    {"cmp_table", [](Editor& e) { e.code(Op::CMP).table = e.code(Op::DIV).table; }, "(CMP), field table", "RANKS"},
    {"cmp_clamp", [](Editor& e) { e.code(Op::CMP).lo = -1; }, "(CMP), field lo", "zero"},
    {"select_condition", [](Editor& e) { e.surface(e.code(Op::SELECT).in2).c = 3; }, "field in2", "those of out or 1"},
    {"select_condition_type", [](Editor& e) { set(e.surface(e.code(Op::SELECT).in2), isa::DType::U8); }, "field in2",
     "int8"},
    {"select_condition_missing", [](Editor& e) { e.code(Op::SELECT).in2 = 9999; }, "field in2", "id of the file"},
    {"select_condition_overlap", [](Editor& e) { e.surface(e.code(Op::SELECT).in2).base = 321; }, "field in2", "share"},
    {"select_scale", [](Editor& e) { e.in0(Op::SELECT).scale = 1; }, "(SELECT)", "equal scale"},
    {"div_table", [](Editor& e) { e.code(Op::DIV).table = e.code(Op::CMP).table; }, "(DIV), field table", "RATIO"},
    {"div_shift", [](Editor& e) { e.code(Op::DIV).sh = 47; }, "(DIV), field sh", "1..46"},
    {"ratio_large", [](Editor& e) { e.table<std::int64_t>(Op::DIV)[3] = (std::int64_t{1} << 54) + 1; }, "constant",
     "2^54"},
    {"ratio_lowest", [](Editor& e) { e.table<std::int64_t>(Op::DIV)[3] = std::numeric_limits<std::int64_t>::min(); },
     "constant", "2^54"},
    {"reduce_kind", [](Editor& e) { e.aux<isa::ReduceAux>(Op::REDUCE).kind = 6; }, "field kind", "0..5"},
    {"reduce_reserved", [](Editor& e) { e.aux<isa::ReduceAux>(Op::REDUCE).reserved0[2] = 1; }, "aux", "reserved"},
    {"reduce_channels", [](Editor& e) { e.in0(Op::REDUCE).w = 3; }, "(REDUCE)", "equal n, h and w"},
    {"reduce_multiplier", [](Editor& e) { e.code(Op::REDUCE, 1).C = 16383; }, "(REDUCE), field C", "16384"},
    {"reduce_shift", [](Editor& e) { e.code(Op::REDUCE, 1).sh = 0; }, "(REDUCE), field sh", "1..46"},
    {"minimum_multiplier", [](Editor& e) { e.code(Op::REDUCE).C = 1; }, "(REDUCE), field C", "zero"},
    {"minimum_scale", [](Editor& e) { e.out(Op::REDUCE).scale = 1; }, "(REDUCE)", "equal scale"},
    {"argmax_type", [](Editor& e) { set(e.out(Op::ARGMAX), isa::DType::I32); }, "(ARGMAX), field out", "int64"},
    {"argmax_extents", [](Editor& e) { e.in0(Op::ARGMAX).h = 2; }, "(ARGMAX)", "equal n, h and w"},
    {"gather_rows", [](Editor& e) { e.in0(Op::GATHER).h = 2; }, "(GATHER)", "equal n, h and c"},
    {"gather_type", [](Editor& e) { set(e.in1(Op::GATHER), isa::DType::F32); }, "(GATHER), field in1", "int32"},
    {"gather_count", [](Editor& e) { e.in1(Op::GATHER).w = 5; }, "(GATHER), field in1", "out.w"},
    {"grid_type", [](Editor& e) { set(e.in1(Op::GRIDSAMPLE), isa::DType::I32); }, "(GRIDSAMPLE), field in1", "float32"},
    {"grid_extents", [](Editor& e) { e.in1(Op::GRIDSAMPLE).w = 5; }, "(GRIDSAMPLE), field in1", "extents"},
    {"grid_mode", [](Editor& e) { e.aux<isa::GridSampleAux>(Op::GRIDSAMPLE).mode = 2; }, "field mode", "0 or 1"},
    {"grid_padding", [](Editor& e) { e.aux<isa::GridSampleAux>(Op::GRIDSAMPLE).padding = 2; }, "field padding",
     "0 or 1"},
    {"grid_corners", [](Editor& e) { e.aux<isa::GridSampleAux>(Op::GRIDSAMPLE).align_corners = 2; },
     "field align_corners", "0 or 1"},
    {"grid_scale", [](Editor& e) { e.out(Op::GRIDSAMPLE).scale = 2; }, "(GRIDSAMPLE)", "equal scale"},
    {"gather_scale", [](Editor& e) { e.out(Op::GATHER).scale = 2; }, "(GATHER)", "equal scale"},
};
INSTANTIATE_TEST_SUITE_P(Choice, Choices, ::testing::ValuesIn(kChoices), name_of<Breach>);

TEST(ChoicePrograms, NeedContainer12) {
  const std::vector<std::uint8_t> file = container::write(base());
  container::Header header;
  std::memcpy(&header, file.data(), sizeof header);
  EXPECT_EQ(header.min_minor, 2);
}

}  // namespace
}  // namespace openbpu::testing
