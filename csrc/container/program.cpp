#include "container/program.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "container/layout.hpp"
#include "support/checksum.hpp"

namespace openbpu::container {
namespace {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

// Rows may read this many bytes past an operand in section CONST (kernels/kernel.hpp).
constexpr u64 kSlack = 64;

Status corrupt(std::string where, std::string message) { return {Code::Corrupt, std::move(where), std::move(message)}; }

std::string number(u64 value) { return std::to_string(value); }

const SectionInfo* find_section(u32 kind) {
  for (const SectionInfo& info : kSectionTable)
    if (static_cast<u32>(info.kind) == kind) return &info;
  return nullptr;
}

Status check_size(u64 size, const Limits& limits) {
  if (size <= limits.file_bytes) return {};
  return {Code::BadArgument, "file", "at most " + number(limits.file_bytes) + " bytes; it has " + number(size)};
}

Status check_header(const Header& header, u64 size) {
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0)
    return corrupt("header", "the file must start with the magic of a .bpux file");
  if (header.major != kMajor)
    return {Code::Unsupported, "header, field major",
            "this build reads container version " + number(kMajor) + "; the file has " + number(header.major)};
  if (header.min_minor > kMinor)
    return {Code::Unsupported, "header, field min_minor",
            "this build reads container versions up to 1." + number(kMinor) + "; the file needs 1." +
                number(header.min_minor)};
  if (header.isa_version != isa::kIsaVersion)
    return {
        Code::Unsupported, "header, field isa_version",
        "this build runs instruction set " + number(isa::kIsaVersion) + "; the file has " + number(header.isa_version)};
  if (header.numerics_version != isa::kNumericsVersion)
    return {Code::Unsupported, "header, field numerics_version",
            "this build computes by numerics " + number(isa::kNumericsVersion) + "; the file has " +
                number(header.numerics_version)};
  if (header.file_size != size)
    return corrupt("header, field file_size",
                   "must equal the size of the file, " + number(size) + " bytes; it is " + number(header.file_size));
  if (header.header_size < sizeof(Header) || header.header_size % 8 != 0 || header.header_size > size)
    return corrupt("header, field header_size",
                   "must be a multiple of 8, at least 64 and inside the file; it is " + number(header.header_size));
  if (header.sections > 64) return corrupt("header, field sections", "at most 64; it is " + number(header.sections));
  if (header.flags != 0) return corrupt("header, field flags", "must be zero in version 1");
  for (u8 byte : header.reserved)
    if (byte != 0) return corrupt("header", "reserved bytes must be zero");
  return {};
}

// Places the sections; checks bounds, order, alignment, checksums and that the bytes between sections are zero.
class SectionReader {
 public:
  SectionReader(const u8* file, u64 size) : file_(file), size_(size) {}

  Status read() {
    Header header;
    if (size_ < sizeof(header)) return corrupt("header", "a file has at least 64 bytes; this one has " + number(size_));
    std::memcpy(&header, file_, sizeof(header));
    if (Status status = check_header(header, size_); !status.ok()) return status;
    const u64 table_bytes = u64{header.sections} * sizeof(SectionRecord);
    if (table_bytes > size_ - header.header_size) return corrupt("section table", "reaches beyond the file");
    if (checksum(header, table_bytes) != header.header_crc)
      return corrupt("header, field header_crc", "the checksum of header and section table does not match");
    u64 end = header.header_size + table_bytes;
    for (u32 i = 0; i < header.sections; ++i) {
      SectionRecord record;
      std::memcpy(&record, file_ + header.header_size + i * sizeof(record), sizeof(record));
      if (Status status = place(record, i, end); !status.ok()) return status;
    }
    if (end != size_) return corrupt("file", "the last section must end with the file");
    for (const SectionInfo& info : kSectionTable)
      if (!(info.flags & kOptional) && !found_[index(info)])
        return corrupt(std::string("section ") + info.name, "is missing");
    return {};
  }

  template <class T>
  Span<const T> span(Section kind) const {
    const u32 i = static_cast<u32>(kind) - 1;
    return {reinterpret_cast<const T*>(file_ + offsets_[i]), static_cast<std::size_t>(sizes_[i] / sizeof(T))};
  }

 private:
  static u32 index(const SectionInfo& info) { return static_cast<u32>(info.kind) - 1; }

  u32 checksum(Header header, u64 table_bytes) const {
    header.header_crc = 0;
    u32 crc = crc32c(reinterpret_cast<const u8*>(&header), sizeof(header));
    crc = crc32c(file_ + sizeof(header), header.header_size - sizeof(header), crc);
    return crc32c(file_ + header.header_size, table_bytes, crc);
  }

