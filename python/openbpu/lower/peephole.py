"""Rewrites of the integer graph that keep every bit: duplicates, clamps, pads, what nobody reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from openbpu.ir.graph import Graph, Op, Value

_CODES = np.arange(-128, 128)
_CONVOLUTIONS = frozenset({"conv2d", "dwconv2d"})


def merge_duplicates(graph: Graph) -> None:
    """Ops with equal operands, parameters and constants become one."""
    seen: dict[tuple[Any, ...], Value] = {}
    replaced: dict[Value, Value] = {}
    kept: list[Op] = []
    for op in graph.ops:
        op.inputs = [replaced.get(value, value) for value in op.inputs]
        out = op.outputs[0]
        key = (
            op.kind,
            tuple(map(id, op.inputs)),
            repr(sorted(op.attrs.items())),
            tuple((name, op.consts[name].tobytes()) for name in sorted(op.consts)),
            (out.shape, out.dtype, out.quant),
        )
        if key in seen and out not in graph.outputs:
            replaced[out] = seen[key]
            continue
        seen.setdefault(key, out)
        kept.append(op)
    graph.ops = kept


def drop_dead(graph: Graph) -> None:
    """Removes ops whose result nobody reads."""
    needed = set(graph.outputs)
    kept = []
    for op in reversed(graph.ops):
        if op.outputs[0] in needed:
            needed.update(op.inputs)
            kept.append(op)
    graph.ops = kept[::-1]


def join_clamps(graph: Graph) -> None:
    """A table that only clamps, on the grid of its input, becomes the clamp of the op before it."""
    for op in list(graph.ops):
        limits = _clamp_of(op)
        if limits is None:
            continue
        source = op.inputs[0]
        producer = graph.producer(source)
        if limits == (-128, 127):
            _bypass(graph, op)
        elif producer and "lo" in producer.attrs and len(list(graph.consumers(source))) == 1:
            own = producer.attrs
            own["lo"], own["hi"] = (min(max(own[name], limits[0]), limits[1]) for name in ("lo", "hi"))
            producer.origin = tuple(dict.fromkeys((*producer.origin, *op.origin)))
            _bypass(graph, op)


def _bypass(graph: Graph, op: Op) -> None:
    """Removes an op whose result equals its input."""
    graph.ops.remove(op)
    for user in graph.consumers(op.outputs[0]):
        user.inputs = [op.inputs[0] if value is op.outputs[0] else value for value in user.inputs]


def _clamp_of(op: Op) -> tuple[int, int] | None:
    """The limits of a table that does nothing but clamp on the grid of its input; None for other ops."""
    if op.kind != "lut8" or op.inputs[0].quant != op.outputs[0].quant:
        return None
    table = op.consts["table"].astype(np.int64)
    lo, hi = int(table.min()), int(table.max())
    return (lo, hi) if np.array_equal(np.clip(_CODES, lo, hi), table) else None


def join_pads(graph: Graph) -> None:
    """A border of zeros becomes the padding of the convolutions that read it."""
    for op in graph.ops:
        if op.kind != "pad":
            continue
        out, source = op.outputs[0], op.inputs[0]
        (_, _), (top, bottom), (left, right), (_, _) = pads = op.attrs["pads"]
        users = list(graph.consumers(out))
        zeros = source.quant is not None and op.attrs["value"] == source.quant.z and not any((*pads[0], *pads[3]))
        if not zeros or not users or not all(user.kind in _CONVOLUTIONS for user in users):
            continue
        for user in users:
            own = user.attrs["pads"]
            user.attrs["pads"] = (own[0] + top, own[1] + left, own[2] + bottom, own[3] + right)
            user.inputs = [source]
            user.origin = tuple(dict.fromkeys((*op.origin, *user.origin)))
    drop_dead(graph)
