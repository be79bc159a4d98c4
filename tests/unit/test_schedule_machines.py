"""Programs as they are chosen, from 256 KiB to 24 MiB: one result in every way to run them, and the bytes that move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import float_networks
import numpy as np
import onnx
import pytest
import wide_networks

from openbpu import _native
from openbpu.errors import UnsupportedError
from openbpu.frontend import prepare_qdq
from openbpu.ir.graph import Graph
from openbpu.ir.profile import TargetProfile, profile
from openbpu.lower import lower
from openbpu.perf.program import read
from openbpu.pipeline import quantize
from openbpu.programs import Aim, chosen
from openbpu.runtime import Executable
from openbpu.schedule import Options, schedule
from openbpu.target.records import NO_AUX, NO_ID, RECORDS
from schedules.drawn import drawn

KIB = 1024
SIZES = (256, 512, 1024, 2048, 6144, 24576)
NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    **float_networks.NETWORKS,
    **{kind: lambda kind=kind: float_networks.activation(kind) for kind in ("silu", "gelu", "relu6")},
    **wide_networks.NETWORKS,
}
WIDE = ("residual", "detector", "attention")  # with activations of int16 too


@cache
def _qdq(name: str, dtype: str = "int8") -> onnx.ModelProto:
    model = NETWORKS[name]()
    random = np.random.default_rng(3)
    shapes = {i.name: tuple(d.dim_value or 1 for d in i.type.tensor_type.shape.dim) for i in model.graph.input}
    feed = {k: random.standard_normal(s).astype(np.float32) for k, s in shapes.items()}
    return quantize(model, [feed], calibration="max", refinement=(), all_nodes_type=dtype)


def _graph(name: str, dtype: str = "int8") -> Graph:
    return lower(prepare_qdq(_qdq(name, dtype)))


def _machine(kib: int) -> TargetProfile:
    return replace(profile("nash-e"), sram_bytes=kib * KIB)


def _feeds(program: _native.Program) -> list[np.ndarray]:
    random = np.random.default_rng(7)
    ports = [p for p in program.ports() if p["direction"] == "input"]
    return [random.standard_normal(p["shape"]).astype(p["dtype"]) for p in ports]


def _outputs(program: _native.Program, **options: object) -> list[bytes]:
    engine = _native.Engine(program, **options)  # type: ignore[arg-type]
    return [array.tobytes() for array in engine.run(_feeds(program))]


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "int8") for name in NETWORKS), *((name, "int16") for name in WIDE)]
)
def test_one_result_for_every_size_and_way(name: str, dtype: str) -> None:
    graph = _graph(name, dtype)
    wanted = _outputs(_native.Program.from_bytes(schedule(graph, _machine(256), Options("O0"))))
    done: set[bytes] = set()
    for kib in SIZES:
        data = chosen(graph, _machine(kib), Options(), Aim()).to_bytes()
        program = _native.Program.from_bytes(data)
        assert program.summary()["entries"][0]["sram_bytes"] <= kib * KIB
        code = Executable.from_bytes(data).disassemble().encode()
        if code in done:
            continue
        done.add(code)
        assert _native.Engine(program).joined
        assert _outputs(program) == wanted
        for seed in (1, 2):
            assert _outputs(program, exact_machine=True, seed=seed) == wanted


@pytest.mark.parametrize("name", NETWORKS)
def test_the_machine_moves_what_the_estimate_counts(name: str) -> None:
    """All but the tables, which the units fetch by themselves: the estimate adds them."""
    graph = _graph(name)
    for kib, options in (
        (20, Options()),
        (300, Options()),
        (300, Options("O1")),
        (200, Options(partitioner=drawn(5))),
        (300, Options("O0")),
    ):
        try:
            data = schedule(graph, _machine(kib), options)
        except UnsupportedError:
            assert kib < 200
            continue
        program = _native.Program.from_bytes(data)
        engine = _native.Engine(program, exact_machine=True, seed=3)
        engine.run(_feeds(program))
        executable = Executable.from_bytes(data)
        on_bpu = [i for i in read(executable).instructions if i.queue != "CPU"]
        counted = sum(i.read_bytes + i.write_bytes for i in on_bpu) - _tables(executable)
        if options.optimize_level == "O0":  # operands in DDR: the machine takes whole rows under windows, not columns
            assert counted <= engine.moved_bytes <= 1.01 * counted
            continue
        assert engine.moved_bytes == counted
        if options.partitioner is None:
            assert engine.moved_bytes == executable.meta["memory"]["traffic_bytes"]


def _tables(executable: Executable) -> int:
    """Bytes of all tables, each once: together they fit into what the units hold."""
    tables = executable.tables()
    code = np.frombuffer(tables["code"], RECORDS["Instruction"])
    consts = np.frombuffer(tables["consts"], RECORDS["Const"])
    used = {int(word["table"]) for word in code if word["table"] != NO_ID}
    for word in code:
        info = _OPCODES[int(word["op"])]
        if info["aux"] == "ResizeAux" and word["aux"] != NO_AUX:
            (record,) = np.frombuffer(tables["aux"], RECORDS["ResizeAux"], 1, int(word["aux"]))
            used |= {int(record["rows"]), int(record["columns"])}
    total = sum(int(consts[k]["size"]) for k in used)
    assert total <= 1 << 16
    return total


_OPCODES = {info["opcode"]: info for info in _native.instructions()}


@pytest.mark.parametrize("kib", [64, 128])
def test_a_layer_too_large_in_any_split_is_refused(kib: int) -> None:
    """2100 input channels under 3 x 3 taps: 16 output channels alone take 303 kB."""
    net = float_networks.Net(31)
    wide = net.conv(net.conv("x", 3, 2100, 1), 2100, 20, 3, out="y")
    model = net.model(wide, shape=(1, 3, 6, 6))
    qdq = quantize(model, float_networks.samples(1, (1, 3, 6, 6)), calibration="max", refinement=())
    for compiled in (
        lambda: chosen(lower(prepare_qdq(qdq)), _machine(kib), Options(), Aim()),
        lambda: schedule(lower(prepare_qdq(qdq)), _machine(kib), Options("O1")),
    ):
        with pytest.raises(UnsupportedError) as caught:
            compiled()
        text = str(caught.value)
        assert "layer 'Conv_1'" in text and f"{9 * 2100 * 16} bytes" in text.replace(",", "")
        assert f"{kib * KIB} bytes of SRAM" in text and "Compile for a profile with more SRAM" in text
    chosen(lower(prepare_qdq(qdq)), _machine(320), Options(), Aim())
