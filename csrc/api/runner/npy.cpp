#include "api/runner/npy.hpp"

#include <cstring>
#include <string_view>

#include "api/runner/text.hpp"

namespace openbpu::runner {
namespace {

constexpr char kMagic[] = "\x93NUMPY";

Status wrong(const std::string& where, const char* message) { return {Code::Corrupt, where, message}; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// What follows 'key': in the dictionary that the header is.
std::string_view value_of(std::string_view header, std::string_view key) {
  const std::size_t at = header.find("'" + std::string(key) + "'");
  if (at == std::string_view::npos) return {};
  const std::size_t colon = header.find(':', at);
  return colon == std::string_view::npos ? std::string_view{} : trimmed(header.substr(colon + 1));
}

bool parse_shape(std::string_view value, Shape& shape) {
  const std::size_t end = value.find(')');
  if (value.empty() || value.front() != '(' || end == std::string_view::npos) return false;
  for (const std::string& part : split(value.substr(1, end - 1), ',')) {
    std::int64_t extent = 0;
    const std::string_view digits = trimmed(part);
    if (digits.empty()) continue;  // (3,)
    if (!parse_number(digits, extent) || extent < 0) return false;
    shape.push_back(static_cast<std::uint64_t>(extent));
  }
  return true;
}

}  // namespace

Result<NpyHeader> read_npy_header(Span<const std::uint8_t> file, const std::string& where) {
  if (file.size() < 12 || std::memcmp(file.data(), kMagic, 6) != 0)
    return wrong(where, "must start with the magic of a .npy file");
  const bool wide = file[6] >= 2;  // the length has four bytes from version 2 on
  if (file[6] < 1 || file[6] > 3) return wrong(where, "must be of .npy version 1, 2 or 3");
  std::size_t length = file[8] | std::size_t{file[9]} << 8;
  if (wide) length |= std::size_t{file[10]} << 16 | std::size_t{file[11]} << 24;
  const std::size_t start = wide ? 12 : 10;
  if (length > file.size() - start || length > kNpyHeaderLimit)
    return wrong(where, "the .npy header reaches beyond the file");
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + start, length);

  NpyHeader header;
  header.size = start + length;
  const std::string_view descr = value_of(text, "descr"), order = value_of(text, "fortran_order");
  const std::size_t end = descr.empty() ? std::string_view::npos : descr.find(descr.front(), 1);
  if (descr.empty() || descr.front() != '\'' || end == std::string_view::npos)
    return wrong(where, "the .npy header must name a plain element type");
  header.descr = descr.substr(1, end - 1);
  header.fortran_order = order.substr(0, 4) == "True";
  if (!header.fortran_order && order.substr(0, 5) != "False")
    return wrong(where, "the .npy header lacks fortran_order");
  if (!parse_shape(value_of(text, "shape"), header.shape)) return wrong(where, "the .npy header lacks a shape");
  return header;
}

std::string npy_header(isa::DType dtype, const Shape& shape) {
  std::string extents;
  for (const std::uint64_t extent : shape) extents += std::to_string(extent) + (shape.size() == 1 ? "," : ", ");
  if (shape.size() > 1) extents.resize(extents.size() - 2);
  std::string text =
      std::string("{'descr': '") + npy_descr(dtype) + "', 'fortran_order': False, 'shape': (" + extents + "), }";
  text.append((64 - (10 + text.size() + 1) % 64) % 64, ' ');  // the data start at a multiple of 64
  text += '\n';
  std::string header(kMagic, 6);
  header += {'\1', '\0', static_cast<char>(text.size() & 0xFF), static_cast<char>(text.size() >> 8)};
  return header + text;
}

}  // namespace openbpu::runner
