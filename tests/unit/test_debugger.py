"""The studies of openbpu.debugger: figures against models that are quantised in part, and their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import float_networks as nets
import numpy as np
import pytest
from click.testing import CliRunner

import openbpu
from openbpu import frontend
from openbpu.analyze.anatomy import BLENDS, MOVES, Anatomy
from openbpu.cli.analyze_command import command
from openbpu.debugger import Debugger
from openbpu.errors import ConfigError, OpenBpuError, SampleError


@pytest.fixture(scope="module")
def debugger() -> Debugger:
    """A detector of eleven operators and two outputs."""
    model, samples = nets.detector(), nets.samples(3)
    return Debugger(model, openbpu.quantize(model, samples, refinement=()), samples)


def test_all_nodes_quantised_are_the_quantised_model(debugger: Debugger) -> None:
    (curve,) = debugger.accumulated(metric="sqnr")
    report = debugger.report()
    for output in report.outputs:
        # Biases and results that others read stay float here, and are rounded there
        assert curve.outputs[output.name] == pytest.approx(output.sqnr_db, abs=1.5)
    assert curve.nodes == tuple(debugger.nodes) and len(curve.scores) == len(debugger.nodes)


def test_one_node_quantised_is_its_sensitivity(debugger: Debugger) -> None:
    found = {x.node: x for x in debugger.sensitivity(metric="sqnr")}
    node = debugger.nodes[3]
    curves = {c.title: c for c in debugger.accumulated("sqnr", only=[node], but=[node])}
    assert min(curves[f"only {node}"].outputs.values()) == pytest.approx(found[node].sqnr_db)
    for name, value in curves["all"].outputs.items():
        assert curves[f"all but {node}"].outputs[name] >= value - 0.5


def test_inputs_and_weights_apart(debugger: Debugger) -> None:
    both, weights, inputs = ({x.node: x for x in debugger.sensitivity(k)} for k in ("node", "weight", "activation"))
    for name, x in both.items():
        assert x.scores["mse"] <= 2.5 * (weights[name].scores["mse"] + inputs[name].scores["mse"]) + 1e-12
        if not x.op.startswith("Conv"):
            assert weights[name].scores["mse"] == 0
    ordered = debugger.sensitivity(metric="mse")
    assert [x.scores["mse"] for x in ordered] == sorted((x.scores["mse"] for x in ordered), reverse=True)
    (alone,) = debugger.sensitivity(nodes=[debugger.nodes[0]], outputs=["boxes"])
    assert alone.node == debugger.nodes[0]


def test_metrics_are_those_of_numpy() -> None:
    model, samples = nets.residual(), nets.samples(2)
    qdq = openbpu.quantize(model, samples, refinement=())
    scores = Debugger(model, qdq, samples).sensitivity("activation")
    last = next(x for x in scores if x.op == "Gemm").scores
    clean = frontend.prepare(model)
    gemm = clean.graph.node[-1]
    weight, bias = (next(t for t in clean.graph.initializer if t.name == n) for n in gemm.input[1:])
    inner = openbpu.frontend.cut(clean, [gemm.input[0]])
    flat = nets.run(inner, *samples)[0].reshape(2, -1)
    pair = next(n for n in qdq.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == gemm.input[0])
    arrays = {t.name: t for t in qdq.graph.initializer}
    import onnx

    scale, zero = (onnx.numpy_helper.to_array(arrays[n]) for n in pair.input[1:])
    rounded = (np.clip(np.rint(flat / scale) + zero, -128, 127) - zero) * scale
    w, b = (onnx.numpy_helper.to_array(t).astype(np.float64) for t in (weight, bias))
    error, wanted = (rounded - flat) @ w.T, flat @ w.T + b
    assert last["mse"] == pytest.approx((error**2).mean(), rel=1e-3)
    assert last["chebyshev"] == pytest.approx(np.abs(error).max(), rel=1e-3)
    assert last["mre"] == pytest.approx(np.abs(error).sum() / np.abs(wanted).sum(), rel=1e-3)


def test_lifting_gains(debugger: Debugger) -> None:
    curves = debugger.lifting("sqnr", threshold=1.0)
    assert curves[0].quantised == len(debugger.nodes) and curves[-1].quantised == 0
    assert min(curves[-1].outputs.values()) > min(curves[0].outputs.values()) + 3


def test_distributions_hold_every_value(debugger: Debugger) -> None:
    node = debugger.nodes[0]
    found = {d.kind: d for d in debugger.distributions([node])}
    assert sum(found["input"].counts) == sum(found["input"].quantised) == 3 * 3 * 32 * 32
    assert found["input"].range is not None and len(found["input"].channels) == 3
    assert sum(found["weight"].counts) == 16 * 3 * 9 and len(found["weight"].channels) == 16
    assert len(debugger.distributions([node], axis=2)[0].channels) == 32


def test_operators_and_groups_of_a_quantised_model() -> None:
    model, samples = nets.unet(), nets.samples(2)
    anatomy = Anatomy(frontend.prepare(model), openbpu.quantize(model, samples, refinement=()))
    kinds = {unit.op: unit.kind for unit in anatomy.units}
    assert kinds["Resize"] == BLENDS and kinds["Concat"] == MOVES == kinds["MaxPool"]
    joined = next(unit for unit in anatomy.units if unit.op == "Concat")
    assert len(joined.touches) == 1 and len(joined.edges) == 2
    assert any(unit.nodes[0].startswith("Conv") and len(unit.nodes) == 2 for unit in anatomy.units)  # with its Relu


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda d: d.sensitivity(nodes=["Conv_99"]), "no such node"),
        (lambda d: d.sensitivity(outputs=["z"]), "no such output"),
        (lambda d: d.sensitivity(kind="bias"), "node, activation, weight"),
        (lambda d: d.accumulated(metric="psnr"), "cosine-similarity"),
        (lambda d: d.accumulated(only=["z"]), "an operator of the quantised model"),
    ],
)
def test_wrong_choices(debugger: Debugger, call: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        call(debugger)
    with pytest.raises(SampleError):
        Debugger(debugger.model, debugger.qdq, [])


def test_every_study_on_the_command_line(tmp_path: Path) -> None:
    model, samples = nets.residual(), nets.samples(2)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "net.qdq.onnx").write_bytes(openbpu.quantize(model, samples, refinement=()).SerializeToString())
    (tmp_path / "samples").mkdir()
    for k, x in enumerate(samples):
        np.save(tmp_path / "samples" / f"{k}.npy", x)
    out = tmp_path / "out"
    given = [str(tmp_path / "net.onnx"), str(tmp_path / "net.qdq.onnx"), "--samples", str(tmp_path / "samples")]
    node = Debugger(model, tmp_path / "net.qdq.onnx", samples).nodes[0]
    for study, options, file in (
        (
            "get-sensitivity-of-nodes",
            ["-m", "mse", "-n", "weight", "-v"],
            "node_sensitivity/sensitivity_of_weight.json",
        ),
        ("plot-acc-error", ["-q", node, "-nq", node, "-a"], "accumulate_error/accumulated_error.png"),
        ("plot-distribution", ["-n", node], "data_distribution/distribution.json"),
        ("get-channelwise-data-distribution", ["-n", node, "-a", "1"], "channelwise_distribution/channels.json"),
        ("sensitivity-analysis", ["-p", "0.9999", "-sn", node], "sensitivity_analysis/sensitivity_analysis.json"),
        ("tensor-analysis", [], "tensor_analysis/tensors.json"),
    ):
        result = CliRunner().invoke(command, [study, *given, "-s", str(out), "-d", "1", *options])
        assert result.exit_code == 0, f"{study}: {result.output} {result.exception}"
        assert (out / file).stat().st_size > 0
    scores = json.loads((out / "node_sensitivity/sensitivity_of_weight.json").read_text())
    assert node in scores and set(scores[node]) == {"cosine-similarity", "mse", "mre", "sqnr", "chebyshev"}
    result = CliRunner().invoke(command, ["runall", *given, "-s", str(tmp_path / "all"), "-d", "1"])
    assert result.exit_code == 0, result.output
    assert "<svg" in (tmp_path / "all" / "report.html").read_text()
    assert {p.name for p in (tmp_path / "all").iterdir()} == {
        "node_sensitivity", "data_distribution", "channelwise_distribution", "accumulate_error", "sensitivity_analysis",
        "tensor_analysis", "report.html",
    }  # fmt: skip
    (tmp_path / "file").write_text("")
    with pytest.raises(OpenBpuError, match="writable"):
        CliRunner().invoke(command, ["tensor-analysis", *given, "-s", str(tmp_path / "file")], catch_exceptions=False)
