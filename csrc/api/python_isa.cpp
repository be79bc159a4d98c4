#include "api/python_isa.hpp"

#include <string>
#include <string_view>

#include "isa/reflect.hpp"
#include "operators/call.hpp"

namespace py = pybind11;
using namespace py::literals;

namespace openbpu {
namespace {

const char* field_format(isa::FieldKind kind) {
  switch (kind) {
    case isa::FieldKind::u8_:
      return "<u1";
    case isa::FieldKind::u16_:
      return "<u2";
    case isa::FieldKind::u32_:
      return "<u4";
    case isa::FieldKind::u64_:
      return "<u8";
    case isa::FieldKind::i16_:
      return "<i2";
    case isa::FieldKind::i32_:
      return "<i4";
    case isa::FieldKind::i64_:
      return "<i8";
    case isa::FieldKind::f64_:
      return "<f8";
  }
  return "";
}

py::dict records() {
  py::dict result;
  for (const isa::RecordInfo& record : isa::kRecords) {
    py::list fields;
    for (std::size_t f = 0; f < record.field_count; ++f) {
      const isa::FieldInfo& field = record.fields[f];
      fields.append(py::dict("name"_a = field.name, "format"_a = field_format(field.kind), "offset"_a = field.offset,
                             "count"_a = field.count, "doc"_a = field.doc));
    }
    result[record.name] = py::dict("size"_a = record.size, "doc"_a = record.doc, "fields"_a = fields);
  }
  return result;
}

py::list instructions() {
  constexpr const char* queues[] = {"CTRL", "LD", "ST", "MAC", "VEC", "CPU"};
  constexpr const char* letters[] = {"A", "B", "O", "W", "T", "M"};
  py::list result;
  for (const isa::InstructionInfo& info : isa::kInstructions) {
    std::string operands;
    for (int bit = 0; bit < 6; ++bit)
      if (info.operands >> bit & 1) operands += letters[bit];
    const isa::RecordInfo* aux = isa::aux_record(info.aux);
    result.append(py::dict("name"_a = info.name, "opcode"_a = static_cast<int>(info.op),
                           "queue"_a = queues[static_cast<int>(info.queue)], "operands"_a = operands,
                           "aux"_a = aux ? aux->name : "", "summary"_a = info.summary));
  }
  return result;
}

py::list formats() {
  py::list result;
  for (const isa::FormatInfo& info : isa::kFormats)
    result.append(py::dict("name"_a = info.name, "number"_a = static_cast<int>(info.format), "dims"_a = info.dims,
                           "layout"_a = info.layout));
  return result;
}

// The table of CPU operators.
py::list cpu_kernels() {
  py::list result;
  for (const operators::KernelInfo& info : operators::kKernels) {
    py::list attributes;
    std::string_view text_left = info.attributes;
    for (operators::AttributeSpec spec; operators::next_attribute(text_left, spec);)
      attributes.append(py::dict("name"_a = std::string(spec.name), "kind"_a = std::string(1, spec.kind),
                                 "words"_a = std::string(spec.words), "default"_a = std::string(spec.initial),
                                 "required"_a = spec.required));
    result.append(py::dict("name"_a = info.name, "id"_a = info.id, "min_inputs"_a = info.min_inputs,
                           "max_inputs"_a = info.max_inputs, "min_outputs"_a = info.min_outputs,
                           "max_outputs"_a = info.max_outputs, "statics"_a = info.statics, "attributes"_a = attributes,
                           "summary"_a = info.summary));
  }
  return result;
}

py::list flags() {
  py::list result;
  for (const isa::FlagInfo& info : isa::kFlags)
    result.append(py::dict("name"_a = info.name, "mask"_a = info.mask, "doc"_a = info.doc));
  return result;
}

}  // namespace

void define_isa(py::module_& module) {
  module.def("records", &records);
  module.def("instructions", &instructions);
  module.def("formats", &formats);
  module.def("flags", &flags);
  module.def("cpu_kernels", &cpu_kernels);
}

}  // namespace openbpu
