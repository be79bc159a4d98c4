// A bounded number of mutants of the golden file. OPENBPU_FUZZ_RUNS sets how many, OPENBPU_FUZZ_SEED where they start.
#include <cstdlib>

#include "fuzz/program_fuzz.hpp"
#include "golden.hpp"

namespace openbpu::fuzz {
namespace {

unsigned long setting(const char* name, unsigned long fallback) {
  const char* text = std::getenv(name);
  return text ? std::strtoul(text, nullptr, 10) : fallback;
}

// The golden files that hold instructions; that of version 1.1 holds calls.
class FuzzFile : public ::testing::TestWithParam<const char*> {};

TEST_P(FuzzFile, WhatIsAcceptedRunsEqually) {
  const unsigned long runs = setting("OPENBPU_FUZZ_RUNS", 4000), first = setting("OPENBPU_FUZZ_SEED", 1);
  const std::optional<Parts> file = split(testing::golden_file(GetParam()));
  ASSERT_TRUE(file);
  const Parts& golden = *file;
  ASSERT_TRUE(check(container::write(golden)).accepted);
  unsigned long accepted = 0;
  for (unsigned long seed = first; seed < first + runs; ++seed) {
    Random random(static_cast<Random::result_type>(seed));
    Parts parts = golden;
    mutate(parts, random);
    const Verdict verdict = check(container::write(parts));
    accepted += verdict.accepted;
    ASSERT_EQ(verdict.failure, "") << "OPENBPU_FUZZ_SEED=" << seed << " OPENBPU_FUZZ_RUNS=1";
  }
  // Neither everything nor nothing: the mutants stay close enough to legal programs to reach the kernels.
  if (runs >= 1000) {
    EXPECT_GT(accepted, runs / 20);
    EXPECT_LT(accepted, runs);
  }
  RecordProperty("accepted", static_cast<int>(accepted));
}

INSTANTIATE_TEST_SUITE_P(Golden, FuzzFile, ::testing::Values("/v1.bpux", "/v1_2.bpux", "/v1_3.bpux", "/v1_4.bpux"),
                         [](const auto& file) {
                           return std::string(file.param).substr(1, std::strlen(file.param) - 6);
                         });

// A few calls of the golden file of version 1.1, then mutants of them: all its calls at once would take long.
TEST(Fuzz, CallsThatAreAcceptedRunEqually) {
  const unsigned long runs = setting("OPENBPU_FUZZ_RUNS", 4000), first = setting("OPENBPU_FUZZ_SEED", 1);
  const std::optional<Parts> golden = split(testing::golden_file("/v1_1.bpux"));
  ASSERT_TRUE(golden);
  unsigned long accepted = 0;
  for (unsigned long seed = first; seed < first + runs; ++seed) {
    Random random(static_cast<Random::result_type>(seed));
    Parts parts = *golden;
    const isa::Instruction last = parts.code.back();
    parts.code = {parts.code[random() % (parts.code.size() - 1)], parts.code[random() % (parts.code.size() - 1)], last};
    parts.entries[0].instructions = 3;
    for (Random::result_type edits = 1 + random() % 3; edits > 0; --edits) mutate_aux(parts, random);
    const Verdict verdict = check(container::write(parts));
    accepted += verdict.accepted;
    ASSERT_EQ(verdict.failure, "") << "OPENBPU_FUZZ_SEED=" << seed << " OPENBPU_FUZZ_RUNS=1";
  }
  if (runs >= 1000) {
    EXPECT_GT(accepted, runs / 20);
    EXPECT_LT(accepted, runs);
  }
  RecordProperty("accepted", static_cast<int>(accepted));
}

TEST(Fuzz, SplitIsTheInverseOfWrite) {
  const Parts golden = testing::golden_parts();
  std::optional<Parts> parts = split(container::write(golden));
  ASSERT_TRUE(parts);
  parts->meta = golden.meta;
  EXPECT_EQ(container::write(*parts), container::write(golden));
  EXPECT_FALSE(split(Bytes(63)));
}

}  // namespace
}  // namespace openbpu::fuzz
