#include "kernels/x86/gemm_amx.hpp"

#include "kernels/x86/blocks_avx512.hpp"

namespace openbpu::kernels::amx {
namespace {

using avx512::Acc;
using avx512::Block;
using avx512::Epilogue;
using avx512::GemmLines;
using avx512::kAny;
using avx512::kBlock;
using avx512::load;
using avx512::load_once;
using avx512::PackedBlock;

// Registers: 0-3 sums, 4 and 5 pixels, 6 and 7 weights. All have rows of 64 bytes; those of sums and pixels as many as
// there are pixels.
void configure(std::int32_t pixels, Session* session) {
  if (session->rows == pixels) return;
  session->rows = pixels;
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) config.rows[tile] = static_cast<std::uint8_t>(tile < 6 ? pixels : kTileRows);
  load_config(config);
}

// ---- tiles of pixels

// The sums of a tile of pixels, one line of up to 64 channels per pixel.
struct alignas(64) Sums {
  std::int32_t at[kTileRows][kBlock];
};

// Where a tile reads and where its pixels go; what is to be dropped goes to a place of its own.
struct Pixels {
  const std::uint8_t* in;
  std::uint8_t* out[kTileRows];
};

// The pixels of all lines, cut into tiles of `rows` pixels; the last tile of a strip starts early rather than being
// shorter, and computes some pixels again.
class Tiles {
 public:
  Tiles(const GemmLines& lines, std::uint8_t* dropped) : lines_(lines), dropped_(dropped) {
    const std::int32_t apart = ceil_div(lines.pixels, kTileRows) * lines.lines;
    const std::int64_t pitch = lines.in_line / lines.in_pixel;
    const std::int64_t positions = (lines.lines - 1) * pitch + lines.pixels;
    joined_ = lines.lines > 1 && lines.in_line > 0 && lines.in_line % lines.in_pixel == 0 && pitch >= lines.pixels &&
              positions <= std::int64_t{apart - 1} * kTileRows;
    pitch_ = static_cast<std::int32_t>(joined_ ? pitch : lines.pixels);
    positions_ = static_cast<std::int32_t>(joined_ ? positions : lines.pixels);
    rows_ = min(kTileRows, positions_);
    per_strip_ = ceil_div(positions_, kTileRows);
    count_ = per_strip_ * (joined_ ? 1 : lines.lines);
  }

  std::int32_t count() const { return count_; }
  std::int32_t rows() const { return rows_; }

  void get(std::int32_t index, Pixels* tile) const {
    const std::int32_t strip = index / per_strip_;
    const std::int32_t first = min(index % per_strip_ * kTileRows, positions_ - rows_);
    tile->in = lines_.in + strip * lines_.in_line + first * lines_.in_pixel;
    std::int32_t column = joined_ ? first % pitch_ : first;
    std::uint8_t* line = lines_.out + (strip + (joined_ ? first / pitch_ : 0)) * lines_.out_line;
    if (column + kTileRows <= lines_.pixels) {
      for (std::int32_t r = 0; r < kTileRows; ++r) tile->out[r] = line + (column + r) * lines_.out_pixel;
      return;
    }
    for (std::int32_t r = 0; r < kTileRows; ++r) {
      tile->out[r] = r < rows_ && column < lines_.pixels ? line + column * lines_.out_pixel : dropped_;
      if (++column == pitch_) {
        column = 0;
        line += lines_.out_line;
      }
    }
  }

