"""What is derived from the declarations of keys: the JSON schema for editors, and the table of docs/vendor.md.

python -m openbpu.config.page schema > docs/vendor-config.schema.json
python -m openbpu.config.page keys docs/vendor.md     (replaces what stands between its marks)
"""

from __future__ import annotations

import json
import sys
import types
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from openbpu.config.config import Config
from openbpu.config.quant_config import Activation, ModelConfig, OpConfig, QuantConfig, Search, SubgraphConfig

_QUANT = {
    "quant_config": QuantConfig,
    "quant_config: model_config": ModelConfig,
    "quant_config: model_config.activation": Activation,
    "quant_config: model_config.modelwise_search": Search,
    "quant_config: an operator or node": OpConfig,
    "quant_config: a subgraph": SubgraphConfig,
}
_TOLD = ("title", "description", "default")
_OURS = ("also", "remedy", "recorded", "deprecated_for", "values")  # what declarations say beside pydantic
_BEGIN, _END = "<!-- keys: generated -->\n", "<!-- end of keys -->\n"


def schema() -> str:
    """The JSON schema of a configuration, as text."""
    described = Config.model_json_schema(by_alias=True)
    described["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    models = described["$defs"]
    types = models["OpConfig"]["properties"].pop("inputs_by_number")["additionalProperties"]
    models["OpConfig"]["patternProperties"] = {"^input[0-9]+$": types}
    for name in ("op_config", "node_config"):
        several = models["QuantConfig"]["properties"][name]
        several["additionalProperties"] = _either("string", types, several["additionalProperties"])
    for group in (described, *models.values()):
        required = group.get("required", [])
        properties = group.get("properties", {})
        group["properties"] = {name: _form(x) if name not in required else x for name, x in properties.items()}
    described["title"] = "openbpu: configuration of hb_compile"
    return json.dumps(described, indent=1, default=str) + "\n"


def _form(declared: dict[str, Any]) -> dict[str, Any]:
    """What a key may look like: as it is declared, in its shorter form, or empty."""
    told: dict[str, Any] = {key: declared.pop(key) for key in _TOLD if key in declared}
    shorter: list[dict[str, Any]] = [{"type": declared["also"]}] if "also" in declared else []
    shorter.append({"enum": ["", None]})
    plain = {key: value for key, value in declared.items() if key not in _OURS}
    group = next((x for x in plain.get("anyOf", [plain]) if "$ref" in x or x.get("type") == "object"), None)
    if group is not None:
        return {**told, **_either("object", group, {"anyOf": shorter})}
    return {**told, "anyOf": [plain, *shorter]}


def _either(kind: str, then: dict[str, Any], otherwise: dict[str, Any]) -> dict[str, Any]:
    """By the JSON type of the value; editors say what is wrong inside, which they do not for alternatives."""
    return {"if": {"type": kind}, "then": then, "else": otherwise}


def keys() -> str:
    """Every key of every group: default, values, meaning and effect, as Markdown."""
    groups = {name: field.annotation for name, field in Config.model_fields.items()}
    text = [_table(f"### {name}", model) for name, model in (groups | _QUANT).items()]
    return "".join(text) + "\n"


def _table(title: str, model: Any) -> str:
    assert isinstance(model, type) and issubclass(model, BaseModel)
    names = {"inputs_by_number": "input0, input1, ..."}
    rows = [_row(names.get(name, field.alias or name), field) for name, field in model.model_fields.items()]
    return f"\n{title}\n\n| key | default | values | meaning |\n|---|---|---|---|\n{''.join(rows)}"


def with_keys(page: str) -> str:
    """The page with the keys as they are declared between its marks."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}{keys()}{_END}{after}"


def _row(name: str, field: Any) -> str:
    extra = field.json_schema_extra or {}
    meaning = field.description
    if why := extra.get("recorded"):
        meaning += f". **Recorded, no effect**: {why}"
    if instead := extra.get("deprecated_for"):
        meaning += f". **Deprecated**; instead: {instead}".replace("; instead: nothing: ", ": ")
    default = "required" if field.is_required() else _text(field.default)
    return f"| `{name}` | {default} | {_values(field)} | {meaning} |\n"


def _text(value: Any) -> str:
    if value in ((), {}, "", None) or isinstance(value, BaseModel):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _values(field: Any) -> str:
    if stated := (field.json_schema_extra or {}).get("values"):
        return str(stated)
    if choices := _choices(field.annotation):
        return ", ".join(choices)
    limits = {type(m).__name__: m for m in field.metadata}
    if "Ge" in limits and "Le" in limits:
        return f"{limits['Ge'].ge} to {limits['Le'].le}"
    if "Ge" in limits:
        return f"at least {limits['Ge'].ge}"
    return "true, false" if field.annotation is bool else ""


def _choices(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return [str(value) for value in typing.get_args(annotation) if value]
    if typing.get_origin(annotation) in (tuple, dict, typing.Union, types.UnionType, typing.Annotated):
        return [choice for argument in typing.get_args(annotation) for choice in _choices(argument)]
    return []


if __name__ == "__main__":
    if sys.argv[1:] == ["schema"]:
        print(schema(), end="")
    elif len(sys.argv) == 3 and sys.argv[1] == "keys":
        target = Path(sys.argv[2])
        target.write_text(with_keys(target.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.exit(__doc__)
