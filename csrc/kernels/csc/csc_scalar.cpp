#include "kernels/csc/csc_rows.hpp"
#include "kernels/elements.hpp"
#include "numerics/colour.hpp"

namespace openbpu::kernels {
namespace {

void run(const CscParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each_element(p.out, begin, end, [&](std::int32_t n, std::int32_t y, std::int32_t x, std::int32_t c) {
    const std::uint8_t* chroma = element_at(p.chroma, n, (p.y + y) >> p.half, (p.x + x) >> p.half, 0);
    const std::int32_t luma = static_cast<std::int8_t>(*element_at(p.luma, n, y, x, 0) ^ p.luma_flip);
    const std::int32_t u = static_cast<std::int8_t>(chroma[0] ^ p.chroma_flip);
    const std::int32_t v = static_cast<std::int8_t>(chroma[p.chroma.sc] ^ p.chroma_flip);
    const CscEntry& e = p.entries[c];
    const std::int32_t sum = luma * e.m[0] + u * e.m[1] + v * e.m[2];
    store_element(element_at(p.out, n, y, x, c), p.stored, numerics::colour(sum, e.b, p.sh, e.lo, e.hi));
  });
}

}  // namespace

const Row<CscParams> kCscScalar{"csc_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run};

}  // namespace openbpu::kernels
