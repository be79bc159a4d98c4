#include "operators/call.hpp"

#include "operators/rules.hpp"

namespace openbpu::operators {
namespace {

constexpr KernelInfo kTable[] = {
#define CPU_KERNEL(name, id, rule, min_inputs, max_inputs, min_outputs, max_outputs, statics, attributes, summary) \
  {#name, id, rules::rule, min_inputs, max_inputs, min_outputs, max_outputs, statics, attributes, summary},
#include "operators/kernels.def"
#undef CPU_KERNEL
};

constexpr bool ids_ascend() {
  for (std::size_t k = 1; k < sizeof kTable / sizeof kTable[0]; ++k)
    if (kTable[k].id <= kTable[k - 1].id) return false;
  return true;
}
static_assert(ids_ascend(), "kernels.def: ids must ascend");

bool is_list(char kind) { return kind == 'l' || kind == 'n' || kind == 'w'; }

}  // namespace

const Span<const KernelInfo> kKernels(kTable);

const KernelInfo* find_kernel(std::uint16_t id) {
  for (const KernelInfo& kernel : kTable)
    if (kernel.id == id) return &kernel;
  return nullptr;
}

bool next_attribute(std::string_view& text, AttributeSpec& attribute) {
  if (text.empty()) return false;
  const std::string_view item = text.substr(0, text.find(' '));
  text.remove_prefix(item.size() < text.size() ? item.size() + 1 : item.size());
  const std::size_t colon = item.find(':'), equal = item.find('=');
  attribute.name = item.substr(0, colon);
  attribute.kind = item[colon + 1];
  attribute.required = equal == std::string_view::npos;
  const std::string_view rest = attribute.required ? std::string_view() : item.substr(equal + 1);
  const bool worded = attribute.kind == 'e' || attribute.kind == 'w';
  attribute.words = worded ? rest : std::string_view();
  attribute.initial = worded ? rest.substr(0, attribute.kind == 'e' ? rest.find('|') : 0) : rest;
  return true;
}

const Tensor& Call::absent() {
  static const Tensor tensor;
  return tensor;
}

const std::uint64_t* Call::find(std::string_view name) const {
  std::string_view text = kernel->attributes;
  AttributeSpec attribute;
  for (const std::uint64_t* word = words.data(); next_attribute(text, attribute);
       word += is_list(attribute.kind) ? 1 + *word : 1)
    if (attribute.name == name) return word;
  return nullptr;
}

std::int64_t Call::integer(std::string_view name) const {
  const std::uint64_t* word = find(name);
  return word ? static_cast<std::int64_t>(*word) : 0;
}

double Call::number(std::string_view name) const {
  double value = 0;
  if (const std::uint64_t* word = find(name)) std::memcpy(&value, word, sizeof value);
  return value;
}

Integers Call::list(std::string_view name) const {
  const std::uint64_t* word = find(name);
  if (!word) return {};
  return {reinterpret_cast<const std::int64_t*>(word + 1), static_cast<std::int64_t>(*word)};
}

Numbers Call::numbers(std::string_view name) const {
  const std::uint64_t* word = find(name);
  if (!word) return {};
  return {reinterpret_cast<const double*>(word + 1), static_cast<std::int64_t>(*word)};
}

}  // namespace openbpu::operators
