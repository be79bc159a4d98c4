#include <algorithm>
#include <cmath>

#include "isa/verify_detail.hpp"

namespace openbpu::isa::detail {
namespace {

constexpr u32 kMaxExtent = 65535;

// One dimension of a surface: extent and byte stride.
struct Axis {
  u64 extent, stride;
};

u32 rows_in_memory(const Surface& s) { return s.roll_h ? std::min(s.roll_h, s.h) : s.h; }

struct Axes {
  Axis axis[4];  // n, h, w, c
  explicit Axes(const Surface& s)
      : axis{{s.n, s.stride_n}, {rows_in_memory(s), s.stride_h}, {s.w, s.stride_w}, {s.c, s.stride_c}} {}
};

// Bytes that the axes from `first` on cover.
u64 inner_reach(const Surface& surface, int first) {
  u64 reach = element_size(static_cast<DType>(surface.dtype));
  const Axes axes(surface);
  for (int i = first; i < 4; ++i) reach += (axes.axis[i].extent - 1) * axes.axis[i].stride;
  return reach;
}

// The two surfaces repeat with one period (the stride of axis `level`), and within a period their bytes are disjoint.
bool interleaved(const Surface& a, const Surface& b, int level) {
  const Axes x(a), y(b);
  const u64 period = x.axis[level].stride;
  if (period == 0 || y.axis[level].stride != period) return false;
  for (int i = 0; i < level; ++i)
    for (const Axis& outer : {x.axis[i], y.axis[i]})
      if (outer.extent > 1 && outer.stride % period != 0) return false;
  // Counted from the start of a, wherever the buffer itself lies: a fills [0, end_a) of each period.
  const u64 begin_b = (b.base % period + period - a.base % period) % period;
  return inner_reach(a, level + 1) <= begin_b && begin_b + inner_reach(b, level + 1) <= period;
}

}  // namespace

u64 surface_reach(const Surface& surface) { return inner_reach(surface, 0); }

bool same_extents(const Surface& a, const Surface& b) { return a.n == b.n && a.h == b.h && a.w == b.w && a.c == b.c; }

bool is_injective(const Surface& surface) {
  Axes axes(surface);
  std::sort(axes.axis, axes.axis + 4, [](const Axis& p, const Axis& q) { return p.stride < q.stride; });
  u64 reach = element_size(static_cast<DType>(surface.dtype));
  for (const Axis& axis : axes.axis) {
    if (axis.extent == 1) continue;
    if (axis.stride < reach) return false;
    reach += (axis.extent - 1) * axis.stride;
  }
  return true;
}

bool may_overlap(const Surface& a, const Surface& b) {
  if (a.region != b.region || a.port != b.port) return false;
  if (a.base + surface_reach(a) <= b.base || b.base + surface_reach(b) <= a.base) return false;
  for (int level = 0; level < 3; ++level)
    if (interleaved(a, b, level)) return false;
  return true;
}

Status check_zero_point(i32 zero_point, DType type, const std::string& where) {
  const i32 lowest = type == DType::I8 ? -128 : type == DType::I16 ? -32768 : 0;
  const i32 highest = type == DType::I8 ? 127 : type == DType::U8 ? 255 : type == DType::I16 ? 32767 : 0;
  if (zero_point >= lowest && zero_point <= highest) return {};
  return illegal(where + ", field zero_point", "must lie in the range of the type", zero_point);
}

Status check_surface(const Surface& s, const std::string& where) {
  if (s.region > static_cast<u8>(Region::Home)) return illegal(where + ", field region", "must be 0..5", s.region);
  const std::size_t element = element_size(static_cast<DType>(s.dtype <= 7 ? s.dtype : 0));
  if (element == 0) return illegal(where + ", field dtype", "must be 1..7", s.dtype);
  if (s.layout > static_cast<u8>(Layout::Strided)) return illegal(where + ", field layout", "must be 0 or 1", s.layout);
  if (s.layout == static_cast<u8>(Layout::Nhwc) && s.stride_c != element)
    return illegal(where + ", field stride_c", "an NHWC surface has the element size", s.stride_c);
  for (u32 extent : {s.n, s.h, s.w, s.c})
    if (extent < 1 || extent > kMaxExtent) return illegal(where, "extents must be 1..65535; one", extent);
  if (u64{s.n} * s.h * s.w * s.c > kMaxElements) return illegal(where, "a surface has at most 2^31 - 1 elements");
  for (u32 stride : {s.stride_n, s.stride_h, s.stride_w, s.stride_c})
    if (stride % element != 0) return illegal(where, "strides must be multiples of the element size; one", stride);
  if (s.base % element != 0)
    return illegal(where + ", field base", "must be a multiple of the element size", static_cast<i64>(s.base));
  if (s.base >= u64{1} << 48) return illegal(where + ", field base", "must be below 2^48", static_cast<i64>(s.base));
  if (s.roll_h > kMaxExtent) return illegal(where + ", field roll_h", "must be at most 65535", s.roll_h);
  if (s.roll_h != 0 && s.region != static_cast<u8>(Region::Sram))
    return illegal(where + ", field roll_h", "must be 0 outside SRAM", s.roll_h);
  const u64 row = u64{s.w - 1} * s.stride_w + u64{s.c - 1} * s.stride_c + element;
  if (s.roll_h != 0 && s.stride_h < row)
    return illegal(where + ", field stride_h", "rows of a rolling surface must not overlap", s.stride_h);
  const bool port_region = s.region == static_cast<u8>(Region::In) || s.region == static_cast<u8>(Region::Out);
  if (!port_region && s.port != 0) return illegal(where + ", field port", "must be 0 outside IN and OUT", s.port);
  if (!std::isfinite(s.scale) || s.scale < 0)
    return illegal(where + ", field scale", "must be finite and not negative");
  if (Status status = check_zero_point(s.zero_point, static_cast<DType>(s.dtype), where); !status.ok()) return status;
  return {};
}

}  // namespace openbpu::isa::detail
