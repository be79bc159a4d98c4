// Operators that read images at places given by data: RoiAlign, MaxRoiPool, DeformConv; and AffineGrid.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu/kernel.hpp"

namespace openbpu::kernels::cpu {
namespace {

using operators::Window;

Plan one_unit(const Call&, const Vector&) { return plan_of_units(1); }

// ---- AffineGrid

const char* affine_run(const Task& task, std::int32_t, std::int32_t) {
  const Tensor &theta = task.call.in(0), &y = task.call.out();
  const int d = y.rank - 2;
  const bool corners = task.call.integer("align_corners") != 0;
  const std::int64_t points = y.product(1, 1 + d);
  for (std::int64_t i = 0; i < y.extent[0] * points; ++i) {
    double place[4] = {0, 0, 0, 1};  // x first, then 1
    std::int64_t rest = i % points;
    for (int k = d - 1; k >= 0; --k) {
      const auto size = static_cast<double>(y.extent[1 + k]), at = static_cast<double>(rest % y.extent[1 + k]);
      place[d - 1 - k] = corners ? (size > 1 ? 2 * at / (size - 1) - 1 : -1) : (2 * at + 1) / size - 1;
      rest /= y.extent[1 + k];
    }
    place[d] = 1;
    const float* rows = theta.as<const float>() + i / points * d * (d + 1);
    for (int r = 0; r < d; ++r) {
      double sum = 0;
      for (int c = 0; c <= d; ++c) sum += static_cast<double>(rows[r * (d + 1) + c]) * place[c];
      y.as<float>()[i * d + r] = static_cast<float>(sum);
    }
  }
  return nullptr;
}

// ---- regions

Plan region_plan(const Call& call, const Vector&) { return plan_of_units(call.out().extent[0]); }

// Bilinear value; nothing beyond one pixel outside.
double bilinear(const float* image, std::int64_t rows, std::int64_t columns, double y, double x, double (&parts)[4]) {
  for (double& part : parts) part = 0;
  if (!(y >= -1 && y <= static_cast<double>(rows) && x >= -1 && x <= static_cast<double>(columns))) return 0;
  y = std::max(y, 0.0);
  x = std::max(x, 0.0);
  const std::int64_t y0 = std::min(static_cast<std::int64_t>(y), rows - 1), y1 = std::min(y0 + 1, rows - 1);
  const std::int64_t x0 = std::min(static_cast<std::int64_t>(x), columns - 1), x1 = std::min(x0 + 1, columns - 1);
  const double fy = y0 == rows - 1 ? 0 : y - static_cast<double>(y0),
               fx = x0 == columns - 1 ? 0 : x - static_cast<double>(x0);
  const auto at = [&](std::int64_t r, std::int64_t c) { return static_cast<double>(image[r * columns + c]); };
  parts[0] = (1 - fy) * (1 - fx) * at(y0, x0);
  parts[1] = (1 - fy) * fx * at(y0, x1);
  parts[2] = fy * (1 - fx) * at(y1, x0);
  parts[3] = fy * fx * at(y1, x1);
  return parts[0] + parts[1] + parts[2] + parts[3];
}

const char* align_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Call& call = task.call;
  const Tensor &x = call.in(0), &y = call.out();
  const double scale = call.number("spatial_scale"),
               shift = call.choice("coordinate_transformation_mode") == 0 ? 0.5 : 0;
  const bool largest = call.choice("mode") == 1;
  const std::int64_t rows = x.extent[2], columns = x.extent[3], ph = y.extent[2], pw = y.extent[3];
  for (std::int64_t region = begin; region < end; ++region) {
    const std::int64_t image = call.in(2).as<const std::int64_t>()[region];
    if (image < 0 || image >= x.extent[0]) return "batch_indices must name images of the input";
    const float* corners = call.in(1).as<const float>() + region * 4;
    double place[4];
    for (int k = 0; k < 4; ++k) {
      place[k] = static_cast<double>(corners[k]) * scale - shift;
      if (!(std::fabs(place[k]) < 1e7)) return "regions must be finite and lie within 10^7 pixels";
    }
    double height = place[3] - place[1], width = place[2] - place[0];
    if (shift == 0) height = std::max(height, 1.0), width = std::max(width, 1.0);
    const double cell_h = height / static_cast<double>(ph), cell_w = width / static_cast<double>(pw);
    const std::int64_t given = call.integer("sampling_ratio");
    const std::int64_t grid_h = given > 0 ? given : static_cast<std::int64_t>(std::ceil(cell_h));
    const std::int64_t grid_w = given > 0 ? given : static_cast<std::int64_t>(std::ceil(cell_w));
    if (grid_h > 1024 || grid_w > 1024) return "a cell of a region must be at most 1024 pixels";
    const auto count = static_cast<double>(
        std::max<std::int64_t>(1, std::max<std::int64_t>(grid_h, 0) * std::max<std::int64_t>(grid_w, 0)));
    for (std::int64_t c = 0; c < x.extent[1]; ++c) {
      const float* plane = x.as<const float>() + (image * x.extent[1] + c) * rows * columns;
      for (std::int64_t cell = 0; cell < ph * pw; ++cell) {
        double sum = 0, most = 0, parts[4];
        bool first = true;
        for (std::int64_t i = 0; i < grid_h; ++i)
          for (std::int64_t j = 0; j < grid_w; ++j) {
            const double at_y = place[1] + (static_cast<double>(cell / pw) +
                                            (static_cast<double>(i) + 0.5) / static_cast<double>(grid_h)) *
                                               cell_h;
            const double at_x = place[0] + (static_cast<double>(cell % pw) +
                                            (static_cast<double>(j) + 0.5) / static_cast<double>(grid_w)) *
                                               cell_w;
            sum += bilinear(plane, rows, columns, at_y, at_x, parts);
            const double top = std::max(std::max(parts[0], parts[1]), std::max(parts[2], parts[3]));
            most = first ? top : std::max(most, top);
            first = false;
          }
        y.as<float>()[(region * x.extent[1] + c) * ph * pw + cell] = static_cast<float>(largest ? most : sum / count);
      }
    }
  }
  return nullptr;
}

const char* max_region_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const double scale = task.call.number("spatial_scale");
  const std::int64_t ph = y.extent[2], pw = y.extent[3], rows = x.extent[2], columns = x.extent[3];
  for (std::int64_t region = begin; region < end; ++region) {
    const float* roi = task.call.in(1).as<const float>() + region * 5;
    for (int k = 0; k < 5; ++k)
      if (!(std::fabs(static_cast<double>(roi[k])) < 1e7 && std::fabs(static_cast<double>(roi[k]) * scale) < 1e7))
        return "regions must be finite and lie within 10^7 pixels";
    const auto image = static_cast<std::int64_t>(roi[0]);
    if (image < 0 || image >= x.extent[0]) return "regions must name images of the input";
    const auto corner = [&](int k) {
      return static_cast<std::int64_t>(std::round(static_cast<double>(roi[k]) * scale));
    };
    const std::int64_t left = corner(1), top = corner(2);
    const double cell_w =
        static_cast<double>(std::max<std::int64_t>(corner(3) - left + 1, 1)) / static_cast<double>(pw);
    const double cell_h = static_cast<double>(std::max<std::int64_t>(corner(4) - top + 1, 1)) / static_cast<double>(ph);
    const auto edge = [](double at, std::int64_t shift, std::int64_t size) {
      return std::clamp<std::int64_t>(static_cast<std::int64_t>(at) + shift, 0, size);
    };
    for (std::int64_t c = 0; c < x.extent[1]; ++c) {
      const float* plane = x.as<const float>() + (image * x.extent[1] + c) * rows * columns;
      for (std::int64_t cell = 0; cell < ph * pw; ++cell) {
        const auto i = static_cast<double>(cell / pw), j = static_cast<double>(cell % pw);
        const std::int64_t y0 = edge(std::floor(i * cell_h), top, rows),
                           y1 = edge(std::ceil((i + 1) * cell_h), top, rows);
        const std::int64_t x0 = edge(std::floor(j * cell_w), left, columns),
                           x1 = edge(std::ceil((j + 1) * cell_w), left, columns);
        const bool empty = y0 >= y1 || x0 >= x1;
        float most = empty ? 0 : -std::numeric_limits<float>::infinity();
        for (std::int64_t r = y0; r < y1; ++r)
          for (std::int64_t k = x0; k < x1; ++k) most = std::max(most, plane[r * columns + k]);
        y.as<float>()[(region * x.extent[1] + c) * ph * pw + cell] = most;
      }
    }
  }
  return nullptr;
}

