"""What a configuration means: types and places of nodes, calibrations to try, samples as the network takes them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from openbpu import frontend
from openbpu.config import Config, ConfigMistakes
from openbpu.preprocess import InputSpec
from openbpu.workflow.node_choices import choices
from openbpu.workflow.samples import CalibrationFiles, MadeUp, samples_of
from openbpu.workflow.search import best, combinations
from unit.float_networks import residual

_FLOAT32 = np.dtype(np.float32)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    """Conv_0, Clip_2, Conv_3 (depthwise), Clip_5, Conv_6, Add_8, Relu_9, GlobalAveragePool_10, Flatten_11, Gemm_12."""
    return frontend.prepare(frontend.load(residual()))


def _config(calibration: dict[str, Any] | None = None, **model_keys: Any) -> Config:
    return Config(
        model_parameters={"onnx_model": "net.onnx", "march": "nash-e", **model_keys},
        input_parameters={"input_type_rt": "featuremap", "input_type_train": "featuremap"},
        calibration_parameters=calibration or {},
    )


_QUANT: dict[str, Any] = {
    "model_config": {"all_node_type": "int16"},
    "op_config": {"Conv": {"qtype": "int8"}, "Add": {"qtype": "float16"}},
    "subgraph_config": {"middle": {"inputs": ["Conv_3"], "outputs": ["Conv_6"], "qtype": "int16"}},
    "node_config": {"Conv_6": {"qtype": "float32"}},
}


def test_what_is_said_of_a_node_wins(model: onnx.ModelProto) -> None:
    found = choices(_config({"quant_config": _QUANT}), model)
    assert found.all_nodes_type == "int16"
    assert found.node_types == {
        "Conv_0": "int8",  # its operator
        "Conv_3": "int16",  # the subgraph, over its operator
        "Clip_5": "int16",
        "Conv_6": "float",  # itself, over the subgraph
        "Add_8": "float",
    }
    found = choices(_config({"quant_config": _QUANT}, node_info="Conv_6:int8;Conv_3:int8"), model)
    assert (found.node_types["Conv_6"], found.node_types["Conv_3"]) == ("int8", "int8")  # node_info, over everything


def test_places_by_hand_follow_the_same_order(model: onnx.ModelProto) -> None:
    quant = {"op_config": {"Conv": {"ON": "CPU"}}, "node_config": {"Conv_3": {"ON": "BPU"}}}
    found = choices(_config({"quant_config": quant, "run_on_bpu": "Conv_6"}), model)
    assert (found.run_on_cpu, found.run_on_bpu) == ({"Conv_0"}, {"Conv_3", "Conv_6"})
    found = choices(_config({"run_on_cpu": "Conv_0;Conv_3"}, node_info={"Conv_3": {"ON": "BPU"}}), model)
    assert (found.run_on_cpu, found.run_on_bpu) == ({"Conv_0"}, {"Conv_3"})


def test_operands_of_different_types_take_the_widest(model: onnx.ModelProto) -> None:
    info = {"Add_8": {"InputType0": "int16", "InputType1": "int8", "OutputType": "int8"}, "Gemm_12": {"ON": "CPU"}}
    found = choices(_config({"quant_config": {"op_config": {"Gemm": {"input1": "dual-int16"}}}}, node_info=info), model)
    assert found.node_types == {"Add_8": "int16", "Gemm_12": "int16"}
    assert found.run_on_cpu == {"Gemm_12"}


@pytest.mark.parametrize(
    ("optimization", "types", "all_nodes"),
    [
        ("set_model_output_int16", {"Gemm_12": "int16"}, "int8"),
        ("set_all_nodes_int16", {}, "int16"),
        ("set_Conv_input_int16", {"Conv_0": "int16", "Conv_3": "int16", "Conv_6": "int16"}, "int8"),
        ("set_Add_8_output_int16", {"Add_8": "int16"}, "int8"),
    ],
)
def test_optimization_sets_types(
    optimization: str, types: dict[str, str], all_nodes: str, model: onnx.ModelProto
) -> None:
    found = choices(_config({"optimization": optimization}), model)
    assert (found.node_types, found.all_nodes_type) == (types, all_nodes)


def test_unknown_names_are_named_all_at_once(model: onnx.ModelProto) -> None:
    quant = {
        "op_config": {"Convolution": {"qtype": "int8"}},
        "subgraph_config": {"a": {"inputs": ["Conv_00"], "outputs": ["Relu_9"]}},
        "node_config": {"Conv_33": {"qtype": "int8"}},
    }
    with pytest.raises(ConfigMistakes) as caught:
        choices(_config({"quant_config": quant, "run_on_cpu": "Gem_12"}), model)
    path = "calibration_parameters.quant_config"
    assert [(m.key, m.seen) for m in caught.value.mistakes] == [
        ("calibration_parameters.run_on_cpu", "Gem_12"),
        (f"{path}.node_config", "Conv_33"),
        (f"{path}.op_config", "Convolution"),
        (f"{path}.subgraph_config.a.inputs", "Conv_00"),
    ]
    assert all(m.remedy.startswith("did you mean ") for m in caught.value.mistakes)


# ---- calibrations


@pytest.mark.parametrize(
    ("calibration", "expected"),
    [
        ({}, [{"calibration": "auto"}]),
        ({"calibration_type": "kl"}, [{"calibration": "kl"}]),
        ({"calibration_type": "max", "max_percentile": 0.999}, [{"calibration": "percentile", "percentile": 0.999}]),
        ({"calibration_type": "max", "max_percentile": 1.0}, [{"calibration": "max"}]),
        ({"calibration_type": "kl", "optimization": "run_fast"}, [{"calibration": "max", "refinement": ()}]),
        ({"per_channel": True}, [{"calibration": "auto", "per_channel": True}]),
        ({"optimization": "run_fast;bias_correction"}, [{"calibration": "max", "refinement": ("bias",)}]),
        ({"optimization": "asymmetric"}, [{"calibration": "auto", "symmetric": False}]),
    ],
)
def test_one_calibration(calibration: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    assert combinations(_config(calibration)) == expected


def test_lists_are_axes_of_a_search() -> None:
    activation = {"calibration_type": ["max", "kl"], "max_percentile": [0.99, 1.0], "asymmetric": [True, False]}
    quant = {"model_config": {"activation": activation}}
    found = combinations(_config({"quant_config": quant}))
    assert len(found) == 6  # kl has no percentile
    assert {"calibration": "percentile", "percentile": 0.99, "symmetric": True} in found
    alone = {"model_config": {"modelwise_search": {"metric": "mse"}}}
    assert [c["calibration"] for c in combinations(_config({"quant_config": alone}))] == ["max", "kl", "percentile"]
    channels = {"model_config": {"activation": {"per_channel": [True, False]}}}
    assert [c.get("per_channel", False) for c in combinations(_config({"quant_config": channels}))] == [True, False]
    bins = {"model_config": {"activation": {"num_bin": [129, 2048]}}}
    assert [c["bins"] for c in combinations(_config({"quant_config": bins}))] == [256, 2048]


@pytest.mark.parametrize("metric", ["cosine-similarity", "mse", "mae", "mre", "sqnr", "chebyshev"])
def test_the_search_keeps_the_nearest(metric: str, model: onnx.ModelProto) -> None:
    """Scales spoilt by a factor stand for calibrations of different quality."""
    x = [{"x": np.random.default_rng(i).standard_normal((1, 3, 32, 32)).astype(np.float32)} for i in range(2)]

    def spoilt(factor: float) -> onnx.ModelProto:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        weight = next(t for t in copy.graph.initializer if len(t.dims) == 2)
        array = onnx.numpy_helper.to_array(weight) * np.linspace(1, factor, weight.dims[1]).astype(np.float32)
        weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
        return copy

    search = {"metric": metric}
    config = _config({"quant_config": {"model_config": {"modelwise_search": search}}})
    given = [{"factor": 3.0}, {"factor": 1.1}, {"factor": 2.0}]
    found = best(given, model, x, config, spoilt)
    assert found.model == spoilt(1.1)
    assert [text for text, _ in found.tried] == ["factor 3.0", "factor 1.1", "factor 2.0"]
    assert max(score for _, score in found.tried) == found.tried[1][1]
    config = _config({"quant_config": {"model_config": {"modelwise_search": {**search, "similarity": 0.2}}}})
    assert best(given, model, x, config, spoilt).model == spoilt(3.0)  # near enough: nothing more is tried


# ---- samples


def _write(folder: Path, *arrays: np.ndarray) -> Path:
    folder.mkdir()
    for index, array in enumerate(arrays):
        np.save(folder / f"{index}.npy", array)
    return folder


def test_pixels_are_normalised_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = InputSpec("nv12", "rgb", mean=(100.0, 120.0, 140.0), std=(50.0, 60.0, 70.0))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8)).astype(np.uint8)
    expected = ((pixels - np.array([100, 120, 140])[:, None, None]) / np.array([50, 60, 70])[:, None, None])[None]
    inputs = {"x": ((1, 3, 8, 8), _FLOAT32)}
    raw = CalibrationFiles({"x": _write(tmp_path / "raw", pixels)}, inputs, {"x": spec})
    np.testing.assert_allclose(next(iter(raw))["x"], expected, rtol=1e-5, atol=1e-6)
    done = expected.astype(np.float32)
    with caplog.at_level(logging.WARNING, "openbpu"):
        ready = CalibrationFiles({"x": _write(tmp_path / "done", done)}, inputs, {"x": spec})
    np.testing.assert_array_equal(next(iter(ready))["x"], done)
    assert "samples of input x are normalised already" in caplog.text


def test_a_batch_takes_several_files(tmp_path: Path) -> None:
    arrays = [np.full((2, 2), i, np.float32) for i in range(5)]
    files = CalibrationFiles({"x": _write(tmp_path / "x", *arrays)}, {"x": ((2, 2, 2), _FLOAT32)}, {})
    firsts = [feed["x"][:, 0, 0].tolist() for feed in files]
    assert firsts == [[0, 1], [2, 3], [4, 4]]  # the last batch is filled up
    assert len(files) == 3
    whole = CalibrationFiles(
        {"x": _write(tmp_path / "y", np.zeros((2, 2, 2), np.float32))}, {"x": ((2, 2, 2), _FLOAT32)}, {}
    )
    assert [feed["x"].shape for feed in whole] == [(2, 2, 2)]


def test_made_up_samples_are_the_same_every_time() -> None:
    inputs = {
        "image": ((1, 3, 8, 8), _FLOAT32),
        "tokens": ((1, 4), np.dtype(np.int64)),
        "scalar": ((), np.dtype(np.int64)),
    }
    made = MadeUp(inputs, {"image": InputSpec("nv12", "rgb", mean=128.0, scale=0.01)})
    first, second = list(made), list(made)
    assert len(first) == len(made)
    for a, b in zip(first, second, strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in inputs)
        assert np.abs(a["image"]).max() <= 1.28
        assert {a["tokens"].dtype, a["scalar"].dtype} == {np.dtype(np.int64)}
    assert not np.array_equal(first[0]["image"], first[1]["image"])


def test_folders_of_samples_follow_the_names_of_inputs(tmp_path: Path) -> None:
    model_order: dict[str, tuple[tuple[int, ...], np.dtype]] = {"x": ((1, 2), _FLOAT32), "z": ((1, 2), _FLOAT32)}
    ones = _write(tmp_path / "ones", np.ones((1, 2), np.float32))
    twos = _write(tmp_path / "twos", np.full((1, 2), 2, np.float32))
    config = Config(
        model_parameters={"onnx_model": "net.onnx", "march": "nash-e"},
        input_parameters={
            "input_name": "z;x",
            "input_type_rt": "featuremap;featuremap",
            "input_type_train": "featuremap;featuremap",
            "input_layout_train": "NCHW;",  # a gap at the end is a value too
        },
        calibration_parameters={"cal_data_dir": f"{twos};{ones}"},
    )
    (feed,) = samples_of(config, model_order, {})
    assert (feed["x"][0, 0], feed["z"][0, 0]) == (1, 2)
