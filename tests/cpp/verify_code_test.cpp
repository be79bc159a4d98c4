// The rules for instructions: one breach each, refused and named.
#include <cfloat>

#include "breach.hpp"

namespace openbpu::testing {
namespace {

using isa::ConvAux;
using isa::DType;
using isa::Flag;
using isa::Op;
using isa::PoolAux;
using isa::Region;

class Instructions : public ::testing::TestWithParam<Breach> {};

TEST_P(Instructions, IsRefused) { expect_refused(GetParam()); }

void set(std::uint8_t& field, Region region) { field = static_cast<std::uint8_t>(region); }
void set(std::uint8_t& field, DType type) { field = static_cast<std::uint8_t>(type); }

// ---- order, operands, places

// The first COPY moves channels 0 .. 7 of its input to channels `first` .. `first` + 7 of the same 16.
void copy_channels(Editor& e, std::uint32_t first) {
  isa::Instruction& copy = e.code(Op::COPY);
  copy.out = copy.in0;
  copy.box_n = 8;
  e.surface(copy.in0).c = 8;
  isa::Surface& out = e.surface(copy.out);
  out.c = 8;
  out.base += first;
}

const Breach kOperands[] = {
    {"op", [](Editor& e) { e.code(Op::NOP).op = 0xEE; }, "field op", "instruction set"},
    {"end_missing", [](Editor& e) { e.code(Op::END).op = 0; }, "field op", "END"},
    {"end_early", [](Editor& e) { e.code(Op::NOP).op = 1; }, "field op", "END"},
    {"wait_forward", [](Editor& e) { e.code(Op::CONV2D).wait[2] = 1; }, "(CONV2D), field wait", "earlier"},
    {"in0_none", [](Editor& e) { e.code(Op::CONV2D).in0 = isa::kNoId; }, "(CONV2D), field in0", "id of the file"},
    {"in0_beyond", [](Editor& e) { e.code(Op::CONV2D).in0 = 9999; }, "(CONV2D), field in0", "id of the file"},
    {"in1_set", [](Editor& e) { e.code(Op::CONV2D).in1 = 0; }, "(CONV2D), field in1", "loaded weights"},
    {"out_none", [](Editor& e) { e.code(Op::FILL).out = isa::kNoId; }, "(FILL), field out", "id of the file"},
    {"weight_none", [](Editor& e) { e.code(Op::CONV2D).weight = isa::kNoId; }, "field weight", "id of the file"},
    {"weight_set", [](Editor& e) { e.code(Op::ADD).weight = 0; }, "(ADD), field weight", "none"},
    {"table_beyond", [](Editor& e) { e.code(Op::LUT8).table = 9999; }, "(LUT8), field table", "id of the file"},
    {"const_written", [](Editor& e) { set(e.out(Op::LUT8).region, Region::Const); }, "(LUT8), field out", "never"},
    {"in_written", [](Editor& e) { set(e.out(Op::DEQUANTIZE).region, Region::In); }, "field out", "IN is never"},
    {"out_read", [](Editor& e) { set(e.in0(Op::QUANTIZE).region, Region::Out); }, "field in0", "OUT is never"},
    {"port_missing", [](Editor& e) { e.in0(Op::QUANTIZE).port = 2; }, "(QUANTIZE), field in0", "no such port"},
    {"port_type", [](Editor& e) { e.in0(Op::QUANTIZE).port = 1; }, "(QUANTIZE), field in0", "type of its port"},
    {"port_by_add", [](Editor& e) { set(e.in1(Op::ADD).region, Region::In); }, "(ADD), field in1", "only COPY"},
    {"beyond_ddr", [](Editor& e) { e.out(Op::CONV2D).base = e.parts.entries[0].ddr_bytes - 599; }, "field out",
     "inside"},
    {"beyond_sram", [](Editor& e) { e.in0(Op::SOFTMAX).base = 1ULL << 47; }, "(SOFTMAX), field in0", "inside"},
    {"beyond_const", [](Editor& e) { e.in1(Op::SUB).base = e.parts.constants.size() - 7; }, "field in1", "inside"},
    {"beyond_port", [](Editor& e) { e.in0(Op::QUANTIZE).base = 4; }, "(QUANTIZE), field in0", "inside"},
    {"stride_beyond", [](Editor& e) { e.in0(Op::CONV2D).stride_h = 1U << 31; }, "field in0", "inside"},
    {"not_injective", [](Editor& e) { e.out(Op::CONV2D).stride_w = 19; }, "(CONV2D), field out", "share bytes"},
    {"overlap", [](Editor& e) { e.out(Op::CONV2D).base = 59; }, "(CONV2D), field in0", "share bytes"},
    {"overlap_in_place_shifted",
     [](Editor& e) { e.code(Op::LUT8).out = e.code(Op::LUT8).in0, e.out(Op::LUT8).base += 1; }, "(LUT8)", "share"},
    {"overlap_channels", [](Editor& e) { copy_channels(e, 7); }, "(COPY), field in0", "share bytes"},
    {"overlap_in1", [](Editor& e) { e.code(Op::MUL).in1 = e.code(Op::MUL).out, e.in1(Op::MUL).h = 1; }, "in1", "share"},
};
INSTANTIATE_TEST_SUITE_P(Operands, Instructions, ::testing::ValuesIn(kOperands), name_of<Breach>);

// ---- fields, operator record, box

constexpr std::uint8_t kDdr = static_cast<std::uint8_t>(Flag::DDR_OPERAND);
constexpr std::uint8_t kCountPad = static_cast<std::uint8_t>(Flag::COUNT_PAD);

const Breach kFields[] = {
    {"flag_missing", [](Editor& e) { e.code(Op::CONV2D).flags = 0; }, "(CONV2D), field flags", "DDR_OPERAND"},
    {"flag_too_much", [](Editor& e) { e.code(Op::SOFTMAX).flags = kDdr; }, "(SOFTMAX), field flags", "DDR_OPERAND"},
    {"flag_unknown", [](Editor& e) { e.code(Op::CONV2D).flags |= 0x80; }, "field flags", "unknown"},
    {"flag_count_pad", [](Editor& e) { e.code(Op::MAXPOOL).flags |= kCountPad; }, "field flags", "AVGPOOL"},
    {"in2_set", [](Editor& e) { e.code(Op::CONV2D).in2 = 1; }, "(CONV2D), field in2", "zero"},
    {"L_16", [](Editor& e) { e.code(Op::CONV2D).L = 16; }, "(CONV2D), field L", "0..15"},
    {"L_unused", [](Editor& e) { e.code(Op::ADD).L = 1; }, "(ADD), field L", "zero"},
    {"sh_unused", [](Editor& e) { e.code(Op::CONV2D).sh = 1; }, "(CONV2D), field sh", "zero"},
    {"ma_unused", [](Editor& e) { e.code(Op::MUL).ma = 1; }, "(MUL), field ma", "zero"},
    {"mb_unused", [](Editor& e) { e.code(Op::MUL).mb = 1; }, "(MUL), field mb", "zero"},
    {"C_unused", [](Editor& e) { e.code(Op::CONV2D).C = 1; }, "(CONV2D), field C", "zero"},
    {"lo_unused", [](Editor& e) { e.code(Op::COPY).lo = -1; }, "(COPY), field lo", "zero"},
    {"hi_unused", [](Editor& e) { e.code(Op::LUT8).hi = 127; }, "(LUT8), field hi", "zero"},
    {"lo_low", [](Editor& e) { e.code(Op::CONV2D).lo = -129; }, "field lo", "int8"},
    {"hi_high", [](Editor& e) { e.code(Op::CONV2D).hi = 128; }, "field hi", "int8"},
    {"lo_above_hi", [](Editor& e) { e.code(Op::ADD).lo = 5, e.code(Op::ADD).hi = 4; }, "(ADD), field lo", "at most hi"},
    {"aux_none", [](Editor& e) { e.code(Op::CONV2D).aux = isa::kNoAux; }, "field aux", "multiple of 8"},
    {"aux_unaligned", [](Editor& e) { e.code(Op::CONV2D).aux += 4; }, "field aux", "multiple of 8"},
    {"aux_beyond", [](Editor& e) { e.code(Op::CONV2D).aux = static_cast<std::uint32_t>(e.parts.aux.size()) - 16; },
     "field aux", "inside section AUX"},
    {"aux_set", [](Editor& e) { e.code(Op::ADD).aux = 0; }, "(ADD), field aux", "none"},
    {"aux_reserved", [](Editor& e) { e.aux<ConvAux>(Op::CONV2D).reserved0 = 1U << 31; }, "field aux", "reserved"},
    {"box_empty", [](Editor& e) { e.code(Op::CONV2D).box_h = 0; }, "(CONV2D), field box_h", "hold something"},
    {"box_rows", [](Editor& e) { e.code(Op::CONV2D).box_y = 1; }, "(CONV2D), field box_h", "inside out"},
    {"box_columns", [](Editor& e) { e.code(Op::ADD).box_w = 65535; }, "(ADD), field box_w", "inside out"},
    {"box_channels", [](Editor& e) { e.code(Op::COPY).box_c = 65535; }, "(COPY), field box_n", "inside out"},
    {"box_set", [](Editor& e) { e.code(Op::MARK).box_y = 1; }, "(MARK), field box_y", "zero"},
    {"box_extent_set", [](Editor& e) { e.code(Op::NOP).box_n = 1; }, "(NOP), field box_n", "zero"},
    {"box_channel_step", [](Editor& e) { e.code(Op::CONV2D).box_c = 8, e.code(Op::CONV2D).box_n = 12; }, "field box_c",
     "of 16"},
};
INSTANTIATE_TEST_SUITE_P(Fields, Instructions, ::testing::ValuesIn(kFields), name_of<Breach>);

// ---- moves and ports

const Breach kMoves[] = {
    {"load_from_sram", [](Editor& e) { e.code(Op::LOAD).in0 = e.code(Op::SOFTMAX).in0, e.code(Op::LOAD).flags = 0; },
     "(LOAD), field in0", "DDR, IN or CONST"},
    {"load_to_ddr", [](Editor& e) { set(e.out(Op::LOAD).region, Region::Ddr); }, "(LOAD), field out", "SRAM"},
    {"store_from_ddr", [](Editor& e) { set(e.in0(Op::STORE).region, Region::Ddr); }, "(STORE), field in0", "SRAM"},
    {"store_to_sram", [](Editor& e) { e.code(Op::STORE).out = e.code(Op::MATMULD).in0, e.code(Op::STORE).flags = 0; },
     "(STORE), field out", "DDR or OUT"},
    {"move_extents", [](Editor& e) { e.in0(Op::COPY).w = 4; }, "(COPY)", "equal extents"},
    {"move_types", [](Editor& e) { set(e.in0(Op::COPY).dtype, DType::Bool), e.parts.surfaces.back().zero_point = 0; },
     "(COPY)", "equal types"},
    {"ldw_to_ddr", [](Editor& e) { set(e.out(Op::LDW).region, Region::Ddr), e.code(Op::LDW).flags = kDdr; },
     "(LDW), field out", "SRAM"},
    {"ldw_box", [](Editor& e) { e.code(Op::LDW).box_n = 16; }, "(LDW)", "whole"},
    {"ldw_strided",
     [](Editor& e) {
       isa::Surface& out = e.out(Op::LDW);
       out.w = 2, out.c = 16, out.stride_w = 48;
       e.code(Op::LDW).box_w = 2, e.code(Op::LDW).box_n = 16;
     },
     "(LDW), field out", "dense"},
    {"ldw_end", [](Editor& e) { e.code(Op::LDW).C = 64; }, "(LDW), field out", "past the end"},
    {"ldw_start", [](Editor& e) { e.code(Op::LDW).C = 4; }, "(LDW), field C", "multiple of 64"},
    {"ldw_negative", [](Editor& e) { e.code(Op::LDW).C = -64; }, "(LDW), field C", "multiple of 64"},
    {"fill_type", [](Editor& e) { set(e.out(Op::FILL).dtype, DType::U8), e.parts.surfaces.back().zero_point = 0; },
     "(FILL), field out", "int8"},
    {"fill_value", [](Editor& e) { e.code(Op::FILL).C = 128; }, "(FILL), field C", "int8"},
    {"quantize_type", [](Editor& e) { e.parts.ports[0].dtype = 4, e.in0(Op::QUANTIZE).dtype = 4; },
     "(QUANTIZE), field in0", "float32"},
    {"quantize_out", [](Editor& e) { e.out(Op::QUANTIZE).layout = 1; }, "(QUANTIZE), field out", "NHWC"},
    {"quantize_extents", [](Editor& e) { e.out(Op::QUANTIZE).h = 5, e.code(Op::QUANTIZE).box_h = 5; }, "(QUANTIZE)",
     "equal extents"},
    {"quantize_scale_0", [](Editor& e) { e.out(Op::QUANTIZE).scale = 0; }, "(QUANTIZE), field out", "scale"},
    {"quantize_scale_f64", [](Editor& e) { e.out(Op::QUANTIZE).scale = 0.1; }, "(QUANTIZE), field out", "scale"},
    {"quantize_scale_tiny", [](Editor& e) { e.out(Op::QUANTIZE).scale = FLT_MIN / 2; }, "field out", "scale"},
    {"quantize_scale_huge", [](Editor& e) { e.out(Op::QUANTIZE).scale = 1e300; }, "field out", "scale"},
    {"dequantize_scale", [](Editor& e) { e.in0(Op::DEQUANTIZE).scale = 0; }, "(DEQUANTIZE), field in0", "scale"},
};
INSTANTIATE_TEST_SUITE_P(Moves, Instructions, ::testing::ValuesIn(kMoves), name_of<Breach>);

// ---- multiply-accumulate

template <class T>
T* weight_bytes(Editor& e, Op op) {
  return reinterpret_cast<T*>(e.bytes(e.constant(e.code(op).weight)));
}

const Breach kMac[] = {
    {"in_type", [](Editor& e) { set(e.in0(Op::CONV2D).dtype, DType::U8), e.parts.surfaces.back().zero_point = 0; },
     "(CONV2D), field in0", "int8"},
    {"in_layout", [](Editor& e) { e.in0(Op::CONV2D).layout = 1; }, "(CONV2D), field in0", "NHWC"},
    {"out_layout", [](Editor& e) { e.out(Op::DWCONV2D).layout = 1; }, "(DWCONV2D), field out", "NHWC"},
    {"images", [](Editor& e) { e.in0(Op::CONV2D).n = 2, e.parts.surfaces.back().stride_n = 0; }, "(CONV2D)", "equal n"},
    {"kernel_0", [](Editor& e) { e.aux<ConvAux>(Op::CONV2D).kernel_h = 0; }, "field aux", "at least 1"},
    {"stride_0", [](Editor& e) { e.aux<ConvAux>(Op::TCONV2D).stride_w = 0; }, "field aux", "at least 1"},
    {"dilation_0", [](Editor& e) { e.aux<ConvAux>(Op::DWCONV2D).dilation_h = 0; }, "field aux", "at least 1"},
    {"taps",
     [](Editor& e) {
       auto& g = e.aux<ConvAux>(Op::CONV2D);
       g.kernel_h = g.kernel_w = 5000;
     },
     "field aux", "2^24"},
    {"window_bytes",
     [](Editor& e) {
       auto& g = e.aux<ConvAux>(Op::CONV2D);
       g.kernel_h = 200, g.kernel_w = 12, g.dilation_w = 65535;
     },
     "field aux", "2^28"},
    {"phases",
     [](Editor& e) {
       auto& g = e.aux<ConvAux>(Op::TCONV2D);
       g.stride_h = 2, g.stride_w = 20000;
     },
     "field aux", "out.c must"},
    {"span",
     [](Editor& e) {
       auto& g = e.aux<ConvAux>(Op::CONV2D);
       g.kernel_h = 100, g.dilation_h = 65535;
     },
     "field aux", "2^20"},
    {"groups", [](Editor& e) { e.aux<ConvAux>(Op::CONV2D).groups = 2; }, "(CONV2D), field groups", "1 for CONV2D"},
    {"groups_0", [](Editor& e) { e.aux<ConvAux>(Op::GCONV2D).groups = 0; }, "(GCONV2D), field groups", "at least 1"},
    {"groups_divide", [](Editor& e) { e.aux<ConvAux>(Op::GCONV2D).groups = 3; }, "field groups", "divide"},
    {"group_box", [](Editor& e) { e.code(Op::GCONV2D).box_n = 6; }, "(GCONV2D), field box_n", "all channels"},
    {"weight_format", [](Editor& e) { e.code(Op::CONV2D).weight = e.code(Op::DWCONV2D).weight; }, "field weight",
     "CONV_WEIGHTS"},
    {"weight_dims", [](Editor& e) { e.code(Op::CONV2D).weight = e.code(Op::TCONV2D).weight; }, "field weight", "dims"},
    {"kernel_not_weights", [](Editor& e) { e.aux<ConvAux>(Op::CONV2D).kernel_h = 4; }, "field weight", "dims"},
    {"table_format", [](Editor& e) { e.code(Op::CONV2D).table = e.code(Op::RESCALE).table; }, "field table", "RQ8"},
    {"table_dims", [](Editor& e) { e.code(Op::CONV2D).table = e.code(Op::TCONV2D).table; }, "field table", "channel"},
    {"overflow_B", [](Editor& e) { e.table<std::int32_t>(Op::CONV2D)[19] = INT32_MIN; }, "(CONV2D), channel 19",
     "int32"},
    {"overflow_L", [](Editor& e) { e.code(Op::TCONV2D).L = 15; }, "(TCONV2D), channel 0", "int32"},
    {"overflow_sum",  // one more than |B| may be: 2^31 - 1 - 128 sum|w|
     [](Editor& e) {
       const auto* w = weight_bytes<std::int8_t>(e, Op::DWCONV2D);
       std::int64_t sum = 0;
       for (int tap = 0; tap < 9; ++tap) sum += std::abs(w[(9 + tap) * 16 + 3]);  // channel 19
       e.table<std::int32_t>(Op::DWCONV2D)[19] = static_cast<std::int32_t>((1LL << 31) - 128 * sum);
     },
     "(DWCONV2D), channel 19", "int32"},
    {"dw_channels", [](Editor& e) { e.in0(Op::DWCONV2D).c = 19; }, "(DWCONV2D)", "equal"},
    {"dw_groups", [](Editor& e) { e.aux<ConvAux>(Op::DWCONV2D).groups = 1; }, "(DWCONV2D)", "equal"},
    {"dw_format", [](Editor& e) { e.code(Op::DWCONV2D).weight = e.code(Op::CONV2D).weight; }, "weight", "DW_WEIGHTS"},
    {"dw_dims", [](Editor& e) { e.aux<ConvAux>(Op::DWCONV2D).kernel_w = 4; }, "(DWCONV2D), field weight", "dims"},
    {"matmul_rows", [](Editor& e) { e.in0(Op::MATMUL).w = 8; }, "(MATMUL)", "equal n and w"},
    {"matmul_h", [](Editor& e) { e.in0(Op::MATMUL).h = 3, e.parts.surfaces.back().w = 3; }, "(MATMUL)", "h 1"},
    {"matmul_dims", [](Editor& e) { e.code(Op::MATMUL).weight = e.code(Op::CONV2D).weight; }, "field weight", "dims"},
    {"matmuld_form", [](Editor& e) { e.aux<isa::MatMulAux>(Op::MATMULD).transpose_b = 2; }, "transpose_b", "0 or 1"},
    {"matmuld_reserved", [](Editor& e) { e.aux<isa::MatMulAux>(Op::MATMULD).reserved0[6] = 1; }, "aux", "reserved"},
    {"matmuld_extents", [](Editor& e) { e.aux<isa::MatMulAux>(Op::MATMULD).transpose_b = 0; }, "(MATMULD)", "product"},
    {"matmuld_h", [](Editor& e) { e.in1(Op::MATMULD).h = 3, e.parts.surfaces.back().w = 3; }, "(MATMULD)", "h must be"},
    {"matmuld_box", [](Editor& e) { e.code(Op::MATMULD).box_w = 4; }, "(MATMULD)", "whole"},
    {"matmuld_table", [](Editor& e) { e.code(Op::MATMULD).table = e.code(Op::MATMUL).table; }, "table", "one entry"},
    {"matmuld_overflow",  // 10 * 255 * 128 + |B| = 2^31
     [](Editor& e) { *e.table<std::int32_t>(Op::MATMULD) = INT32_MAX - 10 * 255 * 128 + 1; }, "channel 0", "int32"},
};
INSTANTIATE_TEST_SUITE_P(Mac, Instructions, ::testing::ValuesIn(kMac), name_of<Breach>);

// ---- vector and windows

const Breach kVector[] = {
    {"unary_extents", [](Editor& e) { e.in0(Op::LUT8).c = 7; }, "(LUT8)", "equal extents"},
    {"binary_extents", [](Editor& e) { e.in1(Op::MUL).c = 4; }, "(MUL), field in1", "or 1"},
    {"in1_type", [](Editor& e) { set(e.in1(Op::SUB).dtype, DType::Bool); }, "(SUB), field in1", "int8"},
    {"add_sh", [](Editor& e) { e.code(Op::ADD).sh = 23; }, "(ADD), field sh", "0..22"},
    {"add_ma", [](Editor& e) { e.code(Op::ADD).ma = -32768; }, "(ADD), field ma", "32767"},
    {"add_mb", [](Editor& e) { e.code(Op::SUB).mb = -32768; }, "(SUB), field mb", "32767"},
    {"add_C",  // one more than |C| may be
     [](Editor& e) { e.code(Op::ADD).C = -(INT32_MAX - 128 * (20000 + 14000) + 1); }, "(ADD), field C", "int32"},
    {"mul_m_low", [](Editor& e) { e.code(Op::MUL).C = 16383; }, "(MUL), field C", "16384..32767"},
    {"mul_m_high", [](Editor& e) { e.code(Op::MUL).C = 32768; }, "(MUL), field C", "16384..32767"},
    {"mul_sh_0", [](Editor& e) { e.code(Op::MUL).sh = 0; }, "(MUL), field sh", "1..46"},
    {"mul_sh_47", [](Editor& e) { e.code(Op::MUL).sh = 47; }, "(MUL), field sh", "1..46"},
    {"rescale_format", [](Editor& e) { e.code(Op::RESCALE).table = e.code(Op::LUT8).table; }, "field table", "RQ16"},
    {"rescale_entries",
     [](Editor& e) {
       auto& c = e.constant(e.code(Op::RESCALE).table);
       c.dims[0] = 4, c.size = 64;
     },
     "(RESCALE), field table", "1 or out.c"},
    {"lut8_format", [](Editor& e) { e.code(Op::LUT8).table = e.code(Op::SOFTMAX).table; }, "field table", "LUT8"},
    {"softmax_box", [](Editor& e) { e.code(Op::SOFTMAX).box_n = 5; }, "(SOFTMAX), field box_n", "all channels"},
    {"softmax_format", [](Editor& e) { e.code(Op::SOFTMAX).table = e.code(Op::LUT8).table; }, "field table", "EXP"},
    {"softmax_C_0", [](Editor& e) { e.aux<isa::SoftmaxAux>(Op::SOFTMAX).C = 0; }, "(SOFTMAX), field C", "2^62"},
    {"softmax_C", [](Editor& e) { e.aux<isa::SoftmaxAux>(Op::SOFTMAX).C = 1ULL << 62; }, "(SOFTMAX), field C", "2^62"},
    {"pool_channels", [](Editor& e) { e.in0(Op::MAXPOOL).c = 7; }, "(MAXPOOL)", "equal n and c"},
    {"pool_kernel_0", [](Editor& e) { e.aux<PoolAux>(Op::MAXPOOL).kernel_w = 0; }, "field aux", "at least 1"},
    {"maxpool_zero_point", [](Editor& e) { e.out(Op::MAXPOOL).zero_point = 0; }, "(MAXPOOL)", "equal scale"},
    {"maxpool_scale", [](Editor& e) { e.out(Op::MAXPOOL).scale = 1; }, "(MAXPOOL)", "equal scale"},
    {"maxpool_empty_above", [](Editor& e) { e.aux<PoolAux>(Op::MAXPOOL).pad_top = 2; }, "(MAXPOOL)", "a tap"},
    {"maxpool_empty_right", [](Editor& e) { e.aux<PoolAux>(Op::MAXPOOL).stride_w = 3; }, "(MAXPOOL)", "a tap"},
    {"maxpool_steps_over",  // taps at -1 and 6 of rows 0 .. 5
     [](Editor& e) {
       auto& g = e.aux<PoolAux>(Op::MAXPOOL);
       g.pad_top = 1, g.dilation_h = 7;
     },
     "(MAXPOOL)", "a tap"},
    {"avgpool_format", [](Editor& e) { e.code(Op::AVGPOOL).table = e.code(Op::RESCALE).table; }, "field table", "POOL"},
    {"avgpool_entries", [](Editor& e) { e.aux<PoolAux>(Op::AVGPOOL, 1).kernel_w = 2; }, "field table", "one per tap"},
    {"avgpool_empty", [](Editor& e) { e.aux<PoolAux>(Op::AVGPOOL, 1).pad_left = 3; }, "(AVGPOOL)", "a tap"},
    {"resize_table", [](Editor& e) { e.aux<isa::ResizeAux>(Op::RESIZE_NN).rows = 9999; }, "field rows", "RESIZE"},
    {"resize_format", [](Editor& e) { e.aux<isa::ResizeAux>(Op::RESIZE_NN).columns = 0; }, "field columns", "RESIZE"},
    {"resize_entries",
     [](Editor& e) {
       auto& g = e.aux<isa::ResizeAux>(Op::RESIZE_NN);
       g.rows = g.columns;
     },
     "field rows", "one entry per"},
    {"resize_channels", [](Editor& e) { e.in0(Op::RESIZE_NN).c = 7; }, "(RESIZE_NN)", "equal n and c"},
    {"resize_parameters", [](Editor& e) { e.out(Op::RESIZE_BILIN).zero_point = 0; }, "(RESIZE_BILIN)", "equal scale"},
};
INSTANTIATE_TEST_SUITE_P(Vector, Instructions, ::testing::ValuesIn(kVector), name_of<Breach>);

// ---- what is legal though it looks close to a breach

struct Legal {
  const char* name;
  void (*change)(Editor&);
};

std::ostream& operator<<(std::ostream& stream, const Legal& legal) { return stream << legal.name; }

class LegalInstructions : public ::testing::TestWithParam<Legal> {};

TEST_P(LegalInstructions, AreAccepted) {
  container::Parts parts = golden_parts();
  Editor editor{parts};
  GetParam().change(editor);
  const Status status = container::Program::read(container::write(parts)).status();
  EXPECT_TRUE(status.ok()) << status.where() << ": " << status.message();
}

const Legal kLegal[] = {
    {"disjoint_channels", [](Editor& e) { copy_channels(e, 8); }},
    {"wait_for_all", [](Editor& e) { e.code(Op::TCONV2D).wait[2] = 3; }},
    {"broadcast_by_stride", [](Editor& e) { e.in0(Op::COPY).stride_h = 0; }},
    {"in1_in_place", [](Editor& e) { e.code(Op::ADD).in1 = e.code(Op::ADD).out; }},
    {"box_of_rows", [](Editor& e) { e.code(Op::CONV2D).box_y = 5, e.code(Op::CONV2D).box_h = 1; }},
    {"box_of_channels", [](Editor& e) { e.code(Op::CONV2D).box_c = 16, e.code(Op::CONV2D).box_n = 4; }},
    {"count_pad", [](Editor& e) { e.code(Op::AVGPOOL).flags |= kCountPad; }},
    {"padding_beyond_kernel", [](Editor& e) { e.aux<ConvAux>(Op::CONV2D).pad_top = 65535; }},
    {"overflow_edge", [](Editor& e) { *e.table<std::int32_t>(Op::MATMULD) = INT32_MAX - 10 * 255 * 128; }},
    {"add_C_edge", [](Editor& e) { e.code(Op::ADD).C = -(INT32_MAX - 128 * (20000 + 14000)); }},
    {"empty_window_outside_box",
     [](Editor& e) {
       e.aux<PoolAux>(Op::MAXPOOL).pad_top = 2, e.code(Op::MAXPOOL).box_y = 1, e.code(Op::MAXPOOL).box_h = 2;
     }},
    {"trap", [](Editor& e) { e.code(Op::NOP).op = static_cast<std::uint8_t>(Op::TRAP), e.code(Op::TRAP).C = -7; }},
};
INSTANTIATE_TEST_SUITE_P(Legal, LegalInstructions, ::testing::ValuesIn(kLegal), name_of<Legal>);

}  // namespace
}  // namespace openbpu::testing
