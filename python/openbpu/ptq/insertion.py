"""Writes the QDQ model: pairs on activations, integer initialisers with DequantizeLinear for weights and biases."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from openbpu.ir.onnx_graph import reads
from openbpu.ir.quant import QuantParams
from openbpu.ptq.operators import ARITHMETIC
from openbpu.ptq.refinement import Refinements
from openbpu.ptq.view import ModelView, channel_axis, output_channels
from openbpu.ptq.weights import quantise_bias, quantise_weights, weight_scales


def insert(
    model: onnx.ModelProto,
    params: Mapping[str, QuantParams],
    refinements: Refinements,
    cpu: Collection[str] = (),
    copies: Mapping[str, QuantParams] | None = None,
    narrow: Collection[str] = (),
) -> onnx.ModelProto:
    """A QDQ copy of a clean float model; `params` holds the parameters of each tensor that gets a pair.

    Nodes named in `cpu` stay float: among themselves they exchange float tensors. Nodes named in `narrow` read an int8
    copy of the int16 tensors in `copies`, with the parameters that it holds.
    """
    return _Inserter(model, params, refinements, cpu, copies or {}, narrow).run()


_MICROSOFT = "com.microsoft"


class _Inserter:
    def __init__(
        self,
        model: onnx.ModelProto,
        params: Mapping[str, QuantParams],
        refinements: Refinements,
        cpu: Collection[str],
        copies: Mapping[str, QuantParams],
        narrow: Collection[str],
    ) -> None:
        self.cpu = frozenset(cpu)
        self.copies, self.narrow = copies, frozenset(narrow)
        self.copied: dict[str, str] = {}  # int16 tensor -> its int8 copy, dequantised
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.params, self.refinements = params, refinements
        self.view = ModelView(model)
        self.opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
        self.extended = False  # whether there are nodes of ONNX Runtime's own domain
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[onnx.TensorProto] = []
        self.biases: dict[str, str] = {}  # name of an Add behind a MatMul -> its dequantised bias
        self.taken = {*self.view.constants, *self.view.producers, *(i.name for i in model.graph.input)}
        self.taken |= {node.name for node in model.graph.node}
        # A graph output that is no input keeps its name: the float tensor before its pair gets another one.
        outputs = self.view.outputs - {info.name for info in model.graph.input}
        self.before = {name: self._fresh(f"{name}/float") for name in params if name in outputs}
        self.real = {name: name if name in outputs else self._fresh(f"{name}/real") for name in params}

    def run(self) -> onnx.ModelProto:
        graph = self.model.graph
        for info in graph.input:
            if info.name in self.params:
                self._pair(info.name, info.name)
        for node in graph.node:
            if node.name in self.cpu:
                self._float(node)
            elif self.view.weighted(node) and node.input[0] in self.params:
                self._weighted(node)
            elif node.op_type in ARITHMETIC or node.op_type == "MatMul":
                self._arithmetic(node)
            else:
                self._emit(node)
        self._finish()
        return self.model

    def _float(self, node: onnx.NodeProto) -> None:
        """A node that stays float: it reads what other such nodes make before that is quantised."""
        self._emit(node, [self._before(name) for name in node.input])

    def _before(self, name: str) -> str:
        producer = self.view.producers.get(name)
        if producer is None or producer.name in self.cpu:
            return self.before.get(name, name)
        return self.real.get(name, name)

    def _emit(self, node: onnx.NodeProto, inputs: Sequence[str] = ()) -> None:
        """A node of the float model on quantised tensors, and the pairs behind it."""
        node.input[:] = inputs or [self._read(node, name) for name in node.input]
        made = [name for name in node.output if name in self.params]
        node.output[:] = [self.before.get(name, name) for name in node.output]
        self.nodes.append(node)
        for name in made:
            self._pair(name, self.before.get(name, name))

    def _read(self, node: onnx.NodeProto, name: str) -> str:
        """What a node reads for a tensor of the float model."""
        if name not in self.copies or node.name not in self.narrow:
            return self.real.get(name, name)
        if name not in self.copied:
            self.copied[name] = self._fresh(f"{name}/copy")
            self._quantised(f"{name}/copy", self.real[name], self.copied[name], self.copies[name])
        return self.copied[name]

    def _pair(self, name: str, source: str) -> None:
        self._quantised(name, source, self.real[name], self.params[name])

    def _quantised(self, name: str, source: str, result: str, quant: QuantParams) -> None:
        """QuantizeLinear and DequantizeLinear; before opset 21 int16 is an extension of ONNX Runtime."""
        scale = self._constant(f"{name}/scale", np.float32(quant.s))
        zero = self._constant(f"{name}/zero_point", np.array(quant.z, quant.dtype))
        domain = _MICROSOFT if quant.dtype == "int16" and self.opset < 21 else ""
        integers = self._fresh(f"{name}/{quant.dtype}")
        self._node("QuantizeLinear", [source, scale, zero], integers, domain=domain)
        self._node("DequantizeLinear", [integers, scale, zero], result, domain=domain)
        self.extended = self.extended or bool(domain)

    # ---- weights

    def _weighted(self, node: onnx.NodeProto) -> None:
        weight, axis = self.view.constants[node.input[1]], channel_axis(node)
        channels, shared = output_channels(node, weight), weight.shape[axis]  # they differ if groups share scales
        given, extra = self.view.bias(node), self.refinements.biases.get(node.name)
        add = self.view.bias_add(node)
        bias = np.zeros(channels) if given is None else given
        copy = self.copies.get(node.input[0]) if node.name in self.narrow else None
        source = self.params[node.input[0]] if copy is None else copy
        input_scale = source.s
        # Refined weights belong to the scales of the unrefined model: those must not depend on the correction.
        largest = np.abs(bias).reshape(-1, shared).max(axis=0)
        bias = bias if extra is None else bias + extra
        output = self.params.get(self.view.quantised_result(node, self.params))
        wide = "int16" in (source.dtype, output.dtype if output else "")
        shares = self.refinements.shares.get(node.name, 1.0)
        scale = weight_scales(weight, largest, axis, input_scale, output.s if output else 0.0, wide, shares)
        q = self.refinements.weights.get(node.name)
        q = quantise_weights(weight, scale, axis) if q is None else q
        node.input[1] = self._dequantised(f"{node.name}/weight", q, scale.astype(np.float32), axis)
        if given is None and not bias.any():
            self._emit(node)
            return
        grid = (np.float64(input_scale) * np.tile(scale, channels // shared)).astype(np.float32)
        name = self._dequantised(f"{node.name}/bias", quantise_bias(bias, grid), grid, 0)
        if node.op_type == "MatMul":
            self._matmul_with_bias(node, add, name)
            return
        del node.input[2:]
        node.input.append(name)
        self._emit(node)

    def _matmul_with_bias(self, node: onnx.NodeProto, add: onnx.NodeProto | None, bias: str) -> None:
        if add is not None:
            self.biases[add.name] = bias
            self._emit(node)
            return
        output = node.output[0]
        node.output[0] = self._fresh(f"{node.name}/product")
        self._emit(node)
        self._emit(helper.make_node("Add", [node.output[0], bias], [output], name=self._fresh(f"{node.name}/add")))

    # ---- constants

    def _arithmetic(self, node: onnx.NodeProto) -> None:
        bias = self.biases.get(node.name)
        for index, name in enumerate(node.input):
            constant = self.view.constants.get(name)
            if constant is None:
                continue
            if bias is not None:
                node.input[index] = bias
                continue
            within = self._within_reach(node, name, constant)
            if within is not constant:
                constant = within
                node.input[index] = self._constant(f"{node.name}/{name}/within", constant)
            if node.op_type == "MatMul" or not _per_channel(constant, self._rank(node)):
                scale = np.float32(max(float(np.abs(constant).max(initial=0)) / 127, 2.0**-64))
                q = np.clip(np.rint(constant / scale), -127, 127).astype(np.int8)
                node.input[index] = self._dequantised(f"{node.name}/{name}", q, scale)
        self._emit(node)

    def _within_reach(self, node: onnx.NodeProto, name: str, constant: np.ndarray) -> np.ndarray:
        """A term of a sum, no farther out than takes the sum beyond its range whatever the other term is.

        The quantised sum is the same, and masks of -3.4e38 get a scale.
        """
        other = next((n for n in node.input if n != name), "")
        if node.op_type != "Add" or other not in self.params or node.output[0] not in self.params:
            return constant
        (low, high), (least, most) = (_range(self.params[n]) for n in (node.output[0], other))
        within = np.clip(constant, low - most, high - least).astype(np.float32)
        return constant if np.array_equal(within, constant) else within

    def _rank(self, node: onnx.NodeProto) -> int:
        """Rank of the result of an arithmetic node."""
        infos = (*self.model.graph.value_info, *self.model.graph.output)
        found = next((i for i in infos if i.name == node.output[0]), None)
        return 0 if found is None else len(found.type.tensor_type.shape.dim)

    def _dequantised(self, name: str, q: np.ndarray, scale: np.ndarray | np.float32, axis: int | None = None) -> str:
        """A DequantizeLinear of a constant, zero point 0; gives the name of its result."""
        integers = self._constant(name, q)
        scales = self._constant(f"{name}_scale", np.asarray(scale))
        zeros = self._constant(f"{name}_zero_point", np.zeros(np.shape(scale), q.dtype))
        return self._node("DequantizeLinear", [integers, scales, zeros], self._fresh(f"{name}_real"), axis)

    def _constant(self, name: str, array: np.ndarray | np.generic) -> str:
        name = self._fresh(name)
        self.initialisers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def _node(self, op: str, inputs: list[str], output: str, axis: int | None = None, domain: str = "") -> str:
        node = helper.make_node(op, inputs, [output], name=f"{op}/{output}", domain=domain)
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self.nodes.append(node)
        return output

    def _fresh(self, name: str) -> str:
        """The name, or the next one that the model does not use."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def _finish(self) -> None:
        graph = self.model.graph
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in self.nodes]
        del graph.node[:]
        graph.node.extend(nodes)
        used = {name for node in nodes for name in reads(node)} | self.view.outputs
        kept = [t for t in graph.initializer if t.name in used]
        del graph.initializer[:]
        graph.initializer.extend([*kept, *self.initialisers])
        del graph.value_info[:]
        if self.extended and all(o.domain != _MICROSOFT for o in self.model.opset_import):
            self.model.opset_import.append(helper.make_opsetid(_MICROSOFT, 1))


def _range(quant: QuantParams) -> tuple[float, float]:
    """The least and the greatest number that a tensor holds."""
    return (quant.qmin - quant.z) * quant.s, (quant.qmax - quant.z) * quant.s


def _per_channel(constant: np.ndarray, rank: int) -> bool:
    """One number, or one per channel: the compiler folds it into an operator, so that it needs no int8 form."""
    if constant.size <= 1 or np.unique(constant).size == 1:
        return True
    axis = 1 if rank == 4 else rank - 1
    shape = (1,) * (rank - constant.ndim) + constant.shape
    return all(extent == 1 for i, extent in enumerate(shape) if i != axis)
