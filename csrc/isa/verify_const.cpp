#include <algorithm>
#include <cstdlib>
#include <limits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "isa/verify_detail.hpp"

namespace openbpu::isa::detail {
namespace {

constexpr u64 kTooLarge = kMaxConstBytes + 1;

u64 round_up(u64 value, u64 step) { return (value + step - 1) / step * step; }

// Bytes that format and dims imply; more than kMaxConstBytes if the extents are absurd.
u64 implied_size(const Const& item) {
  const u64 d0 = item.dims[0], d1 = item.dims[1], d2 = item.dims[2], d3 = item.dims[3];
  switch (static_cast<Format>(item.format)) {
    case Format::RAW:
      return d0;
    case Format::CONV_WEIGHTS:
      if (d0 > 65535 || d1 > 65535 || d2 > kMaxTaps || d3 > 65535 || d0 * d2 > kMaxTaps) return kTooLarge;
      return d0 * round_up(d1, 16) * d2 * round_up(d3, 4);
    case Format::DW_WEIGHTS:
      return d0 > 65535 || d1 > kMaxTaps ? kTooLarge : round_up(d0, 16) * d1;
    case Format::RQ8:
      return round_up(d0, 16) * 7;
    case Format::RQ16:
      return d0 * sizeof(Rq16Entry);
    case Format::LUT8:
      return 256;
    case Format::EXP:
      return 512;
    case Format::POOL:
      return d0 * sizeof(PoolEntry);
    case Format::RESIZE:
      return d0 * sizeof(ResizeEntry);
    case Format::NORM:
      return round_up(d0, 16) * 6;
    case Format::NORM16:
      return round_up(d0, 16) * 12;
    case Format::RANKS:
      return 1024;
    case Format::RATIO:
      return 2048;
    case Format::CSC:
      return d0 * sizeof(CscEntry);
    case Format::LUT16:
    case Format::EXP16:
      return d0 * sizeof(i16);
    case Format::RESIZE16:
      return d0 * sizeof(Resize16Entry);
  }
  return kTooLarge;
}

int used_dims(Format format) { return format == Format::CONV_WEIGHTS ? 4 : format == Format::DW_WEIGHTS ? 2 : 1; }

Status check_rq8(const Const& item, const Sections& sections, const std::string& where) {
  const u64 padded = round_up(item.dims[0], 16);
  const auto* B = items<i32>(item, sections);
  const auto* m = reinterpret_cast<const i16*>(B + padded);
  const auto* s = reinterpret_cast<const u8*>(m + padded);
  for (u64 c = 0; c < padded; ++c) {
    const std::string at = where + ", channel " + std::to_string(c);
    if (c >= item.dims[0] && (B[c] != 0 || m[c] != 16384 || s[c] != 0))
      return illegal(at, "padding must be B 0, m 16384, s 0");
    if (m[c] < 16384) return illegal(at, "m must be 16384..32767", m[c]);
    if (s[c] > 31) return illegal(at, "s must be 0..31", s[c]);
  }
  return {};
}

// With |z| <= 2^15 the sum z * g + b then fits int32; that of a 16-bit form, with |z| < 2^30, int64.
template <class Offset, class Gain>
Status check_norm(const Const& item, const Sections& sections, u32 offset_bits, const std::string& where) {
  const u64 padded = round_up(item.dims[0], 16);
  const auto* b = items<Offset>(item, sections);
  const auto* g = reinterpret_cast<const Gain*>(b + padded);
  for (u64 c = 0; c < padded; ++c) {
    const std::string at = where + ", channel " + std::to_string(c);
    if (c >= item.dims[0] && (b[c] != 0 || g[c] != 0)) return illegal(at, "padding must be zero");
    if (g[c] == std::numeric_limits<Gain>::min()) return illegal(at, "g must not be the lowest number", g[c]);
    if (magnitude(b[c]) >= u64{1} << offset_bits)
      return illegal(at, offset_bits == 30 ? "b must be below 2^30" : "b must be below 2^61", static_cast<i64>(b[c]));
  }
  return {};
}

// With bytes for luma and chroma the sum fits int32.
Status check_csc(const Const& item, const Sections& sections, const std::string& where) {
  for (u32 c = 0; c < item.dims[0]; ++c) {
    const CscEntry& e = items<CscEntry>(item, sections)[c];
    const std::string at = where + ", channel " + std::to_string(c);
    for (const i16 m : e.m)
      if (m == -32768) return illegal(at, "m must be within +-32767", m);
    if (magnitude(e.b) >= u64{1} << 30) return illegal(at, "b must be below 2^30", e.b);
    if (e.lo > e.hi) return illegal(at, "lo must be at most hi", e.lo);
    if (e.reserved0 != 0) return illegal(at, "reserved bytes must be zero", e.reserved0);
  }
  return {};
}

// Channels and inputs beyond co and ci are zero, so that kernels may multiply them.
Status check_weight_padding(const Const& item, const Sections& sections, const std::string& where) {
  const u8* data = sections.constants.data() + item.offset;
  if (static_cast<Format>(item.format) == Format::DW_WEIGHTS) {
    const u64 channels = item.dims[0], taps = item.dims[1];
    for (u64 c = channels; c < round_up(channels, 16); ++c)
      for (u64 tap = 0; tap < taps; ++tap)
        if (data[(c / 16 * taps + tap) * 16 + c % 16] != 0)
          return illegal(where, "weights of channels beyond c must be zero");
    return {};
  }
  const u64 groups = item.dims[0], co = item.dims[1], taps = item.dims[2], ci = item.dims[3];
  const u64 blocks = round_up(co, 16) / 16, quads = round_up(ci, 4) / 4;
  if (co % 16 == 0 && ci % 4 == 0) return {};
  for (u64 block = 0; block < groups * blocks; ++block)
    for (u64 tap = 0; tap < taps; ++tap)
      for (u64 quad = 0; quad < quads; ++quad) {
        const bool last_block = block % blocks == blocks - 1, last_quad = quad == quads - 1;
        if (!last_block && !last_quad) continue;
        const u8* cell = data + ((block * taps + tap) * quads + quad) * 64;
        for (u64 lane = 0; lane < 64; ++lane)
          if (cell[lane] != 0 && (block % blocks * 16 + lane / 4 >= co || quad * 4 + lane % 4 >= ci))
            return illegal(where, "weights beyond co and ci must be zero");
      }
  return {};
}

template <class Entry>
Status check_resize(const Const& item, const Sections& sections, i64 whole, const std::string& where) {
  for (u32 i = 0; i < item.dims[0]; ++i) {
    const Entry& e = items<Entry>(item, sections)[i];
    const std::string at = where + ", entry " + std::to_string(i);
    const i64 w0 = e.w0, w1 = e.w1;
    if (e.i0 < 0 || e.i1 < 0) return illegal(at, "indices must not be negative");
    if (w0 < 0 || w1 < 0 || w0 + w1 != whole) return illegal(at, "weights must sum to " + std::to_string(whole));
  }
  return {};
}

template <class Entry>
i32 largest_index(const Const& item, const Sections& sections) {
  const auto* entries = items<Entry>(item, sections);
  i32 last = -1;
  for (u32 k = 0; k < item.dims[0]; ++k) last = std::max({last, entries[k].i0, entries[k].i1});
  return last;
}

// Knots of an interpolated table: 2^k + 1.
Status check_knots(const Const& item, const std::string& where) {
  const u32 steps = item.dims[0] - 1;
  const bool power = (steps & (steps - 1)) == 0;
  return power && steps >= 512 && steps <= 65536
             ? Status{}
             : illegal(where + ", field dims", "must be 2^k + 1 knots, k 9..16", item.dims[0]);
}

Status check_values(const Const& item, const Sections& sections, const std::string& where) {
  switch (static_cast<Format>(item.format)) {
    case Format::RQ8:
      return check_rq8(item, sections, where);
    case Format::RQ16:
      for (u32 c = 0; c < item.dims[0]; ++c) {
        const Rq16Entry& e = items<Rq16Entry>(item, sections)[c];
        const std::string at = where + ", channel " + std::to_string(c);
        if (e.m <= 0) return illegal(at, "m must be positive", e.m);
        if (e.sh < 1 || e.sh > 62) return illegal(at, "sh must be 1..62", e.sh);
        if (e.bias <= -(i64{1} << 62) || e.bias >= (i64{1} << 62)) return illegal(at, "bias must be below 2^62");
        if (e.reserved0[0] || e.reserved0[1] || e.reserved0[2]) return illegal(at, "reserved bytes must be zero");
      }
      return {};
    case Format::POOL:
      for (u32 i = 0; i < item.dims[0]; ++i) {
        const PoolEntry& e = items<PoolEntry>(item, sections)[i];
        const std::string at = where + ", entry " + std::to_string(i);
        if (e.m < 16384 || e.m > 32767) return illegal(at, "m must be 16384..32767", e.m);
        if (e.sh < 1 || e.sh > 46) return illegal(at, "sh must be 1..46", e.sh);
      }
      return {};
    case Format::RESIZE:
      return check_resize<ResizeEntry>(item, sections, 2048, where);
    case Format::RESIZE16:
      return check_resize<Resize16Entry>(item, sections, 1 << 20, where);
    case Format::LUT16:
      return check_knots(item, where);
    case Format::EXP16:
      if (Status status = check_knots(item, where); !status.ok()) return status;
      [[fallthrough]];
    case Format::EXP:  // the maximum itself; the sum of a row is then never less
      if (const u16 first = items<u16>(item, sections)[0]; first != 65535)
        return illegal(where, "entry 0 must be 65535", first);
      return {};
    case Format::NORM:
      return check_norm<i32, i16>(item, sections, 30, where);
    case Format::NORM16:
      return check_norm<i64, i32>(item, sections, 61, where);
    case Format::CONV_WEIGHTS:
    case Format::DW_WEIGHTS:
      return check_weight_padding(item, sections, where);
    case Format::RATIO:
      for (u32 i = 0; i < 256; ++i)
        if (const i64 factor = items<i64>(item, sections)[i]; factor > i64{1} << 54 || factor < -(i64{1} << 54))
          return illegal(where, "a factor must be at most 2^54 in magnitude; one", factor);
      return {};
    case Format::CSC:
      return check_csc(item, sections, where);
    case Format::RAW:
    case Format::LUT8:
    case Format::RANKS:
      return {};
  }
  return {};
}

// Adds the sums of |w| of 16 channels over cells [16][lanes].
template <u64 lanes>
void add_cells(const std::int8_t* weights, u64 cells, u64 (&sums)[16]) {
  for (u64 cell = 0; cell < cells; ++cell)
    for (u64 c = 0; c < 16; ++c)
      for (u64 lane = 0; lane < lanes; ++lane) sums[c] += static_cast<u64>(std::abs(i32{*weights++}));
}

#if defined(__x86_64__)
// The same for cells [16][4]: a dword per channel, emptied before it could overflow.
__attribute__((target("avx2"))) void add_cells_avx2(const std::int8_t* weights, u64 cells, u64 (&sums)[16]) {
  constexpr u64 kMost = u64{1} << 22;  // times 4 * 128 is below 2^32
  const __m256i bytes = _mm256_set1_epi8(1), words = _mm256_set1_epi16(1);
  while (cells > 0) {
    const u64 count = std::min(cells, kMost);
    cells -= count;
    __m256i low = _mm256_setzero_si256(), high = low;
    for (u64 i = 0; i < count; ++i, weights += 64) {
      const auto* cell = reinterpret_cast<const __m256i*>(weights);
      const __m256i a = _mm256_abs_epi8(_mm256_loadu_si256(cell)), b = _mm256_abs_epi8(_mm256_loadu_si256(cell + 1));
      low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_maddubs_epi16(a, bytes), words));
      high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_maddubs_epi16(b, bytes), words));
    }
    u32 part[16];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(part), low);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(part + 8), high);
    for (u64 c = 0; c < 16; ++c) sums[c] += part[c];
  }
}
#endif

