// How the ARM matrix cores pack: a block of 16 channels is a list of groups, steps at neighbouring offsets, and of
// single steps. Included by the file of each core, which instantiates it with its form of the weights:
//   kGroup      steps of a group
//   kSingles    whether single steps stand for themselves; else they are groups with zero weights behind them
//   kStepBytes  of the packed weights of a step
//   arrange     i8[count][16][4], the weights of a group or of one step, to packed ones
#pragma once

#include "kernels/arm/gemm.hpp"
#include "kernels/arm/rq8.hpp"
#include "kernels/pixels.hpp"

namespace openbpu::kernels {
namespace {

constexpr std::int32_t kMostGroup = 4;

// Behind a block its parts, the offsets i32[groups and singles] (rounded up to 64 bytes), then the weights, part by
// part, groups before single steps.
struct GemmBlock {
  Rq8Block rq;
  std::int32_t channels, parts, blocks, items;
  std::int32_t reserved[4];
};
static_assert(sizeof(GemmBlock) == 256);

struct GemmPart {
  std::int32_t left_out[16];  // what it adds to the accumulators where it is left out
  std::int32_t groups, singles;
  std::int64_t first;    // of its groups and single steps
  std::int64_t weights;  // offset in bytes from those of the block
  std::int32_t reserved[10];
};
static_assert(sizeof(GemmPart) == 128);

// Neighbouring steps as read: i8[count][16][4].
struct Neighbours {
  std::int32_t offset, count;
  std::int8_t cells[kMostGroup * 64];
};

template <class Form>
struct GemmPacking {
  using Source = ArmGemm::Source;

  static bool all_zero(const std::int8_t* cell) {
    std::int32_t any = 0;
    for (std::int32_t i = 0; i < 64; ++i) any |= cell[i];
    return any == 0;
  }

  // The steps from `step` on that make a group, or one alone.
  static Neighbours read(const Source& source, std::int32_t block, std::int32_t step, std::int32_t end) {
    Neighbours n{};
    n.offset = source.step(source.params, block, step, n.cells);
    n.count = 1;
    while (n.count < Form::kGroup && step + n.count < end &&
           source.step(source.params, block, step + n.count, n.cells + n.count * 64) == n.offset + n.count * 4)
      ++n.count;
    if (n.count < Form::kGroup) {
      n.count = 1;
      __builtin_memset(n.cells + 64, 0, sizeof n.cells - 64);
    }
    return n;
  }

  // Calls use(neighbours) for the groups and single steps of a part; steps of zero weights vanish.
  template <class Use>
  static void for_each(const Source& source, std::int32_t block, std::int32_t part, Use use) {
    const std::int32_t steps = source.steps / source.parts, end = (part + 1) * steps;
    for (std::int32_t step = part * steps; step < end;) {
      const Neighbours n = read(source, block, step, end);
      if (!all_zero(n.cells) || n.count > 1) use(n);
      step += n.count;
    }
  }

  static bool is_single(const Neighbours& n) { return Form::kSingles && n.count == 1; }
  static std::int64_t bytes_of(const GemmPart& part) {
    return (std::int64_t{part.groups} * Form::kGroup + part.singles) * Form::kStepBytes;
  }

  static GemmPart count(const Source& source, std::int32_t block, std::int32_t part) {
    GemmPart counted{};
    for_each(source, block, part, [&](const Neighbours& n) { ++(is_single(n) ? counted.singles : counted.groups); });
    return counted;
  }

  // Bytes before the weights.
  static std::size_t head_bytes(std::int32_t parts, std::int32_t items) {
    return sizeof(GemmBlock) + static_cast<std::size_t>(parts) * sizeof(GemmPart) +
           align64(static_cast<std::size_t>(items) * 4);
  }

  static std::size_t block_bytes(const Source& source, std::int32_t block) {
    std::int32_t items = 0;
    std::int64_t weights = 0;
    for (std::int32_t i = 0; i < source.parts; ++i) {
      const GemmPart part = count(source, block, i);
      items += part.groups + part.singles;
      weights += bytes_of(part);
    }
    return head_bytes(source.parts, items) + align64(static_cast<std::size_t>(weights));
  }

  static std::size_t directory_bytes(std::int32_t blocks) { return align64(static_cast<std::size_t>(blocks) * 8); }

  static std::size_t packed_bytes(const Source& source) {
    std::size_t bytes = directory_bytes(source.blocks);
    for (std::int32_t block = 0; block < source.blocks; ++block) bytes += block_bytes(source, block);
    return bytes;
  }

