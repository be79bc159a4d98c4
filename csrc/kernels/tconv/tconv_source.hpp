// Which input row or column a tap of a transposed convolution reads.
#pragma once

#include <cstdint>

namespace openbpu::kernels {

// The input row or column that reaches output position o through tap k, or -1.
inline std::int32_t tconv_source(std::int32_t o, std::int32_t k, std::int32_t stride, std::int32_t dilation,
                                 std::int32_t pad, std::int32_t extent) {
  const std::int32_t scaled = o + pad - k * dilation;
  return scaled >= 0 && scaled % stride == 0 && scaled / stride < extent ? scaled / stride : -1;
}

}  // namespace openbpu::kernels
