#include "engine/features.hpp"

#include "engine/engine.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace openbpu::engine {
namespace {

#if defined(__x86_64__)
struct X86 {
  bool avx2 = false, avxvnni = false, avx512vnni = false, avx512vbmi = false, amx = false;
};

#ifdef OPENBPU_HAS_AMX
// Whether the system lets the process use tile registers, which Linux wants to be asked for.
bool permits_tiles() {
#if defined(OPENBPU_EMULATE_AMX)
  return true;
#elif defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

// CPUID says what the core has, XCR0 whether the system saves the registers.
X86 detect() {
  X86 x86;
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return x86;
  const bool fma = (c & bit_FMA) != 0;
  unsigned xcr0, high;
  __asm__("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return x86;
  constexpr unsigned kYmm = 0x06, kZmm = 0xE6;
#ifdef OPENBPU_EMULATE_AMX
  [[maybe_unused]] constexpr unsigned kTiles = 0, kAmx = 0;
#else
  [[maybe_unused]] constexpr unsigned kTiles = 0x60000, kAmx = 1u << 24 | 1u << 25;
#endif
  constexpr unsigned kCore = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
  x86.avx2 = (xcr0 & kYmm) == kYmm && (b & bit_AVX2) != 0 && fma;
  x86.avx512vnni = x86.avx2 && (xcr0 & kZmm) == kZmm && (b & kCore) == kCore && (c & bit_AVX512VNNI) != 0;
  x86.avx512vbmi = x86.avx512vnni && (c & bit_AVX512VBMI) != 0;
#ifdef OPENBPU_HAS_AMX
  x86.amx = x86.avx512vbmi && (xcr0 & kTiles) == kTiles && (d & kAmx) == kAmx && permits_tiles();
#endif
#ifdef OPENBPU_HAS_AVXVNNI
  if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) x86.avxvnni = x86.avx2 && (a & bit_AVXVNNI) != 0;
#endif
  return x86;
}

const X86& host() {
  static const X86 x86 = detect();
  return x86;
}

constexpr kernels::Isa kUnderAmx[] = {kernels::Isa::Amx, kernels::Isa::Avx512Vbmi, kernels::Isa::Avx512Vnni,
                                      kernels::Isa::Avx2, kernels::Isa::Scalar};
constexpr kernels::Isa kUnderAvx512[] = {kernels::Isa::Avx512Vbmi, kernels::Isa::Avx512Vnni, kernels::Isa::Avx2,
                                         kernels::Isa::Scalar};

// Without the first where the host lacks it.
Span<const kernels::Isa> under_avx512() {
  const std::size_t skipped = host().avx512vbmi ? 0 : 1;
  return {kUnderAvx512 + skipped, sizeof kUnderAvx512 / sizeof kUnderAvx512[0] - skipped};
}
constexpr kernels::Isa kUnderAvxVnni[] = {kernels::Isa::AvxVnni, kernels::Isa::Avx2, kernels::Isa::Scalar};
constexpr kernels::Isa kUnderAvx2[] = {kernels::Isa::Avx2, kernels::Isa::Scalar};
#elif defined(__aarch64__)
// NEON belongs to every processor of 64 bits; the system tells of the rest.
bool host_has_dot() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
bool host_has_i8mm() {
#ifdef OPENBPU_HAS_NEONI8MM
  return host_has_dot() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
#else
  return false;
#endif
}

constexpr kernels::Isa kUnderNeonI8mm[] = {kernels::Isa::NeonI8mm, kernels::Isa::NeonDot, kernels::Isa::Neon,
                                           kernels::Isa::Scalar};
constexpr kernels::Isa kUnderNeonDot[] = {kernels::Isa::NeonDot, kernels::Isa::Neon, kernels::Isa::Scalar};
constexpr kernels::Isa kUnderNeon[] = {kernels::Isa::Neon, kernels::Isa::Scalar};
#endif

constexpr kernels::Isa kUnderScalar[] = {kernels::Isa::Scalar};

}  // namespace

Span<const IsaInfo> isa_table() {
  static const IsaInfo table[] = {
#if defined(__x86_64__)
      {"amx", kernels::Isa::Amx, [] { return host().amx; }, 0x80, 500, 12, kUnderAmx},
      {"avx512vnni", kernels::Isa::Avx512Vnni, [] { return host().avx512vnni; }, 0x80, 120, 12, under_avx512()},
      {"avxvnni", kernels::Isa::AvxVnni, [] { return host().avxvnni; }, 0x80, 80, 10, kUnderAvxVnni},
      {"avx2", kernels::Isa::Avx2, [] { return host().avx2; }, 0x80, 40, 10, kUnderAvx2},
#elif defined(__aarch64__)
      {"neoni8mm", kernels::Isa::NeonI8mm, host_has_i8mm, 0, 80, 8, kUnderNeonI8mm},
      {"neondot", kernels::Isa::NeonDot, host_has_dot, 0, 40, 8, kUnderNeonDot},
      {"neon", kernels::Isa::Neon, [] { return true; }, 0, 10, 5, kUnderNeon},
#endif
      {"scalar", kernels::Isa::Scalar, [] { return true; }, 0, 0.5, 0.5, kUnderScalar},
  };
  return {table, sizeof table / sizeof table[0]};
}

bool host_has(kernels::Isa isa) {
#if defined(__x86_64__)
  if (isa == kernels::Isa::Avx512Vbmi) return host().avx512vbmi;
#endif
  for (const IsaInfo& info : isa_table())
    if (info.isa == isa) return info.available();
  return false;
}

Result<const IsaInfo*> find_isa(const std::string& name) {
  std::string names;
  for (const IsaInfo& info : isa_table()) {
    if (!info.available()) continue;
    if (name == "auto" || name == info.name) return &info;
    names += std::string(names.empty() ? "" : ", ") + info.name;
  }
  return Status{Code::Unsupported, "isa", "must be auto or one that this host has (" + names + "); got " + name};
}

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const IsaInfo& info : isa_table())
    if (info.available()) names.emplace_back(info.name);
  return names;
}

std::vector<std::string> host_features() {
  std::vector<std::string> features;
#if defined(__x86_64__)
  if (host().avx2) features.emplace_back("avx2");
  if (host().avxvnni) features.emplace_back("avxvnni");
  if (host().avx512vnni) features.emplace_back("avx512vnni");
  if (host().avx512vbmi) features.emplace_back("avx512vbmi");
  if (host().amx) features.emplace_back("amx");
#elif defined(__aarch64__)
  features.emplace_back("neon");
  if (host_has_dot()) features.emplace_back("neondot");
  if (host_has_i8mm()) features.emplace_back("neoni8mm");
#endif
  return features;
}

}  // namespace openbpu::engine
