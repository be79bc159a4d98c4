"""Images as they arrive at run time: the node that the frontend puts in place of an input, as CSC or as a table."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from openbpu.ir.graph import Value
from openbpu.ir.quant import QuantParams
from openbpu.lower import requant
from openbpu.lower.expressions import Expr, Function, Plain, Unary
from openbpu.lower.node import Node
from openbpu.preprocess import InputSpec

DOMAIN = "openbpu"
OPERATOR = "CameraInput"
PIXELS = QuantParams.per_tensor(1.0, -128)  # bytes 0..255 as int8
STRIDES, SIZE, REGION = 1, 2, 4  # bits of Port.flags
_NHWC = (0, 2, 3, 1)
_UNLIKELY = 4  # as far apart the ranges of pixels and of calibration are when one of them is wrong
_MOST_SHIFT, _MOST_M, _MOST_B = 22, 32767, 1 << 30


def derive(
    matrix: np.ndarray, offset: np.ndarray, gain: np.ndarray, shift: np.ndarray, quant: QuantParams
) -> tuple[dict[str, np.ndarray], int]:
    """The table m [c, 3], b, lo, hi and the shift of a CSC (docs/numerics.md, clause CSC).

    The network sees gain * clamp(matrix @ pixel + offset, 0, 255) + shift. Raises Infeasible.
    """
    ratio = gain[:, None] * matrix / quant.s
    whole = offset + 128 * (matrix[:, 0] + matrix[:, 1] + matrix[:, 2])
    constant = (gain * whole + shift) / quant.s
    ends = np.sort([requant.round_half_up((gain * p + shift) / quant.s) + quant.z for p in (0.0, 255.0)], axis=0)
    for sh in range(_MOST_SHIFT, -1, -1):
        m = requant.round_half_up(ratio * 2.0**sh)
        b = (quant.z << sh) + requant.round_half_up(constant * 2.0**sh) + ((1 << sh) >> 1)
        if np.abs(m).max() <= _MOST_M and np.abs(b).max() < _MOST_B:
            lo, hi = np.clip(ends, quant.qmin, quant.qmax).astype(np.int16)
            return {"m": m.astype(np.int16), "b": b.astype(np.int32), "lo": lo, "hi": hi}, sh
    raise requant.Infeasible(f"a pixel is worth {np.abs(ratio).max():.6g} steps, more than {_MOST_M}")


def picture(node: Node) -> Expr:
    """What the node of an image input computes, in the layout of the model."""
    spec = InputSpec.from_dict(json.loads(node.attribute("spec")))
    ports = [_held(node, index) for index in range(len(node.inputs))]
    _mark(ports, spec)
    gain, shift = spec.normalisation()
    turned = spec.layout_train == "NHWC"
    info = node.infos[0]
    assert info is not None
    n, c, h, w = (info.shape[axis] for axis in (0, 3, 1, 2)) if turned else info.shape
    if spec.input_source == "resizer":
        *planes, regions = ports
        ports = [_resized(node, plane, regions, (n, h, w), shift) for shift, plane in enumerate(planes)]
    if spec.type_rt == "gray":
        return _grey(node, ports[0], float(gain[0]), float(shift[0]), turned)
    matrix, offset = spec.colour()
    form = "nv12" if spec.type_rt == "nv12" else "planes" if spec.runtime_layout == "NCHW" else "pixels"
    return Picture(
        node=node,
        shape=info.shape,
        origin=(node.name,),
        planes=ports,
        form=form,
        extents=(n, c, h, w),
        matrix=matrix,
        offset=offset,
        gain=gain,
        constant=shift,
        turned=turned,
    )


def _mark(ports: list[Value], spec: InputSpec) -> None:
    """What the caller may do with the ports of a pyramid or a resizer."""
    flags = {"pyramid": STRIDES, "resizer": STRIDES | SIZE}.get(spec.input_source, 0)
    for port in ports:
        port.flags = REGION if port.dtype == "int32" else flags


def _resized(node: Node, plane: Value, regions: Value, size: tuple[int, int, int], shift: int) -> Value:
    """The regions of interest of a plane at the size of the network; that of chroma, shift 1, at half of it."""
    n, h, w = size
    _, a, b, c = plane.onnx_shape
    source = (n, b, c, a) if a == 1 and not shift else (n, a, b, c)
    attrs = {"shift": shift, "source": source}
    shape = (n, source[3], h >> shift, w >> shift)
    name = f"{plane.name}.region"
    return node.graph.emit("roi_resize", [plane, regions], shape, PIXELS, (node.name,), name=name, attrs=attrs)


def _held(node: Node, index: int) -> Value:
    operand = node.operand(index)
    assert isinstance(operand, Plain)
    return operand.held


def _grey(node: Node, port: Value, gain: float, shift: float, turned: bool) -> Expr:
    info = node.infos[0]
    assert info is not None
    n, h, w = (info.shape[axis] for axis in ((0, 1, 2) if turned else (0, 2, 3)))
    origin = (node.name,)
    pixels = port
    if port.on_cpu:
        pixels = node.graph.emit("read_image", [port], (n, 1, h, w), PIXELS, origin, name=f"{port.name}.int8")
    if turned:
        pixels = node.graph.transpose(pixels, _NHWC, origin)
    grey = Grey(node=node, shape=info.shape, origin=origin, root=pixels, leaf=pixels)
    return grey if (gain, shift) == (1.0, 0.0) else grey.map(lambda x: gain * x + shift, node)


def _fine(*ends: np.ndarray) -> QuantParams:
    """int16 parameters for a float result between the ends."""
    return QuantParams.per_tensor(max(float(np.abs(end).max()) for end in ends) / 32767 or 1.0, 0, "int16")


@dataclass(eq=False, kw_only=True)
class Grey(Unary):
    """A function of grey pixels, which readers in float get from int16."""

    def dense(self, reader: str) -> Value:
        if self.leaf is not None:
            return super().dense(reader)
        return Unary.of(self.quantise(_fine(self.reals)), self.node).dense(reader)


@dataclass(eq=False, kw_only=True)
class Picture(Expr):
    """gain * clamp(matrix @ pixel + offset, 0, 255) + constant per channel, of the ports of a colour image."""

    planes: list[Value]
    form: str  # "nv12", "pixels" or "planes"
    extents: tuple[int, int, int, int]  # n, c, h, w
    matrix: np.ndarray
    offset: np.ndarray
    gain: np.ndarray
    constant: np.ndarray
    turned: bool  # the result is NHWC

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        self._compare(quant)
        consts, sh = derive(self.matrix, self.offset, self.gain, self.constant, quant)
        attrs = {"form": self.form, "sh": sh}
        made = self.graph.emit(
            "csc", self.planes, self.extents, quant, self.origin, name=name, attrs=attrs, consts=consts
        )
        return self.graph.transpose(made, _NHWC, self.origin) if self.turned else made

    def _compare(self, quant: QuantParams) -> None:
        """Warns where the pixels do not fill, or do not fit, what the model was calibrated for."""
        low, high = min(map(np.min, self._ends)), max(map(np.max, self._ends))
        least, most = ((q - quant.z) * quant.s for q in (quant.qmin, quant.qmax))
        common = min(high, most) - max(low, least)
        if quant.dtype == "int8" and _UNLIKELY * common < max(high - low, most - least):
            self.node.warn(
                f"mean and scale give values from {low:.4g} to {high:.4g}, but the model was calibrated for "
                f"{least:.4g} to {most:.4g}: are they given twice, or not at all?"
            )

    @property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """What pixels 0 and 255 become, per channel."""
        return self.constant, self.gain * 255.0 + self.constant

    def dense(self, reader: str) -> Value:
        return Unary.of(self.quantise(_fine(*self._ends)), self.node).dense(reader)

    def affine(self, gain: np.ndarray, offset: np.ndarray, node: Node) -> Expr:
        if self.turned and max(gain.size, offset.size) > 1:
            return super().affine(gain, offset, node)
        g, b = gain.ravel(), offset.ravel()
        return self.step(node, gain=self.gain * g, constant=self.constant * g + b)

    def map(self, function: Function, node: Node) -> Expr:
        """Linear functions join the conversion; others need the pixels quantised."""
        zero, one, many = function(np.array([0.0, 1.0, 1000.0]))
        if np.isfinite([zero, one, many]).all() and np.isclose(many, zero + 1000.0 * (one - zero), rtol=1e-12):
            return self.affine(np.array(one - zero), np.array(zero), node)
        return super().map(function, node)
