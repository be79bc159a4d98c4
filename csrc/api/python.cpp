// The Python module openbpu._native: programs and engines.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <cstring>
#include <mutex>

#include "api/python_gil.hpp"
#include "api/python_isa.hpp"
#include "container/layout.hpp"
#include "container/program.hpp"
#include "engine/engine.hpp"
#include "engine/features.hpp"
#include "engine/fork.hpp"
#include "engine/peak.hpp"
#include "isa/disassemble.hpp"
#include "isa/reflect.hpp"

namespace py = pybind11;
using namespace py::literals;

namespace openbpu {
namespace {

using ProgramPtr = std::shared_ptr<const container::Program>;

const char* code_name(Code code) {
  switch (code) {
    case Code::Ok:
      return "Ok";
    case Code::Corrupt:
      return "Corrupt";
    case Code::Unsupported:
      return "Unsupported";
    case Code::Illegal:
      return "Illegal";
    case Code::BadArgument:
      return "BadArgument";
    case Code::NoMemory:
      return "NoMemory";
    case Code::Io:
      return "Io";
    case Code::Cancelled:
      return "Cancelled";
    case Code::Timeout:
      return "Timeout";
    case Code::Trap:
      return "Trap";
    case Code::Internal:
      return "Internal";
  }
  return "Internal";
}

// Names come from files: what is not UTF-8 is shown as U+FFFD.
py::str text(std::string_view utf8) {
  PyObject* decoded = PyUnicode_DecodeUTF8(utf8.data(), static_cast<Py_ssize_t>(utf8.size()), "replace");
  if (!decoded) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(decoded);
}

PyObject* native_error = nullptr;  // the class openbpu._native.NativeError, alive as long as the module

void require(const Status& status) {
  if (status.ok()) return;
  const py::tuple arguments = py::make_tuple(code_name(status.code()), text(status.where()), text(status.message()));
  PyErr_SetObject(native_error, arguments.ptr());
  throw py::error_already_set();
}

// numpy's name of an element type.
const char* dtype_name(isa::DType type) {
  switch (type) {
    case isa::DType::I8:
      return "int8";
    case isa::DType::U8:
      return "uint8";
    case isa::DType::I16:
      return "int16";
    case isa::DType::I32:
      return "int32";
    case isa::DType::F32:
      return "float32";
    case isa::DType::I64:
      return "int64";
    case isa::DType::Bool:
      return "bool";
    case isa::DType::U16:
      return "uint16";
    case isa::DType::U32:
      return "uint32";
    case isa::DType::U64:
      return "uint64";
    case isa::DType::F16:
      return "float16";
    case isa::DType::F64:
      return "float64";
    case isa::DType::Bf16:  // no port has it
    case isa::DType::None:
      break;
  }
  return "void";
}

// ---- versions

py::dict versions() {
  return py::dict("isa"_a = isa::kIsaVersion, "numerics"_a = isa::kNumericsVersion,
                  "container_major"_a = container::kMajor, "container_minor"_a = container::kMinor);
}

// ---- writing

std::string bytes_of(const py::dict& parts, const char* key) {
  const py::object value = parts[key];
  if (py::isinstance<py::bytes>(value)) return value.cast<std::string>();
  if (py::isinstance<py::str>(value)) return value.cast<std::string>();
  return value.attr("tobytes")().cast<std::string>();
}

template <class Record>
std::vector<Record> records_of(const py::dict& parts, const char* key) {
  const std::string bytes = bytes_of(parts, key);
  if (bytes.size() % sizeof(Record) != 0)
    require({Code::BadArgument, key, "must be an array of records of " + std::to_string(sizeof(Record)) + " bytes"});
  std::vector<Record> result(bytes.size() / sizeof(Record));
  if (!bytes.empty()) std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

py::bytes write_file(const py::dict& source) {
  container::Parts parts;
  parts.entries = records_of<isa::Entry>(source, "entries");
  parts.ports = records_of<isa::Port>(source, "ports");
  parts.surfaces = records_of<isa::Surface>(source, "surfaces");
  parts.consts = records_of<isa::Const>(source, "consts");
  parts.code = records_of<isa::Instruction>(source, "code");
  parts.aux = records_of<std::uint8_t>(source, "aux");
  parts.constants = records_of<std::uint8_t>(source, "constants");
  parts.strings = records_of<std::uint8_t>(source, "strings");
  parts.meta = bytes_of(source, "meta");
  const std::vector<std::uint8_t> file = container::write(parts);
  return py::bytes(reinterpret_cast<const char*>(file.data()), file.size());
}

// ---- programs

template <class Make>
ProgramPtr make_program(Make make) {
  Result<ProgramPtr> result = without_gil(make);
  require(result.status());
  return result.value();
}

ProgramPtr program_from_bytes(const py::bytes& data) {
  char* start = nullptr;
  Py_ssize_t size = 0;
  if (PyBytes_AsStringAndSize(data.ptr(), &start, &size) != 0) throw py::error_already_set();
  const Span<const std::uint8_t> bytes(reinterpret_cast<const std::uint8_t*>(start), static_cast<std::size_t>(size));
  return make_program([&] { return container::Program::read(bytes); });
}

const isa::Entry& find_entry(const container::Program& program, const std::string& name) {
  const Result<const isa::Entry*> entry = engine::find_entry(program, name);
  require(entry.status());
  return *entry.value();
}

py::tuple port_shape(const isa::Port& port) {
  py::tuple shape(port.rank);
  for (std::size_t k = 0; k < port.rank; ++k) shape[k] = port.shape[k];
  return shape;
}

py::list ports(const ProgramPtr& program, const std::string& name) {
  const isa::Entry& entry = find_entry(*program, name);
  py::list result;
  for (std::uint32_t k = 0; k < entry.inputs + entry.outputs; ++k) {
    const isa::Port& port = program->ports()[entry.first_port + k];
    result.append(py::dict("name"_a = text(program->string(port.name)),
                           "direction"_a = port.direction == 0 ? "input" : "output",
                           "dtype"_a = dtype_name(static_cast<isa::DType>(port.dtype)), "shape"_a = port_shape(port),
                           "scale"_a = port.scale, "zero_point"_a = port.zero_point, "flags"_a = port.flags));
  }
  return result;
}

py::dict summary(const ProgramPtr& program) {
  py::list entries;
  for (const isa::Entry& entry : program->entries())
    entries.append(py::dict("name"_a = text(program->string(entry.name)), "instructions"_a = entry.instructions,
                            "inputs"_a = entry.inputs, "outputs"_a = entry.outputs, "macs"_a = entry.macs,
                            "ddr_bytes"_a = entry.ddr_bytes, "sram_bytes"_a = entry.sram_bytes));
  return py::dict("versions"_a = versions(), "entries"_a = entries, "surfaces"_a = program->surfaces().size(),
                  "constants"_a = program->consts().size(), "constant_bytes"_a = program->constants().size(),
                  "code_bytes"_a = program->code().size() * sizeof(isa::Instruction));
}

template <class Record>
py::bytes bytes_of(Span<const Record> records) {
  return py::bytes(reinterpret_cast<const char*>(records.data()), records.size() * sizeof(Record));
}

// Records as they lie in the file, for tools that read programs; MACs per instruction beside the code of the entry.
py::dict tables(const container::Program& program, const isa::Entry& entry) {
  const Span<const isa::Instruction> code{program.code().data() + entry.first_instruction, entry.instructions};
  py::list macs;
  for (const isa::Instruction& instruction : code) macs.append(isa::macs(instruction, program.sections()));
  return py::dict("entry"_a = bytes_of(Span<const isa::Entry>{&entry, 1}),
                  "ports"_a = bytes_of(Span<const isa::Port>{program.ports().data() + entry.first_port,
                                                             std::size_t{entry.inputs} + entry.outputs}),
                  "surfaces"_a = bytes_of(program.surfaces()), "consts"_a = bytes_of(program.consts()),
                  "code"_a = bytes_of(code), "aux"_a = bytes_of(program.aux()), "macs"_a = macs);
}

py::list entry_names(const ProgramPtr& program) {
  py::list names;
  for (const isa::Entry& entry : program->entries()) names.append(text(program->string(entry.name)));
  return names;
}

// ---- engines

class PyEngine {
 public:
  PyEngine(ProgramPtr program, const engine::Options& options) {
    Result<std::unique_ptr<engine::Engine>> result =
        without_gil([&] { return engine::Engine::create(std::move(program), options); });
    require(result.status());
    engine_ = std::move(result.value());
  }

  py::list run(const py::list& inputs) {
    return run_with(inputs, [this](const auto& in, const auto& out) { return engine_->run(in, out); });
  }
  // As a task of the process: see engine/scheduler.hpp.
  py::list run_task(const py::list& inputs, const engine::Schedule& schedule) {
    return run_with(inputs, [&](const auto& in, const auto& out) {
      auto compute = [&](engine::Execution& execution) {
        engine::Control control;
        control.execution = &execution;
        return engine_->run(in, out, control);
      };
      engine::Task task;
      const Status status = task.submit({[](void* context, engine::Execution& execution) {
                                           return (*static_cast<decltype(compute)*>(context))(execution);
                                         },
                                         &compute},
                                        schedule);
      return status.ok() ? task.wait() : status;
    });
  }
  py::list run_profiled(const py::list& inputs) {
    return run_with(inputs, [this](const auto& in, const auto& out) { return engine_->run_profiled(in, out); });
  }

  // The engine's own list changes while another thread profiles.
  std::vector<engine::StepInfo> infos() const {
    std::vector<engine::StepInfo> result;
    const Status status = without_gil([&]() -> Status {
      std::unique_lock<std::mutex> lock(one_run_, std::defer_lock);
      if (Status turn = take_turn(lock); !turn.ok()) return turn;
      result.assign(engine_->steps().begin(), engine_->steps().end());
      return {};
    });
    require(status);
    return result;
  }

  py::list steps() const {
    py::list result;
    for (const engine::StepInfo& info : infos())
      result.append(py::dict("instruction"_a = info.instruction,
                             "op"_a = isa::find_instruction(static_cast<std::uint8_t>(info.op))->name,
                             "layer"_a = info.layer, "row"_a = info.row, "reason"_a = info.reason, "macs"_a = info.macs,
                             "bytes"_a = info.bytes, "nanoseconds"_a = info.nanoseconds));
    return result;
  }

  bool is_joined() const { return engine_->is_joined(); }
  std::uint64_t moved_bytes() const { return engine_->moved_bytes(); }
  std::string isa() const { return engine_->isa(); }
  int threads() const { return engine_->threads(); }

 private:
  // An engine has one arena, so that runs take turns. A thread that was in a run when the process forked does not exist
  // in the child, where its run never ends.
  Status take_turn(std::unique_lock<std::mutex>& lock) const {
    const std::uint32_t epoch = engine::fork_epoch();
    if (!lock.try_lock()) {
      if (epoch != turn_epoch_.load())
        return {Code::Cancelled, "session",
                "it was in a run on another thread when the process forked: make a new session in the child"};
      lock.lock();
    }
    turn_epoch_.store(epoch);
    return {};
  }

  template <class Run>
  py::list run_with(const py::list& inputs, const Run& run) {
    const auto ports = engine_->inputs();
    if (inputs.size() != ports.size())
      require({Code::BadArgument, "inputs", "needs " + std::to_string(ports.size()) + " arrays"});
    std::vector<const void*> sources;
    for (std::size_t k = 0; k < ports.size(); ++k) {
      const auto array = py::cast<py::array>(inputs[k]);
      const bool matches = array.dtype().equal(py::dtype(dtype_name(static_cast<isa::DType>(ports[k].dtype)))) &&
                           py::object(array.attr("shape")).equal(port_shape(ports[k])) &&
                           (array.flags() & py::array::c_style) != 0;
      if (!matches)
        require(
            {Code::BadArgument, "input " + std::to_string(k), "must be a dense array of the port's type and shape"});
      sources.push_back(array.data());
    }
    py::list results;
    std::vector<void*> targets;
    for (const isa::Port& port : engine_->outputs()) {
      py::array array(py::dtype(dtype_name(static_cast<isa::DType>(port.dtype))),
                      std::vector<py::ssize_t>(port.shape, port.shape + port.rank));
      targets.push_back(array.mutable_data());
      results.append(std::move(array));
    }
    const Status status = without_gil([&] {
      std::unique_lock<std::mutex> lock(one_run_, std::defer_lock);
      const Status turn = take_turn(lock);
      return turn.ok() ? run(sources, targets) : turn;
    });
    require(status);
    return results;
  }

  std::unique_ptr<engine::Engine> engine_;
  mutable std::mutex one_run_;
  mutable std::atomic<std::uint32_t> turn_epoch_{engine::fork_epoch()};  // of the last turn
};

}  // namespace
}  // namespace openbpu

PYBIND11_MODULE(_native, module) {
  using namespace openbpu;
  module.doc() = "The C++ runtime of openbpu.";
  native_error = PyErr_NewExceptionWithDoc("openbpu._native.NativeError",
                                           "A status of the C++ runtime: (code, where, message).", nullptr, nullptr);
  module.attr("NativeError") = py::reinterpret_borrow<py::object>(native_error);

  py::class_<container::Program, std::shared_ptr<container::Program>>(module, "Program")
      .def_static(
          "from_bytes",
          [](const py::bytes& data) { return std::const_pointer_cast<container::Program>(program_from_bytes(data)); },
          "data"_a)
      .def_static(
          "load",
          [](const std::string& path) {
            return std::const_pointer_cast<container::Program>(
                make_program([&] { return container::Program::load(path); }));
          },
          "path"_a)
      .def("to_bytes",
           [](const container::Program& p) {
             return py::bytes(reinterpret_cast<const char*>(p.file().data()), p.file().size());
           })
      .def_property_readonly("size", [](const container::Program& p) { return p.file().size(); })
      .def_property_readonly("entries", [](const std::shared_ptr<container::Program>& p) { return entry_names(p); })
      .def(
          "ports", [](const std::shared_ptr<container::Program>& p, const std::string& e) { return ports(p, e); },
          "entry"_a = "")
      .def_property_readonly("meta", [](const container::Program& p) { return std::string(p.meta()); })
      .def("summary", [](const std::shared_ptr<container::Program>& p) { return summary(p); })
      .def(
          "disassemble",
          [](const container::Program& p, const std::string& e) {
            return isa::disassemble(find_entry(p, e), p.sections());
          },
          "entry"_a = "")
      .def(
          "tables", [](const container::Program& p, const std::string& e) { return tables(p, find_entry(p, e)); },
          "entry"_a = "");

  py::class_<PyEngine>(module, "Engine")
      .def(py::init([](const std::shared_ptr<container::Program>& program, const std::string& entry,
                       const std::string& isa, int threads, std::optional<std::uint8_t> flip, bool exact_machine,
                       std::uint64_t seed) {
             engine::Options options{entry, isa, threads, flip};
             options.exact_machine = exact_machine;
             options.seed = seed;
             return std::make_unique<PyEngine>(program, options);
           }),
           "program"_a, "entry"_a = "", "isa"_a = "auto", "threads"_a = 1, "flip"_a = py::none(),
           "exact_machine"_a = false, "seed"_a = 0)
      .def("run", &PyEngine::run, "inputs"_a)
      .def(
          "run_task",
          [](PyEngine& engine, const py::list& inputs, int priority, std::int64_t custom_id, std::uint64_t cores,
             std::int64_t timeout) {
            return engine.run_task(inputs, {priority, custom_id, cores, std::chrono::milliseconds(timeout)});
          },
          "inputs"_a, "priority"_a = 0, "custom_id"_a = 0, "cores"_a = engine::kAnyCore, "timeout"_a = 0)
      .def("run_profiled", &PyEngine::run_profiled, "inputs"_a)
      .def("steps", &PyEngine::steps)
      .def_property_readonly("joined", &PyEngine::is_joined)
      .def_property_readonly("moved_bytes", &PyEngine::moved_bytes)
      .def_property_readonly("isa", &PyEngine::isa)
      .def_property_readonly("threads", &PyEngine::threads);

  module.def("available_isas", &engine::available_isas);
  module.def(
      "peak_gmacs",
      [](const std::string& isa) {
        const Result<const engine::IsaInfo*> info = engine::find_isa(isa);
        require(info.status());
        return engine::peak_gmacs(info.value()->isa);
      },
      "isa"_a);
  module.def("host_features", &engine::host_features);
  define_isa(module);
  module.def("versions", &versions);
  module.def("write", &write_file, "parts"_a);
}
