#include "openbpu/program.hpp"

#include <iterator>

#include "api/runtime/contents.hpp"
#include "engine/engine.hpp"

namespace openbpu::runtime {

static_assert(static_cast<int>(ErrorCode::Internal) == static_cast<int>(Code::Internal));
static_assert(static_cast<int>(DataType::Bool) == static_cast<int>(isa::DType::Bool));
static_assert(static_cast<int>(DataType::Float64) == static_cast<int>(isa::DType::F64));

const char* name_of(ErrorCode code) noexcept {
  constexpr const char* kNames[] = {"Ok", "Corrupt",   "Unsupported", "Illegal", "BadArgument", "NoMemory",
                                    "Io", "Cancelled", "Timeout",     "Trap",    "Internal"};
  const auto index = static_cast<std::size_t>(code);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}

std::size_t size_of(DataType type) noexcept { return isa::element_size(static_cast<isa::DType>(type)); }

namespace {

Port port_of(const container::Program& program, const isa::Port& port) {
  Port result{};
  result.name = program.string(port.name);
  result.type = static_cast<DataType>(port.dtype);
  result.rank = port.rank;
  for (std::uint32_t k = 0; k < result.rank; ++k) result.shape[k] = port.shape[k];
  result.scale = port.scale;
  result.zero_point = port.zero_point;
  result.bytes = static_cast<std::size_t>(port.bytes);
  result.may_have_strides = (port.flags & isa::kPortStrides) != 0;
  result.may_be_smaller = (port.flags & isa::kPortSize) != 0;
  result.is_region = (port.flags & isa::kPortRegion) != 0;
  return result;
}

Model model_of(const container::Program& program, const isa::Entry& entry) {
  Model model;
  for (std::uint32_t k = 0; k < entry.inputs + entry.outputs; ++k)
    (k < entry.inputs ? model.inputs : model.outputs)
        .push_back(port_of(program, program.ports()[entry.first_port + k]));
  return model;
}

}  // namespace

Program::Program() noexcept = default;
Program::~Program() = default;
Program::Program(const Program&) noexcept = default;
Program& Program::operator=(const Program&) noexcept = default;
Program::Program(Program&&) noexcept = default;
Program& Program::operator=(Program&&) noexcept = default;
Program::Program(std::shared_ptr<const Contents> contents) noexcept : contents_(std::move(contents)) {}

template <class Load>
Result<Program> Program::make(Load load) noexcept {
  return guarded([&]() -> Result<Program> {
    openbpu::Result<std::shared_ptr<const container::Program>> loaded = load();
    if (!loaded.ok()) return to_public(loaded.status());
    auto contents = std::make_shared<Contents>();
    contents->program = std::move(loaded.value());
    for (const isa::Entry& entry : contents->program->entries())
      contents->models.push_back(model_of(*contents->program, entry));
    return Program(std::move(contents));
  });
}

Result<Program> Program::from_file(const std::string& path) noexcept {
  return make([&] { return container::Program::load(path); });
}

Result<Program> Program::from_memory(const void* data, std::size_t size) noexcept {
  if (!data && size != 0) return Status(ErrorCode::BadArgument, {}, {});
  return make([&] { return container::Program::read({static_cast<const std::uint8_t*>(data), size}); });
}

Result<Program> Program::map_file(const std::string& path) noexcept {
  return make([&] { return container::Program::map(path); });
}

std::size_t Program::model_count() const noexcept { return contents_ ? contents_->models.size() : 0; }

std::string_view Program::model_name(std::size_t index) const noexcept {
  if (index >= model_count()) return {};
  return contents_->program->string(contents_->program->entries()[index].name);
}

namespace {

template <class Contents>
Result<Span<const Port>> ports(const Contents* contents, std::string_view name, std::vector<Port> Model::* list) {
  return guarded([&]() -> Result<Span<const Port>> {
    if (!contents) return Status(ErrorCode::BadArgument, "program", "it holds no model");
    const auto entry = engine::find_entry(*contents->program, std::string(name));
    if (!entry.ok()) return to_public(entry.status());
    const auto index = static_cast<std::size_t>(entry.value() - contents->program->entries().data());
    return Span<const Port>(contents->models[index].*list);
  });
}

}  // namespace

Result<Span<const Port>> Program::inputs(std::string_view model) const noexcept {
  return ports(contents_.get(), model, &Model::inputs);
}

Result<Span<const Port>> Program::outputs(std::string_view model) const noexcept {
  return ports(contents_.get(), model, &Model::outputs);
}

std::string_view Program::metadata() const noexcept {
  return contents_ ? contents_->program->meta() : std::string_view();
}

std::size_t Program::file_bytes() const noexcept { return contents_ ? contents_->program->file().size() : 0; }

}  // namespace openbpu::runtime
