"""DFT and STFT as products with constant matrices, which both sides of the machine have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from openbpu.errors import UnsupportedError
from openbpu.ir.onnx_graph import STANDARD, Names, opset_of, shapes_of

OPERATORS = ("DFT", "STFT")
_MOST_NUMBERS = 1 << 26  # of a matrix: 256 MiB


def has_transforms(model: onnx.ModelProto) -> bool:
    return any(_is_fourier(node) for node in model.graph.node)


def write_out(model: onnx.ModelProto) -> None:
    """Replaces DFT by Reshape and MatMul, STFT by Conv and Reshape, in a model with inferred shapes. In place.

    Their lengths, axes, steps and windows must be constants. Raises UnsupportedError naming a node for which they are
    not, or whose matrix would be too large.
    """
    _Writer(model).run()


def _is_fourier(node: onnx.NodeProto) -> bool:
    return node.op_type in OPERATORS and node.domain in STANDARD


class _Writer:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = graph = model.graph
        self.opset = opset_of(model)
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self.shapes: dict[str, list[int]] = shapes_of(graph)
        self.shapes |= {name: list(array.shape) for name, array in self.constants.items()}
        self.names = Names(graph)
        self.nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        for node in self.graph.node:
            if not _is_fourier(node):
                self.nodes.append(node)
            elif node.op_type == "DFT":
                self._dft(node)
            else:
                self._stft(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)

    def _dft(self, node: onnx.NodeProto) -> None:
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        shape = self._shape(node)
        rank = len(shape)
        axis = int(self._operand(node, 2, "axis", given.get("axis", 1 if self.opset < 20 else -2))) % rank
        inverse, onesided = (bool(given.get(name, 0)) for name in ("inverse", "onesided"))
        real = inverse and onesided  # half a spectrum gives a real signal
        length = int(self._operand(node, 1, "dft_length", 2 * shape[axis] - 2 if real else shape[axis]))
        parts, made = shape[-1], 1 if real else 2
        bins = length // 2 + 1 if onesided and not inverse else length
        used = min(shape[axis], length // 2 + 1 if real else length)
        self._check(node, shape[axis] * parts * bins * made)
        matrix = np.zeros((shape[axis], parts, bins, made))
        matrix[:used] = _exponentials(used, length, parts, bins, inverse)[..., :made]
        if real:  # the other half of the spectrum is the conjugate
            matrix[1 : (length + 1) // 2] *= 2
        others = [k for k in range(rank - 1) if k != axis]
        perm = [*others, axis, rank - 1]
        x = self._op(node, "Transpose", [node.input[0]], perm=perm)
        x = self._reshape(node, x, [*(shape[k] for k in others), shape[axis] * parts])
        x = self._op(node, "MatMul", [x, self._constant(node, matrix.reshape(shape[axis] * parts, bins * made))])
        x = self._reshape(node, x, [*(shape[k] for k in others), bins, made])
        self._op(node, "Transpose", [x], node.output[0], perm=[perm.index(k) for k in range(rank)])

    def _stft(self, node: onnx.NodeProto) -> None:
        onesided = next((bool(a.i) for a in node.attribute if a.name == "onesided"), True)
        shape = [*self._shape(node), 1][:3]
        window = self._operand(node, 2, "window", None)
        step = int(self._operand(node, 1, "frame_step", None))
        length = int(self._operand(node, 3, "frame_length", shape[1] if window is None else np.size(window)))
        bins = length // 2 + 1 if onesided else length
        self._check(node, length * shape[2] * bins * 2)
        matrix = _exponentials(length, length, shape[2], bins, False)  # [time, part, bin, real or imaginary]
        if window is not None:
            matrix *= np.reshape(window, (-1, 1, 1, 1))
        weight = matrix.transpose(2, 3, 1, 0).reshape(2 * bins, shape[2], length)
        x = self._reshape(node, node.input[0], shape)
        x = self._op(node, "Transpose", [x], perm=[0, 2, 1])
        x = self._op(node, "Conv", [x, self._constant(node, weight)], strides=[step], kernel_shape=[length])
        x = self._op(node, "Transpose", [x], perm=[0, 2, 1])
        frames = (shape[1] - length) // step + 1
        self._reshape(node, x, [shape[0], frames, bins, 2], node.output[0])

    # ---- operands

    def _shape(self, node: onnx.NodeProto) -> list[int]:
        shape = self.shapes.get(node.input[0], [])
        if not shape or min(shape) < 1:
            raise _refused(node, "the shape of its operand must be known at compile time", f"shape {shape}")
        return shape

    def _operand(self, node: onnx.NodeProto, position: int, name: str, default: Any) -> Any:
        """A constant operand; its default if it is left out."""
        given = node.input[position] if position < len(node.input) else ""
        if not given:
            return default
        if given not in self.constants:
            raise _refused(node, f"its {name} must be known at compile time", "computed at run time")
        array = self.constants[given]
        return array if array.ndim else array.item()

    def _check(self, node: onnx.NodeProto, numbers: int) -> None:
        if numbers > _MOST_NUMBERS:
            raise _refused(node, f"a transform is a matrix of at most {_MOST_NUMBERS} numbers", f"{numbers}")

    # ---- nodes

    def _op(self, node: onnx.NodeProto, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        output = output or self.names.fresh(f"{node.output[0]}/{kind.lower()}")
        last = output == node.output[0]
        name = node.name if last else f"{node.name or node.output[0]}/{kind}/{output}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=name, **attributes))
        return output

    def _reshape(self, node: onnx.NodeProto, x: str, shape: Sequence[int], output: str = "") -> str:
        return self._op(node, "Reshape", [x, self._constant(node, np.array(shape, np.int64))], output)

    def _constant(self, node: onnx.NodeProto, array: np.ndarray) -> str:
        name = self.names.fresh(f"{node.output[0]}/constant")
        kind = np.int64 if array.dtype == np.int64 else np.float32
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(array, kind, order="C"), name))
        return name


def _exponentials(used: int, length: int, parts: int, bins: int, inverse: bool) -> np.ndarray:
    """[time, part, bin, part of the result]: exp(-2 pi i k n / length), or its conjugate over the length."""
    turns = np.outer(np.arange(used), np.arange(bins)) % length * (2 * np.pi / length)
    real, imaginary = np.cos(turns), np.sin(turns) if inverse else -np.sin(turns)
    if inverse:
        real, imaginary = real / length, imaginary / length
    of_real, of_imaginary = np.stack([real, imaginary], -1), np.stack([-imaginary, real], -1)
    return np.stack([of_real, of_imaginary][:parts], 1)


def _refused(node: onnx.NodeProto, rule: str, seen: str) -> UnsupportedError:
    return UnsupportedError(
        rule,
        where=f"node '{node.name or node.output[0]}' ({node.op_type})",
        seen=seen,
        remedy="make it an initializer, or compute the transform on the host",
    )
