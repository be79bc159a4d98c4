#include "engine/written.hpp"

#include <cstring>

#include "isa/cpu_call.hpp"

namespace openbpu::engine {
namespace {

struct Source {
  const std::uint8_t* base;
  std::uint8_t flip;
};

Source find_region(std::uint8_t region, std::uint8_t port, const Regions& regions) {
  switch (static_cast<isa::Region>(region)) {
    case isa::Region::Ddr:
      return {regions.ddr, regions.flip};
    case isa::Region::Sram:
      return {regions.sram, regions.flip};
    default:
      return {static_cast<const std::uint8_t*>(regions.outputs[port]), 0};
  }
}

void restore(Written& written, std::uint8_t flip) {
  if (written.dtype != isa::DType::I8) return;
  for (std::uint8_t& byte : written.bytes) byte ^= flip;
}

Written read_box(const isa::Instruction& i, const isa::Surface& surface, const Source& source) {
  Written written;
  written.dtype = static_cast<isa::DType>(surface.dtype);
  written.shape = {surface.n, i.box_h, i.box_w, i.box_n};
  written.scale = surface.scale;
  written.zero_point = surface.zero_point;
  const std::size_t size = isa::element_size(written.dtype);
  written.bytes.resize(std::size_t{surface.n} * i.box_h * i.box_w * i.box_n * size);
  std::uint8_t* target = written.bytes.data();
  for (std::size_t n = 0; n < surface.n; ++n)
    for (std::size_t y = i.box_y; y < std::size_t{i.box_y} + i.box_h; ++y)
      for (std::size_t x = i.box_x; x < std::size_t{i.box_x} + i.box_w; ++x)
        for (std::size_t c = i.box_c; c < std::size_t{i.box_c} + i.box_n; ++c, target += size)
          std::memcpy(target,
                      source.base + surface.base + n * surface.stride_n + y * surface.stride_h + x * surface.stride_w +
                          c * surface.stride_c,
                      size);
  restore(written, source.flip);
  return written;
}

Written read_tensor(const isa::CpuTensor& tensor, const Source& source) {
  Written written;
  written.dtype = static_cast<isa::DType>(tensor.dtype);
  written.shape.assign(tensor.shape, tensor.shape + tensor.rank);
  std::size_t size = isa::element_size(written.dtype);
  for (const std::uint64_t extent : written.shape) size *= extent;
  written.bytes.assign(source.base + tensor.base, source.base + tensor.base + size);
  restore(written, source.flip);
  return written;
}

}  // namespace

std::vector<Written> read_written(const isa::Instruction& instruction, const isa::Sections& sections,
                                  const Regions& regions) {
  if (static_cast<isa::Op>(instruction.op) == isa::Op::CPUCALL) {
    std::vector<Written> all;
    const Result<isa::CpuCall> call = isa::decode_cpu_call(instruction, sections, "");  // the verifier has done it too
    for (std::size_t k = 0; call.ok() && k < call.value().tensors.size(); ++k) {
      const isa::CpuTensor& tensor = call.value().records[k];
      if (call.value().is_output(k) && tensor.dtype != 0)
        all.push_back(read_tensor(tensor, find_region(tensor.region, tensor.port, regions)));
    }
    return all;
  }
  if (instruction.out == isa::kNoId) return {};
  const isa::Surface& surface = sections.surfaces[instruction.out];
  return {read_box(instruction, surface, find_region(surface.region, surface.port, regions))};
}

}  // namespace openbpu::engine
