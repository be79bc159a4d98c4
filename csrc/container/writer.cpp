#include <algorithm>
#include <cstring>

#include "container/layout.hpp"
#include "container/program.hpp"
#include "isa/wide.hpp"
#include "support/checksum.hpp"

namespace openbpu::container {
namespace {

struct Blob {
  const void* data;
  std::size_t size;
};

template <class T>
Blob blob(const std::vector<T>& v) {
  return {v.data(), v.size() * sizeof(T)};
}

Blob contents(const Parts& parts, const std::vector<isa::Entry>& entries, Section section) {
  switch (section) {
    case Section::Entry:
      return blob(entries);
    case Section::Port:
      return blob(parts.ports);
    case Section::Surface:
      return blob(parts.surfaces);
    case Section::Const:
      return blob(parts.consts);
    case Section::Code:
      return blob(parts.code);
    case Section::Aux:
      return blob(parts.aux);
    case Section::Constants:
      return blob(parts.constants);
    case Section::Strings:
      return blob(parts.strings);
    case Section::Meta:
      return {parts.meta.data(), parts.meta.size()};
  }
  return {nullptr, 0};
}

std::vector<isa::Entry> with_macs(const Parts& parts) {
  isa::Sections sections;
  sections.surfaces = parts.surfaces;
  sections.code = parts.code;
  sections.aux = parts.aux;
  sections.constants = parts.constants;
  std::vector<isa::Entry> entries = parts.entries;
  for (isa::Entry& entry : entries) entry.macs = isa::macs(entry, sections);
  return entries;
}

// The minor versions that brought 16-bit forms; rolling surfaces, homes, weights in SRAM; more 16-bit forms.
constexpr std::uint16_t kWideForms = 2, kStripes = 3, kMoreWideForms = 4;

// Parts of constants, and weights that are used where LDW brought them.
bool brings_weights(const isa::Instruction& i, const Parts& parts) {
  const isa::InstructionInfo* info = isa::find_instruction(i.op);
  if (!info || i.weight >= parts.consts.size()) return false;
  if (info->op != isa::Op::LDW) return info->queue == isa::Queue::Mac && i.in1 != isa::kNoId;
  if (i.out >= parts.surfaces.size()) return false;
  const isa::Surface& s = parts.surfaces[i.out];
  return i.C != 0 || std::uint64_t{s.n} * s.h * s.w * s.c * isa::element_size(static_cast<isa::DType>(s.dtype)) !=
                         parts.consts[i.weight].size;
}

// The minor version that brought an operation.
std::uint16_t minor_of(isa::Op op) {
  switch (op) {
    case isa::Op::LAYERNORM:
    case isa::Op::RMSNORM:
    case isa::Op::MAX:
    case isa::Op::MIN:
    case isa::Op::CMP:
    case isa::Op::SELECT:
    case isa::Op::REDUCE:
    case isa::Op::ARGMAX:
    case isa::Op::DIV:
    case isa::Op::GATHER:
    case isa::Op::GRIDSAMPLE:
      return 2;
    case isa::Op::CSC:
    case isa::Op::ROIRESIZE:
      return 3;
    case isa::Op::CPUCALL:
      return 1;
    default:
      return 0;
  }
}

std::uint16_t minor_of(const isa::Instruction& instruction, const Parts& parts) {
  const auto op = static_cast<isa::Op>(instruction.op);
  if (!isa::is_wide(instruction, parts.surfaces)) return minor_of(op);
  const bool later = op == isa::Op::LAYERNORM || op == isa::Op::RMSNORM || op == isa::Op::GATHER;
  return later ? kMoreWideForms : kWideForms;
}

// The least minor version that knows all that the file uses.
std::uint16_t needed_minor(const Parts& parts) {
  std::uint16_t needed = 0;
  for (const isa::Instruction& instruction : parts.code) needed = std::max(needed, minor_of(instruction, parts));
  for (const isa::Surface& surface : parts.surfaces)
    if (surface.roll_h || surface.home || surface.region == static_cast<std::uint8_t>(isa::Region::Home))
      needed = std::max(needed, kStripes);
  for (const isa::Instruction& instruction : parts.code)
    if (brings_weights(instruction, parts)) needed = std::max(needed, kStripes);
  for (const isa::Port& port : parts.ports) {
    if (port.flags != 0) needed = std::max<std::uint16_t>(needed, 3);
    if (port.dtype > static_cast<std::uint8_t>(isa::DType::Bool)) needed = std::max<std::uint16_t>(needed, 1);
  }
  return needed;
}

std::size_t align(std::size_t offset, std::uint32_t log2) {
  const std::size_t mask = (std::size_t{1} << log2) - 1;
  return (offset + mask) & ~mask;
}

}  // namespace

std::vector<std::uint8_t> write(const Parts& parts) {
  const std::vector<isa::Entry> entries = with_macs(parts);
  SectionRecord table[kSections];
  std::size_t end = sizeof(Header) + sizeof(table);
  for (std::uint32_t i = 0; i < kSections; ++i) {
    const SectionInfo& info = kSectionTable[i];
    const Blob bytes = contents(parts, entries, info.kind);
    const std::size_t offset = align(end, info.align_log2);
    const std::uint32_t crc = crc32c(static_cast<const std::uint8_t*>(bytes.data), bytes.size);
    table[i] = {static_cast<std::uint32_t>(info.kind), info.flags, offset, bytes.size, info.align_log2, crc};
    end = offset + bytes.size;
  }

  Header header{};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.major = kMajor;
  header.minor = header.min_minor = needed_minor(parts);
  header.file_size = end;
  header.sections = kSections;
  header.header_size = sizeof(Header);
  header.isa_version = isa::kIsaVersion;
  header.numerics_version = isa::kNumericsVersion;
  header.header_crc = crc32c(reinterpret_cast<const std::uint8_t*>(table), sizeof(table),
                             crc32c(reinterpret_cast<const std::uint8_t*>(&header), sizeof(header)));

  std::vector<std::uint8_t> file(end, 0);
  std::memcpy(file.data(), &header, sizeof(header));
  std::memcpy(file.data() + sizeof(header), table, sizeof(table));
  for (std::uint32_t i = 0; i < kSections; ++i) {
    const Blob bytes = contents(parts, entries, kSectionTable[i].kind);
    if (bytes.size) std::memcpy(file.data() + table[i].offset, bytes.data, bytes.size);
  }
  return file;
}

}  // namespace openbpu::container
