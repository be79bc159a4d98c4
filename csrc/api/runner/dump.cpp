#include "api/runner/dump.hpp"

#include <algorithm>
#include <cctype>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <numeric>

#include "api/runner/files.hpp"
#include "api/runner/npy.hpp"
#include "api/runner/text.hpp"

namespace openbpu::runner {
namespace {

std::string file_name(const Options& options, std::size_t index, const Tensor& tensor) {
  std::string name = tensor.name;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && !std::strchr("._-", c)) c = '_';
  return options.dump_path + "/model_infer_output_" + std::to_string(index) + "_" + name + "." + options.dump_format;
}

// Elements of one line of text.
std::uint64_t line_length(const Options& options, const Tensor& tensor) {
  const auto axis = static_cast<std::size_t>(options.dump_txt_axis);
  if (options.dump_txt_axis < 0) return 1;
  return std::accumulate(tensor.shape.begin() + static_cast<std::ptrdiff_t>(axis), tensor.shape.end(), std::uint64_t{1},
                         [](std::uint64_t a, std::uint64_t b) { return a * b; });
}

std::string as_text(const Options& options, const Tensor& tensor, const std::uint8_t* data, std::uint64_t line) {
  const std::uint64_t count = tensor.elements();
  std::string text;
  for (std::uint64_t i = 0; i < count; ++i) {
    text += element_text(tensor.dtype, data, i, static_cast<int>(options.dump_precision));
    text += (i + 1) % line == 0 ? '\n' : ' ';
  }
  return text;
}

// The tensor as float32 if it is quantised; `real` holds it then.
Tensor dequantise(Tensor tensor, const std::uint8_t*& data, std::vector<float>& real) {
  if (tensor.scale == 0 || is_float(tensor.dtype)) return tensor;
  real = dequantised(tensor, data);
  data = reinterpret_cast<const std::uint8_t*>(real.data());
  tensor.dtype = isa::DType::F32;
  return tensor;
}

std::string as_bytes(const Options& options, const Tensor& tensor, const std::uint8_t* data) {
  if (options.dump_format == "txt") return as_text(options, tensor, data, line_length(options, tensor));
  std::string bytes = options.dump_format == "npy" ? npy_header(tensor.dtype, tensor.shape) : "";
  return bytes.append(reinterpret_cast<const char*>(data), tensor.bytes());
}

Status dump_value(const Options& options, const std::string& stem, const engine::Written& value) {
  Tensor tensor{stem, value.dtype, value.shape, value.scale, value.zero_point};
  const std::uint8_t* data = value.bytes.data();
  const Status status = write_file(stem + ".bin", {reinterpret_cast<const char*>(data), value.bytes.size()});
  if (!status.ok()) return status;
  std::printf("dumped        %s.bin %s %s scale %.9g zero point %" PRId32 "\n", stem.c_str(), dtype_name(value.dtype),
              shape_text(tensor.shape).c_str(), value.scale, value.zero_point);
  if (options.dump_intermediate == 1) return {};
  std::vector<float> real;
  if (options.dump_intermediate == 3) tensor = dequantise(tensor, data, real);
  return write_file(stem + ".txt", as_text(options, tensor, data, tensor.shape.empty() ? 1 : tensor.shape.back()));
}

}  // namespace

Status prepare_dump(const Options& options, const std::vector<Tensor>& outputs) {
  if (!options.enable_dump && options.dump_intermediate == 0) return {};
  const std::string& form = options.dump_format;
  if (form != "bin" && form != "txt" && form != "npy")
    return {Code::BadArgument, "--dump_format", "must be bin, txt or npy; it is " + form};
  for (const Tensor& tensor : outputs)
    if (form == "txt" && options.dump_txt_axis > static_cast<std::int64_t>(tensor.shape.size()))
      return {Code::BadArgument, "--dump_txt_axis",
              format("output %s has %zu dimensions; the axis is %" PRId64, tensor.name.c_str(), tensor.shape.size(),
                     options.dump_txt_axis)};
  return make_folder(options.dump_path);
}

Status dump_outputs(const Options& options, const std::vector<Tensor>& outputs, const Buffers& buffers) {
  for (std::size_t k = 0; options.enable_dump && k < outputs.size(); ++k) {
    Tensor tensor = outputs[k];
    const std::uint8_t* data = buffers[k].data();
    std::vector<float> real;
    if (options.hybrid_dequantize_process) tensor = dequantise(tensor, data, real);
    const std::string path = file_name(options, k, tensor);
    if (Status status = write_file(path, as_bytes(options, tensor, data)); !status.ok()) return status;
    std::printf("dumped        %s\n", path.c_str());
  }
  return {};
}

Status dump_values(const Options& options, Worker& worker, const Buffers& inputs) {
  Status dumped;
  const Values dump = [&](std::uint32_t instruction, const std::string& op,
                          const std::vector<engine::Written>& values) {
    const std::string stem = options.dump_path + format("/instruction_%04" PRIu32 "_%s", instruction, op.c_str());
    for (std::size_t k = 0; k < values.size() && dumped.ok(); ++k)
      dumped = dump_value(options, k == 0 ? stem : stem + "_" + std::to_string(k), values[k]);
  };
  const Status status = worker.run_watched(inputs, dump);
  return status.ok() ? dumped : status;
}

void print_best_classes(const std::vector<Tensor>& outputs, const Buffers& buffers) {
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    std::vector<float> scores = dequantised(outputs[k], buffers[k].data());
    for (float& score : scores)
      if (std::isnan(score)) score = -std::numeric_limits<float>::infinity();  // sorting needs an order
    std::vector<std::size_t> order(scores.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto best = static_cast<std::ptrdiff_t>(std::min<std::size_t>(5, order.size()));
    std::partial_sort(order.begin(), order.begin() + best, order.end(), [&](std::size_t a, std::size_t b) {
      return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
    });
    for (std::ptrdiff_t i = 0; i < best; ++i)
      std::printf("%-13s TOP %d: class %zu, score %g\n", outputs[k].name.c_str(), static_cast<int>(i),
                  order[static_cast<std::size_t>(i)], static_cast<double>(scores[order[static_cast<std::size_t>(i)]]));
  }
}

}  // namespace openbpu::runner
