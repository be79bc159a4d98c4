"""What differs between two files of the same kind: ONNX models, or programs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from openbpu import frontend
from openbpu.artefacts import programs
from openbpu.artefacts.changes import Change, compared
from openbpu.artefacts.stages import PROGRAMS
from openbpu.errors import ConfigError, OpenBpuError
from openbpu.runtime import Executable

_TEXT = 100  # characters of a value that are shown


@dataclass(frozen=True)
class DiffReport:
    """Changes from `first` to `second`, none if both say the same; `same_bytes` if nothing had to be looked at."""

    first: str
    second: str
    same_bytes: bool
    changes: tuple[Change, ...]

    @property
    def equal(self) -> bool:
        """Whether no change was found."""
        return not self.changes

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self) | {"equal": self.equal}

    def to_json(self) -> str:
        """Equal reports give equal text."""
        return json.dumps(self.to_dict(), indent=2)


def diff(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> DiffReport:
    """Compares two .bpux files or two ONNX models.

    Of models: inputs, outputs, opsets, metadata, nodes (by name, else by what they make), constants with the largest
    difference, scales and zero points by tensor. Of programs: models, sizes, what was recorded, ports, and by layer
    instructions and constants. Raises ConfigError for files of different kinds, and what reading raises.
    """
    kinds = ["program" if Path(path).suffix in PROGRAMS else "model" for path in (first, second)]
    if kinds[0] != kinds[1]:
        raise ConfigError(
            "two .bpux files or two ONNX models",
            where="diff",
            seen=f"{first} and {second}",
            remedy="to compare what they compute, use openbpu verify",
        )
    if _bytes(first) == _bytes(second):
        return DiffReport(str(first), str(second), True, ())
    if kinds[0] == "program":
        changes = programs.changes(Executable.load(first), Executable.load(second))
    else:
        models = frontend.load(first), frontend.load(second)
        changes = list(_models(*models)) or _rest(*models)
    return DiffReport(str(first), str(second), False, tuple(changes))


def _bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise OpenBpuError("the file must be readable", where=str(path), seen=error.strerror) from error


def _models(first: onnx.ModelProto, second: onnx.ModelProto) -> Iterator[Change]:
    for group, read in (
        ("input", lambda m: _infos(m.graph.input)),
        ("output", lambda m: _infos(m.graph.output)),
        ("opset", lambda m: {o.domain or "onnx": str(o.version) for o in m.opset_import}),
        ("metadata", lambda m: {p.key: _short(p.value) for p in m.metadata_props}),
    ):
        yield from compared(group, read(first), read(second))
    constants = [_constants(model) for model in (first, second)]
    scales = [_scales(model, c) for model, c in zip((first, second), constants, strict=True)]
    nodes = [_nodes(model) for model in (first, second)]
    yield from compared("node", *nodes)
    yield from compared("scale, zero point", *scales)
    quantised = {n for m in (first, second) for node in m.graph.node if _is_qdq(node) for n in node.input[1:]}
    yield from _arrays({n: a for n, a in constants[0].items() if n not in quantised}, constants[1], quantised)


def _rest(first: onnx.ModelProto, second: onnx.ModelProto) -> list[Change]:
    """What no table shows, but for descriptions: the order of nodes, functions, sparse constants."""
    digests = []
    for model in (first, second):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        for field in ("producer_name", "producer_version", "doc_string", "model_version"):
            copy.ClearField(field)
        for field in ("doc_string", "value_info"):
            copy.graph.ClearField(field)
        tensors = {t.name: t for t in model.graph.initializer}
        del copy.graph.initializer[:]
        copy.graph.initializer.extend(
            numpy_helper.from_array(numpy_helper.to_array(tensors[n]), n) for n in sorted(tensors)
        )
        digests.append(hash_of(copy.SerializeToString(deterministic=True)))
    order = Change("model", first.graph.name, "order of nodes, or what else is not listed", *digests)
    return [order] if digests[0] != digests[1] else []


def _infos(infos: Any) -> dict[str, str]:
    return {i.name: _type(i) for i in infos}


def _type(info: onnx.ValueInfoProto) -> str:
    tensor = info.type.tensor_type
    kind = str(helper.tensor_dtype_to_np_dtype(tensor.elem_type)) if tensor.elem_type else "?"
    return f"{kind} {'x'.join(str(d.dim_value or d.dim_param or '?') for d in tensor.shape.dim)}"


def _short(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}... ({len(text)} characters, {hash_of(text.encode())})"


def hash_of(data: bytes) -> str:
    """A short name of contents."""
    import hashlib

    return hashlib.sha256(data).hexdigest()[:8]


def _constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def _is_qdq(node: onnx.NodeProto) -> bool:
    return node.op_type in ("QuantizeLinear", "DequantizeLinear")


def _nodes(model: onnx.ModelProto) -> dict[str, dict[str, str]]:
    """Properties of every node by its name, or "of TENSOR" for one without."""
    found: dict[str, dict[str, str]] = {}
    for node in model.graph.node:
        key = node.name or f"of {next(iter(node.output), '')}"
        if key in found:
            key = f"{key} (of {next(iter(node.output), '')})"
        attributes = {a.name: _short(_attribute(a)) for a in node.attribute}
        inputs = node.input[:1] if _is_qdq(node) else node.input  # scales are compared by value
        found[key] = {
            "operator": f"{node.domain}.{node.op_type}".strip("."),
            "inputs": ", ".join(inputs),
            "outputs": ", ".join(node.output),
            **attributes,
        }
    return found


def _attribute(attribute: onnx.AttributeProto) -> str:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        array = numpy_helper.to_array(value)
        return f"{array.dtype} {array.shape} {hash_of(array.tobytes())}"
    if isinstance(value, onnx.GraphProto):
        return f"graph of {len(value.node)} nodes, {hash_of(value.SerializeToString(deterministic=True))}"
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _scales(model: onnx.ModelProto, constants: Mapping[str, np.ndarray]) -> dict[str, dict[str, str]]:
    """Of every tensor that a QuantizeLinear or DequantizeLinear reads."""
    found: dict[str, dict[str, str]] = {}
    made = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    for node in filter(_is_qdq, model.graph.node):
        values = [constants.get(name) for name in node.input[1:]]
        texts = [_values(v) if v is not None else f"computed: {n}" for v, n in zip(values, node.input[1:], strict=True)]
        parameters = dict(zip(("scale", "zero point"), texts, strict=False))
        if found.get(made.get(node.input[0], "")) != parameters:  # the pair of a tensor says it once
            found[node.input[0]] = parameters
    return found


def _values(array: np.ndarray) -> str:
    if array.size == 1:
        return f"{array.item():.8g} ({array.dtype})" if array.dtype.kind == "f" else f"{array.item()} ({array.dtype})"
    values = array.astype(np.float64)
    low, high = (values.min(), values.max()) if values.size else (0.0, 0.0)
    return f"{array.size} of {array.dtype} from {low:.6g} to {high:.6g}, {hash_of(array.tobytes())}"


def _arrays(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], known: set[str]) -> Iterator[Change]:
    """Constants that differ, with the largest difference of those of the same shape."""
    for name in [*first, *(n for n in second if n not in first and n not in known)]:
        a, b = first.get(name), second.get(name)
        if a is None or b is None:
            what, array = ("removed", a) if b is None else ("added", b)
            assert array is not None
            text = f"{array.dtype} {array.shape}"
            yield Change("constant", name, what, *((text, "") if b is None else ("", text)))
        elif a.shape != b.shape or a.dtype != b.dtype:
            yield Change("constant", name, "type", f"{a.dtype} {a.shape}", f"{b.dtype} {b.shape}")
        elif a.tobytes() != b.tobytes():
            yield Change("constant", name, "values", _values(a), _values(b), _distance(a, b))


def _distance(a: np.ndarray, b: np.ndarray) -> str:
    if a.dtype.kind not in "fiub":
        return ""
    with np.errstate(invalid="ignore"):
        differences = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return f"{int((a != b).sum())} of {a.size} values, by {differences.max():.6g} at most"
