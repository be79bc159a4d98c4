#include <algorithm>

#include "isa/verify_detail.hpp"

namespace openbpu::isa::detail {
namespace {

constexpr u64 kMaxItem = u64{1} << 40;

u64 round_up(u64 value, u64 step) { return (value + step - 1) / step * step; }

// Bytes that format and dims imply; kMaxItem if the extents are absurd.
u64 implied_size(const Const& item) {
  const u64 d0 = item.dims[0], d1 = item.dims[1], d2 = item.dims[2], d3 = item.dims[3];
  switch (static_cast<Format>(item.format)) {
    case Format::RAW:
      return d0;
    case Format::CONV_WEIGHTS:
      if (d0 > 65535 || d1 > 65535 || d2 > 65536 || d3 > 65535 || d0 * d2 > (1 << 24)) return kMaxItem;
      return std::min(d0 * round_up(d1, 16) * d2 * round_up(d3, 4), kMaxItem);
    case Format::DW_WEIGHTS:
      return d0 > 65535 || d1 > 65536 ? kMaxItem : round_up(d0, 16) * d1;
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
  }
  return kMaxItem;
}

int used_dims(Format format) { return format == Format::CONV_WEIGHTS ? 4 : format == Format::DW_WEIGHTS ? 2 : 1; }

Status check_rq8(const Const& item, const Sections& sections, const std::string& where) {
  const Rq8View rq = rq8_view(item, sections);
  const u32 padded = static_cast<u32>(round_up(item.dims[0], 16));
  for (u32 c = 0; c < padded; ++c) {
    const std::string at = where + ", channel " + std::to_string(c);
    if (c >= item.dims[0] && (rq.B[c] != 0 || rq.m[c] != 16384 || rq.s[c] != 0))
      return illegal(at, "padding must be B 0, m 16384, s 0");
    if (rq.m[c] < 16384) return illegal(at, "m must be 16384..32767", rq.m[c]);
    if (rq.s[c] > 31) return illegal(at, "s must be 0..31", rq.s[c]);
  }
  return {};
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
      for (u32 i = 0; i < item.dims[0]; ++i) {
        const ResizeEntry& e = items<ResizeEntry>(item, sections)[i];
        const std::string at = where + ", entry " + std::to_string(i);
        if (e.i0 < 0 || e.i1 < 0) return illegal(at, "indices must not be negative");
        if (e.w0 < 0 || e.w1 < 0 || e.w0 + e.w1 != 2048) return illegal(at, "weights must sum to 2048", e.w0 + e.w1);
      }
      return {};
    default:
      return {};
  }
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

}  // namespace

Rq8View rq8_view(const Const& item, const Sections& sections) {
  const u64 padded = round_up(item.dims[0], 16);
  const u8* data = sections.constants.data() + item.offset;
  return {reinterpret_cast<const i32*>(data), reinterpret_cast<const i16*>(data + 4 * padded), data + 6 * padded};
}

u64 weight_magnitude(const Const& item, const Sections& sections, u32 channel) {
  const auto* data = reinterpret_cast<const std::int8_t*>(sections.constants.data() + item.offset);
  u64 sum = 0;
  const auto add = [&sum](std::int8_t w) { sum += static_cast<u64>(w < 0 ? -w : w); };
  if (static_cast<Format>(item.format) == Format::DW_WEIGHTS) {
    const u64 taps = item.dims[1];
    for (u64 tap = 0; tap < taps; ++tap) add(data[(channel / 16 * taps + tap) * 16 + channel % 16]);
    return sum;
  }
  const u64 co = item.dims[1], cells = item.dims[2] * (round_up(item.dims[3], 4) / 4);
  const u64 block = channel / co * (round_up(co, 16) / 16) + channel % co / 16;
  for (u64 cell = 0; cell < cells; ++cell)
    for (u64 lane = 0; lane < 4; ++lane) add(data[(block * cells + cell) * 64 + channel % co % 16 * 4 + lane]);
  return sum;
}

Status check_const(const Const& item, const Sections& sections, const std::string& where) {
  if (std::none_of(std::begin(kFormats), std::end(kFormats),
                   [&](const FormatInfo& f) { return static_cast<u8>(f.format) == item.format; }))
    return illegal(where + ", field format", "must be one of the table", item.format);
  for (u8 byte : item.reserved0)
    if (byte != 0) return illegal(where + ", field reserved0", "must be zero", byte);
  const int used = used_dims(static_cast<Format>(item.format));
  for (int i = 0; i < 4; ++i)
    if ((item.dims[i] == 0) == (i < used))
      return illegal(where + ", field dims", "extents of the format must be positive and the others zero",
                     item.dims[i]);
  const u64 size = implied_size(item);
  if (size >= kMaxItem) return illegal(where + ", field dims", "the extents are too large");
  if (item.size != size)
    return illegal(where + ", field size", "must be what format and dims imply", static_cast<i64>(item.size));
  if (item.offset % 64 != 0 || item.offset > sections.constants.size() ||
      size > sections.constants.size() - item.offset)
    return illegal(where + ", field offset", "must be a multiple of 64 with the item inside section CONST",
                   static_cast<i64>(item.offset));
  const auto format = static_cast<Format>(item.format);
  if (format == Format::CONV_WEIGHTS || format == Format::DW_WEIGHTS)
    return check_weight_padding(item, sections, where);
  return check_values(item, sections, where);
}

}  // namespace openbpu::isa::detail
