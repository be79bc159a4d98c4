// The .npy format of numpy, versions 1 to 3: header to facts and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "api/runner/tensor.hpp"
#include "support/span.hpp"
#include "support/status.hpp"

namespace openbpu::runner {

struct NpyHeader {
  std::string descr;  // "<f4"
  bool fortran_order = false;
  Shape shape;
  std::size_t size = 0;  // bytes before the data
};

constexpr std::uint64_t kNpyHeaderLimit = 1 << 16;

// `where` names the file in errors. Knows plain types only: structured ones are refused.
Result<NpyHeader> read_npy_header(Span<const std::uint8_t> file, const std::string& where);

std::string npy_header(isa::DType dtype, const Shape& shape);

}  // namespace openbpu::runner
