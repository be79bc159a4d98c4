// What the host can run, and which row of a table is taken.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "engine/features.hpp"
#include "engine/row_step.hpp"

namespace openbpu::engine {
namespace {

using kernels::Isa;

struct Params {
  int width;
};

kernels::Plan plan(const Params&) { return {0, 0, 1}; }
void run(const Params&, const std::uint8_t*, std::uint8_t*, std::int32_t, std::int32_t) {}
bool any(const Params&) { return true; }
bool wide(const Params& p) { return p.width >= 64; }
bool even(const Params& p) { return p.width % 2 == 0; }

constexpr kernels::Row<Params> kTable[] = {
    {"op_wide", Isa::Avx512Vnni, wide, plan, nullptr, run}, {"op_dot", Isa::NeonDot, wide, plan, nullptr, run},
    {"op_neon", Isa::Neon, even, plan, nullptr, run},       {"op_even", Isa::Avx2, even, plan, nullptr, run},
    {"op_scalar", Isa::Scalar, any, plan, nullptr, run},
};

struct Choice {
  std::string row;     // its name, "" if none takes the parameters
  std::string reason;  // why it is not of the ISA asked for
};

Choice choose(Params params, kernels::Rows<Params> rows, const IsaInfo& isa) {
  const auto step = make_row_step(row_table(params, rows), isa);
  return step.ok() ? Choice{step.value()->info.row, step.value()->reason} : Choice{};
}

Choice choose(int width, const char* isa_name) {
  for (const IsaInfo& isa : isa_table())
    if (std::string(isa.name) == isa_name) return choose(Params{width}, kernels::Rows<Params>{kTable, 5}, isa);
  return {"", "no such ISA"};
}

TEST(Selection, FirstRowThatMayRunAndTakesTheParameters) {
#if defined(__x86_64__)
  EXPECT_EQ(choose(64, "avx512vnni").row, "op_wide");
  EXPECT_EQ(choose(32, "avx512vnni").row, "op_even");
  EXPECT_EQ(choose(3, "avx512vnni").row, "op_scalar");
  EXPECT_EQ(choose(64, "avx2").row, "op_even");
  EXPECT_EQ(choose(64, "avxvnni").row, "op_even");
  EXPECT_EQ(choose(64, "avx512vnni").reason, "");
  EXPECT_EQ(choose(32, "avx512vnni").reason, "op_wide does not take these parameters");
  EXPECT_EQ(choose(3, "avx2").reason, "op_even does not take these parameters");
#elif defined(__aarch64__)
  EXPECT_EQ(choose(64, "neondot").row, "op_dot");
  EXPECT_EQ(choose(64, "neoni8mm").row, "op_dot");
  EXPECT_EQ(choose(64, "neon").row, "op_neon");
  EXPECT_EQ(choose(32, "neondot").row, "op_neon");
  EXPECT_EQ(choose(3, "neondot").row, "op_scalar");
  EXPECT_EQ(choose(32, "neondot").reason, "op_dot does not take these parameters");
  EXPECT_EQ(choose(64, "neoni8mm").reason, "no row for neoni8mm");
#endif
  EXPECT_EQ(choose(64, "scalar").row, "op_scalar");
  EXPECT_EQ(choose(64, "scalar").reason, "");
}

TEST(Selection, ATableWithoutTheIsaSaysSo) {
  const IsaInfo& best = isa_table()[0];
  const auto choice = choose(Params{1}, kernels::Rows<Params>{kTable + 4, 1}, best);
  EXPECT_EQ(choice.row, "op_scalar");
  EXPECT_EQ(choice.reason, best.isa == Isa::Scalar ? "" : std::string("no row for ") + best.name);
  const IsaInfo& scalar = isa_table()[isa_table().size() - 1];
  EXPECT_EQ(choose(Params{1}, kernels::Rows<Params>{kTable, 1}, scalar).row, "");
}

TEST(Selection, NamesOfIsas) {
  for (const std::string& name : available_isas()) EXPECT_STREQ(find_isa(name).value()->name, name.c_str());
  EXPECT_STREQ(find_isa("auto").value()->name, available_isas().front().c_str());
  const Status status = find_isa("mmx").status();
  EXPECT_EQ(status.code(), Code::Unsupported);
  EXPECT_NE(status.message().find("scalar"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("mmx"), std::string::npos) << status.message();
}

// The kernel's own list of what the processor has and the system saves.
TEST(Selection, FeaturesAgreeWithTheSystem) {
#if defined(__x86_64__) && defined(__linux__)
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string line, flag;
  while (std::getline(cpuinfo, line) && line.rfind("flags", 0) != 0) continue;
  if (line.rfind("flags", 0) != 0) GTEST_SKIP() << "no /proc/cpuinfo";
  std::vector<std::string> flags;
  for (std::istringstream words(line); words >> flag;) flags.push_back(flag);
  const auto has = [&](const std::vector<std::string>& all) {
    return std::all_of(all.begin(), all.end(),
                       [&](const std::string& f) { return std::find(flags.begin(), flags.end(), f) != flags.end(); });
  };
  std::vector<std::string> expected;
  if (has({"avx2", "fma"})) expected.emplace_back("avx2");
  // A compiler may not know the newer ones; of tiles the system has the last word.
  const auto built = [](Isa isa) {
    return std::any_of(isa_table().begin(), isa_table().end(),
                       [&](const IsaInfo& info) { return info.isa == isa && info.available(); });
  };
  if (has({"avx2", "fma", "avx_vnni"}) && built(Isa::AvxVnni)) expected.emplace_back("avxvnni");
  const std::vector<std::string> core = {"avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"};
  if (has(core)) expected.emplace_back("avx512vnni");
  if (has(core) && has({"avx512vbmi"})) expected.emplace_back("avx512vbmi");
#ifdef OPENBPU_EMULATE_AMX
  const bool tiles = true;
#else
  const bool tiles = has({"amx_tile", "amx_int8"});
#endif
  if (has(core) && has({"avx512vbmi"}) && tiles && built(Isa::Amx)) expected.emplace_back("amx");
  EXPECT_EQ(host_features(), expected);
#elif defined(__aarch64__) && defined(__linux__)
  // Linux lets programs read what it knows of the processor from the registers themselves.
  std::uint64_t isar0, isar1;
  __asm__("mrs %0, ID_AA64ISAR0_EL1" : "=r"(isar0));
  __asm__("mrs %0, ID_AA64ISAR1_EL1" : "=r"(isar1));
  std::vector<std::string> expected = {"neon"};
  const bool dot = (isar0 >> 44 & 15) != 0;
  if (dot) expected.emplace_back("neondot");
  if (dot && (isar1 >> 52 & 15) != 0) expected.emplace_back("neoni8mm");
  EXPECT_EQ(host_features(), expected);
#endif
}

}  // namespace
}  // namespace openbpu::engine
