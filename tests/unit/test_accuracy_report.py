"""The accuracy report: its figures against plain numpy, the causes it names, its files."""

from __future__ import annotations

import json
from pathlib import Path

import float_networks as nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from float_networks import Net

import openbpu
from openbpu.analyze.accuracy import AccuracyReport, OutputError
from openbpu.analyze.difference import ChannelBoxes, Difference
from openbpu.analyze.studies import affordable
from openbpu.errors import ModelError, SampleError

SHAPE = (1, 3, 16, 16)


def _net() -> onnx.ModelProto:
    net = Net(seed=3)
    x = net.op("Relu", net.conv("x", 3, 8), out="middle")
    net.conv(x, 8, 8, out="last")
    return net.model("last", shape=SHAPE)


def _samples(count: int, scale: float = 1.0) -> list[np.ndarray]:
    random = np.random.default_rng(7)
    return [(scale * random.standard_normal(SHAPE)).astype(np.float32) for _ in range(count)]


def _run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # no int8 kernels
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0], np.float64)


def test_the_figures_of_an_output_are_those_of_numpy() -> None:
    model, samples = _net(), _samples(4)
    qdq = openbpu.quantize(model, samples)
    (output,) = openbpu.accuracy(model, qdq, samples).outputs
    a, b = (np.concatenate([_run(m, x).ravel() for x in samples]) for m in (model, qdq))
    error = b - a
    # float32 results summed in float64 in two orders
    assert output.cosine == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)), abs=1e-6)
    assert output.sqnr_db == pytest.approx(10 * np.log10((a @ a) / (error @ error)), abs=1e-3)
    assert output.l1 == pytest.approx(np.abs(error).mean(), rel=1e-4)
    assert output.l2 == pytest.approx(np.sqrt((error**2).mean()), rel=1e-4)
    assert output.max == pytest.approx(np.abs(error).max(), rel=1e-4)


def test_layers_stand_in_order_with_what_they_add() -> None:
    model, samples = _net(), _samples(4)
    report = openbpu.accuracy(model, openbpu.quantize(model, samples), samples)
    assert [layer.tensor for layer in report.layers] == ["x", "middle", "last"]
    image, middle, _ = report.layers
    assert image.op == "input" and np.isinf(image.inherited_db) and np.isinf(image.weights_db)
    assert middle.op == "Conv" and middle.inherited_db == pytest.approx(image.sqnr_db)
    for layer in report.layers:
        parts = [layer.clamp_db, layer.rounding_db, layer.weights_db]
        assert layer.own_db <= min(parts) + 1e-9
        assert layer.cause == ("clamping", "rounding", "weights")[int(np.argmin(parts))]


@pytest.mark.parametrize(
    ("calibration", "taken", "remedy"),
    [("auto", "", "calibration max"), ("max", "", "more samples"), ("max", "scales", "refinement without scales")],
)
def test_values_beyond_the_calibrated_range_are_named_as_the_cause(calibration: str, taken: str, remedy: str) -> None:
    model = _net()
    qdq = openbpu.quantize(model, _samples(4, scale=0.1), refinement=(), calibration=calibration)
    next(p for p in qdq.metadata_props if p.key == "openbpu.refinement").value = taken
    report = openbpu.accuracy(model, qdq, _samples(4))
    image = report.layers[0]
    assert image.cause == "clamping" and image.clamped > 0.2 and image.remedy == remedy
    assert report.sqnr_db < 10 and "poor" in report.line


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_the_worst_result(value: float) -> None:
    difference, x = Difference(), np.ones(4, np.float32)
    difference.add(x, x)
    difference.add(x, np.array([1, value, 1, 1], np.float32))
    difference.add(x, x)
    assert difference.cosine == 0 and difference.sqnr == -np.inf and not np.isfinite(difference.largest)
    output = OutputError("y", difference.cosine, difference.sqnr, difference.l1, difference.l2, difference.largest)
    assert "NaN or infinite" in AccuracyReport("net", 3, (output,), (), {}, {}, ()).line


def test_the_last_line_says_how_bad_it_is() -> None:
    def line(cosine: float, sqnr_db: float) -> str:
        return AccuracyReport("net", 1, (OutputError("y", cosine, sqnr_db, 0.1, 0.1, 0.1),), (), {}, {}, ()).line

    assert line(0.995, 20.0) == "cosine 0.99500, SQNR 20.0 dB over 1 sample"
    assert "below 0.99" in line(0.98, 14.0) and "--target-cosine" in line(0.98, 14.0)
    assert "poor" in line(0.9, 7.0)