void add_cells_of_four(const std::int8_t* weights, u64 cells, u64 (&sums)[16]) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return add_cells_avx2(weights, cells, sums);
#endif
  add_cells<4>(weights, cells, sums);
}

// Appends the sums of |w| of `channels` channels in blocks of [cells][16][lanes]; returns the end of the weights.
template <u64 lanes>
const std::int8_t* append_magnitudes(const std::int8_t* weights, u64 channels, u64 cells, std::vector<u64>& sums) {
  for (u64 first = 0; first < channels; first += 16, weights += cells * 16 * lanes) {
    u64 block[16] = {};
    if constexpr (lanes == 4)
      add_cells_of_four(weights, cells, block);
    else
      add_cells<lanes>(weights, cells, block);
    sums.insert(sums.end(), block, block + std::min<u64>(16, channels - first));
  }
  return weights;
}

}  // namespace

Facts::Facts(const Sections& sections)
    : sections_(sections), magnitudes_(sections.consts.size()), last_index_(sections.consts.size(), -1) {}

u64 Facts::weights_per_channel(u16 id) const {
  const Const& item = sections_.consts[id];
  return static_cast<Format>(item.format) == Format::DW_WEIGHTS ? item.dims[1] : u64{item.dims[2]} * item.dims[3];
}

const std::vector<u64>& Facts::weight_magnitudes(u16 id) {
  std::vector<u64>& sums = magnitudes_[id];
  if (!sums.empty()) return sums;
  const Const& item = sections_.consts[id];
  const auto* weights = items<std::int8_t>(item, sections_);
  const u32* d = item.dims;
  if (static_cast<Format>(item.format) == Format::DW_WEIGHTS)
    append_magnitudes<1>(weights, d[0], d[1], sums);
  else
    for (u64 group = 0; group < d[0]; ++group)
      weights = append_magnitudes<4>(weights, d[1], d[2] * (round_up(d[3], 4) / 4), sums);
  return sums;
}

