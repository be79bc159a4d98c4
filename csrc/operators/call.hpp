// One call of a CPU operator: kernel, operands, attributes. Shared by the verifier, which takes it from a file, and by
// the kernels, which compute it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "support/span.hpp"

namespace openbpu::operators {

constexpr int kMaxRank = 8;

// Numbers as in the file (isa::DType).
enum class Type : std::uint8_t { None, I8, U8, I16, I32, F32, I64, Bool, U16, U32, U64, F16, F64, Bf16 };

constexpr std::int64_t size_of(Type type) {
  switch (type) {
    case Type::None:
      return 0;
    case Type::I8:
    case Type::U8:
    case Type::Bool:
      return 1;
    case Type::I16:
    case Type::U16:
    case Type::F16:
    case Type::Bf16:
      return 2;
    case Type::I32:
    case Type::U32:
    case Type::F32:
      return 4;
    case Type::I64:
    case Type::U64:
    case Type::F64:
      return 8;
  }
  return 0;
}

// A dense row-major tensor. Absent operands are of type None.
struct Tensor {
  std::uint8_t* data = nullptr;  // null where memory is not known yet
  Type type = Type::None;
  bool constant = false;  // lies in CONST: its data is known and never changes
  std::int32_t rank = 0;
  std::int64_t extent[kMaxRank] = {};

  explicit operator bool() const { return type != Type::None; }
  // Elements of dimensions [first, end).
  std::int64_t product(int first, int end) const {
    std::int64_t n = 1;
    for (int k = first; k < end; ++k) n *= extent[k];
    return n;
  }
  std::int64_t elements() const { return product(0, rank); }
  std::int64_t bytes() const { return elements() * size_of(type); }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

inline bool same_shape(const Tensor& a, const Tensor& b) {
  if (a.rank != b.rank) return false;
  for (int k = 0; k < a.rank; ++k)
    if (a.extent[k] != b.extent[k]) return false;
  return true;
}

struct Call;
struct Fault;

// A row of kernels.def.
struct KernelInfo {
  const char* name;
  std::uint16_t id;
  Fault (*rule)(const Call&);
  std::uint8_t min_inputs, max_inputs, min_outputs, max_outputs;
  std::uint32_t statics;
  const char* attributes;
  const char* summary;
};

extern const Span<const KernelInfo> kKernels;

// Null if there is none of that number.
const KernelInfo* find_kernel(std::uint16_t id);

// One attribute of KernelInfo::attributes.
struct AttributeSpec {
  std::string_view name;
  char kind;                 // i, f, l, n, e, w
  std::string_view words;    // of e and w: a|b|c
  std::string_view initial;  // what stands after "="
  bool required;
};

// Takes the first attribute off the text; false if it is empty.
bool next_attribute(std::string_view& text, AttributeSpec& attribute);

struct Integers {
  const std::int64_t* data = nullptr;
  std::int64_t size = 0;
  std::int64_t operator[](std::int64_t k) const { return data[k]; }
  const std::int64_t* begin() const { return data; }
  const std::int64_t* end() const { return data + size; }
};

struct Numbers {
  const double* data = nullptr;
  std::int64_t size = 0;
};

struct Call {
  const KernelInfo* kernel = nullptr;
  Span<const Tensor> inputs, outputs;
  Span<const std::uint64_t> words;  // attribute values; check_attributes() has accepted them

  const Tensor& in(std::size_t k) const { return k < inputs.size() ? inputs[k] : absent(); }
  const Tensor& out(std::size_t k = 0) const { return k < outputs.size() ? outputs[k] : absent(); }

  std::int64_t integer(std::string_view name) const;
  double number(std::string_view name) const;
  int choice(std::string_view name) const { return static_cast<int>(integer(name)); }
  Integers list(std::string_view name) const;
  Numbers numbers(std::string_view name) const;
  // Values of a parameter input of type int64.
  Integers parameter(std::size_t k) const { return {in(k).as<const std::int64_t>(), in(k) ? in(k).elements() : 0}; }

  static const Tensor& absent();

 private:
  const std::uint64_t* find(std::string_view name) const;
};

// The operator's axis counted from the front; -1 if it lies outside.
inline int axis_of(std::int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) return -1;
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

}  // namespace openbpu::operators
