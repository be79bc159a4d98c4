"""One model, three executors: ONNX Runtime, the oracle on the integer graph, the compiled program."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import onnx

from lowering.execute import execute
from lowering.nets import Net, reference
from openbpu import _native
from openbpu.errors import ModelWarning, UnsupportedError
from openbpu.ir.graph import Graph
from openbpu.ir.profile import profile
from openbpu.lower import lower
from openbpu.runtime import Session
from openbpu.schedule import Options, schedule


def check(net: Net, tolerance: int = 1, warned: bool = False, kinds: tuple[str, ...] | None = None) -> Graph:
    """`check_model` on a net and its own feeds."""
    return check_model(net.model(), net.feeds, tolerance, warned, kinds)


def check_model(
    model: onnx.ModelProto,
    feeds: dict[str, np.ndarray],
    tolerance: int = 1,
    warned: bool = False,
    kinds: tuple[str, ...] | None = None,
) -> Graph:
    """Every output within `tolerance` steps of ONNX Runtime; the program equal to the oracle, bit for bit.

    `warned` says whether lowering must warn; `kinds` are the ops expected between the borders of the graph.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = lower(model)
    texts = [str(w.message) for w in caught if issubclass(w.category, ModelWarning)]
    assert bool(texts) == warned, texts
    expected = execute(graph, feeds)
    wanted = dict(zip([o.name for o in model.graph.output], reference(model, feeds), strict=True))
    steps = {op.outputs[0].name: op.inputs[0].quant for op in graph.ops if op.kind in ("dequantize", "write_port")}
    assert set(expected) == set(wanted)
    for name, want in wanted.items():
        got, quant = expected[name], steps.get(name)
        assert got.shape == want.shape and got.dtype == want.dtype, f"{name}: {got.dtype}{got.shape}"
        step = quant.s if want.dtype == np.float32 and quant is not None else 1
        worst = np.abs(got.astype(np.float64) - want.astype(np.float64)).max() / step
        assert worst <= tolerance + 0.01, f"{name}: {worst:.2f} steps from ONNX Runtime\n{graph}"
    session = Session(schedule(graph, profile("nash-e")))
    for name, array in session.run(feeds).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=f"{name}\n{session.executable.disassemble()}")
    _check_machines(graph, feeds, expected)
    if kinds is not None:
        borders = ("quantize", "dequantize", "read_port", "write_port")
        assert tuple(op.kind for op in graph.ops if op.kind not in borders) == kinds, str(graph)
    return graph


def _check_machines(graph: Graph, feeds: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """In DDR alone, and in a very small SRAM on the exact machine: the same bytes."""
    small = replace(profile("nash-e"), sram_bytes=3 << 10)
    for target, options, exact in ((small, Options("O0"), False), (small, Options(), True)):
        try:
            program = _native.Program.from_bytes(schedule(graph, target, options))
        except UnsupportedError:
            continue
        if exact:
            assert _native.Engine(program).joined == (program.summary()["entries"][0]["sram_bytes"] > 0)
        engine = _native.Engine(program, exact_machine=exact)
        ports = [p for p in program.ports() if p["direction"] == "input"]
        inputs = [np.asarray(feeds[p["name"]], order="C") for p in ports]
        names = [p["name"] for p in program.ports() if p["direction"] == "output"]
        for name, array in zip(names, engine.run(inputs), strict=True):
            np.testing.assert_array_equal(array, expected[name], err_msg=f"{name}\n{program.disassemble()}")
