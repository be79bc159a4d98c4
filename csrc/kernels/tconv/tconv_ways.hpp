// A transposed convolution as one ordinary convolution per phase: outputs (oy, ox) with the same remainder modulo the
// stride see the same taps, at fixed distances in the input. The taps that a phase does not see contribute
// in_zero * weight, which goes into its B. All phases of a unit share one padded copy of the input (padding.hpp).
#pragma once

#include "kernels/canonical_weights.hpp"
#include "kernels/padding.hpp"
#include "kernels/tconv/tconv_phases.hpp"
#include "kernels/tconv/tconv_rows.hpp"

namespace openbpu::kernels {
namespace {

// Core is the GemmCore of an ISA with 16 channels per block and any L (conv/conv_ways.hpp).
template <class Core>
struct TConvWays {
  struct Layout {
    Axis y, x;
    std::int32_t ci, co, taps, co_blocks;  // per group; blocks of 16 output channels
    std::int32_t blocks, phases;           // blocks of all groups, per phase
    std::int32_t rows, columns;            // values of q
    std::int32_t unit_rows, unit_blocks;
    std::int32_t row_units, block_units;
    std::int32_t window_rows, window_columns;
  };

  static Layout lay_out(const TConvParams& p) {
    Layout l{};
    l.y = make_axis(p.kernel_h, p.stride_h, p.dilation_h, p.pad_top);
    l.x = make_axis(p.kernel_w, p.stride_w, p.dilation_w, p.pad_left);
    l.ci = p.in.c / p.groups;
    l.co = p.out.c / p.groups;
    l.taps = p.kernel_h * p.kernel_w;
    l.co_blocks = ceil_div(l.co, 16);
    l.blocks = p.groups * l.co_blocks;
    l.phases = p.stride_h * p.stride_w;
    l.rows = ceil_div(p.out.h, p.stride_h);
    l.columns = ceil_div(p.out.w, p.stride_w);
    l.unit_rows = min(l.rows, ceil_div(Core::kUnitPixels, l.columns));
    const std::int64_t products = std::int64_t{l.unit_rows} * l.columns * l.taps * l.ci * 16;
    l.unit_blocks = max(1, min(l.blocks, static_cast<std::int32_t>(Core::kUnitProducts / products)));
    l.row_units = ceil_div(l.rows, l.unit_rows);
    l.block_units = ceil_div(l.blocks, l.unit_blocks);
    l.window_rows = l.unit_rows + l.y.farthest - l.y.nearest;
    l.window_columns = l.columns + l.x.farthest - l.x.nearest;
    return l;
  }

  // What the packing callbacks need. Packed blocks are ordered by phase, then by group and channel.
  struct PackContext {
    const TConvParams& p;
    Layout layout;
  };

  struct Phase {
    std::int32_t y, x;
  };

  static Phase phase_of(const TConvParams& p, std::int32_t index) { return {index / p.stride_w, index % p.stride_w}; }

  static bool sees(const Layout& l, const TConvParams& p, Phase phase, std::int32_t tap) {
    return l.y.sees(phase.y, tap / p.kernel_w) && l.x.sees(phase.x, tap % p.kernel_w);
  }

  static std::int32_t read_step(const void* context, std::int32_t block, std::int32_t step, std::int8_t* cell) {
    const auto& [p, l] = *static_cast<const PackContext*>(context);
    const std::int32_t ci4 = ceil_div(l.ci, 4), tap = step / ci4;
    const Phase phase = phase_of(p, block / l.blocks);
    if (!sees(l, p, phase, tap)) {
      __builtin_memset(cell, 0, 64);
      return 0;
    }
    __builtin_memcpy(cell, p.weights + (std::int64_t{block % l.blocks} * l.taps * ci4 + step) * 64, 64);
    const std::int32_t row = l.y.distance(phase.y, tap / p.kernel_w) - l.y.nearest;
    const std::int32_t column = l.x.distance(phase.x, tap % p.kernel_w) - l.x.nearest;
    return (row * l.window_columns + column) * p.in.c + step % ci4 * 4;
  }

  // Sum of the weights of channel o that the phase does not see.
  static std::int32_t unseen_weights(const PackContext& context, Phase phase, std::int32_t group, std::int32_t o) {
    const auto& [p, l] = context;
    const CanonicalWeights weights{p.weights, l.co, l.taps, l.ci};
    std::int32_t sum = 0;
    for (std::int32_t tap = 0; tap < l.taps; ++tap)
      if (!sees(l, p, phase, tap))
        for (std::int32_t i = 0; i < l.ci; ++i) sum += weights.at(group, o, tap, i);
    return sum;
  }

