// The rules for LAYERNORM and RMSNORM, one breach each, planted in the golden program in place of its SOFTMAX.
#include "breach.hpp"

namespace openbpu::testing {
namespace {

using isa::Op;

// A constant of format NORM with `channels` entries: b 1000, g 3.
std::uint16_t norm_table(Editor& e, std::uint32_t channels) {
  container::Parts& parts = e.parts;
  parts.constants.resize((parts.constants.size() + 63) / 64 * 64);
  const std::size_t padded = (channels + 15) / 16 * 16;
  isa::Const item{};
  item.format = static_cast<std::uint8_t>(isa::Format::NORM);
  item.offset = parts.constants.size();
  item.size = padded * 6;
  item.dims[0] = channels;
  parts.constants.resize(item.offset + item.size, 0);
  for (std::uint32_t c = 0; c < channels; ++c) {
    const std::int32_t b = 1000;
    const std::int16_t g = 3;
    std::memcpy(&parts.constants[item.offset + 4 * c], &b, 4);
    std::memcpy(&parts.constants[item.offset + 4 * padded + 2 * c], &g, 2);
  }
  parts.consts.push_back(item);
  return static_cast<std::uint16_t>(parts.consts.size() - 1);
}

isa::Instruction& layernorm(Editor& e) {
  isa::Instruction& i = e.code(Op::SOFTMAX);
  i.op = static_cast<std::uint8_t>(Op::LAYERNORM);
  i.table = norm_table(e, e.parts.surfaces[i.out].c);
  i.sh = 18;
  i.aux = static_cast<std::uint32_t>(e.parts.aux.size());
  const isa::NormAux aux{5, 10, {}};
  e.parts.aux.resize(i.aux + sizeof aux);
  std::memcpy(&e.parts.aux[i.aux], &aux, sizeof aux);
  return i;
}

isa::NormAux& record(Editor& e) {
  layernorm(e);
  return e.aux<isa::NormAux>(Op::LAYERNORM);
}

std::int32_t* offsets(Editor& e) {
  layernorm(e);
  return e.table<std::int32_t>(Op::LAYERNORM);
}

// The gains stand behind the offsets of the padded channels.
std::int16_t* gains(Editor& e) {
  const std::uint32_t channels = e.parts.surfaces[layernorm(e).out].c;
  return e.table<std::int16_t>(Op::LAYERNORM) + (channels + 15) / 16 * 16 * 2;
}

TEST(Norm, IsAcceptedAndAsksForVersion2) {
  container::Parts parts = golden_parts();
  Editor editor{parts};
  layernorm(editor);
  const Bytes file = container::write(parts);
  const auto program = container::Program::read(file);
  ASSERT_TRUE(program.ok()) << program.status().where() << ": " << program.status().message();
  container::Header header;
  std::memcpy(&header, file.data(), sizeof header);
  EXPECT_EQ(header.min_minor, 2);
}

class NormRules : public ::testing::TestWithParam<Breach> {};

TEST_P(NormRules, IsRefused) { expect_refused(GetParam()); }

const Breach kBreaches[] = {
    {"box", [](Editor& e) { layernorm(e).box_n -= 1; }, "(LAYERNORM), field box_n", "all channels"},
    {"format", [](Editor& e) { layernorm(e).table = e.code(Op::LUT8).table; }, "(LAYERNORM), field table", "NORM"},
    {"entries",
     [](Editor& e) {
       isa::Instruction& i = layernorm(e);
       i.table = norm_table(e, e.parts.surfaces[i.out].c + 1);
     },
     "(LAYERNORM), field table", "one entry per channel"},
    {"sh_0", [](Editor& e) { layernorm(e).sh = 0; }, "(LAYERNORM), field sh", "1..30"},
    {"sh_31", [](Editor& e) { layernorm(e).sh = 31; }, "(LAYERNORM), field sh", "1..30"},
    {"eps_0", [](Editor& e) { record(e).eps = 0; }, "(LAYERNORM), field eps", "2^60"},
    {"eps", [](Editor& e) { record(e).eps = 1ULL << 60; }, "(LAYERNORM), field eps", "2^60"},
    {"F", [](Editor& e) { record(e).F = 15; }, "(LAYERNORM), field F", "0..14"},
    {"reserved", [](Editor& e) { record(e).reserved0[6] = 1; }, "(LAYERNORM), field aux", "reserved"},
    {"extents", [](Editor& e) { layernorm(e), e.in0(Op::LAYERNORM).w += 1; }, "(LAYERNORM)", "equal extents"},
    {"b", [](Editor& e) { offsets(e)[0] = 1 << 30; }, "channel 0", "2^30"},
    {"b_negative", [](Editor& e) { offsets(e)[0] = INT32_MIN; }, "channel 0", "2^30"},
    {"g", [](Editor& e) { gains(e)[0] = -32768; }, "channel 0", "lowest"},
};
INSTANTIATE_TEST_SUITE_P(Norm, NormRules, ::testing::ValuesIn(kBreaches), name_of<Breach>);

}  // namespace
}  // namespace openbpu::testing
