#include "isa/disassemble.hpp"

#include <cstring>

#include "isa/cpu_call.hpp"
#include "isa/wide.hpp"

namespace openbpu::isa {
namespace {

constexpr const char* kRegions[] = {"CONST", "DDR", "SRAM", "IN", "OUT", "HOME"};
constexpr const char* kTypes[] = {"?",    "i8",  "u8",  "i16", "i32", "f32", "i64",
                                  "bool", "u16", "u32", "u64", "f16", "f64", "bf16"};
constexpr const char* kQueues[] = {"ld", "st", "mac", "vec"};

bool is_caller_memory(u8 region) {
  return region == static_cast<u8>(Region::In) || region == static_cast<u8>(Region::Out);
}

std::string padded(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

template <class T>
i64 read(const u8* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return static_cast<i64>(value);
}

i64 integer(const FieldInfo& field, const u8* record) {
  const u8* at = record + field.offset;
  switch (field.kind) {
    case FieldKind::u8_:
      return read<u8>(at);
    case FieldKind::u16_:
      return read<u16>(at);
    case FieldKind::u32_:
      return read<u32>(at);
    case FieldKind::u64_:
      return read<i64>(at);
    case FieldKind::i16_:
      return read<i16>(at);
    case FieldKind::i32_:
      return read<i32>(at);
    case FieldKind::i64_:
      return read<i64>(at);
    case FieldKind::f64_:
      return static_cast<i64>(read<f64>(at));
  }
  return 0;
}

std::string surface_text(u16 id, const Sections& s) {
  const Surface& x = s.surfaces[id];
  std::string text = std::string(kRegions[x.region]) + (is_caller_memory(x.region) ? std::to_string(x.port) : "") +
                     "+" + std::to_string(x.base) + ":" + kTypes[x.dtype] + "[" + std::to_string(x.n) + "," +
                     std::to_string(x.h) + "," + std::to_string(x.w) + "," + std::to_string(x.c) + "]";
  const u64 element = element_size(static_cast<DType>(x.dtype));
  const bool dense = x.stride_c == element && x.stride_w == x.c * element && x.stride_h == x.w * x.stride_w &&
                     (x.n == 1 || x.stride_n == x.h * x.stride_h);
  if (!dense)
    text += "/" + std::to_string(x.stride_n) + "," + std::to_string(x.stride_h) + "," + std::to_string(x.stride_w) +
            "," + std::to_string(x.stride_c);
  if (x.roll_h) text += "%" + std::to_string(x.roll_h);
  return text;
}

std::string const_text(u16 id, const Sections& s) {
  const Const& item = s.consts[id];
  std::string text = " #" + std::to_string(id) + ":";
  for (const FormatInfo& format : kFormats)
    if (static_cast<u8>(format.format) == item.format) text += format.name;
  for (int k = 0; k < 4 && item.dims[k]; ++k) text += (k ? "," : "[") + std::to_string(item.dims[k]);
  return text + "]";
}

std::string tensor_text(const CpuTensor& t) {
  if (t.dtype == 0) return "-";
  std::string text = std::string(kRegions[t.region]) + (is_caller_memory(t.region) ? std::to_string(t.port) : "") +
                     "+" + std::to_string(t.base) + ":" + kTypes[t.dtype] + "[";
  for (u8 k = 0; k < t.rank; ++k) text += (k ? "," : "") + std::to_string(t.shape[k]);
  return text + "]";
}

std::string values_text(const operators::AttributeSpec& attribute, const u64*& word) {
  const bool list = attribute.kind == 'l' || attribute.kind == 'n' || attribute.kind == 'w';
  std::string text;
  for (u64 count = list ? *word++ : 1; count > 0; --count, ++word) {
    f64 real;
    std::memcpy(&real, word, sizeof real);
    const bool number = attribute.kind == 'f' || attribute.kind == 'n';
    text += (text.empty() ? "" : ",") + (number ? std::to_string(real) : std::to_string(static_cast<i64>(*word)));
  }
  return text;
}

std::string cpu_text(const Instruction& i, const Sections& s) {
  const Result<CpuCall> decoded = decode_cpu_call(i, s, "");
  if (!decoded.ok()) return "";
  const CpuCall& cpu = decoded.value();
  const std::size_t inputs = cpu.call.inputs.size();
  std::string text = std::string(" ") + cpu.call.kernel->name;
  for (std::size_t k = inputs; k < cpu.tensors.size(); ++k) text += " " + tensor_text(cpu.records[k]);
  text += " <-";
  for (std::size_t k = 0; k < inputs; ++k) text += " " + tensor_text(cpu.records[k]);
  std::string_view attributes = cpu.call.kernel->attributes;
  const u64* word = cpu.call.words.data();
  for (operators::AttributeSpec spec; operators::next_attribute(attributes, spec);)
    text += " " + std::string(spec.name) + "=" + values_text(spec, word);
  return text;
}

// DDR_OPERAND is left out: the operands show it.
std::string flag_names(u8 flags) {
  std::string text;
  for (const FlagInfo& flag : kFlags)
    if ((flags & flag.mask) && flag.mask != static_cast<u8>(Flag::DDR_OPERAND)) text += std::string(" ") + flag.name;
  return text;
}

// Parameters that are not zero, by the names of records.def; ids, box and waits are written elsewhere.
std::string parameters(const RecordInfo& record, const u8* bytes, u16 first, u16 end) {
  std::string text;
  for (u16 f = 0; f < record.field_count; ++f) {
    const FieldInfo& field = record.fields[f];
    if (field.offset < first || field.offset >= end || std::strncmp(field.name, "reserved", 8) == 0) continue;
    if (const i64 value = integer(field, bytes)) text += std::string(" ") + field.name + "=" + std::to_string(value);
  }
  return text;
}

std::string box_text(const Instruction& i, const Surface& out) {
  if (i.box_h == out.h && i.box_w == out.w && i.box_n == out.c) return "";
  return " box=y" + std::to_string(i.box_y) + "+" + std::to_string(i.box_h) + ",x" + std::to_string(i.box_x) + "+" +
         std::to_string(i.box_w) + ",c" + std::to_string(i.box_c) + "+" + std::to_string(i.box_n);
}

std::string line(const Instruction& i, const InstructionInfo& info, const Sections& s) {
  std::string text = padded(info.name, 14);
  if (info.operands & O) text += " " + surface_text(i.out, s) + " <-";
  if (info.operands & A) text += " " + surface_text(i.in0, s);
  if ((info.operands & B) || ((info.operands & W) && i.in1 != kNoId)) text += " " + surface_text(i.in1, s);
  if (info.operands & M) text += " " + surface_text(i.in2, s);
  if (info.operands & W) text += const_text(i.weight, s);
  if (operands_of(info, is_wide(i, s.surfaces)) & T) text += const_text(i.table, s);
  if (info.operands & O) text += box_text(i, s.surfaces[i.out]);
  text += flag_names(i.flags);
  if (info.op == Op::CPUCALL) return text + cpu_text(i, s);
  const auto* bytes = reinterpret_cast<const u8*>(&i);
  const RecordInfo& word = kRecords[static_cast<int>(RecordId::Instruction)];
  text += parameters(word, bytes, offsetof(Instruction, L), offsetof(Instruction, layer));
  text += parameters(word, bytes, offsetof(Instruction, lo), offsetof(Instruction, in2));
  text += parameters(word, bytes, offsetof(Instruction, ma), sizeof(Instruction));
  if (const RecordInfo* aux = aux_record(info.aux)) text += parameters(*aux, s.aux.data() + i.aux, 0, aux->size);
  for (int q = 0; q < 4; ++q)
    if (i.wait[q]) text += std::string(" wait:") + kQueues[q] + ">=" + std::to_string(i.wait[q]);
  return text;
}

std::string port_text(const Port& port, u32 index, const Sections& s) {
  std::string text = std::string("; ") + kRegions[port.direction == 0 ? 3 : 4] + std::to_string(index) + " " +
                     reinterpret_cast<const char*>(s.strings.data() + port.name) + " " + kTypes[port.dtype] + "[";
  for (u8 k = 0; k < port.rank; ++k) text += (k ? "," : "") + std::to_string(port.shape[k]);
  return text + "]\n";
}

std::string head(const Entry& entry, const Sections& s) {
  std::string text = std::string("; ") + reinterpret_cast<const char*>(s.strings.data() + entry.name) + ": DDR " +
                     std::to_string(entry.ddr_bytes) + " bytes, SRAM " + std::to_string(entry.sram_bytes) + " bytes, " +
                     std::to_string(entry.macs) + " MACs\n";
  for (u32 k = 0; k < entry.inputs + entry.outputs; ++k)
    text += port_text(s.ports[entry.first_port + k], k < entry.inputs ? k : k - entry.inputs, s);
  return text;
}

}  // namespace

std::string disassemble(const Entry& entry, const Sections& sections) {
  std::string text = head(entry, sections);
  for (u32 k = 0; k < entry.instructions; ++k) {
    const Instruction& i = sections.code[entry.first_instruction + k];
    text += padded(std::to_string(k), 6) + padded("L" + std::to_string(i.layer), 7) +
            line(i, *find_instruction(i.op), sections) + "\n";
  }
  return text;
}

}  // namespace openbpu::isa
