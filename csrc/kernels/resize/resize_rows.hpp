// The rows of resize_nearest_rows(), resize_bilinear_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/resize/resize.hpp"

namespace openbpu::kernels {

extern const Row<ResizeParams> kResizeNearestAvx512Vnni;
extern const Row<ResizeParams> kResizeNearestAvx2;
extern const Row<ResizeParams> kResizeNearestNeon;
extern const Row<ResizeParams> kResizeNearestScalar;
extern const Row<ResizeParams> kResizeBilinearAvx512Vnni;
extern const Row<ResizeParams> kResizeBilinearAvx2;
extern const Row<ResizeParams> kResizeBilinearNeon;
extern const Row<ResizeParams> kResizeBilinearScalar;
extern const Row<ResizeNearest16Params> kResizeNearest16Scalar;
extern const Row<ResizeBilinear16Params> kResizeBilinear16Avx512Vnni;
extern const Row<ResizeBilinear16Params> kResizeBilinear16Avx2;
extern const Row<ResizeBilinear16Params> kResizeBilinear16Neon;
extern const Row<ResizeBilinear16Params> kResizeBilinear16Scalar;

}  // namespace openbpu::kernels
