// Prints the peak of the dot-product instruction of each ISA that the host has, GMAC/s of one thread.
#include <cstdio>

#include "peak.hpp"

int main() {
  using openbpu::kernels::Isa;
  const struct {
    const char* name;
    Isa isa;
  } isas[] = {{"avx2", Isa::Avx2}, {"avx512vnni", Isa::Avx512Vnni}};
  for (const auto& [name, isa] : isas)
    if (openbpu::bench::host_runs(isa)) std::printf("%s %.1f\n", name, openbpu::bench::peak_gmacs(isa));
  return 0;
}