i32 Facts::last_index(u16 id) {
  i32& last = last_index_[id];
  if (last >= 0) return last;
  const Const& item = sections_.consts[id];
  const bool wide = static_cast<Format>(item.format) == Format::RESIZE16;
  return last = wide ? largest_index<Resize16Entry>(item, sections_) : largest_index<ResizeEntry>(item, sections_);
}

Status check_const(const Const& item, const Sections& sections, const std::string& where) {
  const auto known = [&](const FormatInfo& f) { return static_cast<u8>(f.format) == item.format; };
  if (std::none_of(std::begin(kFormats), std::end(kFormats), known))
    return illegal(where + ", field format", "must be one of the table", item.format);
  for (u8 byte : item.reserved0)
    if (byte != 0) return illegal(where + ", field reserved0", "must be zero", byte);
  const int used = used_dims(static_cast<Format>(item.format));
  for (int i = 0; i < 4; ++i)
    if ((item.dims[i] == 0) == (i < used))
      return illegal(where + ", field dims", "extents of the format must be positive and the others zero; one",
                     item.dims[i]);
  const u64 size = implied_size(item);
  if (size > kMaxConstBytes) return illegal(where + ", field dims", "an item has at most 2^31 - 1 bytes");
  if (item.size != size)
    return illegal(where + ", field size", "must be what format and dims imply", static_cast<i64>(item.size));
  if (item.offset % 64 != 0 || item.offset > sections.constants.size() ||
      size > sections.constants.size() - item.offset)
    return illegal(where + ", field offset", "must be a multiple of 64 with the item inside section CONST",
                   static_cast<i64>(item.offset));
  return check_values(item, sections, where);
}

}  // namespace openbpu::isa::detail
