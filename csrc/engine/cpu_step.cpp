#include "engine/cpu_step.hpp"

#include <algorithm>
#include <atomic>
#include <new>

#include "isa/cpu_call.hpp"
#include "kernels/cpu/kernel.hpp"
#include "operators/rules.hpp"

namespace openbpu::engine {
namespace {

namespace cpu = kernels::cpu;

// The ISA whose primitives a call uses.
kernels::Isa vector_isa(const IsaInfo& isa) {
  const auto allowed = [&](kernels::Isa wanted) {
    return std::find(isa.allowed.begin(), isa.allowed.end(), wanted) != isa.allowed.end();
  };
  for (kernels::Isa wanted : {kernels::Isa::Avx512Vnni, kernels::Isa::Avx2})
    if (allowed(wanted)) return wanted;
  return kernels::Isa::Scalar;
}

class CpuStep final : public Step {
 public:
  CpuStep(isa::CpuCall decoded, const Memory& memory, const IsaInfo& isa)
      : decoded_(std::move(decoded)),
        kernel_(*cpu::find_kernel(decoded_.call.kernel->name)),
        vector_(cpu::vector_of(vector_isa(isa))) {
    row_ = std::string(kernel_.name) + "_" + vector_.name;
    info.row = row_.c_str();
    info.reason = reason.c_str();
    place(memory);
    plan = kernel_.plan(decoded_.call, vector_);
    if (staged_bytes_ > 0) {
      plan.units = 1;
      kernel_scratch_ = (plan.scratch_bytes + 63) / 64 * 64;
      plan.scratch_bytes = kernel_scratch_ + staged_bytes_;
    }
  }

  void pack(std::uint8_t* memory) override {
    prepared_ = memory;
    kernel_.prepare(decoded_.call, vector_, memory);
  }

  void run(std::uint8_t* scratch, std::int32_t begin, std::int32_t end) const override {
    stage(scratch, false);
    const char* fault = kernel_.run({decoded_.call, vector_, prepared_, scratch}, begin, end);
    stage(scratch, true);
    if (fault) fault_.store(fault, std::memory_order_relaxed);
  }

  const char* failure() const override { return fault_.exchange(nullptr, std::memory_order_relaxed); }

 private:
  // int8 in an arena that is stored in another form: the kernel works on a plain copy in scratch.
  struct Staged {
    operators::Tensor* tensor;
    std::uint8_t* stored;
    std::size_t offset;
    bool output;
  };

  void place(const Memory& memory) {
    for (std::size_t k = 0; k < decoded_.tensors.size(); ++k) {
      operators::Tensor& tensor = decoded_.tensors[k];
      const isa::CpuTensor& record = decoded_.records[k];
      const auto region = static_cast<isa::Region>(record.region);
      if (!tensor || region == isa::Region::Const) continue;
      if (region == isa::Region::In || region == isa::Region::Out) {
        ports.push_back({&tensor.data, region, record.port, record.base,
                         static_cast<std::uint32_t>(operators::size_of(tensor.type))});
        continue;
      }
      tensor.data = (region == isa::Region::Ddr ? memory.ddr : memory.sram) + record.base;
      if (tensor.type != operators::Type::I8 || memory.flip == 0) continue;
      staged_.push_back({&tensor, tensor.data, staged_bytes_, decoded_.is_output(k)});
      staged_bytes_ += (static_cast<std::size_t>(tensor.bytes()) + 63) / 64 * 64;
    }
  }

  // Before the run: inputs to scratch; after it: outputs back.
  void stage(std::uint8_t* scratch, bool after) const {
    for (const Staged& s : staged_) {
      std::uint8_t* plain = scratch + kernel_scratch_ + s.offset;
      s.tensor->data = plain;
      if (s.output != after) continue;
      const std::uint8_t* from = after ? plain : s.stored;
      std::uint8_t* to = after ? s.stored : plain;
      for (std::int64_t i = 0; i < s.tensor->bytes(); ++i) to[i] = from[i] ^ 0x80;
    }
  }

  isa::CpuCall decoded_;
  const cpu::Kernel& kernel_;
  const cpu::Vector& vector_;
  std::string row_;
  const std::uint8_t* prepared_ = nullptr;
  std::vector<Staged> staged_;
  std::size_t staged_bytes_ = 0, kernel_scratch_ = 0;
  mutable std::atomic<const char*> fault_{nullptr};
};

}  // namespace

Result<std::unique_ptr<Step>> bind_cpu_call(const isa::Instruction& instruction, const Memory& memory,
                                            const IsaInfo& isa) {
  Result<isa::CpuCall> decoded = isa::decode_cpu_call(instruction, *memory.sections, "CPUCALL");
  if (!decoded.ok()) return decoded.status();
  std::uint64_t bytes = 0;
  for (const operators::Tensor& tensor : decoded.value().tensors) bytes += static_cast<std::uint64_t>(tensor.bytes());
  auto step = std::unique_ptr<CpuStep>(new (std::nothrow) CpuStep(std::move(decoded.value()), memory, isa));
  if (!step) return Status{Code::NoMemory, "engine", "no memory for a step"};
  step->info.bytes = bytes;
  return std::unique_ptr<Step>(std::move(step));
}

}  // namespace openbpu::engine
