// The rows of roiresize_rows(), and what they share; defined in roiresize_scalar.cpp unless an ISA is named.
#pragma once

#include "kernels/roiresize/roiresize.hpp"
#include "numerics/region.hpp"

namespace openbpu::kernels {

extern const Row<RoiResizeParams> kRoiResizeAvx2;
extern const Row<RoiResizeParams> kRoiResizeNeon;
extern const Row<RoiResizeParams> kRoiResizeScalar;

// Whether the region of image n lies in it.
bool roi_is_inside(const RoiResizeParams& p, std::int32_t n);
// The taps of all columns of the output, as pixels of the image.
void roi_columns(const RoiResizeParams& p, std::int32_t n, numerics::Tap* taps);
// Those of one row.
numerics::Tap roi_row(const RoiResizeParams& p, std::int32_t n, std::int32_t y);
// A row without a region.
void roi_blank(const RoiResizeParams& p, std::uint8_t* out);

}  // namespace openbpu::kernels
