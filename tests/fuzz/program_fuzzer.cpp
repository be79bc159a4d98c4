// libFuzzer target over reader, verifier and engine; see docs/container.md, Fuzzing.
#include <cstdio>
#include <cstdlib>

#include "fuzz/program_fuzz.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const openbpu::fuzz::Verdict verdict = openbpu::fuzz::check({data, data + size});
  if (verdict.failure.empty()) return 0;
  std::fprintf(stderr, "%s\n", verdict.failure.c_str());
  std::abort();
}

// One mutant in eight is damaged as bytes, so that structure and checksums are exercised too.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned int seed) {
  using namespace openbpu;
  fuzz::Random random(seed);
  std::optional<fuzz::Parts> parts = fuzz::split({data, data + size});
  if (!parts || random() % 8 == 0) return LLVMFuzzerMutate(data, size, max_size);
  fuzz::mutate(*parts, random);
  const fuzz::Bytes file = container::write(*parts);
  if (file.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, file.data(), file.size());
  return file.size();
}
