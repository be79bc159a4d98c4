// The .bpux file: header, section table, sections (docs/container.md). All integers are little endian.
#pragma once

#include <cstdint>

namespace openbpu::container {

constexpr std::uint8_t kMagic[8] = {'V', 'B', 'P', 'U', '\r', '\n', 0x1A, '\n'};
constexpr std::uint16_t kMajor = 1;
constexpr std::uint16_t kMinor = 4;

enum class Section : std::uint32_t { Entry = 1, Port, Surface, Const, Code, Aux, Constants, Strings, Meta };
constexpr std::uint32_t kSections = 9;
constexpr std::uint32_t kOptional = 1;  // section flag: a reader that does not know the kind may skip it

struct Header {
  std::uint8_t magic[8];
  std::uint16_t major, minor;
  std::uint32_t flags;  // zero in version 1
  std::uint64_t file_size;
  std::uint32_t sections;
  std::uint32_t header_crc;  // over header_size bytes with this field zero, then the section table
  std::uint64_t profile_hash;
  std::uint32_t header_size;  // 64; larger in later minor versions
  std::uint16_t isa_version, numerics_version, min_minor;
  std::uint8_t reserved[14];
};
static_assert(sizeof(Header) == 64);

struct SectionRecord {
  std::uint32_t kind, flags;
  std::uint64_t offset, size;
  std::uint32_t align_log2, crc;
};
static_assert(sizeof(SectionRecord) == 32);

struct SectionInfo {
  Section kind;
  const char* name;
  std::uint32_t align_log2;
  std::uint32_t record_size;  // sizes are a multiple of it
  std::uint32_t flags;
};

constexpr SectionInfo kSectionTable[kSections] = {
    {Section::Entry, "ENTRY", 3, 64, 0},      {Section::Port, "PORT", 3, 96, 0},
    {Section::Surface, "SURF", 3, 64, 0},     {Section::Const, "CREC", 3, 40, 0},
    {Section::Code, "CODE", 6, 64, 0},        {Section::Aux, "AUX", 3, 8, 0},
    {Section::Constants, "CONST", 12, 1, 0},  {Section::Strings, "STR", 3, 1, 0},
    {Section::Meta, "META", 3, 1, kOptional},
};

}  // namespace openbpu::container
