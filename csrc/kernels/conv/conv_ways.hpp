// Three ways to the matrix core of an ISA (gemm.hpp), none of which materialises im2col:
//   direct  one tap, no padding: pixels are read where they lie
//   window  the input rows of a few output rows are copied with their padding; a tap is an offset in the copy
//   row     few channels: the same copy, but the kernel columns of a row lie side by side in it and make one run, so
//           that their bytes are rounded up to 4 once per kernel row instead of once per tap
#pragma once

#include <type_traits>

#include "kernels/arithmetic.hpp"
#include "kernels/canonical_weights.hpp"
#include "kernels/conv/conv_rows.hpp"
#include "kernels/padding.hpp"

namespace openbpu::kernels {
namespace {

// Shorter kernel rows are not left out where they lie in the padding: it would not pay.
constexpr std::int32_t kPartSteps = 16;

// Small layers are cut into this many units if they have as many times kSharedPixels pixels, or as many blocks.
constexpr std::int32_t kSharedUnits = 4, kSharedPixels = 24;

// Core is the GemmCore of an ISA: kFlip, kBlock output channels per block, kUnitPixels for which weights are read once,
// kUnitProducts of work that is worth a unit, kMaxL, what GemmCoreDefaults names, and the types and functions of its
// header.
template <class Core>
struct ConvWays {
  enum class Way { Direct, Window, Row };

  // Everything that follows from the parameters; cheap enough to be derived anew in every call.
  struct Layout {
    Way way;
    std::int32_t ci, co, taps, blocks;  // per group; blocks of Core::kBlock output channels
    std::int32_t run_steps;             // inputs that lie side by side: a tap or (row) a row of the kernel
    std::int32_t steps, parts;          // per block; parts are kernel rows where some lie in the padding, else 1
    // The output as lines of pixels (direct: one line per image where rows are dense), cut into units.
    std::int32_t lines, pixels, unit_lines, unit_pixels, unit_blocks;
    std::int32_t line_units, pixel_units, block_units;
    std::int32_t window_rows, window_columns;  // window and row
  };

  static bool reads_padding(const ConvParams& p) {
    return p.pad_top > 0 || p.pad_left > 0 || (p.out.h - 1) * p.stride_h - p.pad_top >= p.in.h ||
           (p.out.w - 1) * p.stride_w - p.pad_left >= p.in.w;
  }

  static bool dense_rows(const ConvParams& p) {
    return p.stride_h == 1 && p.stride_w == 1 && p.in.w == p.out.w && p.pad_left == 0 && p.in.sh == p.in.w * p.in.sw &&
           p.out.sh == p.out.w * p.out.sw;
  }

  // Output rows that share a window: enough pixels to amortise the weights; with dilation the rows interleave, then
  // one.
  static std::int32_t rows_per_window(const ConvParams& p) {
    return p.dilation_h > 1 ? 1 : min(p.out.h, ceil_div(Core::kUnitPixels, p.out.w));
  }

