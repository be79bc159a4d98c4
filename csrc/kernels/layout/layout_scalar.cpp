#include <cstring>

#include "kernels/elements.hpp"
#include "kernels/layout/layout_rows.hpp"

namespace openbpu::kernels {
namespace {

void run_copy(const CopyParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    for (std::int32_t x = 0; x < p.out.w; ++x) {
      const std::uint8_t* in = p.in.data + n * p.in.sn + y * p.in.sh + x * p.in.sw;
      std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw;
      for (std::int32_t c = 0; c < p.out.c; ++c) {
        if (p.element_size == 1)
          out[c * p.out.sc] = static_cast<std::uint8_t>(in[c * p.in.sc] ^ p.flip);
        else
          std::memcpy(out + c * p.out.sc, in + c * p.in.sc, static_cast<std::size_t>(p.element_size));
      }
    }
  }
}

void run_fill(const FillParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    for (std::int32_t x = 0; x < p.out.w; ++x) {
      std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw;
      if (p.element_size == 1)
        std::memset(out, p.value, static_cast<std::size_t>(p.out.c));
      else
        for (std::int32_t c = 0; c < p.out.c; ++c) std::memcpy(out + 2 * c, &p.value, sizeof p.value);
    }
  }
}

}  // namespace

const Row<CopyParams> kCopyScalar{"copy_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run_copy};
const Row<FillParams> kFillScalar{"fill_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run_fill};

}  // namespace openbpu::kernels
