#include "engine/peak.hpp"

#include <algorithm>
#include <chrono>

#include "engine/features.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace openbpu::engine {
namespace {

constexpr int kRounds = 4000, kRepetitions = 25;

// Products per second, best repetition. body() makes `products` products per round and returns a value to keep.
template <class Body>
double best_of(double products, Body body) {
  double seconds = 1e9;
  for (int i = 0; i < kRepetitions; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    seconds = std::min(seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return products * kRounds / seconds / 1e9;
}

// Twelve independent accumulators, so that throughput counts, not latency (two a cycle times five cycles). The
// instructions are fixed by assembly: a compiler would fold the constant operands.
#define OPENBPU_TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

#if defined(__x86_64__)

__attribute__((target("avx2"))) void avx2_rounds() {
  const __m256i x = _mm256_set1_epi8(1), w = _mm256_set1_epi8(2), one = _mm256_set1_epi16(1);
#define OPENBPU_DECLARE(i) __m256i c##i = _mm256_setzero_si256();
  OPENBPU_TWELVE(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE
  for (int round = 0; round < kRounds; ++round) {
    __m256i t;
#define OPENBPU_DOT(i)                                                             \
  asm volatile("vpmaddubsw %3, %2, %0\n\tvpmaddwd %4, %0, %0\n\tvpaddd %0, %1, %1" \
               : "=&x"(t), "+x"(c##i)                                              \
               : "x"(x), "x"(w), "x"(one));
    OPENBPU_TWELVE(OPENBPU_DOT)
#undef OPENBPU_DOT
  }
}

#ifdef OPENBPU_HAS_AVXVNNI
__attribute__((target("avx2,avxvnni"))) void avxvnni_rounds() {
  const __m256i x = _mm256_set1_epi8(1), w = _mm256_set1_epi8(2);
#define OPENBPU_DECLARE(i) __m256i c##i = _mm256_setzero_si256();
  OPENBPU_TWELVE(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE
  for (int round = 0; round < kRounds; ++round) {
#define OPENBPU_DOT(i) asm volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(c##i) : "x"(x), "x"(w));
    OPENBPU_TWELVE(OPENBPU_DOT)
#undef OPENBPU_DOT
  }
}
#endif

__attribute__((target("avx512f,avx512vnni"))) void avx512vnni_rounds() {
  const __m512i x = _mm512_set1_epi8(1), w = _mm512_set1_epi8(2);
#define OPENBPU_DECLARE(i) __m512i c##i = _mm512_setzero_si512();
  OPENBPU_TWELVE(OPENBPU_DECLARE)
#undef OPENBPU_DECLARE
  for (int round = 0; round < kRounds; ++round) {
#define OPENBPU_DOT(i) asm volatile("vpdpbusd %2, %1, %0" : "+v"(c##i) : "v"(x), "v"(w));
    OPENBPU_TWELVE(OPENBPU_DOT)
#undef OPENBPU_DOT
  }
}

#ifdef OPENBPU_HAS_AMX
// Four sums, which hide the latency of a product; its sixteen rows take sixteen cycles.
void amx_rounds() {
  struct alignas(64) {
    std::uint8_t palette = 1, reserved[15] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  asm volatile("ldtilecfg %0" : : "m"(config));
  for (int round = 0; round < kRounds; ++round)
    asm volatile(
        "tdpbusd %tmm6, %tmm4, %tmm0\n\ttdpbusd %tmm7, %tmm4, %tmm1\n\t"
        "tdpbusd %tmm6, %tmm5, %tmm2\n\ttdpbusd %tmm7, %tmm5, %tmm3");
  asm volatile("tilerelease");
}
#endif

#elif defined(__aarch64__)

#define OPENBPU_DECLARE(i) int32x4_t c##i = vdupq_n_s32(0);
#define OPENBPU_ROUNDS(name, architecture, instruction)       \
  __attribute__((target("arch=" architecture))) void name() { \
    const int8x16_t x = vdupq_n_s8(1), w = vdupq_n_s8(2);     \
    OPENBPU_TWELVE(OPENBPU_DECLARE)                           \
    for (int round = 0; round < kRounds; ++round) {           \
      OPENBPU_TWELVE(instruction)                             \
    }                                                         \
  }

#define OPENBPU_SMLAL(i) asm volatile("smlal %0.4s, %1.4h, %2.4h" : "+w"(c##i) : "w"(x), "w"(w));
OPENBPU_ROUNDS(neon_rounds, "armv8-a", OPENBPU_SMLAL)
#define OPENBPU_SDOT(i) asm volatile("sdot %0.4s, %1.16b, %2.16b" : "+w"(c##i) : "w"(x), "w"(w));
OPENBPU_ROUNDS(neondot_rounds, "armv8.2-a+dotprod", OPENBPU_SDOT)
#ifdef OPENBPU_HAS_NEONI8MM
#define OPENBPU_SMMLA(i) asm volatile("smmla %0.4s, %1.16b, %2.16b" : "+w"(c##i) : "w"(x), "w"(w));
OPENBPU_ROUNDS(neoni8mm_rounds, "armv8.2-a+i8mm", OPENBPU_SMMLA)
#endif

#endif

#undef OPENBPU_TWELVE

}  // namespace

double peak_gmacs([[maybe_unused]] kernels::Isa isa) {
#if defined(__x86_64__)
  if (isa == kernels::Isa::Avx2 && host_has(isa)) return best_of(12.0 * 32, avx2_rounds);
#ifdef OPENBPU_HAS_AVXVNNI
  if (isa == kernels::Isa::AvxVnni && host_has(isa)) return best_of(12.0 * 32, avxvnni_rounds);
#endif
#ifdef OPENBPU_HAS_AMX
  if (isa == kernels::Isa::Amx && host_has(isa)) return best_of(4.0 * 16 * 16 * 64, amx_rounds);
#endif
  if (isa == kernels::Isa::Avx512Vnni && host_has(isa)) return best_of(12.0 * 64, avx512vnni_rounds);
#elif defined(__aarch64__)
  if (isa == kernels::Isa::Neon && host_has(isa)) return best_of(12.0 * 4, neon_rounds);
  if (isa == kernels::Isa::NeonDot && host_has(isa)) return best_of(12.0 * 16, neondot_rounds);
#ifdef OPENBPU_HAS_NEONI8MM
  if (isa == kernels::Isa::NeonI8mm && host_has(isa)) return best_of(12.0 * 32, neoni8mm_rounds);
#endif
#endif
  return 0;
}

}  // namespace openbpu::engine
