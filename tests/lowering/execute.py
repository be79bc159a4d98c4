"""Integer graphs executed by the oracle, which shares no code with lowering; ports as the caller sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from openbpu.ir.graph import REDUCTIONS, RELATIONS, Graph, Op, Value
from oracle import int16, mac, ports, vec, window
from oracle.derive import Add, Norm, Rq8, Rq16

Arrays = dict[Value, np.ndarray]


def execute(graph: Graph, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of a graph by name; every value must have the shape and the range that the graph states."""
    arrays: Arrays = {value: _to_memory_order(feeds[value.name]) for value in graph.inputs}
    for op in graph.ops:
        out = op.outputs[0]
        result = _rule(op)(op, [arrays[value] for value in op.inputs])
        assert result.shape == out.shape, f"{op.kind} of {out.name}: {result.shape}, stated {out.shape}"
        assert result.dtype.name == out.dtype, f"{op.kind} of {out.name}: {result.dtype}, stated {out.dtype}"
        arrays[out] = result
    return {value.name: _to_onnx_order(arrays[value], value.onnx_shape) for value in graph.outputs}


def _rule(op: Op) -> Callable[[Op, list[np.ndarray]], np.ndarray]:
    wide = "int16" in (op.outputs[0].dtype, *(value.dtype for value in op.inputs))
    return _RULES16.get(op.kind, _RULES[op.kind]) if wide else _RULES[op.kind]


def _to_memory_order(x: np.ndarray) -> np.ndarray:
    if x.ndim == 4:
        return x.transpose(0, 2, 3, 1)
    return x.reshape(-1, *(1, 1, 1, *x.shape)[-3:])


