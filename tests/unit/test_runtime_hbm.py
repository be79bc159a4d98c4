"""HB_HBMRuntime: the attributes and the behaviour that board scripts rely on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import openbpu
from openbpu.errors import ConfigError, ExecutableError, OpenBpuError, SampleError
from openbpu.hbm_runtime import HB_HBMRuntime, SchedParam, hbDNNDataType, hbDNNQuantiType
from openbpu.runtime import Schedule, Session, hbm
from unit import runtime_programs as programs


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("hbm")
    contents = {
        "net": programs.convolution(),
        "copies": programs.copies(("a", "y", "int8"), ("b", "z", "float32")),
        "trap": programs.trap(7),
    }
    for name, data in contents.items():
        (folder / f"{name}.bpux").write_bytes(data)
    return {name: folder / f"{name}.bpux" for name in contents}


@pytest.fixture(scope="module")
def net(files: dict[str, Path]) -> HB_HBMRuntime:
    return HB_HBMRuntime(str(files["net"]))


@pytest.fixture
def both(files: dict[str, Path]) -> HB_HBMRuntime:
    return HB_HBMRuntime([str(files["net"]), files["copies"]])


@pytest.fixture(scope="module")
def features(files: dict[str, Path]) -> np.ndarray:
    return Session(files["net"]).run(programs.image())["features"]


_A = np.array([[-128, -1, 0], [1, 2, 127]], np.int8)
_B = np.arange(6, dtype=np.float32).reshape(2, 3)


# ---- attributes


def test_attributes(both: HB_HBMRuntime) -> None:
    assert both.version == openbpu.__version__
    assert both.model_names == ["net", "copies"] and both.model_count == 2
    assert json.loads(both.model_descs["net"]) == programs.META and set(both.hbm_descs) == {"net", "copies"}
    assert dict(both.compile_bpu_core_num) == {"net": 1, "copies": 1}
    assert dict(both.input_counts) == {"net": 1, "copies": 2} == dict(both.output_counts)
    assert dict(both.input_names) == {"net": ["image"], "copies": ["a", "b"]}
    assert dict(both.output_names) == {"net": ["features"], "copies": ["y", "z"]}
    assert both.input_shapes["net"]["image"] == list(programs.IMAGE)
    assert both.output_shapes["copies"] == {"y": [2, 3], "z": [2, 3]}
    assert both.input_dtypes["copies"] == {"a": hbDNNDataType.S8, "b": hbDNNDataType.F32}
    assert both.input_strides["net"]["image"] == list(np.empty(programs.IMAGE, np.float32).strides)
    assert both.output_strides["copies"] == {"y": [3, 1], "z": [12, 4]}
    assert both.input_descs["copies"] == {"a": "", "b": ""} == dict.fromkeys(both.input_names["copies"], "")
    assert set(both.output_descs["copies"]) == {"y", "z"}
    assert both.sched_params == {"net": SchedParam(), "copies": SchedParam()}


def test_quantisation_of_tensors(both: HB_HBMRuntime) -> None:
    quantised, real = both.output_quants["copies"]["y"], both.input_quants["net"]["image"]
    assert (quantised.scale.tolist(), quantised.zero_point.tolist()) == ([0.5], [1])
    assert (quantised.quant_type, quantised.quant_type.name, quantised.axis) == (hbDNNQuantiType.SCALE, "SCALE", 0)
    assert (real.quant_type, real.scale.size, real.zero_point.size) == (hbDNNQuantiType.NONE, 0, 0)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "float32", "bool", "float16", "uint64"])
def test_types_by_the_boards_numbers(tmp_path: Path, dtype: str) -> None:
    make = programs.identities if dtype in ("float16", "uint64") else programs.copies
    (tmp_path / "c.bpux").write_bytes(make(("a", "y", dtype)))
    runtime = HB_HBMRuntime(tmp_path / "c.bpux")
    x = np.ones((2, 3), dtype)
    (outputs,) = runtime.run(x).values()
    np.testing.assert_array_equal(outputs["y"], x)
    kind = {"i": "S", "u": "U", "f": "F", "b": "BOOL"}[x.dtype.kind]
    (types,) = runtime.input_dtypes.values()
    assert types["a"].name == f"{kind}{8 * x.itemsize}"
    assert (int(hbDNNDataType.U8), int(hbDNNDataType.S32)) == (3, 8)


def test_attributes_are_read_only(net: HB_HBMRuntime) -> None:
    for table in (net.input_shapes, net.input_shapes["net"], net.sched_params, net.model_descs):
        with pytest.raises(TypeError):
            table["net"] = None  # type: ignore[index]
    for name in ("sched_params", "model_names", "model_count", "version", "input_names", "anything"):
        with pytest.raises(AttributeError, match=name):
            setattr(net, name, {})


def test_what_a_script_does_to_an_attribute_changes_nothing(both: HB_HBMRuntime) -> None:
    both.model_names.clear()
    both.input_names["net"].append("x")
    both.input_shapes["net"]["image"][0] = 7
    both.sched_params["net"].bpu_cores.append(3)
    assert both.model_names == ["net", "copies"] and both.input_names["net"] == ["image"]
    assert both.input_shapes["net"]["image"] == list(programs.IMAGE)
    assert both.sched_params["net"].bpu_cores == [-1]


def test_the_boards_names(files: dict[str, Path], features: np.ndarray) -> None:
    """As its public description has them: of the class, of the constructor's and run's arguments, of schedules."""
    assert HB_HBMRuntime.version == openbpu.__version__
    assert int(hbDNNDataType.MAX) == 14
    runtime = HB_HBMRuntime(model_file=str(files["net"]))
    x = programs.image()
    for inputs in (
        {"input_tensor": x},
        {"input_tensors": {"image": x}},
        {"multi_input_tensors": {"net": {"image": x}}},
    ):
        np.testing.assert_array_equal(runtime.run(**inputs)["net"]["features"], features)  # type: ignore[arg-type]
    params = runtime.sched_params["net"]
    assert (params.priority, params.customId, params.bpu_cores, params.deviceId) == (0, 0, [-1], 0), "-1: any core"
    runtime.set_scheduling_params(bpu_cores={"net": [1]})
    runtime.set_scheduling_params(bpu_cores={"net": params.bpu_cores})
    assert runtime.sched_params["net"].bpu_cores == [-1]
    assert HB_HBMRuntime(model_files=[str(files["net"])]).model_names == ["net"]


def test_the_module_needs_numpy_alone() -> None:
    code = "import sys, openbpu.hbm_runtime; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"onnx", "onnxruntime", "click", "rich", "yaml", "torch"} & set(json.loads(loaded.replace("'", '"')))


# ---- run


@pytest.mark.parametrize("form", ["array", "inputs", "models"])
@pytest.mark.parametrize("named", [False, True])
def test_forms_of_inputs(net: HB_HBMRuntime, features: np.ndarray, form: str, named: bool) -> None:
    x = programs.image()
    inputs: Any = {"array": x, "inputs": {"image": x}, "models": {"net": {"image": x}}}[form]
    result = net.run(inputs, **({"model_name": "net"} if named else {}))
    assert list(result) == ["net"] and list(result["net"]) == ["features"]
    np.testing.assert_array_equal(result["net"]["features"], features)


def test_several_models_in_one_call(both: HB_HBMRuntime, features: np.ndarray) -> None:
    result = both.run({"copies": {"a": _A, "b": _B}, "net": {"image": programs.image()}})
    assert list(result) == ["copies", "net"]
    np.testing.assert_array_equal(result["net"]["features"], features)
    np.testing.assert_array_equal(result["copies"]["y"], _A)
    np.testing.assert_array_equal(result["copies"]["z"], _B)
    np.testing.assert_array_equal(both.run({"a": _A, "b": _B}, model_name="copies")["copies"]["y"], _A)
    np.testing.assert_array_equal(both.run(programs.image(), model_name="net")["net"]["features"], features)


def test_a_model_name_chooses_among_the_inputs(both: HB_HBMRuntime, features: np.ndarray) -> None:
    inputs = {"copies": {"a": _A}, "net": {"image": programs.image()}}
    result = both.run(inputs, model_name="net")
    assert list(result) == ["net"]
    np.testing.assert_array_equal(result["net"]["features"], features)


def test_models_of_one_call_run_at_the_same_time(both: HB_HBMRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits until the other has started: one after the other would never end."""
    meeting = threading.Barrier(2, timeout=20)
    run = Session.run

    def meet(self: Session, inputs: Any, schedule: Schedule) -> dict[str, np.ndarray]:
        meeting.wait()
        return run(self, inputs, schedule)

    monkeypatch.setattr(Session, "run", meet)
    both.run({"copies": {"a": _A, "b": _B}, "net": {"image": programs.image()}})