// ---- DeformConv: gathered columns of one position, then a dot product per output channel

struct Deform {
  Window w;
  std::int64_t groups, offset_groups, ci, co;
};

Deform deform_of(const Call& call) {
  Deform d{};
  if (operators::window_of(call, call.in(0), call.out(), call.in(1).extent + 2, d.w)) return {};
  d.groups = call.integer("group");
  d.offset_groups = call.integer("offset_group");
  d.ci = call.in(1).extent[1];
  d.co = call.in(1).extent[0] / d.groups;
  return d;
}

Plan deform_plan(const Call& call, const Vector&) {
  const Deform d = deform_of(call);
  return plan_of_units(call.out().extent[0] * d.w.out[1], 0,
                       static_cast<std::size_t>(d.ci * d.w.taps()) * sizeof(float));
}

// Zero outside the image, linear between pixels.
float deformed(const float* image, const Window& w, double y, double x) {
  if (!(y > -1 && y < static_cast<double>(w.in[1]) && x > -1 && x < static_cast<double>(w.in[2]))) return 0;
  const auto y0 = static_cast<std::int64_t>(std::floor(y)), x0 = static_cast<std::int64_t>(std::floor(x));
  const double fy = y - static_cast<double>(y0), fx = x - static_cast<double>(x0);
  const auto at = [&](std::int64_t r, std::int64_t c) {
    const bool inside = r >= 0 && r < w.in[1] && c >= 0 && c < w.in[2];
    return inside ? static_cast<double>(image[r * w.in[2] + c]) : 0;
  };
  return static_cast<float>((1 - fy) * ((1 - fx) * at(y0, x0) + fx * at(y0, x0 + 1)) +
                            fy * ((1 - fx) * at(y0 + 1, x0) + fx * at(y0 + 1, x0 + 1)));
}

