// CPUCALL: each kernel of the table exists, damage to a call is refused with its place and rule, faults of data end the
// run, and any number of threads gives the same bytes.
#include "isa/cpu_call.hpp"

#include <cstring>

#include "engine/engine.hpp"
#include "golden.hpp"
#include "kernels/cpu/kernel.hpp"
#include "operators/rules.hpp"

namespace openbpu::testing {
namespace {

container::Parts cpu_parts() {
  auto program = container::Program::read(golden_file("/v1_1.bpux"));
  EXPECT_TRUE(program.ok()) << program.status().where() << ": " << program.status().message();
  return parts_of(*program.value());
}

// The record of the first call of an operator, to be changed.
struct CallEditor {
  isa::CpuCallAux* head;
  isa::CpuTensor *in, *out;
  std::uint64_t* words;

  CallEditor(container::Parts& parts, const char* name) {
    for (const isa::Instruction& i : parts.code) {
      if (i.op != static_cast<std::uint8_t>(isa::Op::CPUCALL)) continue;
      head = reinterpret_cast<isa::CpuCallAux*>(&parts.aux[i.aux]);
      in = reinterpret_cast<isa::CpuTensor*>(head + 1);
      out = in + head->inputs;
      words = reinterpret_cast<std::uint64_t*>(out + head->outputs);
      if (std::strcmp(operators::find_kernel(head->kernel)->name, name) == 0) return;
    }
    ADD_FAILURE() << "the golden file lacks " << name;
  }
};

struct Damage {
  const char *name, *kernel;
  void (*plant)(CallEditor&);
  const char *where, *rule;
};

std::ostream& operator<<(std::ostream& stream, const Damage& damage) { return stream << damage.name; }

class CpuDamage : public ::testing::TestWithParam<Damage> {};

TEST_P(CpuDamage, IsRefused) {
  container::Parts parts = cpu_parts();
  CallEditor editor(parts, GetParam().kernel);
  GetParam().plant(editor);
  const Status status = container::Program::read(container::write(parts)).status();
  ASSERT_FALSE(status.ok()) << "accepted";
  EXPECT_NE(status.where().find(GetParam().where), std::string::npos) << status.where() << ": " << status.message();
  EXPECT_NE(status.message().find(GetParam().rule), std::string::npos) << status.where() << ": " << status.message();
}

constexpr Damage kDamage[] = {
    {"kernel", "Exp", [](CallEditor& e) { e.head->kernel = 65000; }, "field kernel", "of the table"},
    {"inputs", "Exp", [](CallEditor& e) { e.head->inputs = 255; }, "Exp", ""},
    {"words", "Exp", [](CallEditor& e) { e.head->words = 0xFFFFFFF0; }, "field words", "inside section AUX"},
    {"region", "Exp", [](CallEditor& e) { e.in->region = 9; }, "input 0, field region", "0..4"},
    {"type", "Exp", [](CallEditor& e) { e.in->dtype = 14; }, "input 0, field dtype", "0..13"},
    {"rank", "Exp", [](CallEditor& e) { e.in->rank = 9; }, "input 0, field rank", "0..8"},
    {"unused_extent", "Exp", [](CallEditor& e) { e.in->shape[7] = 1; }, "input 0, field shape", "unused ones zero"},
    {"zero_extent", "Exp", [](CallEditor& e) { e.in->shape[0] = 0; }, "input 0, field shape", "must be positive"},
    {"too_large", "Transpose", [](CallEditor& e) { e.in->shape[0] = e.in->shape[1] = 1u << 31; }, "input 0",
     "2^31 - 1"},
    {"base", "Exp", [](CallEditor& e) { e.in->base = 2; }, "input 0, field base", "multiple of the element size"},
    {"far_base", "Exp", [](CallEditor& e) { e.in->base = 1 << 20; }, "Exp, input 0", "inside its region"},
    {"end", "Exp", [](CallEditor& e) { e.in->base = 4 * 768 - 4; }, "Exp, input 0", "inside its region"},
    {"port", "Exp", [](CallEditor& e) { e.in->port = 200; }, "Exp, input 0", "no such port"},
    {"home", "Exp", [](CallEditor& e) { e.in->home = 1; }, "field home", "must be 0 or 1 + the id"},
    {"written_input", "Exp", [](CallEditor& e) { e.out->region = 3; }, "output 0", "IN is never written"},
    {"written_constant", "Exp", [](CallEditor& e) { e.out->region = 0, e.out->port = 0; }, "output 0", "CONST"},
    {"shape", "Exp", [](CallEditor& e) { e.out->shape[0] = 36; }, "Exp, output 0", "shape of the input"},
    {"absent", "Exp", [](CallEditor& e) { *e.in = {}; }, "input 0", "must be there"},
    {"axis", "Concat", [](CallEditor& e) { e.words[0] = 4; }, "attribute axis", "dimension"},
    {"permutation", "Transpose", [](CallEditor& e) { e.words[1] = 4; }, "attribute perm", "once"},
    {"list", "Transpose", [](CallEditor& e) { e.words[0] = ~0ull; }, "attribute perm", "inside the record"},
    {"word", "Pad", [](CallEditor& e) { e.words[0] = 4; }, "attribute mode", "word of its list"},
    {"number", "Elu", [](CallEditor& e) { e.words[0] = 0x7FF0000000000000; }, "attribute alpha", "finite"},
    {"parameter", "Slice", [](CallEditor& e) { e.in[1] = e.in[0]; }, "input 1", "must lie in CONST"},
    {"groups", "Conv", [](CallEditor& e) { e.words[1] = 3; }, "attribute group", "divide"},
    {"tuples", "GatherND", [](CallEditor& e) { e.words[0] = 7; }, "batch_dims", "less than both ranks"},
    {"k", "TopK", [](CallEditor& e) { e.out[0].shape[1] = 4; }, "output 0", "k along the axis"},
};

INSTANTIATE_TEST_SUITE_P(Calls, CpuDamage, ::testing::ValuesIn(kDamage), name_of<Damage>);

TEST(CpuCall, EveryOperatorOfTheTableHasAKernel) {
  for (const operators::KernelInfo& info : operators::kKernels)
    EXPECT_NE(kernels::cpu::find_kernel(info.name), nullptr) << info.name;
}

TEST(CpuCall, TheGoldenFileCallsEveryOperator) {
  const container::Parts parts = cpu_parts();
  for (const operators::KernelInfo& info : operators::kKernels) {
    bool called = false;
    for (const isa::Instruction& i : parts.code)
      called = called || (i.op == static_cast<std::uint8_t>(isa::Op::CPUCALL) &&
                          reinterpret_cast<const isa::CpuCallAux*>(&parts.aux[i.aux])->kernel == info.id);
    EXPECT_TRUE(called) << info.name;
  }
}

std::vector<Bytes> run(const std::shared_ptr<const container::Program>& program, int threads, std::size_t shift,
                       Status& status) {
  auto engine = engine::Engine::create(program, {"", "auto", threads, {}});
  EXPECT_TRUE(engine.ok());
  std::vector<Bytes> inputs, outputs;
  std::vector<const void*> sources;
  std::vector<void*> targets;
  for (const isa::Port& port : engine.value()->inputs()) {
    inputs.emplace_back(port.bytes + 8);
    for (std::size_t k = 0; k < port.bytes; ++k) inputs.back()[k] = static_cast<std::uint8_t>(k % 251 / 250);
  }
  for (const isa::Port& port : engine.value()->outputs()) outputs.emplace_back(port.bytes + 8);
  for (Bytes& bytes : inputs) sources.push_back(bytes.data() + shift);
  for (Bytes& bytes : outputs) targets.push_back(bytes.data());
  status = engine.value()->run(sources, targets);
  return outputs;
}

TEST(CpuCall, ThreadsGiveTheSameBytes) {
  const auto program = container::Program::read(golden_file("/v1_1.bpux"));
  ASSERT_TRUE(program.ok());
  Status first, second;
  EXPECT_EQ(run(program.value(), 1, 0, first), run(program.value(), 3, 0, second));
  EXPECT_EQ(first.code(), second.code());
}

TEST(CpuCall, MemoryOfTheCallerMustBeAligned) {
  const auto program = container::Program::read(golden_file("/v1_1.bpux"));
  ASSERT_TRUE(program.ok());
  Status status;
  run(program.value(), 1, 1, status);
  EXPECT_EQ(status.code(), Code::BadArgument);
  EXPECT_NE(status.message().find("aligned"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace openbpu::testing
