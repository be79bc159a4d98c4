// LUT8 on hosts that permute bytes of two registers: 64 look-ups are two permutations and a blend.
#include "kernels/kernel.hpp"
#include "kernels/x86/vec512.hpp"
// Vec comes first.
#include "kernels/lut/lut_vector.hpp"

namespace openbpu::kernels {
namespace {

void run_vbmi(const Lut8Params& p, const std::uint8_t* table, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const __m512i t0 = Vec::load(table), t1 = Vec::load(table + 64), t2 = Vec::load(table + 128),
                t3 = Vec::load(table + 192);
  for_each_run(p, p.in, begin, end, [&](const std::uint8_t* in, std::uint8_t* out, std::int32_t n) {
    for (std::int32_t i = 0; i < n; i += Vec::kBytes) {
      const __m512i x = load_run(in + i, n - i);
      const __m512i low = _mm512_permutex2var_epi8(t0, x, t1), high = _mm512_permutex2var_epi8(t2, x, t3);
      store_run(out + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high), n - i);
    }
  });
}

}  // namespace

const Row<Lut8Params> kLut8Avx512Vbmi{"lut8_avx512vbmi", Isa::Avx512Vbmi, stored_for_vec, plan, pack, run_vbmi};

}  // namespace openbpu::kernels
