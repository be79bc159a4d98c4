#include "api/runner/inputs.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "api/runner/files.hpp"
#include "api/runner/npy.hpp"
#include "api/runner/text.hpp"

namespace openbpu::runner {
namespace {

using Bytes = std::vector<std::uint8_t>;
using Strides = std::vector<std::uint64_t>;

constexpr std::uint64_t kTextBytesPerElement = 64;

Status wrong(const std::string& where, std::string message) { return {Code::BadArgument, where, std::move(message)}; }

std::string number(std::uint64_t value) { return std::to_string(value); }

// "1,3,224,224;1,10": one list per input.
Result<std::vector<Shape>> parse_lists(const std::string& option, const std::string& value,
                                       const std::vector<Tensor>& ports) {
  std::vector<Shape> lists;
  const std::vector<std::string> parts = split(value, ';');
  if (!parts.empty() && parts.size() != ports.size())
    return wrong(option, "needs one list per input, separated by ';': " + number(ports.size()) + "; got " +
                             number(parts.size()));
  for (std::size_t k = 0; k < parts.size(); ++k) {
    Shape list;
    for (const std::string& part : split(parts[k], ',')) {
      std::int64_t extent = 0;
      if (!parse_number(part, extent) || extent < 1)
        return wrong(option, "needs whole numbers above 0, separated by ','; got " + parts[k]);
      list.push_back(static_cast<std::uint64_t>(extent));
    }
    if (list.size() != ports[k].shape.size())
      return wrong(option,
                   "input " + ports[k].name + " has " + number(ports[k].shape.size()) + " dimensions; got " + parts[k]);
    lists.push_back(std::move(list));
  }
  return lists;
}

// Whether the port takes an image of this shape: its own, or of a resizer one with fewer rows and columns.
bool takes(const Tensor& port, const Shape& shape) {
  for (std::size_t k = 0; k < shape.size(); ++k) {
    const bool is_open = (port.flags & isa::kPortSize) && (k == port.rows() || k == port.rows() + 1);
    if (is_open ? shape[k] > port.shape[k] : shape[k] != port.shape[k]) return false;
  }
  return true;
}

// The shapes of what the inputs are given.
Result<std::vector<Shape>> given_shapes(const Options& options, const std::vector<Tensor>& ports) {
  Result<std::vector<Shape>> shapes = parse_lists("--input_valid_shape", options.input_valid_shape, ports);
  if (!shapes.ok()) return shapes;
  for (std::size_t k = 0; k < shapes.value().size(); ++k)
    if (!takes(ports[k], shapes.value()[k]))
      return wrong("--input_valid_shape", "input " + ports[k].name + " is compiled for " + shape_text(ports[k].shape) +
                                              "; got " + shape_text(shapes.value()[k]) +
                                              ". Compile the model for the other shape");
  for (std::size_t k = shapes.value().size(); k < ports.size(); ++k) shapes.value().push_back(ports[k].shape);
  return shapes;
}

// An image in the upper left of a buffer of the port's shape.
Bytes in_the_corner(const Tensor& port, const Tensor& image, Bytes bytes) {
  if (image.shape == port.shape) return bytes;
  const std::size_t rows = port.rows();
  std::uint64_t pixel = 1, planes = 1;
  for (std::size_t k = rows + 2; k < port.shape.size(); ++k) pixel *= port.shape[k];
  for (std::size_t k = 0; k < rows; ++k) planes *= port.shape[k];
  const std::uint64_t from = image.shape[rows + 1] * pixel, to = port.shape[rows + 1] * pixel;
  Bytes whole(port.bytes(), 0);
  for (std::uint64_t plane = 0; plane < planes; ++plane)
    for (std::uint64_t y = 0; y < image.shape[rows]; ++y)
      std::memcpy(whole.data() + (plane * port.shape[rows] + y) * to,
                  bytes.data() + (plane * image.shape[rows] + y) * from, from);
  return whole;
}

// ---- one file

Status check_size(const std::string& where, const Tensor& port, std::uint64_t bytes) {
  if (bytes == port.bytes()) return {};
  return wrong(where, std::string("must hold ") + number(port.bytes()) + " bytes (" + dtype_name(port.dtype) + ", " +
                          shape_text(port.shape) + "); it holds " + number(bytes));
}

// Copies what the strides name. The file may end with the last element or with the last stride.
Result<Bytes> gather(const std::string& where, const Tensor& port, const Strides& strides, const Bytes& file) {
  const std::uint64_t size = isa::element_size(port.dtype);
  const std::size_t rank = port.shape.size();
  std::uint64_t inner = size, last = size;
  for (std::size_t k = rank; k-- > 0;) {
    if (strides[k] < inner || strides[k] > file.size())
      return wrong("--input_stride", "input " + port.name + ": stride " + number(k) + " must be from " + number(inner) +
                                         " to the " + number(file.size()) + " bytes of the file; it is " +
                                         number(strides[k]));
    if (port.shape[k] > 1 && (port.shape[k] - 1) > (std::numeric_limits<std::uint64_t>::max() - last) / strides[k])
      return wrong("--input_stride", "input " + port.name + ": the strides reach too far");
    last += (port.shape[k] - 1) * strides[k];
    inner = strides[k] * port.shape[k];
  }
  if (file.size() != last && file.size() != inner)
    return wrong(where, "must hold " + number(inner) + " bytes by its strides; it holds " + number(file.size()));
  Bytes dense(port.bytes());
  std::vector<std::uint64_t> index(rank, 0);
  for (std::uint64_t at = 0; at < dense.size(); at += size) {
    std::uint64_t offset = 0;
    for (std::size_t k = 0; k < rank; ++k) offset += index[k] * strides[k];
    std::memcpy(dense.data() + at, file.data() + offset, size);
    for (std::size_t k = rank; k-- > 0 && ++index[k] == port.shape[k];) index[k] = 0;
  }
  return dense;
}

Result<Bytes> from_bin(const std::string& path, const std::string& where, const Tensor& port, const Strides* strides) {
  // With gaps a file is larger than the port.
  Result<Bytes> file = read_file(path, where, strides ? std::uint64_t{4} << 30 : port.bytes());
  if (!file.ok() || strides) return file.ok() ? gather(where, port, *strides, file.value()) : file;
  if (Status status = check_size(where, port, file.value().size()); !status.ok()) return status;
  return file;
}

Result<Bytes> from_npy(const std::string& path, const std::string& where, const Tensor& port) {
  Result<Bytes> file = read_file(path, where, port.bytes() + kNpyHeaderLimit);
  if (!file.ok()) return file;
  const Result<NpyHeader> read = read_npy_header(file.value(), where);
  if (!read.ok()) return read.status();
  const NpyHeader& header = read.value();
  if (header.descr != npy_descr(port.dtype))
    return wrong(where, "must be of type " + std::string(npy_descr(port.dtype)) + "; it is of type " + header.descr +
                            ". Convert it in Python: numpy.save(file, x.astype('" + dtype_name(port.dtype) + "'))");
  if (header.shape != port.shape)
    return wrong(where, "must have shape " + shape_text(port.shape) + "; it has " + shape_text(header.shape));
  if (header.fortran_order && port.shape.size() > 1)
    return wrong(where, "must be in C order. Convert it in Python: numpy.save(file, numpy.ascontiguousarray(x))");
  file.value().erase(file.value().begin(), file.value().begin() + static_cast<std::ptrdiff_t>(header.size));
  if (Status status = check_size(where, port, file.value().size()); !status.ok()) return status;
  return file;
}

// Numbers between white space or commas.
Result<Bytes> from_txt(const std::string& path, const std::string& where, const Tensor& port) {
  const Result<Bytes> file = read_file(path, where, (port.elements() + 1) * kTextBytesPerElement);
  if (!file.ok()) return file;
  const std::string_view text(reinterpret_cast<const char*>(file.value().data()), file.value().size());
  const std::uint64_t count = port.elements();
  constexpr std::string_view separators(" \t\r\n,");
  Bytes bytes(port.bytes());
  std::uint64_t found = 0;
  for (std::size_t at = text.find_first_not_of(separators); at != std::string_view::npos; ++found) {
    const std::size_t end = std::min(text.find_first_of(separators, at), text.size());
    const std::string word(text.substr(at, end - at));
    if (found < count && !parse_element(port.dtype, word, bytes.data(), found))
      return wrong(where, "number " + number(found) + " must be a " + dtype_name(port.dtype) + "; it is " + word);
    at = text.find_first_not_of(separators, end);
  }
  if (found != count)
    return wrong(where,
                 "must hold " + number(count) + " numbers (" + shape_text(port.shape) + "); it holds " + number(found));
  return bytes;
}

Status check_bools(const std::string& where, const Tensor& port, const Bytes& bytes) {
  if (port.dtype != isa::DType::Bool) return {};
  for (const std::uint8_t byte : bytes)
    if (byte > 1) return wrong(where, "a bool must be 0 or 1; there is a " + number(byte));
  return {};
}

Status refuse_kind(const std::string& where, const std::string& path, const Tensor& port) {
  for (const char* image : {".jpg", ".jpeg", ".png", ".bmp"})
    if (has_ending(path, image))
      return {Code::Unsupported, where,
              std::string("images must be decoded first, for example: python -c \"import numpy, PIL.Image; x = "
                          "numpy.asarray(PIL.Image.open('") +
                  path + "')); numpy.save('x.npy', x)\", with resizing and preprocessing so that x is " +
                  dtype_name(port.dtype) + ", " + shape_text(port.shape)};
  return {Code::Unsupported, where, "the name must end with .npy, .bin or .txt"};
}

Result<Bytes> load_file(const std::string& path, const Tensor& port, const Strides* strides) {
  const std::string where = "input " + port.name + ", " + path;
  const bool bin = has_ending(path, ".bin");
  if (strides && !bin) return wrong(where, "--input_stride is for .bin files");
  Result<Bytes> bytes = bin                        ? from_bin(path, where, port, strides)
                        : has_ending(path, ".npy") ? from_npy(path, where, port)
                        : has_ending(path, ".txt") ? from_txt(path, where, port)
                                                   : Result<Bytes>(refuse_kind(where, path, port));
  if (!bytes.ok()) return bytes;
  if (Status status = check_bools(where, port, bytes.value()); !status.ok()) return status;
  return bytes;
}

// ---- random data

// splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
std::uint64_t draw(std::uint64_t& state) {
  std::uint64_t z = state += 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return z ^ z >> 31;
}

// Floats in [-1, 1); integers over their whole range, but int64, which mostly indexes, and bool 0 or 1.
Bytes random_bytes(const Tensor& port, std::uint64_t& state) {
  Bytes bytes(port.bytes());
  const std::uint64_t size = isa::element_size(port.dtype), count = port.elements();
  for (std::uint64_t k = 0; k < count; ++k) {
    std::uint64_t value = draw(state);
    if (port.dtype == isa::DType::I64 || port.dtype == isa::DType::Bool) value &= 1;
    if (is_float(port.dtype))
      store_element(port.dtype, static_cast<double>(value >> 40) / (1 << 23) - 1, bytes.data(), k);
    else
      std::memcpy(bytes.data() + k * size, &value, size);
  }
  return bytes;
}

// The whole frame, for each image.
Bytes whole_frame(const Tensor& region, const Tensor& frame) {
  const std::int32_t ends[] = {0, 0, static_cast<std::int32_t>(frame.shape[frame.rows() + 1]) - 1,
                               static_cast<std::int32_t>(frame.shape[frame.rows()]) - 1};
  Bytes bytes(region.bytes());
  for (std::size_t at = 0; at + sizeof ends <= bytes.size(); at += sizeof ends)
    std::memcpy(bytes.data() + at, ends, sizeof ends);
  return bytes;
}

// Random data; regions of interest are the whole of the first plane before them.
Buffers random_inputs(const std::vector<Tensor>& ports) {
  Buffers buffers;
  std::uint64_t state = 0;
  const Tensor* frame = nullptr;
  for (const Tensor& port : ports) {
    const bool is_region = frame && (port.flags & isa::kPortRegion);
    buffers.push_back(is_region ? whole_frame(port, *frame) : random_bytes(port, state));
    const bool is_plane = (port.flags & isa::kPortSize) != 0;
    frame = is_plane ? (frame ? frame : &port) : nullptr;
  }
  return buffers;
}

}  // namespace

Result<Buffers> load_inputs(const Options& options, const std::vector<Tensor>& ports) {
  const Result<std::vector<Shape>> shapes = given_shapes(options, ports);
  if (!shapes.ok()) return shapes.status();
  const Result<std::vector<Strides>> strides = parse_lists("--input_stride", options.input_stride, ports);
  if (!strides.ok()) return strides.status();
  Buffers buffers;
  if (options.input_file.empty()) return random_inputs(ports);
  const std::vector<std::string> files = split(options.input_file, ',');
  if (files.size() != ports.size())
    return wrong("--input_file", "needs one file per input, separated by ',': " + number(ports.size()) + "; got " +
                                     number(files.size()));
  for (std::size_t k = 0; k < ports.size(); ++k) {
    Tensor image = ports[k];
    image.shape = shapes.value()[k];
    Result<Bytes> bytes = load_file(files[k], image, strides.value().empty() ? nullptr : &strides.value()[k]);
    if (!bytes.ok()) return bytes.status();
    buffers.push_back(in_the_corner(ports[k], image, std::move(bytes.value())));
  }
  return buffers;
}

}  // namespace openbpu::runner
