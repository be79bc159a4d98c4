// What an input or output holds: element type, shape, quantisation; its elements as numbers and as text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "isa/isa.hpp"

namespace openbpu::runner {

using Shape = std::vector<std::uint64_t>;

struct Tensor {
  std::string name;
  isa::DType dtype = isa::DType::None;
  Shape shape;
  double scale = 0;  // 0: not quantised
  std::int32_t zero_point = 0;
  std::uint8_t flags = 0;  // of a camera's input, as in isa::Port

  std::uint64_t elements() const {
    std::uint64_t count = 1;
    for (const std::uint64_t extent : shape) count *= extent;
    return count;
  }
  std::uint64_t bytes() const { return elements() * isa::element_size(dtype); }
  // The dimension of rows of an image; columns follow.
  std::size_t rows() const { return shape[1] == 1 ? 2 : 1; }
};

bool is_known(isa::DType dtype);           // the functions below take no others
const char* dtype_name(isa::DType dtype);  // numpy's: "float32"
const char* npy_descr(isa::DType dtype);   // numpy's: "<f4"
bool is_float(isa::DType dtype);
std::string shape_text(const Shape& shape);  // "1x3x224x224", "scalar"

// 64-bit integers lose their low bits.
double element(isa::DType dtype, const std::uint8_t* data, std::uint64_t index);
// Floats with `precision` digits behind the point, integers exactly.
std::string element_text(isa::DType dtype, const std::uint8_t* data, std::uint64_t index, int precision);
// False if the word is no number of that type or out of its range.
bool parse_element(isa::DType dtype, const std::string& word, std::uint8_t* data, std::uint64_t index);

// The nearest element; the value must be in range.
void store_element(isa::DType dtype, double value, std::uint8_t* data, std::uint64_t index);

// (stored - zero point) * scale; as stored where there is no scale.
std::vector<float> dequantised(const Tensor& tensor, const std::uint8_t* data);

}  // namespace openbpu::runner