  static void add_padding(const Neighbours& n, std::int32_t pad, std::int32_t* sums) {
    for (std::int32_t i = 0; i < n.count * 64; ++i) sums[i % 64 / 4] += pad * n.cells[i];
  }

  static void write_part(const Source& source, std::int32_t block, std::int32_t index, GemmPart* part,
                         std::int32_t* offsets, std::int8_t* weights) {
    std::int32_t group = 0, single = part->groups;
    for_each(source, block, index, [&](const Neighbours& n) {
      const std::int32_t at = is_single(n) ? single++ : group++;
      const std::int32_t step = at < part->groups ? at * Form::kGroup : at + part->groups * (Form::kGroup - 1);
      offsets[at] = n.offset;
      Form::arrange(n.cells, is_single(n) ? 1 : Form::kGroup, weights + std::int64_t{step} * Form::kStepBytes);
      add_padding(n, static_cast<std::int8_t>(source.pad), part->left_out);
    });
  }

  static void write_constants(const Source& source, std::int32_t index, GemmBlock* block) {
    const ArmGemm::Channels channels = source.channels(source.params, index);
    block->channels = channels.count;
    for (std::int32_t i = 0; i < 16; ++i) {
      const bool there = i < channels.count;
      set_channel(&block->rq, i, there ? channels.B[i] : 0, there ? channels.m[i] : std::int16_t{16384},
                  there ? channels.s[i] : 0, source.L);
    }
  }

  static std::size_t write_block(const Source& source, std::int32_t index, std::uint8_t* to) {
    auto* block = reinterpret_cast<GemmBlock*>(to);
    *block = {};
    block->parts = source.parts;
    block->blocks = source.blocks;
    write_constants(source, index, block);
    auto* parts = reinterpret_cast<GemmPart*>(block + 1);
    std::int64_t bytes = 0;
    for (std::int32_t i = 0; i < source.parts; ++i) {
      parts[i] = count(source, index, i);
      parts[i].first = block->items;
      parts[i].weights = bytes;
      block->items += parts[i].groups + parts[i].singles;
      bytes += bytes_of(parts[i]);
    }
    auto* offsets = reinterpret_cast<std::int32_t*>(parts + source.parts);
    auto* weights = reinterpret_cast<std::int8_t*>(to + head_bytes(source.parts, block->items));
    for (std::int32_t i = 0; i < source.parts; ++i)
      write_part(source, index, i, parts + i, offsets + parts[i].first, weights + parts[i].weights);
    return head_bytes(source.parts, block->items) + align64(static_cast<std::size_t>(bytes));
  }

  static void pack(const Source& source, std::uint8_t* packed) {
    auto* directory = reinterpret_cast<std::int64_t*>(packed);
    std::size_t at = directory_bytes(source.blocks);
    for (std::int32_t block = 0; block < source.blocks; ++block) {
      directory[block] = static_cast<std::int64_t>(at);
      at += write_block(source, block, packed + at);
    }
  }
};

// A block as the tiles use it.
struct GemmJob {
  const Rq8Block& block;
  const Rq8& rq;
  std::int32_t channels;
  const GemmPart *part, *end;
  const std::int32_t* offsets;
  const std::int8_t* weights;
  int32x4_t start0, start1, start2, start3;
};

template <class Form>
GemmJob make_job(const std::uint8_t* packed, std::int32_t index, const GemmLines& lines, const Rq8& rq) {
  const std::uint8_t* at = packed + reinterpret_cast<const std::int64_t*>(packed)[index];
  const auto& block = *reinterpret_cast<const GemmBlock*>(at);
  const auto* parts = reinterpret_cast<const GemmPart*>(&block + 1);
  const auto* first = parts + lines.first_part;
  std::int32_t start[16];
  for (std::int32_t i = 0; i < 16; ++i) start[i] = block.rq.start[i];
  for (std::int32_t part = 0; part < block.parts; ++part)
    if (part < lines.first_part || part >= lines.end_part)
      for (std::int32_t i = 0; i < 16; ++i) start[i] += parts[part].left_out[i];
  return {block.rq,
          rq,
          block.channels,
          first,
          parts + lines.end_part,
          reinterpret_cast<const std::int32_t*>(parts + block.parts) + first->first,
          reinterpret_cast<const std::int8_t*>(at + GemmPacking<Form>::head_bytes(block.parts, block.items)) +
              first->weights,
          vld1q_s32(start),
          vld1q_s32(start + 4),
          vld1q_s32(start + 8),
          vld1q_s32(start + 12)};
}

}  // namespace
}  // namespace openbpu::kernels
