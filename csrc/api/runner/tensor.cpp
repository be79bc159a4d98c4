#include "api/runner/tensor.hpp"

#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "api/runner/text.hpp"
#include "kernels/cpu/half.hpp"

namespace openbpu::runner {
namespace {

// 16-bit floats, which C++17 has no types for.
template <double (*From)(std::uint16_t), std::uint16_t (*To)(double)>
struct Narrow {
  std::uint16_t bits;
  Narrow() = default;
  explicit Narrow(double value) : bits(To(value)) {}
  explicit operator double() const { return From(bits); }
};
using Half = Narrow<kernels::cpu::from_half, kernels::cpu::to_half>;
using Brain = Narrow<kernels::cpu::from_brain, kernels::cpu::to_brain>;

template <class T>
constexpr bool kIsFloat = !std::is_integral_v<T>;

template <class T>
T load(const std::uint8_t* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

template <class T>
double as_number(const std::uint8_t* data) {
  return static_cast<double>(load<T>(data));
}

template <class T>
std::string as_text(const std::uint8_t* data, int precision) {
  if constexpr (kIsFloat<T>)
    return format("%.*f", precision, static_cast<double>(load<T>(data)));
  else
    return std::to_string(load<T>(data));
}

template <class T>
bool parse(const std::string& word, std::uint8_t* data) {
  T value{};
  if constexpr (kIsFloat<T>) {
    char* end = nullptr;
    value = static_cast<T>(std::strtod(word.c_str(), &end));
    if (end != word.c_str() + word.size()) return false;
  } else {
    if (!parse_number(word, value)) return false;
  }
  std::memcpy(data, &value, sizeof(T));
  return true;
}

template <class T>
void store(double number, std::uint8_t* data) {
  const T value = static_cast<T>(number);
  std::memcpy(data, &value, sizeof(T));
}

struct TypeInfo {
  isa::DType dtype;
  const char* name;
  const char* descr;
  bool is_float;
  double (*number)(const std::uint8_t*);
  std::string (*text)(const std::uint8_t*, int);
  bool (*parse)(const std::string&, std::uint8_t*);
  void (*store)(double, std::uint8_t*);
};

template <class T>
constexpr TypeInfo type(isa::DType dtype, const char* name, const char* descr) {
  return {dtype, name, descr, kIsFloat<T>, as_number<T>, as_text<T>, parse<T>, store<T>};
}

constexpr TypeInfo kTypes[] = {
    type<std::int8_t>(isa::DType::I8, "int8", "|i1"),      type<std::uint8_t>(isa::DType::U8, "uint8", "|u1"),
    type<std::int16_t>(isa::DType::I16, "int16", "<i2"),   type<std::int32_t>(isa::DType::I32, "int32", "<i4"),
    type<float>(isa::DType::F32, "float32", "<f4"),        type<std::int64_t>(isa::DType::I64, "int64", "<i8"),
    type<std::uint8_t>(isa::DType::Bool, "bool", "|b1"),   type<std::uint16_t>(isa::DType::U16, "uint16", "<u2"),
    type<std::uint32_t>(isa::DType::U32, "uint32", "<u4"), type<std::uint64_t>(isa::DType::U64, "uint64", "<u8"),
    type<Half>(isa::DType::F16, "float16", "<f2"),         type<double>(isa::DType::F64, "float64", "<f8"),
    type<Brain>(isa::DType::Bf16, "bfloat16", "<V2"),
};

const TypeInfo* search(isa::DType dtype) {
  for (const TypeInfo& info : kTypes)
    if (info.dtype == dtype) return &info;
  return nullptr;
}

const TypeInfo& find_type(isa::DType dtype) { return *search(dtype); }

}  // namespace

bool is_known(isa::DType dtype) { return search(dtype) != nullptr; }
const char* dtype_name(isa::DType dtype) { return find_type(dtype).name; }
const char* npy_descr(isa::DType dtype) { return find_type(dtype).descr; }
bool is_float(isa::DType dtype) { return find_type(dtype).is_float; }

std::string shape_text(const Shape& shape) {
  std::string text;
  for (const std::uint64_t extent : shape) text += (text.empty() ? "" : "x") + std::to_string(extent);
  return text.empty() ? "scalar" : text;
}

double element(isa::DType dtype, const std::uint8_t* data, std::uint64_t index) {
  return find_type(dtype).number(data + index * isa::element_size(dtype));
}

std::string element_text(isa::DType dtype, const std::uint8_t* data, std::uint64_t index, int precision) {
  return find_type(dtype).text(data + index * isa::element_size(dtype), precision);
}

bool parse_element(isa::DType dtype, const std::string& word, std::uint8_t* data, std::uint64_t index) {
  return find_type(dtype).parse(word, data + index * isa::element_size(dtype));
}

void store_element(isa::DType dtype, double value, std::uint8_t* data, std::uint64_t index) {
  find_type(dtype).store(value, data + index * isa::element_size(dtype));
}

std::vector<float> dequantised(const Tensor& tensor, const std::uint8_t* data) {
  std::vector<float> values(tensor.elements());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double stored = element(tensor.dtype, data, i);
    values[i] = static_cast<float>(tensor.scale != 0 ? (stored - tensor.zero_point) * tensor.scale : stored);
  }
  return values;
}

}  // namespace openbpu::runner
