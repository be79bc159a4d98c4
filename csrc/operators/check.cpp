// What holds for all calls: operands that must be there, the form of the attributes.
#include <algorithm>
#include <cmath>
#include <string>

#include "operators/rules.hpp"

namespace openbpu::operators {
namespace {

constexpr std::uint64_t kMaxList = 4096;

std::int64_t words_in(std::string_view words) { return 1 + std::count(words.begin(), words.end(), '|'); }

double number_at(const std::uint64_t* word) {
  double value;
  std::memcpy(&value, word, sizeof value);
  return value;
}

Fault check_value(const AttributeSpec& attribute, char kind, const std::uint64_t* word) {
  const std::string where = "attribute " + std::string(attribute.name);
  if (kind == 'f' && !std::isfinite(number_at(word))) return fault(where, "must be finite");
  if (kind == 'e' && *word >= static_cast<std::uint64_t>(words_in(attribute.words)))
    return fault(where, "must be the number of a word of its list", static_cast<std::int64_t>(*word));
  return {};
}

// Kinds of lists and of their items.
char item_kind(char kind) { return kind == 'l' ? 'i' : kind == 'n' ? 'f' : kind == 'w' ? 'e' : '\0'; }

Fault check_attributes(const Call& call) {
  std::string_view text = call.kernel->attributes;
  AttributeSpec attribute;
  std::size_t next = 0;
  const std::size_t end = call.words.size();
  while (next_attribute(text, attribute)) {
    const std::string where = "attribute " + std::string(attribute.name);
    if (next >= end) return fault(where, "its words are missing");
    const char item = item_kind(attribute.kind);
    std::uint64_t count = 1;
    if (item != '\0') {
      count = call.words[next++];
      if (count > kMaxList || count > end - next)
        return fault(where, "the list must lie inside the record", static_cast<std::int64_t>(count));
    }
    for (; count > 0; --count, ++next)
      if (Fault found = check_value(attribute, item != '\0' ? item : attribute.kind, &call.words[next])) return found;
  }
  return next == end ? Fault{} : fault("attributes", "words must all belong to an attribute");
}

Fault check_operands(const Call& call) {
  const KernelInfo& kernel = *call.kernel;
  const auto inputs = static_cast<std::int64_t>(call.inputs.size());
  const auto outputs = static_cast<std::int64_t>(call.outputs.size());
  if (inputs < kernel.min_inputs || inputs > kernel.max_inputs)
    return fault("inputs", "their number must be that of the operator", inputs);
  if (outputs < kernel.min_outputs || outputs > kernel.max_outputs)
    return fault("outputs", "their number must be that of the operator", outputs);
  bool any = false;
  for (const Tensor& tensor : call.outputs) any = any || tensor;
  if (!any) return fault("outputs", "at least one must be there");
  for (std::size_t k = 0; k < call.inputs.size(); ++k) {
    const std::string where = "input " + std::to_string(k);
    const Tensor& tensor = call.in(k);
    if (k < kernel.min_inputs && !tensor) return fault(where, "must be there");
    if (!tensor || (k >= 32 || !(kernel.statics >> k & 1))) continue;
    if (!tensor.constant) return fault(where, "is a parameter and must lie in CONST");
    if (tensor.type != Type::I64 && tensor.type != Type::F32)
      return fault(where, "is a parameter and must be int64 or float32");
  }
  for (std::size_t k = 0; k < kernel.min_outputs; ++k)
    if (k == 0 && !call.out(k) && kernel.max_outputs == 1) return fault("output 0", "must be there");
  return {};
}

}  // namespace

Fault check(const Call& call) {
  if (Fault found = check_operands(call)) return found;
  if (Fault found = check_attributes(call)) return found;
  return call.kernel->rule(call);
}

}  // namespace openbpu::operators