def _to_onnx_order(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return x.transpose(0, 3, 1, 2) if len(shape) == 4 else x.reshape(shape)


def _zero(value: Value) -> int:
    assert value.quant is not None
    return value.quant.z


def _rq8(op: Op) -> Rq8:
    wide = {name: op.consts[name].astype(np.int64) for name in ("B", "m", "s")}
    return Rq8(**wide, L=op.attrs["L"], lo=op.attrs["lo"], hi=op.attrs["hi"])


def _geometry(op: Op, *names: str) -> dict[str, Any]:
    return {name: op.attrs[name] for name in names}


def _conv(op: Op, x: list[np.ndarray]) -> np.ndarray:
    geometry = _geometry(op, "stride", "dilation", "pads", "groups")
    return mac.conv2d(x[0], op.consts["weight"], _rq8(op), _zero(op.inputs[0]), **geometry)


def _dwconv(op: Op, x: list[np.ndarray]) -> np.ndarray:
    geometry = _geometry(op, "stride", "dilation", "pads")
    return mac.dwconv2d(x[0], op.consts["weight"], _rq8(op), _zero(op.inputs[0]), **geometry)


def _tconv(op: Op, x: list[np.ndarray]) -> np.ndarray:
    geometry = _geometry(op, "stride", "dilation", "groups")
    pads = _transposed_pads(op)
    return mac.tconv2d(x[0], op.consts["weight"], _rq8(op), _zero(op.inputs[0]), pads=pads, **geometry)


def _transposed_pads(op: Op) -> tuple[int, int, int, int]:
    _, kh, kw, _ = op.consts["weight"].shape
    (stride_h, stride_w), (dilation_h, dilation_w) = op.attrs["stride"], op.attrs["dilation"]
    _, h, w, _ = op.inputs[0].shape
    _, oh, ow, _ = op.outputs[0].shape
    top, left = op.attrs["pads"][:2]
    bottom = (h - 1) * stride_h + dilation_h * (kh - 1) + 1 - top - oh  # output padding makes it smaller
    right = (w - 1) * stride_w + dilation_w * (kw - 1) + 1 - left - ow
    return top, left, bottom, right


def _matmul_dynamic(op: Op, x: list[np.ndarray]) -> np.ndarray:
    za, zb = map(_zero, op.inputs)
    return mac.matmuld(x[0], x[1], _rq8(op), za, zb, op.attrs["transpose_b"])


def _mul(op: Op, x: list[np.ndarray]) -> np.ndarray:
    za, zb, zp = map(_zero, (*op.inputs, *op.outputs))
    return vec.mul(x[0], x[1], zp=zp, za=za, zb=zb, **_geometry(op, "m", "sh", "lo", "hi"))


def _divide(op: Op, x: list[np.ndarray]) -> np.ndarray:
    za, zp = _zero(op.inputs[0]), _zero(op.outputs[0])
    return vec.divide(x[0], x[1], op.consts["ratio"], za=za, zp=zp, **op.attrs)


def _reduce(op: Op, x: list[np.ndarray]) -> np.ndarray:
    numbers = _geometry(op, "m", "sh", "lo", "hi")
    return vec.reduce(x[0], REDUCTIONS[op.attrs["kind"]], zx=_zero(op.inputs[0]), zp=_zero(op.outputs[0]), **numbers)


def _window(op: Op) -> dict[str, Any]:
    """Pads of the operator, at the bottom and right as far as the stated result reaches."""
    geometry = _geometry(op, "kernel", "stride", "dilation")
    pads = list(op.attrs["pads"])
    for axis in (0, 1):
        covered = (op.outputs[0].shape[1 + axis] - 1) * op.attrs["stride"][axis]
        covered += op.attrs["dilation"][axis] * (op.attrs["kernel"][axis] - 1) + 1
        pads[2 + axis] = max(covered - op.inputs[0].shape[1 + axis] - pads[axis], 0)
    return {**geometry, "pads": tuple(pads)}


def _cropped(op: Op, result: np.ndarray) -> np.ndarray:
    _, h, w, _ = op.outputs[0].shape
    return result[:, :h, :w]


def _avgpool(op: Op, x: list[np.ndarray]) -> np.ndarray:
    scales = list(zip(op.consts["m"].tolist(), op.consts["sh"].tolist(), strict=True))
    limits = _geometry(op, "lo", "hi")
    zx, zp = _zero(op.inputs[0]), _zero(op.outputs[0])
    return _cropped(op, window.avgpool(x[0], scales, zx, zp, **_window(op), **limits))


def _taps(op: Op, axis: str) -> list[tuple[int, int, int, int]]:
    table = np.concatenate([op.consts[f"{axis}_index"], op.consts[f"{axis}_weight"]], axis=1)
    return [tuple(row) for row in table.tolist()]


def _rescale(op: Op, x: list[np.ndarray]) -> np.ndarray:
    wide = {name: op.consts[name].astype(np.int64) for name in ("bias", "m", "sh")}
    return vec.rescale(x[0], Rq16(**wide, lo=op.attrs["lo"], hi=op.attrs["hi"]))


def _norm(op: Op, x: list[np.ndarray]) -> np.ndarray:
    consts = {name: op.consts[name].astype(np.int64) for name in ("b", "g")}
    return vec.norm(x[0], Norm(zx=op.attrs["zero"], **_geometry(op, "eps", "F", "sh", "lo", "hi"), **consts))


def _slice(op: Op, x: list[np.ndarray]) -> np.ndarray:
    at = [slice(None)] * 4
    at[op.attrs["axis"]] = slice(op.attrs["start"], op.attrs["stop"], op.attrs["step"])
    return x[0][tuple(at)]


def _ported(op: Op, x: list[np.ndarray]) -> np.ndarray:
    """int8 is uint8 less 128."""
    if op.inputs[0].dtype == op.outputs[0].dtype == "int16":
        return x[0]
    shift = 128 * ((op.outputs[0].dtype == "uint8") - (op.inputs[0].dtype == "uint8"))
    return (x[0].astype(np.int64) + shift).astype(op.outputs[0].dtype)


def _parameters(value: Value) -> tuple[float, int]:
    assert value.quant is not None
    return value.quant.s, value.quant.z


_RULES: dict[str, Callable[[Op, list[np.ndarray]], np.ndarray]] = {
    "conv2d": _conv,
    "dwconv2d": _dwconv,
    "tconv2d": _tconv,
    "matmul": lambda op, x: mac.matmul(x[0], op.consts["weight"], _rq8(op)),
    "matmul_dynamic": _matmul_dynamic,
    "add": lambda op, x: vec.add(x[0], x[1], Add(**op.attrs)),
    "mul": _mul,
    "extreme": lambda op, x: vec.extreme(x[0], x[1], **op.attrs),
    "compare": lambda op, x: vec.compare(x[0], x[1], op.consts["ranks"], RELATIONS[op.attrs["relation"]]),
    "select": lambda op, x: vec.select(*x),
    "divide": _divide,
    "reduce": _reduce,
    "argmax": lambda op, x: _to_memory_order(vec.argmax(x[0]).reshape(op.outputs[0].onnx_shape)),
    "gather": lambda op, x: vec.gather(x[0], _to_onnx_order(x[1], op.inputs[1].onnx_shape)),
    "grid_sample": lambda op, x: window.grid_sample(x[0], x[1].transpose(0, 3, 1, 2), _zero(op.inputs[0]), **op.attrs),
    "rescale": _rescale,
    "lut8": lambda op, x: vec.lut8(x[0], op.consts["table"]),
    "lut16": lambda op, x: vec.lut16(x[0], op.consts["table"]),
    "softmax": lambda op, x: vec.softmax(x[0], op.consts["exp"], op.attrs["C"], _zero(op.outputs[0])),
    "norm": _norm,
    "maxpool": lambda op, x: _cropped(op, window.maxpool(x[0], **_window(op))),
    "avgpool": _avgpool,
    "resize_nearest": lambda op, x: window.resize_nearest(x[0], op.consts["rows"], op.consts["columns"]),
    "resize_bilinear": lambda op, x: window.resize_bilinear(x[0], _taps(op, "row"), _taps(op, "column")),
    "constant": lambda op, x: _to_memory_order(op.consts["data"]) if op.outputs[0].on_cpu else op.consts["data"],
    "concat": lambda op, x: np.concatenate(x, axis=op.attrs["axis"]),
    "slice": _slice,
    "reshape": lambda op, x: np.ascontiguousarray(x[0]).reshape(op.outputs[0].shape),
    "transpose": lambda op, x: vec.transpose(x[0], op.attrs["perm"]),
    "expand": lambda op, x: np.broadcast_to(x[0], op.outputs[0].shape),
    "depth_to_space": lambda op, x: vec.depth_to_space(x[0], op.attrs["block"], op.attrs["mode"]),
    "space_to_depth": lambda op, x: vec.space_to_depth(x[0], op.attrs["block"]),
    "pad": lambda op, x: vec.pad(x[0], op.attrs["pads"], op.attrs["value"]),
    "quantize": lambda op, x: ports.quantise8(x[0], *_parameters(op.outputs[0])),
    "dequantize": lambda op, x: ports.dequantise(x[0], *_parameters(op.inputs[0])),
    "read_port": _ported,
    "write_port": _ported,
}


def _scaling(op: Op) -> int16.Scaling:
    wide = {name: op.consts[name].astype(np.int64) for name in ("bias", "m", "sh")}
    return int16.Scaling(**wide, dtype=op.outputs[0].dtype, lo=op.attrs["lo"], hi=op.attrs["hi"])


def _conv16(op: Op, x: list[np.ndarray]) -> np.ndarray:
    geometry = _geometry(op, "stride", "dilation", "pads", "groups")
    return int16.conv2d(x[0], op.consts["weight"], _scaling(op), **geometry)


def _dwconv16(op: Op, x: list[np.ndarray]) -> np.ndarray:
    return int16.dwconv2d(x[0], op.consts["weight"], _scaling(op), **_geometry(op, "stride", "dilation", "pads"))


def _tconv16(op: Op, x: list[np.ndarray]) -> np.ndarray:
    geometry = _geometry(op, "stride", "dilation", "groups")
    return int16.tconv2d(x[0], op.consts["weight"], _scaling(op), pads=_transposed_pads(op), **geometry)


def _softmax16(op: Op, x: list[np.ndarray]) -> np.ndarray:
    out = op.outputs[0]
    return int16.softmax(x[0], op.consts["exp"], op.attrs["C"], _zero(out), out.dtype)


def _norm16(op: Op, x: list[np.ndarray]) -> np.ndarray:
    g, b = (tuple(op.consts[name].tolist()) for name in ("g", "b"))
    numbers = _geometry(op, "eps", "F", "sh", "lo", "hi")
    p = int16.Norm(g=g, b=b, centred=op.attrs["zero"] is None, dtype=op.outputs[0].dtype, **numbers)
    return int16.norm(x[0], p)


_RULES16: dict[str, Callable[[Op, list[np.ndarray]], np.ndarray]] = {
    "conv2d": _conv16,
    "dwconv2d": _dwconv16,
    "tconv2d": _tconv16,
    "matmul": lambda op, x: int16.matmul(x[0], op.consts["weight"], _scaling(op)),
    "matmul_dynamic": lambda op, x: int16.matmuld(x[0], x[1], _scaling(op), op.attrs["transpose_b"]),
    "add": lambda op, x: int16.add(x[0], x[1], _scaling(op), -1 if op.attrs["negative"] else 1),
    "mul": lambda op, x: int16.mul(x[0], x[1], _scaling(op)),
    "rescale": lambda op, x: int16.rescale(x[0], _scaling(op)),
    "softmax": _softmax16,
    "norm": _norm16,
    "maxpool": lambda op, x: _cropped(op, int16.maxpool(x[0], **_window(op))),
    "avgpool": lambda op, x: _cropped(op, int16.avgpool(x[0], _scaling(op), **_window(op))),
    "resize_bilinear": lambda op, x: int16.resize_bilinear(x[0], _taps(op, "row"), _taps(op, "column")),
    "pad": lambda op, x: vec.pad(x[0], op.attrs["pads"], op.attrs["value"]),
    "quantize": lambda op, x: ports.quantise16(x[0], _parameters(op.outputs[0])[0]),
}
