#include "engine/exact.hpp"

#include <algorithm>
#include <cstring>

#include "isa/reflect.hpp"

namespace openbpu::engine {
namespace {

using isa::Surface;

constexpr int kQueues = 6;  // of isa::Queue; the first four that have waits begin at Ld

int queue_of(const isa::Instruction& i) { return static_cast<int>(isa::find_instruction(i.op)->queue); }

// Calls visit(offset, bytes) for each run of bytes of a surface.
template <class Visit>
void for_each_run(const Surface& s, Visit visit) {
  const std::uint64_t element = isa::element_size(static_cast<isa::DType>(s.dtype));
  for (std::uint64_t n = 0; n < s.n; ++n)
    for (std::uint64_t y = 0; y < s.h; ++y)
      for (std::uint64_t x = 0; x < s.w; ++x) {
        const std::uint64_t at = s.base + n * s.stride_n + y * s.stride_h + x * s.stride_w;
        if (s.stride_c == element) {
          visit(at, s.c * element);
          continue;
        }
        for (std::uint64_t c = 0; c < s.c; ++c) visit(at + c * s.stride_c, element);
      }
}

// Bytes of a surface; elements that repeat others (stride 0) count once.
std::uint64_t size_of(const Surface& s) {
  std::uint64_t size = isa::element_size(static_cast<isa::DType>(s.dtype));
  if (s.stride_n != 0) size *= s.n;
  if (s.stride_h != 0) size *= s.h;
  if (s.stride_w != 0) size *= s.w;
  if (s.stride_c != 0) size *= s.c;
  return size;
}

bool is_const(const Surface& s) { return static_cast<isa::Region>(s.region) == isa::Region::Const; }

}  // namespace

ExactMachine::ExactMachine(const isa::Entry& entry, const isa::Sections& sections, const Arenas& arenas,
                           std::uint64_t seed)
    : entry_(entry),
      sections_(sections),
      arenas_(arenas),
      state_(seed),
      ddr_written_(entry.ddr_bytes),
      sram_written_(entry.sram_bytes) {}

// splitmix64
std::uint64_t ExactMachine::random() {
  std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

const std::vector<std::uint32_t>& ExactMachine::start() {
  for (std::uint64_t k = 0; k < entry_.ddr_bytes; ++k) arenas_.ddr[k] = static_cast<std::uint8_t>(random());
  for (std::uint64_t k = 0; k < entry_.sram_bytes; ++k) arenas_.sram[k] = static_cast<std::uint8_t>(random());
  std::fill(ddr_written_.begin(), ddr_written_.end(), std::uint8_t{0});
  std::fill(sram_written_.begin(), sram_written_.end(), std::uint8_t{0});
  moved_ = 0;
  draw_order();
  return order_;
}

bool ExactMachine::may_start(std::uint32_t k, const std::uint32_t (&retired)[4]) const {
  for (int q = 0; q < 4; ++q)
    if (code(k).wait[q] > retired[q]) return false;
  return true;
}

// Control instructions are barriers here too, so that a TRAP ends what the program did before it.
void ExactMachine::draw_order() {
  order_.clear();
  std::vector<std::uint32_t> queues[kQueues], barriers;
  std::size_t head[kQueues] = {}, next_barrier = 0;
  std::uint32_t retired[4] = {};
  const auto is_barrier = [](int q) {
    return q == static_cast<int>(isa::Queue::Cpu) || q == static_cast<int>(isa::Queue::Ctrl);
  };
  for (std::uint32_t k = 0; k < entry_.instructions; ++k) {
    const auto op = static_cast<isa::Op>(code(k).op);
    if (op == isa::Op::NOP || op == isa::Op::MARK || op == isa::Op::END) continue;
    const int q = queue_of(code(k));
    if (is_barrier(q)) barriers.push_back(k);
    queues[q].push_back(k);
  }
  std::vector<std::uint32_t> earlier(entry_.instructions + 1, 0);  // instructions that count, before each
  for (const auto& queue : queues)
    for (std::uint32_t k : queue) ++earlier[k + 1];
  for (std::size_t k = 1; k < earlier.size(); ++k) earlier[k] += earlier[k - 1];
  for (;;) {
    int ready[kQueues], count = 0;
    const std::uint32_t barrier = next_barrier < barriers.size() ? barriers[next_barrier] : entry_.instructions;
    for (int q = 0; q < kQueues; ++q) {
      if (head[q] == queues[q].size()) continue;
      const std::uint32_t k = queues[q][head[q]];
      if (is_barrier(q) ? order_.size() == earlier[k] : k < barrier && may_start(k, retired)) ready[count++] = q;
    }
    if (count == 0) return;
    const int q = ready[random() % static_cast<std::uint64_t>(count)];
    order_.push_back(queues[q][head[q]++]);
    if (is_barrier(q)) {
      ++next_barrier;
    } else {
      ++retired[q - static_cast<int>(isa::Queue::Ld)];
    }
  }
}

std::vector<std::uint8_t>* ExactMachine::written(const Surface& surface) {
  switch (static_cast<isa::Region>(surface.region)) {
    case isa::Region::Ddr:
      return &ddr_written_;
    case isa::Region::Sram:
      return &sram_written_;
    default:
      return nullptr;
  }
}

Status ExactMachine::before(std::uint32_t k) {
  isa::accesses(code(k), sections_, touched_);
  const std::string where = "instruction " + std::to_string(k) + " (" + isa::find_instruction(code(k).op)->name + ")";
  for (const isa::Access& access : touched_) {
    const std::vector<std::uint8_t>* map = written(access.bytes);
    if (access.write || !map) continue;
    bool all = true;
    for_each_run(access.bytes, [&](std::uint64_t at, std::uint64_t size) {
      all = all && std::memchr(map->data() + at, 0, size) == nullptr;
    });
    if (!all) return {Code::Illegal, where, "it reads bytes that nothing has written"};
    if (!access.has_home || static_cast<isa::Region>(access.home.region) != isa::Region::Const) continue;
    const std::uint64_t size = std::uint64_t{access.bytes.n} * access.bytes.h * access.bytes.w * access.bytes.c;
    if (std::memcmp(arenas_.sram + access.bytes.base, sections_.constants.data() + access.home.base, size) != 0)
      return {Code::Illegal, where, "the weights in SRAM are not those of the file"};
  }
  return {};
}

// Bytes of CONST that an instruction reads beside what LDW brings: weights from there, and the source of a LOAD.
std::uint64_t ExactMachine::constants_read(const isa::Instruction& i) const {
  const isa::InstructionInfo& info = *isa::find_instruction(i.op);
  if ((info.operands & isa::W) && i.in1 == isa::kNoId && info.op != isa::Op::LDW)
    return isa::weight_range(i, sections_).size;
  if (info.op != isa::Op::LOAD || !is_const(sections_.surfaces[i.in0])) return 0;
  const std::uint64_t images = sections_.surfaces[i.out].n;
  return images * i.box_h * i.box_w * i.box_n *
         isa::element_size(static_cast<isa::DType>(sections_.surfaces[i.out].dtype));
}

void ExactMachine::after(std::uint32_t k) {
  isa::accesses(code(k), sections_, touched_);
  const bool bpu = queue_of(code(k)) != static_cast<int>(isa::Queue::Cpu);
  if (bpu) moved_ += constants_read(code(k));
  for (const isa::Access& access : touched_) {
    const bool loaded = access.write && access.has_home && is_const(access.home);  // by LDW
    if (bpu && (loaded || static_cast<isa::Region>(access.bytes.region) != isa::Region::Sram))
      moved_ += size_of(access.bytes);
    std::vector<std::uint8_t>* map = written(access.bytes);
    if (!access.write || !map) continue;
    for_each_run(access.bytes, [&](std::uint64_t at, std::uint64_t size) { std::memset(map->data() + at, 1, size); });
  }
}

}  // namespace openbpu::engine
