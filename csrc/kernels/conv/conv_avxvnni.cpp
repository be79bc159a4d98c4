#include "kernels/conv/conv_ways.hpp"
#include "kernels/x86/gemm_avxvnni.hpp"

namespace openbpu::kernels {
namespace {

struct Core {
  static constexpr std::int32_t kBlock = 16, kUnitPixels = 96, kMaxL = 15;
  static constexpr std::int64_t kUnitProducts = 1 << 21;  // about 12 us
  using Channels = avxvnni::GemmChannels;
  using Source = avxvnni::GemmSource;
  using Lines = avxvnni::GemmLines;
  static constexpr auto packed_bytes = avxvnni::gemm_packed_bytes;
  static constexpr auto pack = avxvnni::gemm_pack;
  static constexpr auto run = avxvnni::gemm_run;
};

using Ways = ConvWays<Core>;

}  // namespace

const Row<ConvParams> kConvAvxVnni{"conv_avxvnni_6x16", Isa::AvxVnni, Ways::accepts, Ways::plan,
                                   Ways::pack,          Ways::run,    Ways::region};

}  // namespace openbpu::kernels
