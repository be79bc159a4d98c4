"""Configurations that are read as they are meant, and what is generated from their declarations."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import jsonschema
import pytest
import yaml

from openbpu.config import Config, ConfigWarning, against_model, load
from openbpu.config.page import schema, with_keys
from openbpu.config.templates import template
from openbpu.errors import ConfigError

DOCS = Path(__file__).parents[2] / "docs"
_SHORT = """\
model_parameters:
  onnx_model: net.onnx
  march: nash-p
input_parameters:
  input_type_rt: featuremap
  input_type_train: featuremap
"""


def _with(group: str, *lines: str) -> str:
    """The short configuration with more lines at the beginning of a group."""
    text = _SHORT if f"{group}:" in _SHORT else f"{_SHORT}{group}:\n"
    return text.replace(f"{group}:\n", f"{group}:\n" + "".join(f"  {line}\n" for line in lines))


def test_defaults() -> None:
    config = Config.from_text(_SHORT)
    assert config.model_parameters.working_dir == Path("model_output")
    assert config.model_parameters.output_model_file_prefix == "model"
    assert config.calibration_parameters.calibration_type == "default"
    assert config.compiler_parameters.optimize_level == "O2"
    assert (config.deprecated, config.recorded) == ([], {})


def test_empty_values_are_no_values() -> None:
    text = _with("input_parameters", "input_name:", "input_shape: ''", "mean_value: ' '", "norm_type: ''")
    config = Config.from_text(text + "custom_op:\ncompiler_parameters: {}\n")
    assert config.input_parameters.input_name == ()
    assert config.deprecated == []


def test_words_that_yaml_1_1_takes_for_booleans() -> None:
    config = Config.from_text(
        _with("model_parameters", "output_model_file_prefix: no", "node_info: {Conv_0: {ON: CPU}}")
    )
    assert config.model_parameters.output_model_file_prefix == "no"
    assert config.model_parameters.node_info["Conv_0"].ON == "CPU"


def test_lists_as_text_and_as_lists() -> None:
    texts = _with(
        "calibration_parameters", "run_on_cpu: 'a; b ;'", "optimization: set_model_output_int16;bias_correction"
    )
    lists = _with(
        "calibration_parameters", "run_on_cpu: [a, b]", "optimization: [set_model_output_int16, bias_correction]"
    )
    assert Config.from_text(texts) == Config.from_text(lists)


def test_numbers_and_shapes_per_input() -> None:
    text = _SHORT.replace("featuremap\n", "'rgb;featuremap'\n") + (
        "  input_name: a;b\n  input_layout_train: NHWC;NCHW\n  input_shape: 1x8x8x3; 1x5\n"
        "  mean_value: 1 2.5,3;\n  scale_value: '2;;'\n"
    )
    group = Config.from_text(text).input_parameters
    assert group.input_shape == ((1, 8, 8, 3), (1, 5))
    assert group.mean_value == ((1.0, 2.5, 3.0), ())
    assert group.scale_value[:2] == ((2.0,), ())


def test_an_empty_shape_is_that_of_the_model() -> None:
    text = _SHORT.replace("featuremap\n", "'featuremap;featuremap'\n") + "  input_name: a;b\n  input_shape: ;1x5\n"
    config = Config.from_text(text)
    assert config.input_parameters.input_shape == ((), (1, 5))
    assert against_model(config, {"a": (), "b": (1, None)}) == []


def test_node_info_as_text() -> None:
    config = Config.from_text(_with("model_parameters", "node_info: /a/Conv:int16;b:int8"))
    assert {n: i.types for n, i in config.model_parameters.node_info.items()} == {"/a/Conv": ("int16",), "b": ("int8",)}


def test_one_axis_value_alone_is_a_list_of_one() -> None:
    quant = '{"model_config": {"activation": {"calibration_type": "kl", "num_bin": [256, 1024], "per_channel": true}}}'
    config = Config.from_text(_with("calibration_parameters", f"quant_config: {quant}"))
    assert config.calibration_parameters.quant_config is not None
    activation = config.calibration_parameters.quant_config.model.activation
    assert activation.calibration_type == ("kl",)
    assert activation.num_bin == (256, 1024)
    assert activation.per_channel == (True,)


def test_deprecated_keys_warn_once_each() -> None:
    text = _with("model_parameters", "log_level: debug", "set_node_data_type: 'a:int8'") + (
        "  norm_type: no_preprocess\n  input_layout_rt: NCHW\n"
        "calibration_parameters:\n  preprocess_on: false\n  cal_data_type: float32\n  calibration_type: mix\n"
        "compiler_parameters:\n  hbdk3_compatible_mode: true\n"
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = Config.from_text(text.replace("nash-p", "bayes-e"))
    messages = [str(w.message) for w in caught if w.category is ConfigWarning]
    assert messages == config.deprecated
    assert len(messages) == 9
    assert "input_parameters.norm_type is deprecated; instead: mean_value" in " ".join(messages)
    assert config.model_parameters.target == "nash-b-lite"


def test_what_has_no_effect_is_listed() -> None:
    config = Config.from_text(
        _with("model_parameters", "enable_vpu: false")
        + "calibration_parameters:\n  wibble: 3\n"
        + "compiler_parameters:\n  jobs: 4\n  extra_params: {input_no_padding: true}\n"
        + "custom_op:\n  custom_op_method: register\n"
    )
    assert list(config.recorded) == [
        "model_parameters.enable_vpu",
        "compiler_parameters.jobs",
        "compiler_parameters.extra_params",
        "custom_op.custom_op_method",
        "calibration_parameters.wibble",
    ]
    assert all(config.recorded.values())


def test_what_another_key_switches_off_is_listed() -> None:
    lines = "  cal_data_dir: samples\n  calibration_type: skip\ncompiler_parameters:\n  balance_factor: 50\n"
    config = Config.from_text(f"{_SHORT}calibration_parameters:\n{lines}")
    assert config.recorded == {
        "compiler_parameters.balance_factor": "it counts with compile_mode balance",
        "calibration_parameters.cal_data_dir": "calibration_type skip reads no samples",
    }
    assert (
        Config.from_text(f"{_SHORT}compiler_parameters: {{compile_mode: balance, balance_factor: 5}}\n").recorded == {}
    )


def test_what_has_no_effect_is_listed_inside_quant_config() -> None:
    quant = {
        "model_config": {"weight": {"bias_correction": {"num_sample": 3}}, "layerwise_search": {"metric": "mse"}},
        "subgraph_config": {"head": {"inputs": ["a"], "outputs": ["b"], "calibration_type": "kl"}},
    }
    config = Config.from_text(_with("calibration_parameters", f"quant_config: {json.dumps(quant)}"))
    path = "calibration_parameters.quant_config"
    assert list(config.recorded) == [
        f"{path}.model_config.weight.bias_correction.num_sample",
        f"{path}.model_config.layerwise_search.metric",
        f"{path}.subgraph_config.head.calibration_type",
    ]


def test_what_is_recorded_names_no_folder(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(_with("calibration_parameters", "cal_data_dir: data/samples"))
    recorded = json.dumps(Config.from_yaml(tmp_path / "net.yaml").recordable())
    assert "samples" in recorded
    assert str(tmp_path) not in recorded
    assert "data/" not in recorded


def test_load_takes_both() -> None:
    config = Config.from_text(_SHORT)
    assert load(config) is config
    with pytest.raises(ConfigError, match="the path of a YAML file"):
        load(3)  # type: ignore[arg-type]


def test_the_schema_is_up_to_date() -> None:
    committed = (DOCS / "vendor-config.schema.json").read_text(encoding="utf-8")
    assert committed == schema(), "run: python -m openbpu.config.page schema > docs/vendor-config.schema.json"


def _complaints(config: object) -> list[str]:
    return [error.json_path for error in jsonschema.Draft202012Validator(json.loads(schema())).iter_errors(config)]


@pytest.mark.parametrize("path", sorted((DOCS / "samples" / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_editors_take_the_examples(path: Path) -> None:
    assert _complaints(yaml.safe_load(path.read_text())) == []


def test_editors_take_what_is_read_and_mark_what_is_not() -> None:
    config = yaml.safe_load(template({"onnx_model": "net.onnx", "march": "nash-e", **dict(_IMAGE)}, full=True))
    assert _complaints(config) == []
    Config(**config)
    quant = {
        "model_config": {"activation": {"num_bin": 512, "asymmetric": True, "calibration_type": ["max", "kl"]}},
        "op_config": {"Conv": "int16", "Add": {"input0": "int16"}},
    }
    config["calibration_parameters"]["quant_config"] = quant
    config["model_parameters"]["node_info"] = "Conv_0:int16"
    config["custom_op"] = None
    assert _complaints(config) == []
    Config(**config)
    config["compiler_parameters"]["optimise_level"] = "O2"
    config["compiler_parameters"]["optimize_level"] = "O4"
    quant["op_config"]["Add"] = {"operand0": "int16"}
    assert sorted(_complaints(config)) == [
        "$.calibration_parameters.quant_config.op_config.Add",
        "$.compiler_parameters",
        "$.compiler_parameters.optimize_level",
    ]


_IMAGE = (("input_type_rt", "nv12"), ("input_type_train", "rgb"), ("input_layout_train", "NCHW"))


def test_the_table_of_keys_is_up_to_date() -> None:
    committed = (DOCS / "vendor.md").read_text(encoding="utf-8")
    assert committed == with_keys(committed), "run: python -m openbpu.config.page keys docs/vendor.md"
