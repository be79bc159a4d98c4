#include "isa/access.hpp"

#include <algorithm>
#include <array>

#include "isa/cpu_call.hpp"
#include "isa/verify_detail.hpp"
#include "isa/wide.hpp"
#include "operators/call.hpp"

namespace openbpu::isa {
namespace {

// How the part of an operand under the box follows from the box.
enum class Reach {
  Box,        // the box itself, but for extents of 1
  Pixels,     // rows and columns of the box, all channels
  Columns,    // all channels of the columns of the box
  Window,     // rows under the windows, all columns and channels
  Depthwise,  // rows under the windows, all columns, the channels of the box
  Lines,      // rows and channels of the box, all columns
  Image,      // all rows and columns, the channels of the box
  All,
};

Reach reach_of(Op op, Operand which) {
  switch (op) {
    case Op::CONV2D:
    case Op::GCONV2D:
    case Op::TCONV2D:
      return Reach::Window;
    case Op::DWCONV2D:
    case Op::MAXPOOL:
    case Op::AVGPOOL:
    case Op::RESIZE_NN:
    case Op::RESIZE_BILIN:
      return Reach::Depthwise;
    case Op::MATMUL:
      return Reach::Columns;
    case Op::MATMULD:
      return Reach::All;
    case Op::SOFTMAX:
    case Op::LAYERNORM:
    case Op::RMSNORM:
    case Op::REDUCE:
    case Op::ARGMAX:
      return Reach::Pixels;
    case Op::GATHER:
      return which == A ? Reach::Lines : Reach::Columns;
    case Op::CSC:
      return which == A ? Reach::Pixels : Reach::All;
    case Op::ROIRESIZE:
      return which == A ? Reach::Image : Reach::All;
    case Op::GRIDSAMPLE:
      return which == A ? Reach::Image : Reach::Pixels;
    default:
      return Reach::Box;
  }
}

u32 clipped(i64 row, u32 rows) { return static_cast<u32>(std::clamp<i64>(row, 0, rows)); }

// `first` and `end` are those of output rows.
Rows window_rows(i64 first, i64 end, i64 kernel, i64 stride, i64 dilation, i64 pad, u32 rows) {
  const u32 from = clipped(first * stride - pad, rows);
  return {from, std::max(from, clipped((end - 1) * stride - pad + (kernel - 1) * dilation + 1, rows))};
}

i64 ceiling(i64 a, i64 b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }
i64 floor(i64 a, i64 b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

Rows transposed_rows(const Instruction& i, const ConvAux& g, u32 rows) {
  const i64 first = i64{i.box_y} + g.pad_top, last = first + i.box_h - 1;
  const u32 from = clipped(ceiling(first - (g.kernel_h - i64{1}) * g.dilation_h, g.stride_h), rows);
  return {from, std::max(from, clipped(floor(last, g.stride_h) + 1, rows))};
}

template <class Entry>
Rows table_rows(const Instruction& i, u16 table, const Sections& s) {
  const auto* entries = detail::items<Entry>(s.consts[table], s);
  i32 first = entries[i.box_y].i0, last = first;
  for (u32 y = i.box_y; y < u32{i.box_y} + i.box_h; ++y) {
    first = std::min({first, entries[y].i0, entries[y].i1});
    last = std::max({last, entries[y].i0, entries[y].i1});
  }
  return {static_cast<u32>(first), static_cast<u32>(last) + 1};
}

template <class Record>
const Record& aux(const Instruction& i, const Sections& s) {
  return *reinterpret_cast<const Record*>(s.aux.data() + i.aux);
}

// A part of a surface; rows of a rolling one are those of its memory and do not wrap.
Surface part(Surface s, Rows rows, u32 x, u32 w, u32 c, u32 n) {
  const u32 row = s.roll_h ? rows.first % s.roll_h : rows.first;
  s.base += u64{row} * s.stride_h + u64{x} * s.stride_w + u64{c} * s.stride_c;
  s.h = rows.end - rows.first;
  s.w = w;
  s.c = n;
  s.roll_h = 0;
  return s;
}

class Collector {
 public:
  Collector(const Instruction& i, const Sections& s, std::vector<Access>& out) : i_(i), s_(s), out_(out) {}

  void operand(u16 id, Operand which) {
    const Surface& surface = s_.surfaces[id];
    if (static_cast<Region>(surface.region) == Region::Const) return;
    const Rows rows = which == O ? Rows{i_.box_y, u32{i_.box_y} + i_.box_h} : input_rows(i_, s_, which);
    if (rows.first == rows.end) return;
    const Reach reach = which == O ? Reach::Box : reach_of(static_cast<Op>(i_.op), which);
    const bool columns = reach == Reach::Box || reach == Reach::Pixels || reach == Reach::Columns;
    const bool channels =
        reach == Reach::Box || reach == Reach::Depthwise || reach == Reach::Lines || reach == Reach::Image;
    const bool x = columns && surface.w > 1, c = channels && surface.c > 1;
    const u32 first_x = x ? i_.box_x : 0, first_c = c ? i_.box_c : 0;
    const u32 w = x ? i_.box_w : surface.w, n = c ? i_.box_n : surface.c;
    const Surface* home = surface.home ? &s_.surfaces[surface.home - 1] : nullptr;
    const auto add = [&](Rows piece) {
      Access all{part(surface, piece, first_x, w, first_c, n),
                 home ? part(*home, piece, first_x, w, first_c, n) : Surface{}, home != nullptr, which == O};
      if (surface.n == 1 || (surface.roll_h == 0 && all.bytes.h == surface.h)) return out_.push_back(all);
      for (u32 image = 0; image < surface.n; ++image) {  // so that rows that follow one another in memory are one piece
        Access one = all;
        for (Surface* piece_of : {&one.bytes, &one.home}) {
          piece_of->base += u64{image} * piece_of->stride_n;
          piece_of->n = 1;
        }
        out_.push_back(one);
      }
    };
    const u32 turn = surface.roll_h ? (rows.first / surface.roll_h + 1) * surface.roll_h : rows.end;
    add({rows.first, std::min(turn, rows.end)});
    if (turn < rows.end) add({turn, rows.end});
  }

  // Bytes in SRAM that are those of a constant from `offset` on.
  void weights(u16 id, u64 offset, bool write) {
    const Surface& surface = s_.surfaces[id];
    Surface home = surface;
    home.region = static_cast<u8>(Region::Const);
    home.base = offset;
    out_.push_back({surface, home, true, write});
  }

  void calls() {
    const Result<CpuCall> decoded = decode_cpu_call(i_, s_, "");
    if (!decoded.ok()) return;  // the verifier has done it too
    for (std::size_t k = 0; k < decoded.value().tensors.size(); ++k) {
      const CpuTensor& t = decoded.value().records[k];
      if (t.dtype == 0 || static_cast<Region>(t.region) == Region::Const) continue;
      Surface bytes{};
      const u32 element = static_cast<u32>(element_size(static_cast<DType>(t.dtype)));
      bytes.region = t.region;
      bytes.port = t.port;
      bytes.dtype = t.dtype;
      bytes.base = t.base;
      bytes.n = bytes.h = bytes.w = 1;
      bytes.c = static_cast<u32>(decoded.value().tensors[k].elements());
      if (bytes.c == 0) continue;
      bytes.stride_c = element;
      Surface home = bytes;
      home.region = static_cast<u8>(Region::Home);
      if (t.home) home.base = s_.surfaces[t.home - 1].base;
      out_.push_back({bytes, home, t.home != 0, decoded.value().is_output(k)});
    }
  }

 private:
  const Instruction& i_;
  const Sections& s_;
  std::vector<Access>& out_;
};

bool conflict(const std::vector<Access>& a, const std::vector<Access>& b) {
  for (const Access& x : a)
    for (const Access& y : b)
      if ((x.write || y.write) && detail::may_overlap(x.bytes, y.bytes)) return true;
  return false;
}

// The instructions of a queue so far, and how many of each queue have surely retired when one of them starts.
struct History {
  std::vector<u32> index;
  std::vector<std::vector<Access>> touched;
  std::vector<std::array<u32, 4>> known;
};

}  // namespace

Rows input_rows(const Instruction& i, const Sections& s, Operand which) {
  const auto op = static_cast<Op>(i.op);
  const u32 h = s.surfaces[which == A ? i.in0 : which == B ? i.in1 : i.in2].h;
  switch (op) {
    case Op::CONV2D:
    case Op::GCONV2D:
    case Op::DWCONV2D: {
      const auto& g = aux<ConvAux>(i, s);
      return window_rows(i.box_y, i64{i.box_y} + i.box_h, g.kernel_h, g.stride_h, g.dilation_h, g.pad_top, h);
    }
    case Op::TCONV2D:
      return transposed_rows(i, aux<ConvAux>(i, s), h);
    case Op::MAXPOOL:
    case Op::AVGPOOL: {
      const auto& g = aux<PoolAux>(i, s);
      return window_rows(i.box_y, i64{i.box_y} + i.box_h, g.kernel_h, g.stride_h, g.dilation_h, g.pad_top, h);
    }
    case Op::RESIZE_NN:
    case Op::RESIZE_BILIN: {
      const u16 table = aux<ResizeAux>(i, s).rows;
      return op == Op::RESIZE_BILIN && is_wide(i, s.surfaces) ? table_rows<Resize16Entry>(i, table, s)
                                                              : table_rows<ResizeEntry>(i, table, s);
    }
    default: {
      const Reach reach = reach_of(op, which);
      if (h == 1 || reach == Reach::All || reach == Reach::Image) return {0, h};
      return {i.box_y, std::min(u32{i.box_y} + i.box_h, h)};
    }
  }
}

ByteRange weight_range(const Instruction& i, const Sections& s) {
  const Const& item = s.consts[i.weight];
  const u32 channels = s.surfaces[i.out].c;
  if (i.box_n == channels || (item.format == static_cast<u8>(Format::CONV_WEIGHTS) && item.dims[0] != 1))
    return {item.offset, item.size};
  const u64 blocks = (u64{channels} + 15) / 16, block = item.size / blocks;
  return {item.offset + i.box_c / 16 * block, (u64{i.box_n} + 15) / 16 * block};
}

void accesses(const Instruction& i, const Sections& s, std::vector<Access>& out) {
  out.clear();
  const InstructionInfo& info = *find_instruction(i.op);
  Collector collect(i, s, out);
  if (info.op == Op::CPUCALL) return collect.calls();
  if (info.op == Op::LDW) return collect.weights(i.out, s.consts[i.weight].offset + static_cast<u64>(i.C), true);
  if (info.operands & A) collect.operand(i.in0, A);
  if (info.operands & B) collect.operand(i.in1, B);
  if (info.operands & M) collect.operand(i.in2, M);
  if ((info.operands & W) && i.in1 != kNoId) collect.weights(i.in1, weight_range(i, s).offset, false);
  if (info.operands & O) collect.operand(i.out, O);
}

Status check_races(const Entry& entry, const Sections& s) {
  History history[4];
  std::array<u32, 4> known[4] = {};
  std::vector<Access> touched;
  for (u32 k = 0; k < entry.instructions; ++k) {
    const Instruction& i = s.code[entry.first_instruction + k];
    const InstructionInfo& info = *find_instruction(i.op);
    if (info.queue == Queue::Ctrl) continue;
    if (info.queue == Queue::Cpu) {
      for (auto& counts : known)
        for (int q = 0; q < 4; ++q) counts[q] = static_cast<u32>(history[q].index.size());
      continue;
    }
    const int own = static_cast<int>(info.queue) - static_cast<int>(Queue::Ld);
    std::array<u32, 4>& state = known[own];
    for (int q = 0; q < 4; ++q) {
      if (i.wait[q] == 0) continue;
      for (int p = 0; p < 4; ++p) state[p] = std::max(state[p], history[q].known[i.wait[q] - 1][p]);
      state[q] = std::max(state[q], i.wait[q]);
    }
    state[own] = static_cast<u32>(history[own].index.size());
    accesses(i, s, touched);
    for (int q = 0; q < 4; ++q)
      for (u32 e = state[q]; e < history[q].index.size(); ++e)
        if (conflict(touched, history[q].touched[e]))
          return {Code::Illegal,
                  "section CODE, instruction " + std::to_string(entry.first_instruction + k) + " (" + info.name +
                      "), field wait",
                  "no wait covers the bytes that it shares with instruction " + std::to_string(history[q].index[e])};
    history[own].index.push_back(entry.first_instruction + k);
    history[own].touched.push_back(touched);
    history[own].known.push_back(state);
  }
  return {};
}

}  // namespace openbpu::isa
