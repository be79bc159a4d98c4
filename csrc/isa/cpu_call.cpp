#include "isa/cpu_call.hpp"

#include "isa/verify_detail.hpp"

namespace openbpu::isa {
namespace {

using detail::illegal;

constexpr u8 kTypes = static_cast<u8>(operators::Type::Bf16);

static_assert(static_cast<u8>(DType::F32) == static_cast<u8>(operators::Type::F32));
static_assert(static_cast<u8>(DType::Bool) == static_cast<u8>(operators::Type::Bool));
static_assert(static_cast<u8>(DType::Bf16) == static_cast<u8>(operators::Type::Bf16));

bool is_blank(const CpuTensor& record) {
  const CpuTensor none{};
  return std::memcmp(&record, &none, sizeof none) == 0;
}

Status check_tensor(const CpuTensor& t, Span<const Surface> surfaces, const std::string& where) {
  if (t.dtype == 0) return is_blank(t) ? Status{} : illegal(where, "an absent operand is all zero");
  if (t.region > static_cast<u8>(Region::Out)) return illegal(where + ", field region", "must be 0..4", t.region);
  if (t.dtype > kTypes) return illegal(where + ", field dtype", "must be 0..13", t.dtype);
  if (t.rank > operators::kMaxRank) return illegal(where + ", field rank", "must be 0..8", t.rank);
  const bool port = t.region == static_cast<u8>(Region::In) || t.region == static_cast<u8>(Region::Out);
  if (!port && t.port != 0) return illegal(where + ", field port", "must be 0 outside IN and OUT", t.port);
  if (t.home > surfaces.size() || (t.home && surfaces[t.home - 1].region != static_cast<u8>(Region::Home)))
    return illegal(where + ", field home", "must be 0 or 1 + the id of a surface in HOME", t.home);
  if (t.base >= u64{1} << 48) return illegal(where + ", field base", "must be below 2^48", static_cast<i64>(t.base));
  if (t.base % element_size(static_cast<DType>(t.dtype)) != 0)
    return illegal(where + ", field base", "must be a multiple of the element size", static_cast<i64>(t.base));
  u64 elements = 1;
  for (u32 k = 0; k < operators::kMaxRank; ++k) {
    if ((t.shape[k] == 0) != (k >= t.rank))
      return illegal(where + ", field shape", "used extents must be positive and unused ones zero; one", t.shape[k]);
    if (k < t.rank) elements *= t.shape[k];
    if (elements > detail::kMaxElements) return illegal(where, "a tensor has at most 2^31 - 1 elements");
  }
  return {};
}

operators::Tensor tensor_of(const CpuTensor& t, const Sections& s) {
  operators::Tensor tensor;
  tensor.type = static_cast<operators::Type>(t.dtype);
  tensor.rank = t.rank;
  for (u32 k = 0; k < t.rank; ++k) tensor.extent[k] = t.shape[k];
  const u64 bytes = static_cast<u64>(tensor.bytes());
  if (tensor && t.region == static_cast<u8>(Region::Const) && bytes <= s.constants.size() &&
      t.base <= s.constants.size() - bytes) {
    tensor.data = const_cast<u8*>(s.constants.data()) + t.base;
    tensor.constant = true;
  }
  return tensor;
}

}  // namespace

Result<CpuCall> decode_cpu_call(const Instruction& i, const Sections& s, const std::string& where) {
  const u64 size = s.aux.size();
  if (i.aux % 8 != 0 || i.aux > size || sizeof(CpuCallAux) > size - i.aux)
    return illegal(where + ", field aux", "must be a multiple of 8 with the record inside section AUX", i.aux);
  const u8* at = s.aux.data() + i.aux;
  const auto& head = *reinterpret_cast<const CpuCallAux*>(at);
  const operators::KernelInfo* kernel = operators::find_kernel(head.kernel);
  if (!kernel) return illegal(where + ", field kernel", "must be an operator of the table", head.kernel);
  const std::string name = where + " " + kernel->name;
  const u64 operands = u64{head.inputs} + head.outputs, bytes = operands * sizeof(CpuTensor) + u64{head.words} * 8;
  if (bytes > size - i.aux - sizeof(CpuCallAux))
    return illegal(name + ", field words", "operands and attributes must lie inside section AUX", head.words);
  CpuCall result;
  result.records = reinterpret_cast<const CpuTensor*>(at + sizeof(CpuCallAux));
  for (u64 k = 0; k < operands; ++k) {
    const bool output = k >= head.inputs;
    const std::string operand =
        std::string(output ? ", output " : ", input ") + std::to_string(output ? k - head.inputs : k);
    if (Status status = check_tensor(result.records[k], s.surfaces, name + operand); !status.ok()) return status;
    result.tensors.push_back(tensor_of(result.records[k], s));
  }
  result.call.kernel = kernel;
  result.call.inputs = {result.tensors.data(), head.inputs};
  result.call.outputs = {result.tensors.data() + head.inputs, head.outputs};
  result.call.words = {reinterpret_cast<const u64*>(result.records + operands), head.words};
  return result;
}

}  // namespace openbpu::isa
