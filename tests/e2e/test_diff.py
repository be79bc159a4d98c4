"""openbpu diff: what is changed on purpose is named, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import openbpu
from e2e.vendor_commands import Commands
from openbpu.errors import ConfigError, ExecutableError, ModelError
from unit.float_networks import Net

SHAPE = (1, 3, 8, 8)


def _network() -> onnx.ModelProto:
    net = Net(3)
    features = net.op("Relu", net.conv("x", 3, 8, stride=2))
    return net.model(net.op("ReduceMean", net.conv(features, 8, 4), axes=[2, 3], keepdims=0, out="y"), shape=SHAPE)


def _changed(path: Path, change: object) -> Path:
    """A copy of net.onnx or net.qdq.onnx after `change(graph)`."""
    model = onnx.load(path)
    change(model.graph)  # type: ignore[operator]
    onnx.save(model, path.with_name("changed.onnx"))
    return path.with_name("changed.onnx")


def _set(graph: onnx.GraphProto, name: str, value: np.ndarray) -> None:
    next(t for t in graph.initializer if t.name == name).CopyFrom(numpy_helper.from_array(value, name))


def _value(graph: onnx.GraphProto, name: str) -> np.ndarray:
    return np.array(numpy_helper.to_array(next(t for t in graph.initializer if t.name == name)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diff")
    random = np.random.default_rng(0)
    samples = [random.standard_normal(SHAPE).astype(np.float32) for _ in range(2)]
    onnx.save(_network(), folder / "net.onnx")
    qdq = openbpu.quantize(folder / "net.onnx", samples, refinement=())
    onnx.save(qdq, folder / "net.qdq.onnx")
    openbpu.compile(qdq).save(folder / "net.bpux")
    return folder


def test_an_attribute(folder: Path) -> None:
    def change(graph: onnx.GraphProto) -> None:
        node = next(n for n in graph.node if n.op_type == "Conv")
        next(a for a in node.attribute if a.name == "strides").ints[:] = [1, 1]

    (found,) = openbpu.diff(folder / "net.onnx", _changed(folder / "net.onnx", change)).changes
    assert (found.group, found.name, found.what) == ("node", "Conv_0", "strides")
    assert (found.before, found.after) == ("[2, 2]", "[1, 1]")


def test_a_constant(folder: Path) -> None:
    def change(graph: onnx.GraphProto) -> None:
        value = _value(graph, "c0")
        value.flat[3] += 0.5
        _set(graph, "c0", value)

    (found,) = openbpu.diff(folder / "net.onnx", _changed(folder / "net.onnx", change)).changes
    assert (found.group, found.name, found.what) == ("constant", "c0", "values")
    assert found.difference.startswith("1 of 216 values, by 0.5")


def test_a_scale(folder: Path) -> None:
    def change(graph: onnx.GraphProto) -> None:
        node = next(n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "x")
        _set(graph, node.input[1], _value(graph, node.input[1]) * np.float32(2))

    found = openbpu.diff(folder / "net.qdq.onnx", _changed(folder / "net.qdq.onnx", change)).changes
    assert {(c.group, c.name, c.what) for c in found} == {("scale, zero point", "x", "scale")}


def test_nodes_and_encoding(folder: Path) -> None:
    def more(graph: onnx.GraphProto) -> None:
        graph.node.append(helper.make_node("Neg", ["y"], ["z"], name="last"))

    (found,) = openbpu.diff(folder / "net.onnx", _changed(folder / "net.onnx", more)).changes
    assert (found.group, found.name, found.what, found.after) == ("node", "last", "added", "Neg")
    report = openbpu.diff(folder / "net.onnx", _changed(folder / "net.onnx", lambda g: setattr(g, "doc_string", "x")))
    assert report.equal and not report.same_bytes


def test_programs(folder: Path) -> None:
    qdq = onnx.load(folder / "net.qdq.onnx")
    weight = next(t.name for t in qdq.graph.initializer if t.name == "Conv_0/weight")
    _set(qdq.graph, weight, -np.clip(_value(qdq.graph, weight), -127, 127))
    openbpu.compile(qdq).save(folder / "other.bpux")
    found = openbpu.diff(folder / "net.bpux", folder / "other.bpux").changes
    assert [(c.group, c.what) for c in found] == [("layer", "constants")] and found[0].before != found[0].after
    openbpu.compile(folder / "net.qdq.onnx", optimize_level="O0").save(folder / "slow.bpux")
    groups = {c.group for c in openbpu.diff(folder / "net.bpux", folder / "slow.bpux").changes}
    assert {"recorded", "layer"} <= groups
    net = openbpu.load(folder / "net.bpux")
    openbpu.link([("a", net), ("b", net)]).save(folder / "both.bpux")
    openbpu.link([("a", net), ("b", openbpu.load(folder / "other.bpux"))]).save(folder / "mixed.bpux")
    found = openbpu.diff(folder / "both.bpux", folder / "mixed.bpux").changes
    assert [c.what for c in found if c.group == "layer"] == ["constants"] and "b: " in found[0].name


def test_command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], folder: Path) -> None:
    monkeypatch.chdir(folder)
    run = Commands(monkeypatch, capfd)
    assert run("openbpu diff net.bpux net.bpux") == (0, "identical bytes\n", "")
    code, out, _ = run("openbpu diff net.onnx net.qdq.onnx")
    assert code == 3 and "QuantizeLinear" in out and "scale, zero point: " in out
    code, out, _ = run("openbpu diff net.onnx net.qdq.onnx --json")
    assert code == 3 and not json.loads(out)["equal"]
    code, _, error = run("openbpu diff net.onnx none.onnx")
    assert code == 1 and "none.onnx" in error
    with pytest.raises(ConfigError, match="openbpu verify"):
        openbpu.diff("net.onnx", "net.bpux")
    (folder / "bad.bpux").write_bytes(b"bad")
    (folder / "bad.onnx").write_bytes(b"bad")
    for name, error_type in (("bad.bpux", ExecutableError), ("bad.onnx", ModelError)):
        with pytest.raises(error_type):
            openbpu.diff(f"net.{name[4:]}", name)