  static void lay_window(const ConvParams& p, Layout* l) {
    l->lines = p.out.h;
    l->pixels = l->unit_pixels = p.out.w;
    l->unit_lines = rows_per_window(p);
    l->window_rows = l->unit_lines == 1 ? p.kernel_h : (l->unit_lines - 1) * p.stride_h + p.kernel_h;
    l->window_columns = (p.out.w - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w + 1;
  }

  static void lay_direct(const ConvParams& p, Layout* l) {
    const bool dense = dense_rows(p);
    l->lines = dense ? 1 : p.out.h;
    l->pixels = dense ? p.out.h * p.out.w : p.out.w;
    std::int32_t units = max(1, (l->pixels + Core::kUnitPixels / 2) / Core::kUnitPixels);
    // Where there is less of weights than of activations, threads share out pixels: those of a thread then stay in its
    // cache from one layer to the next. Else they share out channels, and each weight is read once.
    if (std::int64_t{l->ci} * l->co < std::int64_t{l->pixels} * (l->ci + l->co))
      units = max(units, min(kSharedUnits, l->pixels / kSharedPixels));
    l->unit_pixels = min(l->pixels, ceil_div(l->pixels, units * Core::kPixelGroup) * Core::kPixelGroup);
    l->unit_lines = min(l->lines, max(1, Core::kUnitPixels / l->pixels));
  }

  static std::int32_t run_steps(std::int32_t bytes) { return ceil_div(bytes, 4 * Core::kStepGroup) * Core::kStepGroup; }

  static Layout lay_out(const ConvParams& p) {
    Layout l{};
    l.ci = p.in.c / p.groups;
    l.co = p.out.c / p.groups;
    l.taps = p.kernel_h * p.kernel_w;
    l.blocks = ceil_div(l.co, Core::kBlock);
    l.run_steps = run_steps(l.ci);
    l.steps = l.taps * l.run_steps;
    if (l.taps == 1 && !reads_padding(p)) {
      l.way = Way::Direct;
      lay_direct(p, &l);
    } else {
      l.way = Way::Window;
      lay_window(p, &l);
      const std::int32_t row_steps = run_steps(p.kernel_w * l.ci);
      if (p.groups == 1 && p.dilation_w == 1 && p.kernel_h * row_steps < l.steps) {
        l.way = Way::Row;
        l.run_steps = row_steps;
        l.steps = p.kernel_h * row_steps;
      }
    }
    l.parts = l.way != Way::Direct && l.steps >= kPartSteps * p.kernel_h && reads_padding(p) ? p.kernel_h : 1;
    const std::int64_t products = std::int64_t{l.unit_lines} * l.unit_pixels * l.steps * 4 * Core::kBlock;
    l.line_units = ceil_div(l.lines, l.unit_lines);
    l.pixel_units = ceil_div(l.pixels, l.unit_pixels);
    const std::int32_t blocks = p.groups * l.blocks, spatial = p.out.n * l.line_units * l.pixel_units;
    const std::int64_t fitting = max64(1, min64(blocks, Core::kUnitProducts / products));
    l.block_units = max(ceil_div(blocks, static_cast<std::int32_t>(fitting)), min(blocks, kSharedUnits / spatial));
    l.unit_blocks = ceil_div(blocks, l.block_units);
    l.block_units = ceil_div(blocks, l.unit_blocks);
    return l;
  }

  static std::size_t window_bytes(const ConvParams& p, const Layout& l) {
    if (l.way == Way::Direct) return 0;
    return align64(static_cast<std::size_t>(l.window_rows) * static_cast<std::size_t>(l.window_columns) *
                       static_cast<std::size_t>(p.in.c) +
                   kSlack);
  }

  // The zero point as stored.
  static std::uint8_t padding(const ConvParams& p) {
    return static_cast<std::uint8_t>(static_cast<std::uint8_t>(p.in_zero) ^ p.flip);
  }

  // What the packing callbacks need.
  struct PackContext {
    const ConvParams& p;
    Layout layout;
  };

  static std::int32_t tap_offset(const ConvParams& p, const Layout& l, std::int32_t tap) {
    if (l.way == Way::Direct) return 0;
    return (tap / p.kernel_w * l.window_columns + tap % p.kernel_w * p.dilation_w) * p.in.c;
  }

  static std::int32_t read_step(const void* context, std::int32_t block, std::int32_t step, std::int8_t* cell) {
    const auto& [p, l] = *static_cast<const PackContext*>(context);
    const std::int32_t ci4 = ceil_div(l.ci, 4), co16 = ceil_div(l.co, 16),
                       first = block % l.blocks * (Core::kBlock / 16);
    const std::int32_t tap = step / l.run_steps, inputs = step % l.run_steps;
    for (std::int32_t i = 0; i < Core::kBlock / 16; ++i) {
      if (first + i < co16 && inputs < ci4) {
        const std::int64_t line = std::int64_t{block / l.blocks} * co16 + first + i;
        __builtin_memcpy(cell + i * 64, p.weights + ((line * l.taps + tap) * ci4 + inputs) * 64, 64);
      } else {
        __builtin_memset(cell + i * 64, 0, 64);
      }
    }
    return tap_offset(p, l, tap) + inputs * 4;
  }

  static std::int32_t read_row_step(const void* context, std::int32_t block, std::int32_t step, std::int8_t* cell) {
    const auto& [p, l] = *static_cast<const PackContext*>(context);
    const CanonicalWeights weights{p.weights, l.co, l.taps, l.ci};
    const std::int32_t run = p.kernel_w * l.ci;
    for (std::int32_t i = 0; i < 4 * Core::kBlock; ++i) {
      const std::int32_t k = step % l.run_steps * 4 + i % 4, o = block * Core::kBlock + i / 4;
      const std::int32_t tap = step / l.run_steps * p.kernel_w + k / l.ci;
      cell[i] = k < run && o < l.co ? weights.at(0, o, tap, k % l.ci) : std::int8_t{0};
    }
    return step / l.run_steps * l.window_columns * l.ci + step % l.run_steps * 4;
  }

  static typename Core::Channels read_channels(const void* context, std::int32_t block) {
    const auto& [p, l] = *static_cast<const PackContext*>(context);
    const std::int32_t o = block % l.blocks * Core::kBlock, first = block / l.blocks * l.co + o;
    typename Core::Channels channels{};
    channels.count = min(Core::kBlock, l.co - o);
    for (std::int32_t i = 0; i < channels.count; ++i) {
      channels.B[i] = p.rq.B[first + i];
      channels.m[i] = p.rq.m[first + i];
      channels.s[i] = p.rq.s[first + i];
    }
    return channels;
  }

  static typename Core::Source source_of(const PackContext& context) {
    const Layout& l = context.layout;
    return {&context,
            context.p.groups * l.blocks,
            l.steps,
            context.p.rq.L,
            l.parts,
            padding(context.p),
            l.way == Way::Row ? read_row_step : read_step,
            read_channels};
  }

  static bool accepts(const ConvParams& p) {
    return p.flip == Core::kFlip && p.in.sc == 1 && p.out.sc == 1 && p.rq.L <= Core::kMaxL &&
           p.out.h * p.out.w >= Core::kLeastPixels &&
           p.kernel_h * p.kernel_w * (p.in.c / p.groups) >= Core::kLeastInputs;
  }

  static Plan plan(const ConvParams& p) {
    const PackContext context{p, lay_out(p)};
    const Layout& l = context.layout;
    return {Core::packed_bytes(source_of(context)), window_bytes(p, l),
            p.out.n * l.line_units * l.pixel_units * l.block_units};
  }

  static void pack(const ConvParams& p, std::uint8_t* packed) {
    const PackContext context{p, lay_out(p)};
    Core::pack(source_of(context), packed);
  }

  struct Range {
    std::int32_t begin, end;
    bool operator==(const Range& other) const { return begin == other.begin && end == other.end; }
  };

  // Output pixels of one unit, and its blocks.
  struct Unit {
    std::int32_t n, line, lines, pixel, pixels, block, blocks;
  };

  static Unit unit_of(const ConvParams& p, const Layout& l, std::int32_t index) {
    const std::int32_t b = index % l.block_units, x = index / l.block_units % l.pixel_units;
    const std::int32_t y = index / l.block_units / l.pixel_units % l.line_units;
    const std::int32_t n = index / l.block_units / l.pixel_units / l.line_units;
    const std::int32_t line = y * l.unit_lines, pixel = x * l.unit_pixels, block = b * l.unit_blocks;
    return {n,
            line,
            min(l.unit_lines, l.lines - line),
            pixel,
            min(l.unit_pixels, l.pixels - pixel),
            block,
            min(l.unit_blocks, p.groups * l.blocks - block)};
  }

  // Kernel rows that lie inside the input for an output row; all if none does.
  static Range rows_inside(const ConvParams& p, std::int32_t oy) {
    const std::int32_t y = oy * p.stride_h - p.pad_top;  // of kernel row 0
    const std::int32_t begin = y < 0 ? ceil_div(-y, p.dilation_h) : 0;
    const std::int32_t end = p.in.h > y ? min(p.kernel_h, ceil_div(p.in.h - y, p.dilation_h)) : 0;
    return begin < end ? Range{begin, end} : Range{0, p.kernel_h};
  }

  using Session = typename Core::Session;

  static void run_core(const ConvParams& p, const std::uint8_t* packed, std::int32_t block,
                       const typename Core::Lines& lines, [[maybe_unused]] Session* session) {
    if constexpr (std::is_empty_v<Session>)
      Core::run(packed, block, lines, p.rq);
    else
      Core::run(packed, block, lines, p.rq, session);
  }

  // One block; output rows with the same kernel rows inside the input go together.
  static void run_block(const ConvParams& p, const Layout& l, const std::uint8_t* packed, const Unit& unit,
                        std::int32_t block, typename Core::Lines lines, Session* session) {
    if (l.parts == 1) return run_core(p, packed, block, lines, session);
    for (std::int32_t line = 0; line < unit.lines; line += lines.lines) {
      const Range rows = rows_inside(p, unit.line + line);
      lines.lines = 1;
      while (line + lines.lines < unit.lines && rows_inside(p, unit.line + line + lines.lines) == rows) ++lines.lines;
      lines.first_part = rows.begin;
      lines.end_part = rows.end;
      run_core(p, packed, block, lines, session);
      lines.in += lines.lines * lines.in_line;
      lines.out += lines.lines * lines.out_line;
    }
  }

  // All blocks of the unit; at.in and at.out point to channel 0.
  static void run_blocks(const ConvParams& p, const Layout& l, const std::uint8_t* packed, const Unit& unit,
                         const typename Core::Lines& at, Session* session) {
    for (std::int32_t block = unit.block; block < unit.block + unit.blocks; ++block) {
      const std::int32_t group = block / l.blocks;
      typename Core::Lines lines = at;
      lines.in += group * l.ci;
      lines.out += group * l.co + block % l.blocks * Core::kBlock;
      run_block(p, l, packed, unit, block, lines, session);
    }
  }

  static Region region(const ConvParams& p, std::int32_t index) {
    const Layout l = lay_out(p);
    const Unit unit = unit_of(p, l, index);
    const std::int32_t c = unit.block / l.blocks * l.co + unit.block % l.blocks * Core::kBlock;
    const std::int32_t last = unit.block + unit.blocks - 1;
    const std::int32_t end = last / l.blocks * l.co + min(l.co, last % l.blocks * Core::kBlock + Core::kBlock);
    const bool flat = l.way == Way::Direct && dense_rows(p);
    return {unit.n, unit.line, unit.lines, unit.pixel, unit.pixels, c, end - c, flat};
  }

  static std::uint8_t* output_of(const ConvParams& p, const Unit& unit) {
    return p.out.data + unit.n * p.out.sn + unit.line * p.out.sh + unit.pixel * p.out.sw;
  }

  static void run_direct(const ConvParams& p, const Layout& l, const std::uint8_t* packed, const Unit& unit,
                         Session* session) {
    const std::uint8_t* in = p.in.data + unit.n * p.in.sn + (unit.line * p.stride_h - p.pad_top) * p.in.sh +
                             (unit.pixel * p.stride_w - p.pad_left) * p.in.sw;
    run_blocks(p, l, packed, unit,
               {in, p.stride_h * p.in.sh, p.stride_w * p.in.sw, output_of(p, unit), p.out.sh, p.out.sw, unit.lines,
                unit.pixels, 0, 1},
               session);
  }

  static void copy_window(const ConvParams& p, const Layout& l, const Unit& unit, std::uint8_t* window) {
    const PaddedWindow what{unit.line * p.stride_h - p.pad_top, l.unit_lines == 1 ? p.dilation_h : 1, l.window_rows,
                            -p.pad_left, l.window_columns};
    copy_padded(p.in, unit.n, what, padding(p), window);
  }

  static void run_window(const ConvParams& p, const Layout& l, const std::uint8_t* packed, const Unit& unit,
                         const std::uint8_t* window, Session* session) {
    const std::int64_t row = std::int64_t{l.window_columns} * p.in.c;
    run_blocks(p, l, packed, unit,
               {window, p.stride_h * row, std::int64_t{p.stride_w} * p.in.c, output_of(p, unit), p.out.sh, p.out.sw,
                unit.lines, unit.pixels, 0, 1},
               session);
  }

  static void run(const ConvParams& p, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin,
                  std::int32_t end) {
    const Layout l = lay_out(p);
    Session session;
    for (std::int32_t index = begin; index < end; ++index) {
      const Unit unit = unit_of(p, l, index);
      if (l.way == Way::Direct) {
        run_direct(p, l, packed, unit, &session);
        continue;
      }
      copy_window(p, l, unit, scratch);
      run_window(p, l, packed, unit, scratch, &session);
    }
  }
};

}  // namespace
}  // namespace openbpu::kernels