  static typename Core::Channels read_channels(const void* context, std::int32_t block) {
    const auto& [p, l] = *static_cast<const PackContext*>(context);
    const std::int32_t group = block % l.blocks / l.co_blocks, o = block % l.co_blocks * 16;
    typename Core::Channels channels{};
    channels.count = min(16, l.co - o);
    for (std::int32_t i = 0; i < channels.count; ++i) {
      const std::int32_t c = group * l.co + o + i;
      const std::int32_t unseen =
          unseen_weights(*static_cast<const PackContext*>(context), phase_of(p, block / l.blocks), group, o + i);
      channels.B[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(p.rq.B[c]) +
                                                (static_cast<std::uint32_t>(unseen * p.in_zero) << p.rq.L));
      channels.m[i] = p.rq.m[c];
      channels.s[i] = p.rq.s[c];
    }
    return channels;
  }

  static typename Core::Source source_of(const PackContext& context) {
    const Layout& l = context.layout;
    return {&context, l.phases * l.blocks, l.taps * ceil_div(l.ci, 4), context.p.rq.L, 1, 0, read_step, read_channels};
  }

  static bool accepts(const TConvParams& p) { return p.flip == Core::kFlip && p.in.sc == 1 && p.out.sc == 1; }

  static Plan plan(const TConvParams& p) {
    const PackContext context{p, lay_out(p)};
    const Layout& l = context.layout;
    const std::size_t window = static_cast<std::size_t>(l.window_rows) * static_cast<std::size_t>(l.window_columns) *
                               static_cast<std::size_t>(p.in.c);
    return {Core::packed_bytes(source_of(context)), window + kSlack, p.out.n * l.row_units * l.block_units};
  }

  static void pack(const TConvParams& p, std::uint8_t* packed) {
    const PackContext context{p, lay_out(p)};
    Core::pack(source_of(context), packed);
  }

  // Blocks [first, last) of one phase, for `rows` values of q from q0 on; the window starts at q0's nearest input row.
  static void run_phase(const TConvParams& p, const Layout& l, const std::uint8_t* packed, std::int32_t n,
                        std::int32_t index, std::int32_t q0, std::int32_t rows, std::int32_t first, std::int32_t last,
                        const std::uint8_t* window) {
    const Phase phase = phase_of(p, index);
    const std::int32_t oy = q0 * p.stride_h + phase.y;
    const std::int32_t lines = min(rows, ceil_div(p.out.h - oy, p.stride_h));
    const std::int32_t pixels = ceil_div(p.out.w - phase.x, p.stride_w);
    if (oy >= p.out.h || phase.x >= p.out.w) return;
    std::uint8_t* out = p.out.data + n * p.out.sn + oy * p.out.sh + phase.x * p.out.sw;
    for (std::int32_t block = first; block < last; ++block) {
      const std::int32_t group = block / l.co_blocks;
      const typename Core::Lines at{window + group * l.ci,
                                    std::int64_t{l.window_columns} * p.in.c,
                                    p.in.c,
                                    out + group * l.co + block % l.co_blocks * 16,
                                    p.stride_h * p.out.sh,
                                    p.stride_w * p.out.sw,
                                    lines,
                                    pixels,
                                    0,
                                    1};
      Core::run(packed, index * l.blocks + block, at, p.rq);
    }
  }

  static void run(const TConvParams& p, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin,
                  std::int32_t end) {
    const Layout l = lay_out(p);
    const auto zero = static_cast<std::uint8_t>(static_cast<std::uint8_t>(p.in_zero) ^ p.flip);
    for (std::int32_t unit = begin; unit < end; ++unit) {
      const std::int32_t q0 = unit / l.block_units % l.row_units * l.unit_rows;
      const std::int32_t n = unit / l.block_units / l.row_units, rows = min(l.unit_rows, l.rows - q0);
      const std::int32_t first = unit % l.block_units * l.unit_blocks, last = min(l.blocks, first + l.unit_blocks);
      copy_padded(p.in, n, {q0 + l.y.nearest, 1, l.window_rows, l.x.nearest, l.window_columns}, zero, scratch);
      for (std::int32_t phase = 0; phase < l.phases; ++phase)
        run_phase(p, l, packed, n, phase, q0, rows, first, last, scratch);
    }
  }
};

}  // namespace
}  // namespace openbpu::kernels
