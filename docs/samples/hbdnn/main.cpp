// An application in the documented order of calls: load, names, handle, properties, allocate, fill, flush, infer,
// submit, wait, flush, read, release, free.
//
//   application model.bpux [input.bin ...]     writes <output name>.bin; inputs that are not given are zeros
//
// Frames of a camera have -1 where the application decides: here rows are padded to 32 bytes, and of a resizer, which
// takes frames of any size, the size is given as 30x38.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "hobot/dnn/hb_dnn.h"
#include "hobot/hb_ucp.h"
#include "hobot/hb_ucp_sys.h"

#define CHECK(call)                                                                    \
  do {                                                                                 \
    const int32_t status = (call);                                                     \
    if (status != 0) {                                                                 \
      std::fprintf(stderr, "%s: %s (%d)\n", #call, hbUCPGetErrorDesc(status), status); \
      return 1;                                                                        \
    }                                                                                  \
  } while (0)

namespace {

// Element by element of the last dimension but one: rows may be padded.
void copy(const hbDNNTensorProperties& properties, unsigned char* padded, unsigned char* dense, bool to_padded,
          int dimension = 0, std::size_t* done = nullptr) {
  std::size_t start = 0;
  if (!done) done = &start;
  const int last = properties.validShape.numDimensions - 1;
  for (int32_t k = 0; k < properties.validShape.dimensionSize[dimension]; ++k) {
    unsigned char* place = padded + k * properties.stride[dimension];
    if (dimension < last) {
      copy(properties, place, dense, to_padded, dimension + 1, done);
      continue;
    }
    const auto element = static_cast<std::size_t>(properties.stride[last]);
    std::memcpy(to_padded ? place : dense + *done, to_padded ? dense + *done : place, element);
    *done += element;
  }
}

// Sizes and strides that the model leaves open, and the bytes that follow.
uint64_t decide(hbDNNTensorProperties& properties) {
  if (properties.alignedByteSize >= 0) return static_cast<uint64_t>(properties.alignedByteSize);
  hbDNNTensorShape& shape = properties.validShape;
  const bool is_chroma = shape.dimensionSize[shape.numDimensions - 1] == 2;
  int32_t side = 0;
  for (int k = 0; k < shape.numDimensions; ++k)
    if (shape.dimensionSize[k] < 0) shape.dimensionSize[k] = (side++ == 0 ? 30 : 38) / (is_chroma ? 2 : 1);
  int64_t stride = properties.stride[shape.numDimensions - 1];
  for (int k = shape.numDimensions; k-- > 0;) {
    if (properties.stride[k] < 0) properties.stride[k] = (stride + 31) / 32 * 32;
    stride = properties.stride[k] * shape.dimensionSize[k];
  }
  return static_cast<uint64_t>(stride);
}

std::size_t dense_bytes(const hbDNNTensorProperties& properties) {
  auto bytes = static_cast<std::size_t>(properties.stride[properties.validShape.numDimensions - 1]);
  for (int32_t k = 0; k < properties.validShape.numDimensions; ++k)
    bytes *= static_cast<std::size_t>(properties.validShape.dimensionSize[k]);
  return bytes;
}

bool read(const char* path, std::vector<unsigned char>& bytes) {
  std::FILE* file = std::fopen(path, "rb");
  const bool whole = file && std::fread(bytes.data(), 1, bytes.size(), file) == bytes.size();
  if (file) std::fclose(file);
  if (!whole) std::fprintf(stderr, "%s: must be a file of %zu bytes\n", path, bytes.size());
  return whole;
}

bool write(const std::string& path, const std::vector<unsigned char>& bytes) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  const bool whole = file && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  return (!file || std::fclose(file) == 0) && whole;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: application model.bpux [input.bin ...]\n"), 2;

  hbDNNPackedHandle_t packed = nullptr;
  const char* files[] = {argv[1]};
  CHECK(hbDNNInitializeFromFiles(&packed, files, 1));
  const char** names = nullptr;
  int32_t name_count = 0;
  CHECK(hbDNNGetModelNameList(&names, &name_count, packed));
  hbDNNHandle_t model = nullptr;
  CHECK(hbDNNGetModelHandle(&model, packed, names[0]));

  int32_t input_count = 0, output_count = 0;
  CHECK(hbDNNGetInputCount(&input_count, model));
  CHECK(hbDNNGetOutputCount(&output_count, model));
  std::vector<hbDNNTensor> inputs(static_cast<std::size_t>(input_count));
  std::vector<hbDNNTensor> outputs(static_cast<std::size_t>(output_count));
  for (int32_t k = 0; k < input_count; ++k) {
    hbDNNTensor& tensor = inputs[static_cast<std::size_t>(k)];
    CHECK(hbDNNGetInputTensorProperties(&tensor.properties, model, k));
    CHECK(hbUCPMallocCached(&tensor.sysMem, decide(tensor.properties), 0));
    std::vector<unsigned char> bytes(dense_bytes(tensor.properties));
    if (k + 2 < argc && !read(argv[k + 2], bytes)) return 1;
    copy(tensor.properties, static_cast<unsigned char*>(tensor.sysMem.virAddr), bytes.data(), true);
    CHECK(hbUCPMemFlush(&tensor.sysMem, HB_SYS_MEM_CACHE_CLEAN));
  }
  for (int32_t k = 0; k < output_count; ++k) {
    hbDNNTensor& tensor = outputs[static_cast<std::size_t>(k)];
    CHECK(hbDNNGetOutputTensorProperties(&tensor.properties, model, k));
    CHECK(hbUCPMallocCached(&tensor.sysMem, static_cast<uint64_t>(tensor.properties.alignedByteSize), 0));
  }

  hbUCPTaskHandle_t task = nullptr;
  CHECK(hbDNNInferV2(&task, outputs.data(), inputs.data(), model));
  hbUCPSchedParam param;
  HB_UCP_INITIALIZE_SCHED_PARAM(&param);
  param.backend = HB_UCP_BPU_CORE_ANY;
  CHECK(hbUCPSubmitTask(task, &param));
  CHECK(hbUCPWaitTaskDone(task, 0));

  for (int32_t k = 0; k < output_count; ++k) {
    hbDNNTensor& tensor = outputs[static_cast<std::size_t>(k)];
    const char* name = nullptr;
    CHECK(hbDNNGetOutputName(&name, model, k));
    CHECK(hbUCPMemFlush(&tensor.sysMem, HB_SYS_MEM_CACHE_INVALIDATE));
    std::vector<unsigned char> bytes(dense_bytes(tensor.properties));
    copy(tensor.properties, static_cast<unsigned char*>(tensor.sysMem.virAddr), bytes.data(), false);
    if (!write(std::string(name) + ".bin", bytes)) return std::fprintf(stderr, "%s.bin: cannot be written\n", name), 1;
  }
  CHECK(hbUCPReleaseTask(task));
  for (std::vector<hbDNNTensor>* tensors : {&inputs, &outputs})
    for (hbDNNTensor& tensor : *tensors) CHECK(hbUCPFree(&tensor.sysMem));
  CHECK(hbDNNRelease(packed));
  return 0;
}
