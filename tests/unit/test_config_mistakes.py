"""Planted mistakes: each must be named by its key, and say what to do."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from openbpu.config import Config, ConfigMistakes, against_model
from openbpu.errors import ConfigError

_GOOD: dict[str, dict[str, Any]] = {
    "model_parameters": {
        "onnx_model": "net.onnx",
        "march": "nash-e",
        "working_dir": "out",
        "output_model_file_prefix": "net",
    },
    "input_parameters": {
        "input_name": "data",
        "input_type_rt": "nv12",
        "input_type_train": "bgr",
        "input_layout_train": "NCHW",
        "input_shape": "1x3x224x224",
        "mean_value": "103.94 116.78 123.68",
        "scale_value": "0.017",
    },
    "calibration_parameters": {"cal_data_dir": "samples", "calibration_type": "max", "max_percentile": 0.9999},
    "compiler_parameters": {"compile_mode": "latency", "optimize_level": "O2", "jobs": 8},
}


class _Remove:
    def __repr__(self) -> str:  # part of tests' names, which processes of pytest compare
        return "REMOVE"


REMOVE = _Remove()

M, I, K, C = (f"{group}_parameters." for group in ("model", "input", "calibration", "compiler"))  # noqa: E741
Q = f"{K}quant_config"

# Changes of the good configuration, the key that the message must name, and a part of its remedy.
_MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    # what is missing or in the wrong place
    ({"model_parameters": REMOVE}, "model_parameters", "add the group with onnx_model"),
    ({"input_parameters": REMOVE}, "input_parameters", "add the group with input_type_rt"),
    ({M + "onnx_model": REMOVE}, M + "onnx_model", "name the float ONNX file"),
    ({M + "march": REMOVE}, M + "march", "choose a target: nash-b-lite"),
    ({I + "input_type_rt": REMOVE}, I + "input_type_rt", "nv12 for a camera"),
    ({I + "input_type_train": REMOVE}, I + "input_type_train", "rgb or bgr for images"),
    ({I + "input_layout_train": REMOVE}, I + "input_layout_train", "write NCHW"),
    ({"model_params": {}}, "model_params", "did you mean model_parameters?"),
    ({"march": "nash-e"}, "march", "move it below model_parameters:"),
    ({"extras": {}}, "extras", "the groups are model_parameters"),
    ({C + "march": "nash-e"}, C + "march", "move it to model_parameters"),
    ({M + "mean_value": "1"}, M + "mean_value", "move it to input_parameters"),
    # misspelt keys
    ({M + "march": REMOVE, M + "marsh": "nash-e"}, M + "marsh", "did you mean march?"),
    ({M + "onnx_modle": "net.onnx"}, M + "onnx_modle", "did you mean onnx_model?"),
    ({I + "input_type": "nv12"}, I + "input_type", "did you mean input_type_rt?"),
    ({I + "mean_values": "1"}, I + "mean_values", "did you mean mean_value?"),
    ({K + "calibration_typ": "kl"}, K + "calibration_typ", "did you mean calibration_type?"),
    ({K + "cal_data_dirs": "x"}, K + "cal_data_dirs", "did you mean cal_data_dir?"),
    ({C + "optimise_level": "O2"}, C + "optimise_level", "did you mean optimize_level?"),
    ({C + "Compile_Mode": "latency"}, C + "Compile_Mode", "did you mean compile_mode?"),
    ({C + "wibble": 1}, C + "wibble", "remove it; the keys here are compile_mode"),
    # values of the wrong kind
    ({M + "march": "nash_e"}, M + "march", "did you mean nash-e?"),
    ({M + "march": ["nash-e"]}, M + "march", "did you mean nash-e?"),
    ({M + "march": "hexagon"}, M + "march", "use one of nash-b-lite"),
    ({M + "layer_out_dump": "maybe"}, M + "layer_out_dump", "write true or false"),
    ({M + "onnx_model": 3}, M + "onnx_model", "put the path in quotes"),
    ({M + "onnx_model": "net.pt"}, M + "onnx_model", "export the model as ONNX"),
    ({M + "output_model_file_prefix": "out/net"}, M + "output_model_file_prefix", "give the folder as working_dir"),
    ({M + "output_model_file_prefix": True}, M + "output_model_file_prefix", "put the value in quotes"),
    ({M + "remove_node_type": "Quantise"}, M + "remove_node_type", "did you mean Quantize?"),
    ({M + "remove_node_type": "Quantize,Dequantize"}, M + "remove_node_type", "write Quantize;Dequantize"),
    ({M + "remove_node_name": {"a": 1}}, M + "remove_node_name", "separate the items with ';'"),
    ({M + "debug_mode": "dump_all"}, M + "debug_mode", "dump_calibration_data"),
    ({M + "node_info": "Conv_0"}, M + "node_info", "write Conv_0:int16;Conv_1:int16"),
    ({M + "node_info": {"Conv_0": {"ON": "GPU"}}}, M + "node_info.Conv_0.ON", "BPU"),
    (
        {M + "node_info": {"Conv_0": {"OutputTyp": "int16"}}},
        M + "node_info.Conv_0.OutputTyp",
        "did you mean OutputType?",
    ),
    ({M + "node_info": {"Conv_0": {"OutputType": "int12"}}}, M + "node_info.Conv_0.OutputType", "did you mean int"),
    ({I + "input_type_rt": "NV12"}, I + "input_type_rt", "did you mean nv12?"),
    ({I + "input_type_train": "RGB24"}, I + "input_type_train", "did you mean rgb?"),
    ({I + "input_layout_train": "HWC"}, I + "input_layout_train", "did you mean NHWC?"),
    ({I + "input_space_and_range": "video"}, I + "input_space_and_range", "bt601_video"),
    ({I + "input_shape": "1,3,224,y"}, I + "input_shape", "write 1x3x224x224"),
    ({I + "input_shape": "0x3x224x224"}, I + "input_shape", "write 1x3x224x224"),
    ({I + "input_batch": 0}, I + "input_batch", "choose a value from 1 to 4096"),
    ({I + "mean_value": "a b c"}, I + "mean_value", "write 123.68 116.78 103.94"),
    ({I + "scale_value": "nan"}, I + "scale_value", "write 123.68 116.78 103.94"),
    ({I + "scale_value": "1e300"}, I + "scale_value", "write 123.68 116.78 103.94"),
    ({I + "input_batch": True}, I + "input_batch", "write a number, or remove the key"),
    ({C + "core_num": False}, C + "core_num", "write a number, or remove the key"),
    ({C + "advice": True}, C + "advice", "write a number, or remove the key"),
    ({I + "separate_batch": 2}, I + "separate_batch", "write true or false"),
    ({K + "calibration_type": "entropy"}, K + "calibration_type", "use one of default, kl, max"),
    ({K + "max_percentile": 99.99}, K + "max_percentile", "0.9999 for 99.99 %"),
    ({K + "per_channel": "each"}, K + "per_channel", "write true or false"),
    ({K + "optimization": "set_model_output_int32"}, K + "optimization", "did you mean set_model_output_int8?"),
    ({C + "compile_mode": "speed"}, C + "compile_mode", "use one of latency, bandwidth, balance"),
    ({C + "optimize_level": "O3"}, C + "optimize_level", "write O2, which is the highest level"),
    ({C + "optimize_level": 2}, C + "optimize_level", "did you mean O2?"),
    ({C + "jobs": 0}, C + "jobs", "choose a value of at least 1"),
    ({C + "jobs": "all"}, C + "jobs", "choose a value of at least 1"),
    ({C + "jobs": 2.5}, C + "jobs", "choose a value of at least 1"),
    ({C + "advice": -1}, C + "advice", "choose a value of at least 0"),
    ({C + "debug": "verbose"}, C + "debug", "write true or false"),
    ({C + "core_num": 5}, C + "core_num", "choose a value from 1 to 4"),
    ({C + "max_time_per_fc": 500}, C + "max_time_per_fc", "write 0 for no bound, or 1000 or more"),
    ({C + "max_l2m_size": 1 << 30}, C + "max_l2m_size", "choose a value from 0 to 25165824"),
    ({C + "cache_mode": "on"}, C + "cache_mode", "use one of disable, enable, force_overwrite"),
    ({C + "input_source": {"data": "camera"}}, C + "input_source.data", "pyramid"),
    ({"custom_op": "register"}, "custom_op", "write 'key: value' lines below it"),
    ({"compiler_parameters": ["O2"]}, "compiler_parameters", "write 'key: value' lines below it"),
    # what does not go together
    ({M + "caffe_model": "a", M + "prototxt": "b"}, M + "caffe_model", "remove caffe_model and prototxt"),
    ({M + "onnx_model": REMOVE, M + "caffe_model": "a"}, M + "caffe_model", "convert it to ONNX"),
    ({I + "input_name": "data;data", K + "cal_data_dir": ""}, I + "input_name", "remove the second one"),
    (
        {I + "input_name": "data;more", K + "cal_data_dir": ""},
        I + "input_type_rt",
        "separate the values of inputs with ';'",
    ),
    ({I + "input_type_train": "gray", I + "mean_value": ""}, I + "input_type_rt", "change one of both"),
    ({I + "std_value": "58 57 57"}, I + "std_value", "remove one: scale_value = 1 / std_value"),
    ({I + "scale_value": "-0.1"}, I + "scale_value", "write 1 / std_value"),
    ({I + "scale_value": "0"}, I + "scale_value", "write 1 / std_value"),
    ({I + "mean_value": "103.94 116.78"}, I + "mean_value", "write one number per channel"),
    (
        {I + "input_type_rt": "featuremap", I + "input_type_train": "featuremap", I + "scale_value": ""},
        I + "mean_value",
        "leave it out",
    ),
    ({I + "input_type_rt": "yuv_bt601_video"}, I + "input_type_rt", "write nv12, and bt601_video"),
    (
        {I + "input_type_rt": "rgb", I + "input_space_and_range": "bt601_video"},
        I + "input_space_and_range",
        "write regular",
    ),
    ({I + "input_shape": "1x3x225x224"}, I + "input_type_rt", "export the model with an even size"),
    ({I + "input_shape": "1x224x224x3"}, I + "input_layout_train", "write NHWC"),
    ({I + "input_shape": "1x1x224x224"}, I + "input_type_train", "write gray"),
    ({I + "input_shape": "1x3x224"}, I + "input_type_train", "use featuremap for what is no image"),
    (
        {I + "input_batch": 4, I + "input_shape": "2x3x224x224"},
        I + "input_batch",
        "write the batch in input_shape alone",
    ),
    ({I + "separate_batch": True, I + "separate_name": "data"}, I + "separate_name", "remove one of them"),
    ({I + "separate_name": "date"}, I + "separate_name", "write data"),
    ({K + "cal_data_dir": "a;b"}, K + "cal_data_dir", "in the order of input_name"),
    ({K + "run_on_cpu": "a;b", K + "run_on_bpu": "b"}, K + "run_on_cpu", "remove it from one of both"),
    (
        {K + "optimization": "set_model_output_int8;set_model_output_int16"},
        K + "optimization",
        "keep set_model_output_int8",
    ),
    ({C + "compile_mode": "balance"}, C + "balance_factor", "write 0 (least DDR traffic)"),
    ({C + "balance_factor": 101}, C + "balance_factor", "choose a value from 0 to 100"),
    ({C + "core_num": 2}, C + "core_num", "write 1, or choose nash-h"),
    ({C + "core_num": 4, M + "march": "nash-h"}, C + "core_num", "write 1 to 3, or choose nash-p"),
    ({C + "max_l2m_size": 1 << 20}, C + "max_l2m_size", "write 0, or choose nash-h"),
    ({C + "input_source": {"date": "pyramid"}}, C + "input_source", "write data"),
    ({C + "input_source": {"data": "pyramid"}, I + "input_type_rt": "rgb"}, C + "input_source", "write ddr"),
    # quant_config
    ({Q: "nowhere.json"}, Q, "name an existing JSON file"),
    ({Q: 3}, Q, "write 'key: value' lines below it"),
    ({Q: {"op_configs": {}}}, Q + ".op_configs", "did you mean op_config?"),
    ({Q: {"model_config": {"all_node_type": "int4"}}}, Q + ".model_config.all_node_type", "use int8 or int16"),
    (
        {Q: {"model_config": {"all_node_types": "int8"}}},
        Q + ".model_config.all_node_types",
        "did you mean all_node_type?",
    ),
    ({Q: {"op_config": {"Conv": {"type": "int16"}}}}, Q + ".op_config.Conv.type", "did you mean qtype?"),
    ({Q: {"op_config": {"Conv": {"input0": "int32"}}}}, Q + ".op_config.Conv.input0", "int"),
    ({Q: {"node_config": {"Conv_0": "int17"}}}, Q + ".node_config.Conv_0.qtype", "did you mean int1"),
    ({Q: {"subgraph_config": {"head": {"inputs": ["a"]}}}}, Q + ".subgraph_config.head.outputs", "name the last nodes"),
    ({Q: {"model_config": {"activation": {"num_bin": [64]}}}}, Q + ".model_config.activation.num_bin", "write 1024"),
    (
        {Q: {"model_config": {"activation": {"max_percentile": 0.2}}}},
        Q + ".model_config.activation.max_percentile",
        "0.5 to 1.0",
    ),
    (
        {Q: {"model_config": {"activation": {"calibration_type": ["max", "kll"]}}}},
        Q + ".model_config.activation.calibration_type",
        "did you mean kl?",
    ),
    (
        {Q: {"model_config": {"modelwise_search": {"metric": "cosine"}}}},
        Q + ".model_config.modelwise_search.metric",
        "did you mean cosine-similarity?",
    ),
]


def _changed(changes: dict[str, Any]) -> dict[str, Any]:
    groups = copy.deepcopy(_GOOD)
    for path, value in changes.items():
        at: Any = groups
        *parents, last = path.split(".")
        for part in parents:
            at = at.setdefault(part, {})
        if value is REMOVE:
            del at[last]
        else:
            at[last] = value
    return groups


def test_the_good_configuration_is_good() -> None:
    config = Config.from_text(yaml.safe_dump(_GOOD))
    assert config.input_parameters.mean_value == ((103.94, 116.78, 123.68),)
    assert not config.deprecated


def test_there_are_enough_mistakes() -> None:
    assert len(_MISTAKES) >= 60


@pytest.mark.parametrize(("changes", "key", "remedy"), _MISTAKES, ids=lambda value: str(value)[:60])
def test_a_mistake_is_named_with_its_remedy(changes: dict[str, Any], key: str, remedy: str) -> None:
    text = yaml.safe_dump(_changed(changes), sort_keys=False)
    with pytest.raises(ConfigMistakes) as caught:
        Config.from_text(text, "net.yaml")
    message = str(caught.value)
    named = [m for m in caught.value.mistakes if m.key == key]
    assert named, message
    assert remedy.lower() in named[0].remedy.lower(), message
    assert len(caught.value.mistakes) == 1, message
    assert message.startswith("net.yaml: ")
    assert key in message


def test_a_file_says_the_line() -> None:
    text = "model_parameters:\n  onnx_model: net.onnx\n  march: nash-e\n  marhc: 2\n"
    text += "input_parameters:\n  input_type_rt: nv\n"
    with pytest.raises(ConfigMistakes) as caught:
        Config.from_text(text, "net.yaml")
    message = str(caught.value)
    assert "net.yaml: 3 mistakes" in message
    assert "line 4, model_parameters.marhc: unknown key. Did you mean march?" in message
    assert "line 5, input_parameters.input_type_train" in message  # the group's line: the key is missing


def test_python_makes_the_same_mistakes() -> None:
    with pytest.raises(ConfigMistakes, match=r"Did you mean nash-e\?"):
        Config(**_changed({M + "march": "nash-ee"}))


# ---- against a model

_MODEL: list[tuple[dict[str, Any], dict[str, tuple[int | None, ...]], str, str]] = [
    ({I + "input_name": "dada"}, {"data": (1, 3, 224, 224)}, I + "input_name", "write data"),
    ({I + "input_name": ""}, {"data": (1, 3, 224, 224), "more": (1, 2)}, I + "input_name", "write data;more"),
    ({}, {"data": (1, 3, 224, 224), "more": (1, 2)}, I + "input_name", "name more too"),
    (
        {I + "input_name": "", C + "input_source": {"date": "ddr"}},
        {"data": (1, 3, 224, 224)},
        C + "input_source",
        "write data",
    ),
    ({}, {"data": (1, 3, 224)}, I + "input_shape", "write 1x3x224"),
    ({}, {"data": (1, 3, 320, 320)}, I + "input_shape", "only dynamic dimensions"),
    ({I + "input_shape": ""}, {"data": (None, 3, None, None)}, I + "input_shape", "write for example 1x3x224x224"),
    ({I + "input_shape": ""}, {"data": (1, 224, 224, 3)}, I + "input_layout_train", "write NHWC"),
    ({I + "input_shape": ""}, {"data": (1, 3, 225, 225)}, I + "input_type_rt", "even size"),
    ({I + "input_shape": ""}, {"data": (1, 3)}, I + "input_type_train", "use featuremap"),
]


@pytest.mark.parametrize(("changes", "inputs", "key", "remedy"), _MODEL)
def test_a_mistake_beside_the_model(changes: dict[str, Any], inputs: dict[str, Any], key: str, remedy: str) -> None:
    found = against_model(Config(**_changed(changes)), inputs)
    named = [m for m in found if m.key == key]
    assert named, found
    assert remedy.lower() in named[0].remedy.lower()


# ---- hostile text

_ALIASES = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]" for i in range(9)
)
_HOSTILE = {
    "aliases": (_ALIASES, "at most 20,000 values"),
    "itself": ("a: &a [*a]\n", "nested at most 32 deep"),
    "merges": ("a: &a {x: 1}\nb: {<<: *a}\n", "line 2, <<: merge keys are not taken"),
    "deep": ("[" * 5000, "nested at most 32 deep"),
    "many": ("a: [" + "1, " * 30000 + "]\n", "at most 20,000 values"),
    "twice": (
        "custom_op:\n  a: 1\n  b: 2\n  a: 3\n",
        "line 4, a: a key stands once in its group; got it again, first on line 2",
    ),
    "group twice": ("custom_op: {}\ncustom_op: {}\n", "line 2, custom_op: a key stands once"),
    "object": ("a: !!python/object/apply:os.system [ls]\n", "Remove the tag"),
    "tab": ("a:\n\tb: 1\n", "Indent with spaces"),
    "open": ("a: [1, 2\nb: 3\n", "must be YAML"),
    "list": ("- 1\n- 2\n", "made of groups of keys; got list"),
    "nothing": ("", "made of groups of keys; got nothing"),
    "text": ("just words", "made of groups of keys; got str"),
    "two documents": ("a: 1\n---\nb: 2\n", "must be YAML"),
    "control": ("a: \x07\n", "must be YAML"),
    "large number": ("a: " + "9" * 6000 + "\n", "must be YAML"),
    "unhashable": ("? [1, 2]\n: 3\n", "must be YAML"),
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_hostile_text_is_one_error(name: str) -> None:
    text, part = _HOSTILE[name]
    with pytest.raises(ConfigError) as caught:
        Config.from_text(text, "net.yaml")
    assert part in str(caught.value)
    assert str(caught.value).startswith("net.yaml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must be readable; got No such file"):
        Config.from_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="must be readable; got Is a directory"):
        Config.from_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("a: \xe9".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"is UTF-8 text; got byte 3: 0xe9. Save it as UTF-8"):
        Config.from_yaml(tmp_path / "latin.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="at most 1,048,576 bytes"):
        Config.from_yaml(tmp_path / "large.yaml")


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1, "a": 2}', '{"op_config": ' + "[" * 100_000, "\xff"])
def test_a_bad_quant_config_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "q.json").write_bytes(text.encode("latin-1"))
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(_changed({Q: "q.json"})))
    with pytest.raises(ConfigMistakes) as caught:
        Config.from_yaml(tmp_path / "net.yaml")
    assert [m.key for m in caught.value.mistakes] == [Q]
    assert caught.value.mistakes[0].remedy


def test_a_quant_config_file_counts_from_the_yaml_file(tmp_path: Path) -> None:
    (tmp_path / "q.json").write_text(json.dumps({"model_config": {"all_node_type": "int16"}}))
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(_changed({Q: "q.json"})))
    config = Config.from_yaml(tmp_path / "net.yaml")
    quant = config.calibration_parameters.quant_config
    assert quant is not None
    assert quant.model.all_node_type == "int16"
    assert config.model_parameters.onnx_model == tmp_path / "net.onnx"
    assert config.model_parameters.working_dir == tmp_path / "out"