 private:
  const GemmLines& lines_;
  std::uint8_t* dropped_;
  bool joined_;
  std::int32_t pitch_, positions_, rows_, per_strip_, count_;
};

// ---- products

struct Context {
  const Block& block;
  const std::int32_t* start;
  const std::int32_t* offsets;
  const std::int8_t* weights;
  std::int32_t vectors, groups;
  std::int64_t in_pixel;
};

// One or two tiles of pixels by one or two vectors of channels.
template <int Count, int Vectors>
OPENBPU_INLINE void multiply(const Context& k, const Pixels* pixels, std::int32_t vector, Sums* sums) {
  constexpr std::int64_t kLine = sizeof sums->at[0];
  const std::int64_t step_bytes = std::int64_t{k.vectors} * 64;
  const std::int8_t* w = k.weights + 64 * vector;
  const std::uint8_t* first = pixels[0].in;
  const std::uint8_t* second = pixels[Count - 1].in;
  const std::int32_t* offset = k.offsets;
  clear_tile<0>();
  if constexpr (Vectors > 1) clear_tile<1>();
  if constexpr (Count > 1) clear_tile<2>();
  if constexpr (Count > 1 && Vectors > 1) clear_tile<3>();
  for (std::int32_t group = 0; group < k.groups; ++group) {
    const std::int64_t at = *offset;
    load_tile<6>(w, step_bytes);
    load_tile<4>(first + at, k.in_pixel);
    dot_tiles<0, 4, 6>();
    if constexpr (Vectors > 1) {
      load_tile<7>(w + 64, step_bytes);
      dot_tiles<1, 4, 7>();
    }
    if constexpr (Count > 1) {
      load_tile<5>(second + at, k.in_pixel);
      dot_tiles<2, 5, 6>();
      if constexpr (Vectors > 1) dot_tiles<3, 5, 7>();
    }
    w += GemmCore::kStepGroup * step_bytes;
    offset += GemmCore::kStepGroup;
  }
  std::int32_t* const to = sums[0].at[0] + 16 * vector;
  store_tile<0>(to, kLine);
  if constexpr (Vectors > 1) store_tile<1>(to + 16, kLine);
  if constexpr (Count > 1) store_tile<2>(to + kTileRows * kBlock, kLine);
  if constexpr (Count > 1 && Vectors > 1) store_tile<3>(to + kTileRows * kBlock + 16, kLine);
}

// ---- epilogue

// The epilogue of a tile. Start values are added here: loading them into the tiles of sums would take longer. Rows
// beyond those of the tile hold anything; they are dropped.
template <int D>
class Finisher {
 public:
  Finisher(const Context& k, const avx512::Clamp& clamp, std::int32_t rows)
      : k_(k), e_(Epilogue<D>::make(k.block.constants, clamp)), rows_(rows) {}

  void operator()(const Sums& sums, const Pixels& pixels) const {
    if (k_.vectors == 4) return all(sums, pixels.out);
    if (k_.vectors >= 2) two(sums, pixels.out);
    if (k_.vectors != 2) one(sums, pixels.out, k_.vectors - 1);
  }

 private:
  __attribute__((always_inline)) Acc sum(const Sums& sums, std::int32_t row, std::int32_t vector) const {
    return reinterpret_cast<Acc>(_mm512_add_epi32(load(sums.at[row] + 16 * vector), load(k_.start + 16 * vector)));
  }

  // 64 channels; constants are loaded once for all rows of the tile.
  void all(const Sums& sums, std::uint8_t* const* out) const {
    const avx512::Channels64& c = e_.channels;
    const __m512i b0 = load_once(k_.start), b1 = load_once(k_.start + 16);
    const __m512i b2 = load_once(k_.start + 32), b3 = load_once(k_.start + 48);
    const __m512i s0 = load_once(c.shift), s1 = load_once(c.shift + 16);
    const __m512i s2 = load_once(c.shift + 32), s3 = load_once(c.shift + 48);
    const __m512i m0 = load_once(c.m), m1 = load_once(c.m + 32), l0 = load_once(c.low), l1 = load_once(c.low + 32);
    const Epilogue<D> e = e_;
    const std::uint64_t mask = avx512::low_lanes(k_.block.channels);
    const auto shifted = [](const std::int32_t* sum, __m512i start, __m512i shift) {
      return _mm512_srav_epi32(_mm512_add_epi32(load(sum), start), shift);
    };
    for (std::int32_t r = 0; r < rows_; ++r) {
      const std::int32_t* line = sums.at[r];
      const __m512i low = _mm512_packs_epi32(shifted(line, b0, s0), shifted(line + 16, b1, s1));
      const __m512i high = _mm512_packs_epi32(shifted(line + 32, b2, s2), shifted(line + 48, b3, s3));
      const __m512i y = _mm512_packs_epi16(avx512::multiply(low, m0, l0, 0, e), avx512::multiply(high, m1, l1, 32, e));
      _mm512_mask_storeu_epi8(out[r], mask, avx512::finish(y, e));
    }
  }

