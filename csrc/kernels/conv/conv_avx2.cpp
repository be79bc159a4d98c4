#include "kernels/conv/conv_ways.hpp"
#include "kernels/x86/gemm_avx2.hpp"

namespace openbpu::kernels {
namespace {

struct Core {
  static constexpr std::int32_t kBlock = 16, kUnitPixels = 64, kMaxL = 15;
  static constexpr std::int64_t kUnitProducts = 1 << 21;  // about 25 us
  using Channels = avx2::GemmChannels;
  using Source = avx2::GemmSource;
  using Lines = avx2::GemmLines;
  static constexpr auto packed_bytes = avx2::gemm_packed_bytes;
  static constexpr auto pack = avx2::gemm_pack;
  static constexpr auto run = avx2::gemm_run;
};

using Ways = ConvWays<Core>;

}  // namespace

const Row<ConvParams> kConvAvx2{"conv_avx2_4x16", Isa::Avx2, Ways::accepts, Ways::plan,
                                Ways::pack,       Ways::run, Ways::region};

}  // namespace openbpu::kernels
