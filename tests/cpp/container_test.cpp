// The reader of files: structure, checksums, versions, growth; and that damage of any byte is refused or harmless.
#include <functional>

#include "golden.hpp"
#include "support/checksum.hpp"
#include "support/utf8.hpp"

namespace openbpu::container {
namespace {

using testing::Bytes;
using testing::golden_file;

Header header_of(const Bytes& file) {
  Header header;
  std::memcpy(&header, file.data(), sizeof header);
  return header;
}

std::vector<SectionRecord> table_of(const Bytes& file) {
  const Header header = header_of(file);
  std::vector<SectionRecord> table(header.sections);
  std::memcpy(table.data(), &file[header.header_size], table.size() * sizeof(SectionRecord));
  return table;
}

// Writes header and table back with a fresh checksum.
void seal(Bytes& file, Header header, const std::vector<SectionRecord>& table) {
  header.header_crc = 0;
  std::memcpy(file.data(), &header, sizeof header);
  const std::size_t table_bytes = table.size() * sizeof(SectionRecord);
  if (header.header_size <= file.size() && table_bytes <= file.size() - header.header_size) {
    std::memcpy(&file[header.header_size], table.data(), table_bytes);
    header.header_crc = crc32c(file.data(), header.header_size + table_bytes);
  }
  std::memcpy(file.data(), &header, sizeof header);
}

Status read(const Bytes& file, const Limits& limits = {}) { return Program::read(file, limits).status(); }

void expect(const Status& status, Code code, const char* where, const char* message) {
  EXPECT_EQ(status.code(), code);
  EXPECT_NE(status.where().find(where), std::string::npos) << status.where() << ": " << status.message();
  EXPECT_NE(status.message().find(message), std::string::npos) << status.where() << ": " << status.message();
}

TEST(Container, WriterIsDeterministicAndInverseOfReader) {
  const Bytes file = golden_file();
  EXPECT_EQ(write(testing::golden_parts()), file);
  EXPECT_EQ(Program::read(file).value()->file().size(), file.size());
  EXPECT_EQ(Program::read(file).value()->meta(), "{\"golden\":1}");
}

TEST(Container, WriterCountsMacs) {
  Parts parts = testing::golden_parts();
  const std::uint64_t counted = parts.entries[0].macs;
  parts.entries[0].macs = 0;
  EXPECT_EQ(write(parts), golden_file());
  // Inputs and taps of the transposed convolution that reach one of `out` rows or columns.
  const auto pairs = [](int in, int out) {
    int landing = 0;
    for (int i = 0; i < in; ++i)
      for (int k = 0; k < 3; ++k) landing += i * 2 - 1 + k >= 0 && i * 2 - 1 + k < out;
    return landing;
  };
  const auto expected = 600 * 18 + 180 * 9 + 108 * 90 + pairs(3, 6) * pairs(3, 5) * 12 * 8 + 90 * 8 + 81 * 10;
  EXPECT_EQ(counted, static_cast<std::uint64_t>(expected));
}

TEST(Container, MacsOfStripesAddUp) {
  Parts parts = testing::golden_parts();
  testing::Editor e{parts};
  const std::uint64_t whole = parts.entries[0].macs;
  isa::Instruction& first = e.code(isa::Op::TCONV2D);
  isa::Instruction second = first;
  first.box_h = 2;
  second.box_y = 2;
  second.box_h = 4;
  parts.code.insert(parts.code.begin() + (&first - parts.code.data()) + 1, second);
  ++parts.entries[0].instructions;
  const auto striped = Program::read(write(parts));
  ASSERT_TRUE(striped.ok()) << striped.status().where() << ": " << striped.status().message();
  EXPECT_EQ(striped.value()->entries()[0].macs, whole);
}

TEST(Container, WrongMacsAreRefused) {
  Bytes file = golden_file();
  std::vector<SectionRecord> table = table_of(file);
  const SectionRecord& entries = table[0];
  file[entries.offset + offsetof(isa::Entry, macs)] ^= 1;
  table[0].crc = crc32c(&file[entries.offset], entries.size);
  seal(file, header_of(file), table);
  expect(read(file), Code::Illegal, "entry 0, field macs", "sum");
}

TEST(Container, TwoEntries) {
  Parts parts = testing::golden_parts();
  isa::Entry second = parts.entries[0];
  second.first_instruction = static_cast<std::uint32_t>(parts.code.size());
  second.first_port = static_cast<std::uint32_t>(parts.ports.size());
  second.name = parts.ports[0].name;  // any other string
  const std::vector<isa::Instruction> code = parts.code;
  parts.code.insert(parts.code.end(), code.begin(), code.end());
  const std::vector<isa::Port> ports = parts.ports;
  parts.ports.insert(parts.ports.end(), ports.begin(), ports.end());
  parts.entries.push_back(second);
  const Status status = read(write(parts));
  EXPECT_TRUE(status.ok()) << status.where() << ": " << status.message();
}

TEST(Container, Limits) {
  const Bytes file = golden_file();
  Limits limits;
  limits.file_bytes = file.size() - 1;
  expect(read(file, limits), Code::BadArgument, "file", "at most");
  limits = {};
  limits.memory_bytes = 1024;
  expect(read(file, limits), Code::Illegal, "field", "allows");
}

TEST(Container, EveryTruncationIsRefused) {
  const Bytes file = golden_file();
  for (std::size_t length = 0; length < file.size(); ++length)
    ASSERT_FALSE(read(Bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(length))).ok()) << length;
  Bytes longer = file;
  longer.push_back(0);
  expect(read(longer), Code::Corrupt, "file_size", "must equal");
}

// Every byte of the file is under a checksum or must be zero.
TEST(Container, EveryDamagedByteIsRefused) {
  Bytes file = golden_file();
  std::uint32_t random = 1;
  for (std::size_t at = 0; at < file.size(); ++at) {
    random = random * 1664525 + 1013904223;
    for (std::uint8_t flip : {std::uint8_t{0xFF}, static_cast<std::uint8_t>(1U << (random >> 29))}) {
      file[at] ^= flip;
      ASSERT_FALSE(read(file).ok()) << "byte " << at << " xor " << int{flip};
      file[at] ^= flip;
    }
  }
  EXPECT_TRUE(read(file).ok());
}

// ---- header and section table, with a good checksum

struct Change {
  const char* name;
  std::function<void(Header&, std::vector<SectionRecord>&)> change;
  Code code;
  const char* where;
  const char* message;
};

std::ostream& operator<<(std::ostream& stream, const Change& change) { return stream << change.name; }

class Structure : public ::testing::TestWithParam<Change> {};

TEST_P(Structure, IsRefused) {
  Bytes file = golden_file();
  Header header = header_of(file);
  std::vector<SectionRecord> table = table_of(file);
  GetParam().change(header, table);
  seal(file, header, table);
  expect(read(file), GetParam().code, GetParam().where, GetParam().message);
}

using Table = std::vector<SectionRecord>;

const Change kChanges[] = {
    {"magic", [](Header& h, Table&) { h.magic[4] = '\n'; }, Code::Corrupt, "header", "magic"},
    {"major", [](Header& h, Table&) { h.major = 2; }, Code::Unsupported, "major", "the file has 2"},
    {"min_minor", [](Header& h, Table&) { h.min_minor = 99; }, Code::Unsupported, "min_minor", "needs 1.99"},
    {"isa", [](Header& h, Table&) { h.isa_version = 2; }, Code::Unsupported, "isa_version", "has 2"},
    {"numerics", [](Header& h, Table&) { h.numerics_version = 2; }, Code::Unsupported, "numerics_version", "has 2"},
    {"file_size", [](Header& h, Table&) { ++h.file_size; }, Code::Corrupt, "file_size", "must equal"},
    {"header_small", [](Header& h, Table&) { h.header_size = 56; }, Code::Corrupt, "header_size", "at least 64"},
    {"header_large", [](Header& h, Table&) { h.header_size = 1U << 30; }, Code::Corrupt, "header_size", "inside"},
    {"header_odd", [](Header& h, Table&) { h.header_size = 65; }, Code::Corrupt, "header_size", "multiple of 8"},
    {"sections", [](Header& h, Table&) { h.sections = 65; }, Code::Corrupt, "field sections", "at most 64"},
    {"flags", [](Header& h, Table&) { h.flags = 1; }, Code::Corrupt, "field flags", "zero"},
    {"reserved", [](Header& h, Table&) { h.reserved[13] = 1; }, Code::Corrupt, "header", "reserved"},
    {"unknown", [](Header&, Table& t) { t[8].kind = 99, t[8].flags = 0; }, Code::Unsupported, "section 8", "kind 99"},
    {"missing", [](Header&, Table& t) { t[4].kind = 99, t[4].flags = 1; }, Code::Corrupt, "section CODE", "missing"},
    {"twice", [](Header&, Table& t) { t[1].kind = 1, t[1].flags = 0; }, Code::Corrupt, "section ENTRY", "twice"},
    {"section_flags", [](Header&, Table& t) { t[8].flags = 3; }, Code::Corrupt, "section META", "unknown flag"},
    {"optional_code", [](Header&, Table& t) { t[4].flags = 1; }, Code::Corrupt, "section CODE", "other flags"},
    {"alignment", [](Header&, Table& t) { t[6].align_log2 = 6; }, Code::Corrupt, "section CONST", "alignment"},
    {"alignment_huge", [](Header&, Table& t) { t[6].align_log2 = 64; }, Code::Corrupt, "section CONST", "alignment"},
    {"misaligned", [](Header&, Table& t) { t[1].offset += 4; }, Code::Corrupt, "section PORT", "alignment"},
    {"overlap", [](Header&, Table& t) { t[2].offset = t[1].offset; }, Code::Corrupt, "section SURF", "must follow"},
    {"in_header", [](Header&, Table& t) { t[0].offset = 0; }, Code::Corrupt, "section ENTRY", "must follow"},
    {"beyond", [](Header&, Table& t) { t[8].size += 8; }, Code::Corrupt, "section META", "inside the file"},
    {"size_wraps", [](Header&, Table& t) { t[8].size = ~0ULL; }, Code::Corrupt, "section META", "inside the file"},
    {"offset_wraps", [](Header&, Table& t) { t[8].offset = ~7ULL; }, Code::Corrupt, "section META", "inside"},
    {"short_last", [](Header&, Table& t) { t[8].size -= 1; }, Code::Corrupt, "section META", "checksum"},
    {"crc", [](Header&, Table& t) { ++t[5].crc; }, Code::Corrupt, "section AUX", "checksum"},
};
INSTANTIATE_TEST_SUITE_P(Container, Structure, ::testing::ValuesIn(kChanges), testing::name_of<Change>);

TEST(Container, HeaderChecksum) {
  Bytes file = golden_file();
  Header header = header_of(file);
  header.profile_hash = 1;
  std::memcpy(file.data(), &header, sizeof header);
  expect(read(file), Code::Corrupt, "header_crc", "does not match");
}

TEST(Container, PaddingMustBeZero) {
  Bytes file = golden_file();
  const std::vector<SectionRecord> table = table_of(file);
  const SectionRecord& constants = table[6];
  ASSERT_LT(table[5].offset + table[5].size, constants.offset);
  file[constants.offset - 1] = 1;
  expect(read(file), Code::Corrupt, "section CONST", "must be zero");
}

TEST(Container, SizeMustBeWholeRecords) {
  Parts parts = testing::golden_parts();
  parts.aux.push_back(0);
  expect(read(write(parts)), Code::Corrupt, "section AUX", "multiple of 8");
}

// ---- growth: what a later minor version may add

Bytes with_inserted(const Bytes& file, std::size_t at, std::size_t bytes) {
  Bytes grown(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(at));
  grown.resize(at + bytes, 0xA5);
  grown.insert(grown.end(), file.begin() + static_cast<std::ptrdiff_t>(at), file.end());
  return grown;
}

TEST(Container, HeaderMayGrow) {
  const Bytes file = golden_file();
  Header header = header_of(file);
  Table table = table_of(file);
  for (SectionRecord& record : table) record.offset += 4096;  // keeps every alignment
  header.header_size += 4096;
  header.file_size += 4096;
  header.minor = 7;
  Bytes grown = with_inserted(file, sizeof(Header), 4096);
  seal(grown, header, table);
  const Status status = read(grown);
  EXPECT_TRUE(status.ok()) << status.where() << ": " << status.message();
  grown[100] ^= 1;
  expect(read(grown), Code::Corrupt, "header_crc", "does not match");
}

TEST(Container, OptionalSectionsAreSkipped) {
  const Bytes file = golden_file();
  Header header = header_of(file);
  Table table = table_of(file);
  SectionRecord extra{99, kOptional, (file.size() + 7) / 8 * 8, 3, 3, 0};
  Bytes grown = file;
  grown.resize(extra.offset, 0);
  grown.insert(grown.end(), {1, 2, 3});
  extra.crc = crc32c(&grown[extra.offset], 3);
  // The table grows by one record: everything moves by a page.
  grown = with_inserted(grown, sizeof(Header), 4096);
  table.push_back(extra);
  for (SectionRecord& record : table) record.offset += 4096;
  std::fill(grown.begin() + sizeof(Header), grown.begin() + static_cast<std::ptrdiff_t>(table[0].offset), 0);
  header.sections = static_cast<std::uint32_t>(table.size());
  header.file_size = grown.size();
  seal(grown, header, table);
  const Status status = read(grown);
  EXPECT_TRUE(status.ok()) << status.where() << ": " << status.message();
  grown.back() ^= 1;
  expect(read(grown), Code::Corrupt, "section 9", "checksum");
}

TEST(Container, MetaIsOptional) {
  const Bytes file = golden_file();
  Header header = header_of(file);
  Table table = table_of(file);
  table[8].kind = 1000;
  Bytes without = file;
  seal(without, header, table);
  const auto program = Program::read(without);
  ASSERT_TRUE(program.ok()) << program.status().where() << ": " << program.status().message();
  EXPECT_EQ(program.value()->meta(), "");
}

// ---- support

TEST(Checksum, Crc32cOfThePublishedExamples) {  // RFC 3720, B.4
  Bytes data(32, 0);
  EXPECT_EQ(crc32c(data.data(), 32), 0x8A9136AAU);
  data.assign(32, 0xFF);
  EXPECT_EQ(crc32c(data.data(), 32), 0x62A8AB43U);
  for (std::size_t k = 0; k < 32; ++k) data[k] = static_cast<std::uint8_t>(k);
  EXPECT_EQ(crc32c(data.data(), 32), 0x46DD794EU);
  EXPECT_EQ(crc32c(data.data() + 5, 27, crc32c(data.data(), 5)), 0x46DD794EU);
}

TEST(Utf8, WellFormed) {
  for (const char* text : {"", "a", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "x\xC3\xA4y"})
    EXPECT_TRUE(is_utf8(text)) << text;
  for (const char* text : {"\x80", "\xC0\xAF", "\xC1\xBF", "\xC2", "\xC2z", "\xE0\x9F\xBF", "\xE2\x82", "\xED\xA0\x80",
                           "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "a\xE2\x82"})
    EXPECT_FALSE(is_utf8(text)) << text;
}

}  // namespace
}  // namespace openbpu::container
