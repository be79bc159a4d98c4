// The rules for instructions that read camera images: one breach each, refused and named.
#include "breach.hpp"
#include "program_builder.hpp"

namespace openbpu::testing {
namespace {

using isa::Format;
using isa::Op;
using isa::Region;

void set(isa::Surface& surface, isa::DType type) {
  surface.dtype = static_cast<std::uint8_t>(type);
  surface.layout = static_cast<std::uint8_t>(isa::Layout::Strided);
}

// A conversion of luma and half-size chroma to three channels.
container::Parts base() {
  ProgramBuilder p;
  const auto at = [&](Extents e, std::uint64_t base, isa::DType type = isa::DType::I8) {
    return p.surface(Region::Ddr, e, base, 0, type);
  };
  const std::uint16_t luma = at({2, 4, 6, 1}, 0, isa::DType::U8), chroma = at({2, 2, 3, 2}, 64, isa::DType::U8);
  std::vector<std::uint8_t> table(3 * sizeof(isa::CscEntry));
  for (int c = 0; c < 3; ++c) {
    const isa::CscEntry entry{100, {1, 2, -3}, -128, 127, 0};
    std::memcpy(table.data() + c * sizeof entry, &entry, sizeof entry);
  }
  const std::uint16_t colours = p.constant(Format::CSC, table, {3});
  p.emit(Op::CSC, [&](isa::Instruction& i) {
    i.out = at({2, 4, 6, 3}, 128), i.in0 = luma, i.in1 = chroma;
    i.table = colours;
    i.sh = 14;
  });
  p.emit(Op::ROIRESIZE, [&](isa::Instruction& i) {
    i.out = at({2, 5, 7, 1}, 512), i.in0 = luma, i.in1 = at({2, 1, 1, 4}, 1024, isa::DType::I32);
    i.aux = p.aux(isa::RoiResizeAux{0, {}});
  });
  return parts_of(*p.finish(4096));
}

class Cameras : public ::testing::TestWithParam<Breach> {};

TEST_P(Cameras, AreRefused) { expect_refused(GetParam(), base()); }

const Breach kCameras[] = {
    {"luma_type", [](Editor& e) { set(e.in0(Op::CSC), isa::DType::Bool); }, "(CSC), field in0", "int8 or uint8"},
    {"luma_channels", [](Editor& e) { e.in0(Op::CSC).c = 2; }, "(CSC), field in0", "channels"},
    {"luma_rows", [](Editor& e) { e.in0(Op::CSC).h = 3; }, "(CSC), field in0", "extents must be those of out"},
    {"chroma_channels", [](Editor& e) { e.in1(Op::CSC).c = 1; }, "(CSC), field in1", "channels"},
    {"chroma_rows", [](Editor& e) { e.in1(Op::CSC).h = 4; }, "(CSC), field in1", "or half of them"},
    {"chroma_images", [](Editor& e) { e.in1(Op::CSC).n = 1; }, "(CSC), field in1", "n of out"},
    {"out_type", [](Editor& e) { set(e.out(Op::CSC), isa::DType::U8); }, "(CSC), field out", "int8"},
    {"shift", [](Editor& e) { e.code(Op::CSC).sh = 23; }, "(CSC), field sh", "0..22"},
    {"clamp_of_the_word", [](Editor& e) { e.code(Op::CSC).hi = 1; }, "(CSC), field hi", "zero"},
    {"multiplier", [](Editor& e) { e.table<isa::CscEntry>(Op::CSC)[1].m[2] = -32768; }, "channel 1", "32767"},
    {"constant", [](Editor& e) { e.table<isa::CscEntry>(Op::CSC)[2].b = 1 << 30; }, "channel 2", "below 2^30"},
    {"clamps", [](Editor& e) { e.table<isa::CscEntry>(Op::CSC)[0].lo = 128; }, "channel 0", "at most hi"},
    {"clamp_type", [](Editor& e) { e.table<isa::CscEntry>(Op::CSC)[0].hi = 128; }, "(CSC), field table", "int8"},
    {"region_type", [](Editor& e) { set(e.in1(Op::ROIRESIZE), isa::DType::F32); }, "(ROIRESIZE), field in1", "int32"},
    {"region_extents", [](Editor& e) { e.in1(Op::ROIRESIZE).c = 3; }, "(ROIRESIZE), field in1", "extents"},
    {"region_channels", [](Editor& e) { e.in0(Op::ROIRESIZE).c = 2; }, "(ROIRESIZE), field in0", "channels"},
    {"region_shift", [](Editor& e) { e.aux<isa::RoiResizeAux>(Op::ROIRESIZE).shift = 2; }, "field shift", "0 or 1"},
    {"reserved", [](Editor& e) { e.table<isa::CscEntry>(Op::CSC)[0].reserved0 = 1; }, "channel 0", "reserved"},
};
INSTANTIATE_TEST_SUITE_P(Camera, Cameras, ::testing::ValuesIn(kCameras), name_of<Breach>);

TEST(CameraPrograms, NeedContainer13) {
  const std::vector<std::uint8_t> file = container::write(base());
  container::Header header;
  std::memcpy(&header, file.data(), sizeof header);
  EXPECT_EQ(header.min_minor, 3);
}

}  // namespace
}  // namespace openbpu::testing
