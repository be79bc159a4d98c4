#include "kernels/conv/conv_ways.hpp"
#include "kernels/x86/avx512.hpp"
#include "kernels/x86/gemm_avx512vnni.hpp"

namespace openbpu::kernels {
namespace {

struct Core {
  static constexpr std::int32_t kBlock = avx512::kBlock, kUnitPixels = 192, kMaxL = avx512::kMaxDoublings;
  static constexpr std::int64_t kUnitProducts = 1 << 22;  // about 15 us
  using Channels = avx512::GemmChannels;
  using Source = avx512::GemmSource;
  using Lines = avx512::GemmLines;
  static constexpr auto packed_bytes = avx512::gemm_packed_bytes;
  static constexpr auto pack = avx512::gemm_pack;
  static constexpr auto run = avx512::gemm_run;
};

using Ways = ConvWays<Core>;

}  // namespace

const Row<ConvParams> kConvAvx512Vnni{
    "conv_avx512vnni_6x64", Isa::Avx512Vnni, Ways::accepts, Ways::plan, Ways::pack, Ways::run, Ways::region};

}  // namespace openbpu::kernels