def test_coarse_weights_are_named_as_the_cause() -> None:
    model, samples = _net(), _samples(4)
    qdq = openbpu.quantize(model, samples)
    for tensor in qdq.graph.initializer:
        q = onnx.numpy_helper.to_array(tensor)
        if q.shape == (8, 8, 3, 3):
            tensor.CopyFrom(onnx.numpy_helper.from_array((q // 64 * 64).astype(np.int8), tensor.name))
    report = openbpu.accuracy(model, qdq, samples)
    last = report.layers[-1]
    assert last.cause == "weights" and last.weights_db < 15 and report.worst[0] == last
    assert all(layer.cause == "rounding" or layer.weights_db > 30 for layer in report.layers[:-1])


def test_files_for_programs_and_people(tmp_path: Path) -> None:
    model, samples = _net(), _samples(2)
    report = openbpu.accuracy(model, openbpu.quantize(model, samples), samples, sensitivity=1)
    report.save(tmp_path / "a.json")
    report.save(tmp_path / "a.html")
    data = json.loads((tmp_path / "a.json").read_text())
    assert data["outputs"][0]["name"] == "last" and data["layers"][0]["inherited_db"] is None
    assert set(data["histograms"]) == {layer.tensor for layer in report.worst}
    for counts in (data["histograms"]["x"]["counts"], data["histograms"]["x"]["quantised"]):
        assert sum(counts) == 2 * 3 * 16 * 16
    assert len(data["boxes"]["middle"]) == 8 and len(data["sensitivities"]) == 2
    page = (tmp_path / "a.html").read_text()
    assert page.count("<svg") == 3 + 2 * len(report.worst) and "<script" not in page and "<link" not in page
    for layer in report.layers:
        assert f"<td>{layer.tensor}</td>" in page


def test_models_that_do_not_belong_together() -> None:
    samples = _samples(2)
    other = Net()
    other.conv("x", 3, 4, out="else")
    stranger = other.model("else", shape=SHAPE)
    qdq = openbpu.quantize(_net(), samples)
    with pytest.raises(ModelError, match="outputs of the float model"):
        openbpu.accuracy(stranger, qdq, samples)
    with pytest.raises(SampleError):
        openbpu.accuracy(_net(), qdq, [])


def test_int16_activations_and_outputs_of_unknown_shape() -> None:
    net = Net(seed=4)
    x = net.op("Relu", net.conv("x", 3, 8))
    net.op("NonZero", net.conv(x, 8, 4, out="y"), out="places")
    model = net.model("y", "places", shape=SHAPE)
    samples = _samples(3)
    narrow, wide = (
        openbpu.accuracy(model, openbpu.quantize(model, samples, all_nodes_type=kind, calibration="max"), samples)
        for kind in ("int8", "int16")
    )
    assert [output.name for output in wide.outputs] == ["y"]
    assert wide.sqnr_db > narrow.sqnr_db + 6


def test_channel_boxes_are_those_of_numpy() -> None:
    boxes, random = ChannelBoxes(), np.random.default_rng(0)
    first, second = random.standard_normal((2, 1, 3, 8, 8))
    boxes.add(first)
    boxes.add(second)
    both = np.stack([first, second]).reshape(2, 3, 64)
    for k, row in enumerate(boxes.rows()):
        assert row["min"] == pytest.approx(both[:, k].min()) and row["max"] == pytest.approx(both[:, k].max())
        assert row["median"] == pytest.approx(np.median(both[:, k], axis=1).mean())


def test_a_saved_report_costs_little() -> None:
    small, net = _net(), Net(seed=5)
    x = "x"
    for _ in range(3):
        x = net.conv(x, 3, 3, k=5)
    assert affordable(small, 2) == 2
    large = net.model(x, shape=(1, 3, 90000, 90000))
    assert affordable(large, 2) == 0


def test_whole_numbers_as_outputs_have_no_sensitivities() -> None:
    net = Net(seed=1)
    model = net.model(net.op("ArgMax", net.conv("x", 3, 4), axis=1), shape=(1, 3, 8, 8))
    samples = [np.random.default_rng(k).standard_normal((1, 3, 8, 8)).astype(np.float32) for k in range(2)]
    qdq = openbpu.quantize(model, samples, refinement=(), calibration="max")
    assert not openbpu.accuracy(model, qdq, samples, sensitivity=2).sensitivities


def test_a_build_hands_out_what_was_lost() -> None:
    samples = nets.samples(4)
    found: list[openbpu.analyze.AccuracyReport] = []
    executable = openbpu.build(nets.residual(), iter(samples), on_accuracy=found.append)
    qdq = openbpu.quantize(nets.residual(), samples)
    assert executable.to_bytes() == openbpu.compile(qdq).to_bytes()
    assert found[0].to_json() == openbpu.accuracy(nets.residual(), qdq, samples).to_json()
    assert found[0].line in str(found[0]) and found[0].worst[0].tensor in str(found[0])