def test_arrays_that_are_not_contiguous(net: HB_HBMRuntime, features: np.ndarray) -> None:
    x = programs.image()
    wide = np.zeros((*x.shape[:3], 2 * x.shape[3]), np.float32)
    wide[..., ::2] = x
    for same in (wide[..., ::2], np.asfortranarray(x)):
        np.testing.assert_array_equal(net.run(same)["net"]["features"], features)


def test_results_own_their_memory(net: HB_HBMRuntime, features: np.ndarray) -> None:
    first = net.run(programs.image())["net"]["features"]
    net.run(programs.image(1))
    np.testing.assert_array_equal(first, features)


def test_many_threads_on_one_runtime(both: HB_HBMRuntime, files: dict[str, Path]) -> None:
    expected = [Session(files["net"]).run(programs.image(k))["features"].tobytes() for k in range(4)]
    wrong: list[int] = []

    def caller(k: int) -> None:
        for _ in range(15):
            result = both.run({"net": {"image": programs.image(k)}, "copies": {"a": _A + np.int8(k), "b": _B}})
            if result["net"]["features"].tobytes() != expected[k] or (result["copies"]["y"] != _A + np.int8(k)).any():
                wrong.append(k)

    threads = [threading.Thread(target=caller, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert wrong == []


def test_other_threads_run_meanwhile(tmp_path: Path) -> None:
    """A Python thread counts while a long run is on; with the GIL held it would not."""
    (tmp_path / "wide.bpux").write_bytes(programs.convolution(channels=4096))
    runtime = HB_HBMRuntime(tmp_path / "wide.bpux")
    session = runtime._sessions["net"]
    session._engine = type(session._engine)(session.executable.native, isa="scalar")
    counted, over = 0, threading.Event()

    def count() -> None:
        nonlocal counted
        while not over.is_set():
            counted += 1
            over.wait(0.001)

    counter = threading.Thread(target=count)
    counter.start()
    before = counted
    runtime.run(programs.image())
    during = counted - before
    over.set()
    counter.join()
    assert during > 3


# ---- scheduling parameters


def test_scheduling_parameters(both: HB_HBMRuntime) -> None:
    both.set_scheduling_params(priority={"net": 200}, bpu_cores={"net": [0, 1], "copies": [2]})
    both.set_scheduling_params(custom_id={"net": 7}, device_id={"net": 0})
    assert both.sched_params["net"] == SchedParam(200, 7, [0, 1], 0)
    assert both.sched_params["copies"] == SchedParam(0, 0, [2], 0)
    result = both.run({"a": _A, "b": _B}, model_name="copies", priority=255, bpu_cores=[0], custom_id={"copies": 3})
    np.testing.assert_array_equal(result["copies"]["y"], _A)
    assert both.sched_params["copies"].priority == 0, "for that call only"


@pytest.mark.parametrize(
    "arguments,words",
    [
        ({"priority": {"nett": 1}}, ["nett", "did you mean net?"]),
        ({"priority": {"net": 256}}, ["priority", "0 to 255", "256"]),
        ({"priority": {"net": -1}}, ["-1"]),
        ({"priority": {"net": 1.5}}, ["1.5"]),
        ({"priority": {"net": True}}, ["True"]),
        ({"bpu_cores": {"net": [4]}}, ["bpu_cores", "0 to 3", "4"]),
        ({"bpu_cores": {"net": [0, 0]}}, ["each core once"]),
        ({"bpu_cores": {"net": [-1, 0]}}, ["0 to 3", "-1"]),
        ({"bpu_cores": {"net": "01"}}, ["list of core indices"]),
        ({"custom_id": {"net": 2**63}}, ["custom_id"]),
        ({"device_id": {"net": 1}}, ["device_id"]),
    ],
)
def test_wrong_scheduling_parameters_change_nothing(
    both: HB_HBMRuntime, arguments: dict[str, Any], words: list[str]
) -> None:
    both.set_scheduling_params(priority={"net": 5})
    with pytest.raises(ConfigError) as caught:
        both.set_scheduling_params(**{"custom_id": {"net": 1}, **arguments})
    for word in words:
        assert word.lower() in str(caught.value).lower()
    assert both.sched_params["net"] == SchedParam(priority=5)


def test_wrong_scheduling_parameters_of_a_call(net: HB_HBMRuntime) -> None:
    for arguments in ({"priority": 300}, {"bpu_cores": [9]}, {"priority": {"other": 1}}):
        with pytest.raises(ConfigError):
            net.run(programs.image(), **arguments)  # type: ignore[arg-type]


# ---- failures


@pytest.mark.parametrize(
    "inputs,options,words",
    [
        (_A, {}, ["several models", "net, copies"]),
        ({"a": _A, "b": _B}, {}, ["several models"]),
        ({"nett": {"image": _A}}, {}, ["nett", "did you mean net?"]),
        ({"net": {"image": _A}, "copies": _A}, {}, ["several models"]),
        ({"net": {"image": programs.image()}}, {"model_name": "copies"}, ["copies: there must be inputs", "net"]),
        (_A, {"model_name": "copies"}, ["several inputs"]),
        (_A, {"model_name": "zebra"}, ["zebra"]),
        ({"image": _A}, {"model_name": "net"}, ["image", "shape"]),
        ({"net": {"image": programs.image()}, "copies": {"a": _A}}, {}, ["none for b"]),
        (None, {"model_name": "net"}, ["input_tensors", "got none"]),
        (_A, {"input_tensor": _A}, ["one of inputs", "input_tensor"]),
    ],
)
def test_wrong_inputs(both: HB_HBMRuntime, inputs: Any, options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises((SampleError, ConfigError)) as caught:
        both.run(inputs, **options)
    assert isinstance(caught.value, ValueError) == isinstance(caught.value, SampleError), "what the board raises"
    for word in words:
        assert word.lower() in str(caught.value).lower(), str(caught.value)


def test_wrong_files(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "bad.bpux").write_bytes(b"no")
    for bad in (tmp_path / "missing.bpux", tmp_path / "bad.bpux", [files["net"], tmp_path / "bad.bpux"]):
        with pytest.raises(ExecutableError, match=r"(missing|bad)\.bpux"):
            HB_HBMRuntime(bad)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="net twice"):
        HB_HBMRuntime([files["net"], files["net"]])
    with pytest.raises(ConfigError, match="at least one file"):
        HB_HBMRuntime([])


def test_a_program_that_stops_itself(files: dict[str, Path]) -> None:
    runtime = HB_HBMRuntime([files["trap"], files["net"]])
    with pytest.raises(ExecutableError, match="trap 7"):
        runtime.run({"net": {"image": programs.image()}, "trap": {}})
    assert "net" in runtime.run(programs.image(), model_name="net"), "the runtime lives on"


def test_the_example_of_the_page_works(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "python-runtime.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 2
    monkeypatch.chdir(files["net"].parent)
    names: dict[str, Any] = {"np": np}
    for example in examples:
        exec(example, names)
    assert names["features"].tobytes() == names["results"]["net"]["features"].tobytes()


def test_the_page_tells_every_attribute(net: HB_HBMRuntime) -> None:
    page = (Path(__file__).parents[2] / "docs" / "python-runtime.md").read_text()
    attributes = {name for name in dir(net) if not name.startswith("_") and not callable(getattr(net, name))}
    assert len(attributes) > 20
    for name in attributes:
        assert f"`{name.replace('output_', 'input_')}`" in page, name


def test_every_name_of_the_module_is_there() -> None:
    for name in hbm.__all__:
        assert getattr(sys.modules["openbpu.hbm_runtime"], name) is getattr(hbm, name)
    assert issubclass(ConfigError, OpenBpuError)
