// The rules for entries, ports, surfaces and constants: one breach each, refused and named.
#include "breach.hpp"

namespace openbpu::testing {
namespace {

using isa::Op;

class Records : public ::testing::TestWithParam<Breach> {};

TEST_P(Records, AreRefused) { expect_refused(GetParam()); }

// ---- entries

// A second entry that holds END alone.
isa::Entry& second_entry(Editor& e) {
  isa::Entry entry = e.parts.entries[0];
  entry.first_instruction = static_cast<std::uint32_t>(e.parts.code.size());
  entry.instructions = 1;
  entry.first_port = static_cast<std::uint32_t>(e.parts.ports.size());
  entry.inputs = entry.outputs = 0;
  e.parts.code.push_back(isa::Instruction(e.code(Op::END)));
  e.parts.entries.push_back(entry);
  return e.parts.entries.back();
}

const Breach kEntries[] = {
    {"none", [](Editor& e) { e.parts.entries.clear(); }, "section ENTRY", "at least one"},
    {"name_outside", [](Editor& e) { e.parts.entries[0].name = 1U << 20; }, "entry 0, field name", "section STR"},
    {"name_twice", [](Editor& e) { second_entry(e); }, "entry 1, field name", "must differ"},
    {"name_no_utf8", [](Editor& e) { e.parts.strings[e.parts.entries[0].name] = 0xFF; }, "field name", "UTF-8"},
    {"strings_open", [](Editor& e) { e.parts.strings.push_back('x'); }, "section STR", "zero byte"},
    {"strings_empty", [](Editor& e) { e.parts.strings.clear(); }, "section STR", "zero byte"},
    {"code_gap", [](Editor& e) { ++e.parts.entries[0].first_instruction; }, "first_instruction", "must follow"},
    {"code_shared", [](Editor& e) { second_entry(e).first_instruction = 0; }, "first_instruction", "must follow"},
    {"code_beyond", [](Editor& e) { ++e.parts.entries[0].instructions; }, "field instructions", "range"},
    {"code_wraps", [](Editor& e) { e.parts.entries[0].instructions = ~0U; }, "field instructions", "range"},
    {"code_empty", [](Editor& e) { e.parts.entries[0].instructions = 0; }, "field instructions", "range"},
    {"code_left", [](Editor& e) { second_entry(e), e.parts.entries.pop_back(); }, "section CODE", "belong"},
    {"ports_gap", [](Editor& e) { e.parts.entries[0].first_port = 1; }, "field first_port", "must follow"},
    {"ports_beyond", [](Editor& e) { ++e.parts.entries[0].outputs; }, "field outputs", "range"},
    {"ports_wrap", [](Editor& e) { e.parts.entries[0].inputs = ~0U; }, "field inputs", "256"},
    {"ports_many", [](Editor& e) { e.parts.entries[0].outputs = 257; }, "field outputs", "256"},
    {"ports_left", [](Editor& e) { e.parts.ports.push_back(isa::Port(e.parts.ports[0])); }, "section PORT", "belong"},
    {"reserved", [](Editor& e) { e.parts.entries[0].reserved0[1] = 1; }, "entry 0", "reserved"},
    {"ddr_limit", [](Editor& e) { e.parts.entries[0].ddr_bytes = 1ULL << 60; }, "field ddr_bytes", "at most"},
    {"sram_limit", [](Editor& e) { e.parts.entries[0].sram_bytes = 1ULL << 60; }, "field sram_bytes", "at most"},
};
INSTANTIATE_TEST_SUITE_P(Entry, Records, ::testing::ValuesIn(kEntries), name_of<Breach>);

// ---- ports: 0 and 1 are inputs, 2 to 5 outputs

const double kNan = std::numeric_limits<double>::quiet_NaN();

const Breach kPorts[] = {
    {"name_outside", [](Editor& e) { e.parts.ports[0].name = 1U << 20; }, "port 0, field name", "section STR"},
    {"name_twice", [](Editor& e) { e.parts.ports[3].name = e.parts.ports[2].name; }, "port 3, field name", "differ"},
    {"direction", [](Editor& e) { e.parts.ports[1].direction = 1; }, "port 1, field direction", "inputs"},
    {"direction_2", [](Editor& e) { e.parts.ports[2].direction = 2; }, "port 2, field direction", "inputs"},
    {"dtype_0", [](Editor& e) { e.parts.ports[1].dtype = 0; }, "port 1, field dtype", "1..12"},
    {"dtype_13", [](Editor& e) { e.parts.ports[1].dtype = 13; }, "port 1, field dtype", "1..12"},
    {"rank", [](Editor& e) { e.parts.ports[1].rank = 9; }, "port 1, field rank", "0..8"},
    {"extent_0", [](Editor& e) { e.parts.ports[1].shape[0] = 0; }, "port 1, field shape", "positive"},
    {"extent_unused", [](Editor& e) { e.parts.ports[1].shape[4] = 1; }, "port 1, field shape", "positive"},
    {"bytes", [](Editor& e) { ++e.parts.ports[1].bytes; }, "port 1, field bytes", "follow from"},
    {"bytes_limit", [](Editor& e) { e.parts.ports[1].shape[0] = 1U << 31; }, "port 1, field shape", "allows"},
    {"bytes_wrap",  // 2^64 bytes
     [](Editor& e) {
       isa::Port& port = e.parts.ports[1];
       port.rank = 8;
       for (std::uint32_t& extent : port.shape) extent = 256;
       port.bytes = 0;
     },
     "port 1, field shape", "allows"},
    {"scale_nan", [](Editor& e) { e.parts.ports[1].scale = kNan; }, "port 1, field scale", "finite"},
    {"scale_negative", [](Editor& e) { e.parts.ports[1].scale = -1; }, "port 1, field scale", "finite"},
    {"zero_point_i8", [](Editor& e) { e.parts.ports[2].zero_point = 128; }, "port 2, field zero_point", "range"},
    {"zero_point_u8", [](Editor& e) { e.parts.ports[1].zero_point = -1; }, "port 1, field zero_point", "range"},
    {"zero_point_f32", [](Editor& e) { e.parts.ports[0].zero_point = 1; }, "port 0, field zero_point", "range"},
    {"flags", [](Editor& e) { e.parts.ports[1].flags = 8; }, "port 1, field flags", "rank 4"},
    {"reserved1", [](Editor& e) { e.parts.ports[1].reserved1[2] = 1; }, "port 1", "reserved"},
    {"reserved2", [](Editor& e) { e.parts.ports[1].reserved2[2] = 1; }, "port 1", "reserved"},
};
INSTANTIATE_TEST_SUITE_P(Port, Records, ::testing::ValuesIn(kPorts), name_of<Breach>);

// ---- surfaces: even one that nothing uses is verified

isa::Surface& spare(Editor& e) {
  std::uint16_t id = e.code(Op::CONV2D).in0;
  return e.surface(id);
}

const Breach kSurfaces[] = {
    {"region", [](Editor& e) { spare(e).region = 6; }, "field region", "0..5"},
    {"dtype_0", [](Editor& e) { spare(e).dtype = 0; }, "field dtype", "1..7"},
    {"dtype_8", [](Editor& e) { spare(e).dtype = 8; }, "field dtype", "1..7"},
    {"layout", [](Editor& e) { spare(e).layout = 2; }, "field layout", "0 or 1"},
    {"nhwc_stride", [](Editor& e) { spare(e).stride_c = 2; }, "field stride_c", "element size"},
    {"extent_0", [](Editor& e) { spare(e).h = 0; }, "section SURF, surface", "1..65535"},
    {"extent_65536", [](Editor& e) { spare(e).n = 65536; }, "section SURF, surface", "1..65535"},
    {"elements",
     [](Editor& e) {
       isa::Surface& s = spare(e);
       s.n = s.h = s.w = 60000;
     },
     "section SURF, surface", "elements"},
    {"stride_unaligned", [](Editor& e) { e.in0(Op::QUANTIZE).stride_w = 6; }, "section SURF", "multiples"},
    {"base_unaligned", [](Editor& e) { e.in0(Op::QUANTIZE).base = 2; }, "field base", "multiple"},
    {"base_huge", [](Editor& e) { spare(e).base = 1ULL << 48; }, "field base", "2^48"},
    {"roll_h", [](Editor& e) { spare(e).roll_h = 4; }, "field roll_h", "must be 0 outside SRAM"},
    {"rolling_rows_overlap",
     [](Editor& e) {
       isa::Surface& s = spare(e);
       s.region = static_cast<std::uint8_t>(isa::Region::Sram), s.roll_h = 4, s.stride_h = s.stride_w;
     },
     "field stride_h", "must not overlap"},
    {"port", [](Editor& e) { spare(e).port = 1; }, "field port", "outside IN and OUT"},
    {"scale_nan", [](Editor& e) { spare(e).scale = kNan; }, "field scale", "finite"},
    {"scale_negative", [](Editor& e) { spare(e).scale = -1; }, "field scale", "finite"},
    {"zero_point", [](Editor& e) { spare(e).zero_point = -129; }, "field zero_point", "range"},
    {"home", [](Editor& e) { spare(e).home = 1; }, "field home", "must be 0 or 1 + the id"},
};
INSTANTIATE_TEST_SUITE_P(Surface, Records, ::testing::ValuesIn(kSurfaces), name_of<Breach>);

// ---- constants

isa::Const& weights(Editor& e) { return e.constant(e.code(Op::CONV2D).weight); }

const Breach kConsts[] = {
    {"format", [](Editor& e) { weights(e).format = 99; }, "field format", "table"},
    {"reserved", [](Editor& e) { weights(e).reserved0[6] = 1; }, "field reserved0", "zero"},
    {"dims_0", [](Editor& e) { weights(e).dims[1] = 0; }, "field dims", "positive"},
    {"dims_unused", [](Editor& e) { e.constant(e.code(Op::LUT8).table).dims[1] = 1; }, "field dims", "zero"},
    {"dims_huge", [](Editor& e) { weights(e).dims[0] = 1U << 30; }, "field dims", "2^31"},
    {"dims_wrap",  // 2^64 bytes and more
     [](Editor& e) {
       for (std::uint32_t& extent : weights(e).dims) extent = 1U << 16;
     },
     "field dims", "2^31"},
    {"size", [](Editor& e) { ++weights(e).size; }, "field size", "format and dims"},
    {"offset_unaligned", [](Editor& e) { weights(e).offset += 1; }, "field offset", "multiple of 64"},
    {"offset_beyond", [](Editor& e) { weights(e).offset += 64; }, "field offset", "inside section CONST"},
    {"offset_wraps", [](Editor& e) { weights(e).offset = ~63ULL; }, "field offset", "inside section CONST"},
    {"conv_padding_co", [](Editor& e) { e.bytes(weights(e))[9 * 64 + 4 * 4] = 1; }, "constant", "beyond co"},
    {"conv_padding_ci", [](Editor& e) { e.bytes(weights(e))[2] = 1; }, "constant", "beyond co"},
    {"dw_padding",  // 20 channels: lane 4 of the second block
     [](Editor& e) { e.bytes(e.constant(e.code(Op::DWCONV2D).weight))[9 * 16 + 4] = 1; }, "constant", "beyond c"},
    {"rq8_padding_B", [](Editor& e) { e.table<std::int32_t>(Op::CONV2D)[20] = 1; }, "channel 20", "padding"},
    {"rq8_padding_m", [](Editor& e) { e.table<std::int16_t>(Op::CONV2D)[64 + 20] = 16385; }, "channel 20", "padding"},
    {"rq8_padding_s", [](Editor& e) { e.table<std::uint8_t>(Op::CONV2D)[192 + 20] = 1; }, "channel 20", "padding"},
    {"rq8_m", [](Editor& e) { e.table<std::int16_t>(Op::CONV2D)[64 + 3] = 16383; }, "channel 3", "m must"},
    {"rq8_m_negative", [](Editor& e) { e.table<std::int16_t>(Op::CONV2D)[64] = -32768; }, "channel 0", "m must"},
    {"rq8_s", [](Editor& e) { e.table<std::uint8_t>(Op::CONV2D)[192 + 3] = 32; }, "channel 3", "s must"},
    {"rq16_m", [](Editor& e) { e.table<isa::Rq16Entry>(Op::RESCALE)[1].m = 0; }, "channel 1", "m must"},
    {"rq16_sh_0", [](Editor& e) { e.table<isa::Rq16Entry>(Op::RESCALE)[1].sh = 0; }, "channel 1", "sh must"},
    {"rq16_sh_63", [](Editor& e) { e.table<isa::Rq16Entry>(Op::RESCALE)[1].sh = 63; }, "channel 1", "sh must"},
    {"rq16_bias", [](Editor& e) { e.table<isa::Rq16Entry>(Op::RESCALE)[1].bias = 1LL << 62; }, "channel 1", "2^62"},
    {"rq16_reserved", [](Editor& e) { e.table<isa::Rq16Entry>(Op::RESCALE)[7].reserved0[2] = 1; }, "channel 7", "zero"},
    {"pool_m_low", [](Editor& e) { e.table<isa::PoolEntry>(Op::AVGPOOL)[0].m = 16383; }, "entry 0", "m must"},
    {"pool_m_high", [](Editor& e) { e.table<isa::PoolEntry>(Op::AVGPOOL, 1)[8].m = 32768; }, "entry 8", "m must"},
    {"pool_sh_0", [](Editor& e) { e.table<isa::PoolEntry>(Op::AVGPOOL)[0].sh = 0; }, "entry 0", "sh must"},
    {"pool_sh_47", [](Editor& e) { e.table<isa::PoolEntry>(Op::AVGPOOL)[0].sh = 47; }, "entry 0", "sh must"},
    {"exp_first", [](Editor& e) { e.table<std::uint16_t>(Op::SOFTMAX)[0] = 65534; }, "constant", "65535"},
};
INSTANTIATE_TEST_SUITE_P(Const, Records, ::testing::ValuesIn(kConsts), name_of<Breach>);

isa::ResizeEntry* rows(Editor& e) {
  return reinterpret_cast<isa::ResizeEntry*>(e.bytes(e.constant(e.aux<isa::ResizeAux>(Op::RESIZE_BILIN).rows)));
}

const Breach kResizeTables[] = {
    {"i0_negative", [](Editor& e) { rows(e)[2].i0 = -1; }, "entry 2", "negative"},
    {"i1_negative", [](Editor& e) { rows(e)[2].i1 = -1; }, "entry 2", "negative"},
    {"w_negative", [](Editor& e) { rows(e)[2].w0 = -1, rows(e)[2].w1 = 2049; }, "entry 2", "2048"},
    {"w_sum", [](Editor& e) { rows(e)[2].w0 += 1; }, "entry 2", "2048"},
    {"i0_beyond", [](Editor& e) { rows(e)[2].i0 = 3; }, "(RESIZE_BILIN), field rows", "inside in0"},
    {"i1_beyond", [](Editor& e) { rows(e)[2].i1 = 3; }, "(RESIZE_BILIN), field rows", "inside in0"},
};
INSTANTIATE_TEST_SUITE_P(Resize, Records, ::testing::ValuesIn(kResizeTables), name_of<Breach>);

}  // namespace
}  // namespace openbpu::testing
