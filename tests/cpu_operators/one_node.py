"""A model of one ONNX node as a program of one CPUCALL: the door through which tests reach the CPU operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from openbpu import _native
from openbpu.target import CpuTensor, ProgramBuilder
from openbpu.target.records import CPU_KERNELS, DTYPES

# Operators that only give the same elements another shape.
_VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout"}
# Operators whose further inputs the shapes of the outputs stand for: inputs that stay.
_USED = dict.fromkeys([*_VIEWS, "Expand", "Tile", "Split"], 1) | {"MaxUnpool": 2}
# Operators that take float16: those that move or convert.
_ANY_TYPE = {"Identity", "Cast", "Transpose", "Concat", "Split", "Slice", "Pad", "Expand", "Tile", "Gather", "Where"}
# Attributes that the operands' types or shapes stand for.
_IMPLIED = {
    "to",
    "saturate",
    "round_mode",
    "dtype",
    "stash_type",
    "output_dtype",
    "precision",
    "num_outputs",
    "ceil_mode",
}
_IMPLIED |= {"auto_pad", "output_shape", "output_padding", "kernel_shape", "training_mode", "momentum", "overwrite"}
_IMPLIED |= {"output_height", "output_width", "pooled_shape", "equation"}


class Refused(Exception):
    """Why a node cannot be one call."""


def program(node: onnx.NodeProto, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> bytes:
    """The file: run-time inputs become ports, parameters constants; shapes and types are those of the arrays."""
    name = "Identity" if node.op_type in _VIEWS else node.op_type
    if name not in CPU_KERNELS:
        raise Refused("no CPU operator")
    for array in (*inputs.values(), *outputs.values()):
        if array.dtype.name not in DTYPES or array.dtype.name == "bfloat16":
            raise Refused(f"type {array.dtype.name}")
        if array.dtype.name == "float16" and name not in _ANY_TYPE:
            raise Refused("type float16")
        if array.size == 0:
            raise Refused("a tensor without elements")
    if node.op_type == "Dropout" and len(node.input) > 2 and inputs[node.input[2]]:
        raise Refused("training")
    info = CPU_KERNELS[name]
    builder = ProgramBuilder("node")
    tensors: dict[str, CpuTensor] = {}
    operands: list[CpuTensor | None] = []
    for k, key in enumerate(node.input[: _USED.get(node.op_type, 255)]):
        if not key:
            operands.append(None)
        elif info["statics"] >> k & 1:
            operands.append(builder.const_tensor(_parameter(name, inputs[key])))
        else:
            if key not in tensors:
                port = builder.input(key, inputs[key].shape, inputs[key].dtype.name)
                tensors[key] = builder.tensor("in", inputs[key].shape, inputs[key].dtype.name, port=port)
            operands.append(tensors[key])
    results: list[CpuTensor | None] = []
    for key in node.output:
        if not key or (node.op_type in _VIEWS and results):
            results.append(None)
            continue
        port = builder.output(key, outputs[key].shape, outputs[key].dtype.name)
        results.append(builder.tensor("out", outputs[key].shape, outputs[key].dtype.name, port=port))
    while results and results[-1] is None:
        results.pop()
    builder.cpucall(name, operands, results, attributes(node, name, inputs, outputs))
    return builder.finish(0)


def _parameter(name: str, array: np.ndarray) -> np.ndarray:
    return array.astype(np.int64) if array.dtype.kind in "iu" or name == "OneHot" else array.astype(np.float32)


def attributes(
    node: onnx.NodeProto, name: str, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Attributes as the table has them: automatic padding written out, what shapes and types imply left out."""
    given = {a.name: _plain(helper.get_attribute_value(a)) for a in node.attribute}
    known = {spec["name"] for spec in CPU_KERNELS[name]["attributes"]}
    result = {key: value for key, value in given.items() if key in known}
    unknown = set(given) - known - _IMPLIED
    if node.op_type not in _VIEWS and unknown:
        raise Refused(f"attribute {', '.join(sorted(unknown))}")
    if given.get("training_mode"):
        raise Refused("training")
    if "hidden_size" in known and "hidden_size" not in result:
        result["hidden_size"] = inputs[node.input[2]].shape[2]
    if name == "Transpose" and "perm" not in result:
        result["perm"] = list(range(inputs[node.input[0]].ndim))[::-1]
    if name == "Einsum":
        return {"labels": _labels(given["equation"], [inputs[key].ndim for key in node.input])}
    if "pads" in known:
        result["pads"] = _pads(node, given, result, inputs, outputs)
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return [item.decode() if isinstance(item, bytes) else item for item in value] if isinstance(value, list) else value


def _labels(equation: str, ranks: list[int]) -> list[int]:
    left, _, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if "..." in equation:
        wide = max(rank - len(term) + 3 for term, rank in zip(terms, ranks, strict=True) if "..." in term)
        extra = "ABCDEFGH"[:wide]
        terms = [t.replace("...", extra[wide - (r - len(t) + 3) :]) for t, r in zip(terms, ranks, strict=True)]
        right = right.replace("...", extra)
    if "->" not in equation:
        letters = "".join(terms)
        right = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    numbers = {c: k for k, c in enumerate(sorted(set("".join(terms))))}
    return [numbers[c] for c in "".join(terms) + right]


def _pads(
    node: onnx.NodeProto,
    given: dict[str, Any],
    result: dict[str, Any],
    inputs: dict[str, np.ndarray],
    outputs: dict[str, np.ndarray],
) -> list[int]:
    x, y = inputs[node.input[0]], next(outputs[key] for key in node.output if key)
    spatial = x.ndim - 2
    if node.op_type in ("Col2Im", "MaxUnpool"):
        return list(result.get("pads", []))
    kernel = given.get("kernel_shape") or list(inputs[node.input[1]].shape[2:])
    stride = given.get("strides") or [1] * spatial
    dilation = given.get("dilations") or [1] * spatial
    auto = given.get("auto_pad", "NOTSET")
    transposed = node.op_type == "ConvTranspose"
    if auto == "VALID" or (auto == "NOTSET" and not (transposed and "output_shape" in given)):
        return list(given.get("pads") or [0] * 2 * spatial)
    begins, ends = [], []
    for k in range(spatial):
        reach = (kernel[k] - 1) * dilation[k] + 1
        if transposed:
            extra = (given.get("output_padding") or [0] * spatial)[k]
            total = max(0, (x.shape[2 + k] - 1) * stride[k] + reach + extra - y.shape[2 + k])
        else:
            total = max(0, (y.shape[2 + k] - 1) * stride[k] + reach - x.shape[2 + k])
        small_first = auto == "SAME_UPPER" or (transposed and auto == "NOTSET")
        begin = total // 2 if small_first else total - total // 2
        begins.append(begin)
        ends.append(total - begin)
    return begins + ends


def run(data: bytes, inputs: dict[str, np.ndarray], isa: str = "auto", threads: int = 1) -> list[np.ndarray]:
    """Outputs in the order of the ports."""
    program = _native.Program.from_bytes(data)
    engine = _native.Engine(program, isa=isa, threads=threads)
    names = [port["name"] for port in program.ports() if port["direction"] == "input"]
    return engine.run([np.require(inputs[name], requirements="CA") for name in names])