  Status place(const SectionRecord& record, u32 position, u64& end) {
    const SectionInfo* info = find_section(record.kind);
    const std::string where = info ? std::string("section ") + info->name : "section " + number(position);
    if (!info && !(record.flags & kOptional))
      return {Code::Unsupported, where, "is of the unknown kind " + number(record.kind) + " and not optional"};
    if (record.flags & ~kOptional) return corrupt(where, "unknown flag bits " + number(record.flags));
    if (record.align_log2 > 20 || record.offset % (u64{1} << record.align_log2) != 0)
      return corrupt(where, "offset " + number(record.offset) + " breaks its alignment");
    if (record.offset < end || record.offset > size_ || record.size > size_ - record.offset)
      return corrupt(where, "must follow the section before it and end inside the file; offset " +
                                number(record.offset) + ", size " + number(record.size));
    for (u64 i = end; i < record.offset; ++i)
      if (file_[i] != 0) return corrupt(where, "the bytes before it must be zero; offset " + number(i));
    if (crc32c(file_ + record.offset, record.size) != record.crc) return corrupt(where, "the checksum does not match");
    end = record.offset + record.size;
    if (!info) return {};
    if (found_[index(*info)]) return corrupt(where, "stands twice");
    if (record.flags != info->flags || record.align_log2 != info->align_log2)
      return corrupt(where, "has other flags or another alignment than its kind");
    if (record.size % info->record_size != 0)
      return corrupt(where,
                     "size must be a multiple of " + number(info->record_size) + "; it is " + number(record.size));
    found_[index(*info)] = true;
    offsets_[index(*info)] = record.offset;
    sizes_[index(*info)] = record.size;
    return {};
  }

  const u8* file_;
  u64 size_;
  bool found_[kSections] = {};
  u64 offsets_[kSections] = {};
  u64 sizes_[kSections] = {};
};

}  // namespace

Result<std::shared_ptr<const Program>> Program::read(Span<const u8> bytes, const Limits& limits) {
  auto program = std::make_shared<Program>();
  if (Status status = program->reserve(bytes.size(), limits); !status.ok()) return status;
  if (bytes.size()) std::memcpy(program->file_.data(), bytes.data(), bytes.size());
  if (Status status = program->check(limits); !status.ok()) return status;
  return std::shared_ptr<const Program>(std::move(program));
}

Result<std::shared_ptr<const Program>> Program::load(const std::string& path, const Limits& limits) {
  const auto refused = [&] { return Status{Code::Io, path, std::strerror(errno)}; };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) return refused();
  if (std::fgetc(file.get()) == EOF && std::ferror(file.get())) return refused();  // a folder
  if (std::fseek(file.get(), 0, SEEK_END) != 0) return refused();
  const long size = std::ftell(file.get());
  if (size < 0 || std::fseek(file.get(), 0, SEEK_SET) != 0) return refused();
  auto program = std::make_shared<Program>();
  if (Status status = program->reserve(static_cast<std::uint64_t>(size), limits); !status.ok()) return status;
  errno = 0;
  if (std::fread(program->file_.data(), 1, program->size_, file.get()) != program->size_)
    return errno ? refused() : Status{Code::Io, path, "became shorter while it was read"};
  if (Status status = program->check(limits); !status.ok()) return status;
  return std::shared_ptr<const Program>(std::move(program));
}

Result<std::shared_ptr<const Program>> Program::map(const std::string& path, const Limits& limits) {
  Result<MappedFile> mapped = MappedFile::open(path, kSlack);
  if (!mapped.ok()) return mapped.status();
  if (Status status = check_size(mapped.value().size(), limits); !status.ok()) return status;
  auto program = std::make_shared<Program>();
  program->mapped_ = std::move(mapped.value());
  program->bytes_ = program->mapped_.data();
  program->size_ = program->mapped_.size();
  if (Status status = program->check(limits); !status.ok()) return status;
  return std::shared_ptr<const Program>(std::move(program));
}

Status Program::reserve(std::uint64_t size, const Limits& limits) {
  if (Status status = check_size(size, limits); !status.ok()) return status;
  file_ = AlignedBytes::uninitialised(static_cast<std::size_t>(size) + kSlack);
  if (!file_.data()) return {Code::NoMemory, "file", number(size) + " bytes"};
  bytes_ = file_.data();
  size_ = static_cast<std::size_t>(size);
  std::memset(file_.data() + size_, 0, kSlack);
  return {};
}

// Structure, then semantics; nothing of the file is used before.
Status Program::check(const Limits& limits) {
  SectionReader reader(bytes_, size_);
  if (Status status = reader.read(); !status.ok()) return status;
  isa::Sections& s = sections_;
  s.entries = reader.span<isa::Entry>(Section::Entry);
  s.ports = reader.span<isa::Port>(Section::Port);
  s.surfaces = reader.span<isa::Surface>(Section::Surface);
  s.consts = reader.span<isa::Const>(Section::Const);
  s.code = reader.span<isa::Instruction>(Section::Code);
  s.aux = reader.span<u8>(Section::Aux);
  s.constants = reader.span<u8>(Section::Constants);
  s.strings = reader.span<u8>(Section::Strings);
  const auto meta = reader.span<char>(Section::Meta);
  meta_ = {meta.data(), meta.size()};
  return isa::verify(s, limits.memory_bytes);
}

std::string_view Program::string(std::uint32_t offset) const {
  return reinterpret_cast<const char*>(sections_.strings.data() + offset);
}

}  // namespace openbpu::container