const char* deform_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Call& call = task.call;
  const Deform d = deform_of(call);
  const Window& w = d.w;
  const std::int64_t taps = w.taps(), out = w.out_pixels(), channels = call.in(0).extent[1];
  auto* column = reinterpret_cast<float*>(task.scratch);
  for (std::int64_t unit = begin; unit < end; ++unit) {
    const std::int64_t image = unit / w.out[1], row = unit % w.out[1];
    for (std::int64_t g = 0; g < d.groups; ++g)
      for (std::int64_t x = 0; x < w.out[2]; ++x) {
        const std::int64_t pixel = row * w.out[2] + x;
        for (std::int64_t c = 0; c < d.ci; ++c) {
          const std::int64_t channel = g * d.ci + c, o = channel / (channels / d.offset_groups);
          const float* plane = call.in(0).as<const float>() + (image * channels + channel) * w.in_pixels();
          for (std::int64_t t = 0; t < taps; ++t) {
            const std::int64_t at = (image * d.offset_groups + o) * taps + t;
            const float* offset = call.in(2).as<const float>() + 2 * at * out + pixel;
            const double y = static_cast<double>(row * w.stride[1] - w.before[1] + t / w.kernel[2] * w.dilation[1]) +
                             static_cast<double>(offset[0]);
            const double place = static_cast<double>(x * w.stride[2] - w.before[2] + t % w.kernel[2] * w.dilation[2]) +
                                 static_cast<double>(offset[out]);
            const float mask = call.in(4) ? call.in(4).as<const float>()[at * out + pixel] : 1;
            column[c * taps + t] = mask * deformed(plane, w, y, place);
          }
        }
        for (std::int64_t o = g * d.co; o < (g + 1) * d.co; ++o)
          call.out().as<float>()[(image * d.groups * d.co + o) * out + pixel] =
              task.vector.dot(call.in(1).as<const float>() + o * d.ci * taps, column, d.ci * taps) +
              (call.in(3) ? call.in(3).as<const float>()[o] : 0);
      }
  }
  return nullptr;
}

constexpr Kernel kTable[] = {
    {"AffineGrid", one_unit, nullptr, affine_run},
    {"RoiAlign", region_plan, nullptr, align_run},
    {"MaxRoiPool", region_plan, nullptr, max_region_run},
    {"DeformConv", deform_plan, nullptr, deform_run},
};

}  // namespace

const Span<const Kernel> kSamplingKernels(kTable);

}  // namespace openbpu::kernels::cpu