  // The first 32 channels.
  void two(const Sums& sums, std::uint8_t* const* out) const {
    const std::uint64_t mask = avx512::low_lanes(k_.block.channels);
    for (std::int32_t r = 0; r < rows_; r += 2)
      avx512::store2<true>(out[r], out[r + 1], sum(sums, r, 0), sum(sums, r, 1), sum(sums, r + 1, 0),
                           sum(sums, r + 1, 1), e_, mask);
  }

  // 16 channels.
  void one(const Sums& sums, std::uint8_t* const* out, std::int32_t vector) const {
    const std::int32_t first = 16 * vector;
    const std::uint64_t mask = avx512::low_lanes(k_.block.channels - first);
    for (std::int32_t r = 0; r < rows_; r += 4)
      avx512::store1<4>(out + r, sum(sums, r, vector), sum(sums, r + 1, vector), sum(sums, r + 2, vector),
                        sum(sums, r + 3, vector), first, e_, mask);
  }

  const Context& k_;
  const Epilogue<D> e_;
  const std::int32_t rows_;
};

// ---- both

// Up to two tiles and what has become of them.
struct Pair {
  std::int32_t count = 0;
  Pixels pixels[2];
  Sums sums[2];
};

// The epilogue of a tile stands between products of later ones: the two have nothing in common, and the processor does
// them side by side.
template <int Count, int D>
void run_pair(const Context& k, Pair* now, const Pair& before, const Finisher<D>& finish) {
  std::int32_t finished = 0;
  for (std::int32_t vector = 0; vector < k.vectors; vector += 2) {
    if (vector + 1 < k.vectors)
      multiply<Count, 2>(k, now->pixels, vector, now->sums);
    else
      multiply<Count, 1>(k, now->pixels, vector, now->sums);
    if (finished < before.count) {
      finish(before.sums[finished], before.pixels[finished]);
      ++finished;
    }
  }
  for (; finished < before.count; ++finished) finish(before.sums[finished], before.pixels[finished]);
}

template <int D>
void run_tiles(const Context& k, const GemmLines& lines, const avx512::Clamp& clamp, Session* session) {
  alignas(64) std::uint8_t dropped[kBlock];
  const Tiles tiles(lines, dropped);
  const Finisher<D> finish(k, clamp, tiles.rows());
  Pair pairs[2];
  configure(tiles.rows(), session);
  int now = 0;
  for (std::int32_t index = 0; index < tiles.count(); index += 2, now = 1 - now) {
    Pair& pair = pairs[now];
    pair.count = min(2, tiles.count() - index);
    for (std::int32_t i = 0; i < pair.count; ++i) tiles.get(index + i, &pair.pixels[i]);
    if (pair.count == 2)
      run_pair<2>(k, &pair, pairs[1 - now], finish);
    else
      run_pair<1>(k, &pair, pairs[1 - now], finish);
  }
  const Pair& last = pairs[1 - now];
  for (std::int32_t i = 0; i < last.count; ++i) finish(last.sums[i], last.pixels[i]);
}

}  // namespace

void gemm_run(const std::uint8_t* packed, std::int32_t block_index, const GemmLines& lines, const Rq8& rq,
              Session* session) {
  const PackedBlock b = PackedBlock::at(packed, block_index);
  alignas(64) std::int32_t start[kBlock];
  b.start_values(lines, start);
  const std::int32_t vectors = ceil_div(b.header->channels, 16), part_steps = b.header->steps / b.header->parts;
  const std::int32_t skipped = lines.first_part * part_steps;
  const Context context{*b.header,
                        start,
                        b.offsets + skipped,
                        b.weights + std::int64_t{skipped} * vectors * 64,
                        vectors,
                        (lines.end_part - lines.first_part) * part_steps / GemmCore::kStepGroup,
                        lines.in_pixel};
  static constexpr void (*kRun[])(const Context&, const GemmLines&, const avx512::Clamp&, Session*) = {
      run_tiles<0>, run_tiles<1>, run_tiles<2>, run_tiles<kAny>};
  kRun[avx512::doublings(context.block.constants.doublings)](context, lines, avx512::make_clamp(rq.lo, rq.hi), session);
}

}  // namespace openbpu::kernels::amx
