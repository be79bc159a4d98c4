#include <cinttypes>
#include <cstdio>

#include "api/runner/model.hpp"
#include "api/runner/perf.hpp"
#include "api/runner/text.hpp"

namespace openbpu::runner {
namespace {

// Frames of a camera: what is decided for each run is -1.
bool has_gaps(const Tensor& tensor) { return (tensor.flags & (isa::kPortStrides | isa::kPortSize)) != 0; }
bool has_any_size(const Tensor& tensor) { return (tensor.flags & isa::kPortSize) != 0; }

std::string strides_text(const Tensor& tensor) {
  std::uint64_t stride = isa::element_size(tensor.dtype);
  std::string text;
  for (std::size_t k = tensor.shape.size(); k-- > 0; stride *= tensor.shape[k])
    text = (has_gaps(tensor) && k <= tensor.rows() ? "-1" : std::to_string(stride)) + (text.empty() ? "" : ",") + text;
  return "(" + text + ")";
}

std::string extents_text(const Tensor& tensor, bool with_largest) {
  std::string text;
  for (std::size_t k = 0; k < tensor.shape.size(); ++k) {
    const bool open = !with_largest && (k == tensor.rows() || k == tensor.rows() + 1);
    text += (text.empty() ? "" : ",") + (open ? "-1" : std::to_string(tensor.shape[k]));
  }
  return "(" + text + ")";
}

void print_tensor(const char* direction, std::size_t index, const Tensor& tensor) {
  std::printf("%s[%zu]\n", direction, index);
  std::printf("  name               %s\n", tensor.name.c_str());
  std::printf("  valid shape        %s\n", extents_text(tensor, !has_any_size(tensor)).c_str());
  if (has_any_size(tensor)) std::printf("  largest shape      %s\n", extents_text(tensor, true).c_str());
  if (has_gaps(tensor))
    std::printf("  aligned byte size  -1\n");
  else
    std::printf("  aligned byte size  %" PRIu64 "\n", tensor.bytes());
  std::printf("  stride             %s\n", strides_text(tensor).c_str());
  std::printf("  tensor type        %s\n", dtype_name(tensor.dtype));
  if (tensor.scale != 0)
    std::printf("  quantisation       SCALE, scale %.9g, zero point %" PRId32 "\n", tensor.scale, tensor.zero_point);
  else
    std::printf("  quantisation       NONE\n");
}

}  // namespace

Status model_info(const Options& options) {
  const Result<std::vector<Model>> models = load_models(options);
  if (!models.ok()) return models.status();
  for (const Model& model : models.value()) {
    std::printf("model              %s (%s)\n", model.name.c_str(), model.file.c_str());
    std::printf("instructions       %" PRIu32 "\n", model.entry->instructions);
    std::printf("MAC per frame      %" PRIu64 "\n", model.entry->macs);
    std::printf("memory             DDR %" PRIu64 ", SRAM %" PRIu64 ", constants %zu bytes\n", model.entry->ddr_bytes,
                model.entry->sram_bytes, model.program->constants().size());
    for (std::size_t k = 0; k < model.inputs.size(); ++k) print_tensor("input", k, model.inputs[k]);
    for (std::size_t k = 0; k < model.outputs.size(); ++k) print_tensor("output", k, model.outputs[k]);
  }
  return {};
}

}  // namespace openbpu::runner
