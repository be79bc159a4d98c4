"""hb_config_generator: templates that are right as they are written."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import yaml

from e2e.vendor_commands import Commands
from openbpu.config import Config
from openbpu.config.config import Config as Declared
from unit.float_networks import Net, residual


def test_a_simple_template_of_a_model_builds(hb: Commands, tmp_path: Path) -> None:
    onnx.save(residual(), tmp_path / "net.onnx")
    assert hb("hb_config_generator --simple-yaml -m net.onnx --march nash-m")[0] == 0
    config = Config.from_yaml(tmp_path / "simple_compile_config.yaml")
    group = config.input_parameters
    assert config.model_parameters.march == "nash-m"
    assert (group.input_name, group.input_type_rt, group.input_shape) == (("x",), ("nv12",), ((1, 3, 32, 32),))
    code, out, error = hb("hb_compile -c simple_compile_config.yaml")
    assert code == 0, error
    assert "performance summary" in out


def test_a_full_template_has_every_key_but_the_old_ones(hb: Commands, tmp_path: Path) -> None:
    net = Net(1)
    onnx.save(net.model(net.op("Add", "x", "z", out="y"), shape=(1, 8), z=(1, 8)), tmp_path / "net.onnx")
    assert hb("hb_config_generator -f -m net.onnx")[0] == 0
    text = (tmp_path / "full_compile_config.yaml").read_text()
    written = yaml.safe_load(text)
    for group, field in Declared.model_fields.items():
        keys = {
            name
            for name, inner in field.annotation.model_fields.items()
            if "deprecated_for" not in (inner.json_schema_extra or {})
        }
        assert keys - {"caffe_model", "prototxt", "cal_data_dir"} == set(written[group])
    config = Config.from_yaml(tmp_path / "full_compile_config.yaml")
    assert config.input_parameters.input_name == ("x", "z")
    assert config.input_parameters.input_type_rt == ("featuremap", "featuremap")
    assert config.compiler_parameters.optimize_level == "O2"


def test_without_a_model_there_is_an_example(hb: Commands, tmp_path: Path) -> None:
    for option, name in (("-s", "simple"), ("-f", "full")):
        code, out, _ = hb(f"hb_config_generator {option}")
        assert code == 0
        assert out == f"wrote {name}_compile_config.yaml\n"
        assert Config.from_yaml(tmp_path / f"{name}_compile_config.yaml").input_parameters.input_type_rt == ("nv12",)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("", 2, "give --simple-yaml or --full-yaml, one of both"),
        ("-s -f", 2, "give --simple-yaml or --full-yaml, one of both"),
        ("-s -p net.prototxt", 2, "models are read as ONNX"),
        ("-s --march nash-x", 1, "unknown march; got nash-x"),
        ("-s -m none.onnx", 1, "none.onnx: the model file must be readable"),
    ],
)
def test_wrong_command_lines(arguments: str, code: int, message: str, hb: Commands, tmp_path: Path) -> None:
    found, _, error = hb(f"hb_config_generator {arguments}")
    assert found == code
    assert message in error
    assert not list(tmp_path.iterdir())
