// What every kernel row has in common: the tensor view, the row, and how rows are listed and chosen.
//
// Storage. An int8 tensor is held in host memory as `value ^ flip`: flip is 0x80 on hosts whose dot product multiplies
// unsigned by signed bytes (x86: the byte is value + 128), 0 elsewhere. The engine fixes flip once for all its steps
// and puts it into every parameter block. Scalar rows obey any flip; a vector row states in `accepts` which one it
// needs.
//
// Memory. Rows write only the bytes of the output view. Rows of the MAC and VEC groups may read up to kSlack bytes
// past the last byte of an operand (the engine's arenas have that room); layout and quantise rows read exactly, because
// their operands may be the caller's memory (of DEQUANTIZE, only the float side).
//
// int16 is held as it is. Operators on int16 have parameters and tables of rows of their own (names with 16): their
// operands are int16, their results int16 or int8.
//
// Threads. `plan` cuts the work into `units` of roughly equal cost; `run` computes units [begin, end) and touches no
// byte of another unit's output, so that any split over threads gives the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace openbpu::kernels {

constexpr std::size_t kSlack = 64;

// Avx512Vbmi is Avx512Vnni plus permutations of bytes: users ask for avx512vnni and get its rows too if the host has
// it.
enum class Isa : std::uint8_t { Scalar, Avx2, AvxVnni, Avx512Vnni, Avx512Vbmi, Amx, Neon, NeonDot, NeonI8mm };

// A tensor as a kernel sees it; strides in bytes. Rows of the MAC and VEC groups may rely on sc == element size
// unless the op's contract says otherwise.
struct View {
  std::uint8_t* data;
  std::int32_t n, h, w, c;
  std::int64_t sn, sh, sw, sc;
};

struct Plan {
  std::size_t packed_bytes;   // made once by pack(), shared by all threads, 64-byte aligned
  std::size_t scratch_bytes;  // per thread, 64-byte aligned, contents undefined between calls
  std::int32_t units;         // independent pieces of work, >= 1
};

// The part of the output that a unit computes, so that element-wise operators can follow it while it is in the cache
// (engine/fuse.hpp). Where flat, the rows of the output lie end to end, y is 0 and x counts the pixels of the image.
struct Region {
  std::int32_t n, y, rows, x, columns, c, channels;
  bool flat;
};

// One kernel. Rows of an op stand in a table, best first; the first row that the host can run and whose accepts()
// says yes is taken. The table feeds selection, explain(), a test per row, a benchmark per row and docs/kernels.md.
template <class Params>
struct Row {
  const char* name;  // unique, e.g. "conv_avx512vnni_6x64"
  Isa isa;
  bool (*accepts)(const Params&);
  Plan (*plan)(const Params&);
  void (*pack)(const Params&, std::uint8_t* packed);  // null if packed_bytes is always 0
  void (*run)(const Params&, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin, std::int32_t end);
  Region (*region)(const Params&, std::int32_t unit) = nullptr;  // null if the row does not tell
};

template <class Params>
struct Rows {
  const Row<Params>* data;
  std::size_t size;
  const Row<Params>* begin() const { return data; }
  const Row<Params>* end() const { return data + size; }
};

// Per-channel parameters of the RQ8 epilogue (docs/numerics.md, clause RQ8), as they stand in the file: indexed by
// output channel, padded to a multiple of 16.
struct Rq8 {
  const std::int32_t* B;
  const std::int16_t* m;
  const std::uint8_t* s;
  std::int32_t L;
  std::int32_t lo, hi;
};

// One entry of an RQ16 table (clause RQ16): y = clamp((v * m + bias) >> sh, lo, hi) in int64.
struct Rq16Entry {
  std::int64_t bias;
  std::int32_t m;
  std::uint8_t sh;  // 1..62
  std::uint8_t reserved[3];
};

// How the elements of a tensor are stored: int16 as they are, int8 as value ^ flip.
struct Stored {
  bool wide;
  std::uint8_t flip;  // of int8
};

// The end of every 16-bit form: an RQ16 table, the clamp, and how the result is stored.
struct Rq16 {
  const Rq16Entry* entries;
  std::int32_t lo, hi;
  Stored out;
};

}  // namespace openbpu::kernels
