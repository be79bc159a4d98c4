// Structure-aware fuzzing of reader, verifier and engine, for the bounded test in tests/cpp and for libFuzzer.
//
// Files are taken apart, records changed field by field (fields come from the tables of the instruction set), and
// written with good checksums. The property: what the verifier accepts runs without a crash or a sanitizer report, and
// gives the same bytes on every ISA.
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "container/layout.hpp"
#include "container/program.hpp"
#include "engine/engine.hpp"
#include "engine/features.hpp"
#include "isa/cpu_call.hpp"
#include "isa/reflect.hpp"
#include "operators/rules.hpp"

namespace openbpu::fuzz {

using Bytes = std::vector<std::uint8_t>;
using container::Parts;
using Random = std::mt19937;

// ---- files to parts and back

template <class T>
bool take(const Bytes& file, const container::SectionRecord& record, std::vector<T>& to) {
  if (record.offset > file.size() || record.size > file.size() - record.offset) return false;
  to.resize(record.size / sizeof(T));
  if (!to.empty()) std::memcpy(to.data(), &file[record.offset], to.size() * sizeof(T));
  return true;
}

inline bool take_section(const Bytes& file, const container::SectionRecord& record, Parts& parts) {
  using container::Section;
  switch (static_cast<Section>(record.kind)) {
    case Section::Entry:
      return take(file, record, parts.entries);
    case Section::Port:
      return take(file, record, parts.ports);
    case Section::Surface:
      return take(file, record, parts.surfaces);
    case Section::Const:
      return take(file, record, parts.consts);
    case Section::Code:
      return take(file, record, parts.code);
    case Section::Aux:
      return take(file, record, parts.aux);
    case Section::Constants:
      return take(file, record, parts.constants);
    case Section::Strings:
      return take(file, record, parts.strings);
    case Section::Meta:
      return true;
  }
  return true;
}

// The sections of a file that the verifier need not accept; nothing if it has no usable section table.
inline std::optional<Parts> split(const Bytes& file) {
  container::Header header;
  if (file.size() < sizeof header) return {};
  std::memcpy(&header, file.data(), sizeof header);
  Parts parts;
  for (std::uint64_t k = 0; k < header.sections && k < container::kSections; ++k) {
    container::SectionRecord record;
    const std::uint64_t at = header.header_size + k * sizeof record;
    if (at + sizeof record > file.size()) return {};
    std::memcpy(&record, &file[at], sizeof record);
    if (!take_section(file, record, parts)) return {};
  }
  return parts;
}

// ---- mutation

// A value near the present one, near a power of two, small, or anything.
inline std::uint64_t other_value(std::uint64_t value, Random& random) {
  switch (random() % 6) {
    case 0:
      return value + 1 - 2 * (random() % 2);
    case 1:
      return value ^ (std::uint64_t{1} << random() % 64);
    case 2:
      return random() % 40;
    case 3:
      return (std::uint64_t{1} << random() % 64) - random() % 3;
    case 4:
      return value / 2 * (random() % 5);
    default:
      return std::uint64_t{random()} << 32 | random();
  }
}

// Changes one field of a record, or copies the field of a record of the same kind.
inline void mutate_field(const isa::RecordInfo& info, std::uint8_t* record, const std::uint8_t* other, Random& random) {
  const isa::FieldInfo& field = info.fields[random() % info.field_count];
  const std::size_t size = isa::field_size(field.kind), at = field.offset + random() % field.count * size;
  std::uint64_t value = 0;
  if (other && random() % 3 == 0) {
    std::memcpy(&value, other + at, size);
  } else {
    std::memcpy(&value, record + at, size);
    value = other_value(value, random);
  }
  std::memcpy(record + at, &value, size);
}

template <class T>
void mutate_one(std::vector<T>& records, isa::RecordId id, Random& random) {
  if (records.empty()) return;
  T& record = records[random() % records.size()];
  const T& other = records[random() % records.size()];
  mutate_field(isa::kRecords[static_cast<int>(id)], reinterpret_cast<std::uint8_t*>(&record),
               reinterpret_cast<const std::uint8_t*>(&other), random);
}

// Changes the head of a CPUCALL, an operand or an attribute word.
inline void mutate_call(Parts& parts, std::size_t at, Random& random) {
  const auto& head = *reinterpret_cast<const isa::CpuCallAux*>(&parts.aux[at]);
  const std::size_t operands = std::size_t{head.inputs} + head.outputs, words = head.words;
  const std::size_t first = at + sizeof head, end = first + operands * sizeof(isa::CpuTensor);
  if (end + words * 8 > parts.aux.size()) return;
  const auto record = [](isa::RecordId id) -> const isa::RecordInfo& { return isa::kRecords[static_cast<int>(id)]; };
  const Random::result_type kind = random() % 10;
  if (kind == 0) {
    mutate_field(record(isa::RecordId::CpuCallAux), &parts.aux[at], nullptr, random);
  } else if (kind < 7 && operands > 0) {
    const auto operand = [&] { return &parts.aux[first + random() % operands * sizeof(isa::CpuTensor)]; };
    std::uint8_t* target = operand();
    mutate_field(record(isa::RecordId::CpuTensor), target, operand(), random);
  } else if (words > 0) {
    std::uint64_t value;
    std::uint8_t* word = &parts.aux[end + random() % words * 8];
    std::memcpy(&value, word, sizeof value);
    value = other_value(value, random);
    std::memcpy(word, &value, sizeof value);
  }
}

inline void mutate_aux(Parts& parts, Random& random) {
  if (parts.code.empty()) return;
  const isa::Instruction& i = parts.code[random() % parts.code.size()];
  const isa::InstructionInfo* info = isa::find_instruction(i.op);
  const isa::RecordInfo* record = info ? isa::aux_record(info->aux) : nullptr;
  if (!record || i.aux > parts.aux.size() || record->size > parts.aux.size() - i.aux) return;
  if (info->op == isa::Op::CPUCALL) return mutate_call(parts, i.aux, random);
  mutate_field(*record, &parts.aux[i.aux], nullptr, random);
}

inline void mutate_code(Parts& parts, Random& random) {
  if (parts.code.size() < 2 || parts.entries.empty()) return;
  const std::size_t a = random() % (parts.code.size() - 1), b = random() % (parts.code.size() - 1);
  const auto at = [&](std::size_t k) { return parts.code.begin() + static_cast<std::ptrdiff_t>(k); };
  switch (random() % 3) {
    case 0:
      std::swap(parts.code[a], parts.code[b]);
      return;
    case 1:
      parts.code.insert(at(a), isa::Instruction(parts.code[b]));
      ++parts.entries.back().instructions;
      return;
    default:
      parts.code.erase(at(a));
      --parts.entries.back().instructions;
  }
}

inline void mutate_bytes(Bytes& bytes, Random& random) {
  if (bytes.empty()) return;
  std::uint8_t& byte = bytes[random() % bytes.size()];
  byte = static_cast<std::uint8_t>(other_value(byte, random));
}

inline void mutate(Parts& parts, Random& random) {
  for (Random::result_type edits = 1 + random() % 3; edits > 0; --edits) {
    const Random::result_type kind = random() % 100;
    if (kind < 35) mutate_one(parts.code, isa::RecordId::Instruction, random);
    if (kind >= 35 && kind < 60) mutate_one(parts.surfaces, isa::RecordId::Surface, random);
    if (kind >= 60 && kind < 75) mutate_aux(parts, random);
    if (kind >= 75 && kind < 80) mutate_one(parts.consts, isa::RecordId::Const, random);
    if (kind >= 80 && kind < 84) mutate_one(parts.ports, isa::RecordId::Port, random);
    if (kind >= 84 && kind < 87) mutate_one(parts.entries, isa::RecordId::Entry, random);
    if (kind >= 87 && kind < 93) mutate_bytes(parts.constants, random);
    if (kind >= 93 && kind < 95) mutate_bytes(parts.aux, random);
    if (kind >= 95 && kind < 96) mutate_bytes(parts.strings, random);
    if (kind >= 96) mutate_code(parts, random);
  }
}

// ---- execution

constexpr std::uint64_t kMaxWork = 20'000'000;

// Products and window taps of an entry, about.
inline std::uint64_t work_of(const container::Program& program, const isa::Entry& entry) {
  std::uint64_t work = entry.macs;
  for (std::uint32_t k = 0; k < entry.instructions; ++k) {
    const isa::Instruction& i = program.code()[entry.first_instruction + k];
    if (const auto call = isa::decode_cpu_call(i, program.sections(), "");
        i.op == static_cast<std::uint8_t>(isa::Op::CPUCALL) && call.ok())
      work += std::min(kMaxWork + 1, operators::work(call.value().call));
    if (i.out == isa::kNoId) continue;
    const std::uint64_t outputs = std::uint64_t{program.surfaces()[i.out].n} * i.box_h * i.box_w * i.box_n;
    const bool window = isa::find_instruction(i.op)->aux == isa::AuxKind::Pool;
    const auto taps = [&] {
      const auto& g = program.aux_record<isa::PoolAux>(i);
      return std::uint64_t{g.kernel_h} * g.kernel_w;
    };
    work += outputs * (window ? taps() : 1);
    if (work > kMaxWork) break;
  }
  return work;
}

// Sign and payload of a result that is not a number are the host's: they become one.
template <class T>
void settle_nans(Bytes& bytes) {
  for (std::size_t k = 0; k + sizeof(T) <= bytes.size(); k += sizeof(T)) {
    T value;
    std::memcpy(&value, &bytes[k], sizeof value);
    if (value == value) continue;
    value = std::numeric_limits<T>::quiet_NaN();
    std::memcpy(&bytes[k], &value, sizeof value);
  }
}

// Buffers of exactly the ports' sizes: a sanitizer sees every byte beyond them.
struct Run {
  Status status;
  std::vector<Bytes> outputs;
};

inline Run run(const std::shared_ptr<const container::Program>& program, const engine::Options& options) {
  Run result;
  auto made = engine::Engine::create(program, options);
  result.status = made.status();
  if (!made.ok()) return result;
  std::vector<Bytes> inputs;
  std::vector<const void*> sources;
  std::vector<void*> targets;
  for (const isa::Port& port : made.value()->inputs()) {
    inputs.emplace_back(port.bytes);
    for (std::size_t k = 0; k < port.bytes; ++k) inputs.back()[k] = static_cast<std::uint8_t>(k * 37 + k / 256);
  }
  for (const isa::Port& port : made.value()->outputs()) result.outputs.emplace_back(port.bytes, std::uint8_t{0});
  for (const Bytes& input : inputs) sources.push_back(input.data());
  for (Bytes& output : result.outputs) targets.push_back(output.data());
  result.status = made.value()->run(sources, targets);
  for (std::size_t k = 0; k < result.outputs.size(); ++k) {
    const auto type = static_cast<isa::DType>(made.value()->outputs()[k].dtype);
    if (type == isa::DType::F32) settle_nans<float>(result.outputs[k]);
    if (type == isa::DType::F64) settle_nans<double>(result.outputs[k]);
  }
  return result;
}

// Empty, or how the results of an ISA differ from those of the scalar rows. Compared at equal storage, because a
// program may read bytes of the arena that it never wrote.
inline std::string disagreement(const std::shared_ptr<const container::Program>& program) {
  for (const isa::Entry& entry : program->entries()) {
    if (work_of(*program, entry) > kMaxWork) continue;
    const std::string name(program->string(entry.name));
    for (const engine::IsaInfo& isa : engine::isa_table()) {
      if (!isa.available()) continue;
      const Run expected = run(program, {name, "scalar", 1, isa.flip});
      const Run seen = run(program, {name, isa.name, 2, {}});
      if (expected.status.code() == Code::NoMemory || seen.status.code() == Code::NoMemory) continue;
      if (seen.status.code() != expected.status.code())
        return std::string(isa.name) + ": " + seen.status.where() + ": " + seen.status.message();
      if (seen.status.ok() && seen.outputs != expected.outputs) return std::string(isa.name) + ": other bytes";
    }
  }
  return "";
}

// Reads a file with small limits; if it is accepted, runs it. Returns whether, and what went wrong.
struct Verdict {
  bool accepted;
  std::string failure;
};

inline Verdict check(const Bytes& file) {
  container::Limits limits;
  limits.memory_bytes = std::uint64_t{1} << 20;
  const auto program = container::Program::read(file, limits);
  if (!program.ok()) return {false, ""};
  return {true, disagreement(program.value())};
}

}  // namespace openbpu::fuzz
