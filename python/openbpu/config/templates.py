"""YAML templates: a short one to begin with, and one with every key, its default and its meaning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from openbpu.config.config import Config

_SIMPLE = (
    "onnx_model", "march", "working_dir", "output_model_file_prefix", "input_name", "input_type_rt", "input_type_train",
    "input_layout_train", "input_shape", "cal_data_dir", "optimize_level",
)  # fmt: skip
_LEFT_OUT = ("caffe_model", "prototxt")
_HEAD = {
    True: "# Every key that has an effect or is recorded; empty values count as not given.\n",
    False: "# What a build needs; hb_config_generator --full-yaml shows every key.\n",
}
_CALIBRATE = """\
  # folder of .npy files, one per sample; without it the ranges come from made-up data
  # cal_data_dir: ./calibration
"""


def template(values: Mapping[str, Any], full: bool) -> str:
    """A configuration as YAML text: `values` by key, defaults for all others; only a few keys unless `full`."""
    lines = [_HEAD[full]]
    for group, declared in Config.model_fields.items():
        model = declared.annotation
        assert isinstance(model, type) and issubclass(model, BaseModel)
        shown = [
            _entry(name, field, values, full) for name, field in model.model_fields.items() if _shows(name, field, full)
        ]
        if shown:
            lines += [f"\n{group}:\n", *shown]
    return "".join(lines)


def _shows(name: str, field: Any, full: bool) -> bool:
    if "deprecated_for" in (field.json_schema_extra or {}) or name in _LEFT_OUT:
        return False
    return full or name in _SIMPLE


def _entry(name: str, field: Any, values: Mapping[str, Any], full: bool) -> str:
    if name == "cal_data_dir" and name not in values:
        return _CALIBRATE
    value = values.get(name, None if field.is_required() else field.default)
    comment = f"  # {field.description}\n" if full else ""
    return f"{comment}  {name}: {_scalar(value)}\n"


def _scalar(value: Any) -> str:
    if value is None or (value != 0 and not value) or value == ():
        return "''"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        value = ";".join(map(str, value))
    return str(value) if isinstance(value, int | float) else json.dumps(str(value), ensure_ascii=False)
