"""What the stages share on ONNX models: who reads what, names, shape inference that does not copy the weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from openbpu.errors import ModelError

STANDARD = ("", "ai.onnx")  # names of ONNX's own domain

# Operators that the frontend replaces by the function that ONNX defines them by.
DECOMPOSED = (
    "Attention", "CausalConvWithState", "CenterCropPad", "FlexAttention", "LinearAttention",
    "NegativeLogLikelihoodLoss", "RotaryEmbedding", "SoftmaxCrossEntropyLoss", "SwiGLU",
)  # fmt: skip

_LIKE = {"GroupNormalization": "InstanceNormalization", "MeanVarianceNormalization": "Identity"}
# Operators that onnx's evaluator computes wrongly in some forms: they are not folded.
UNFOLDED = ("DynamicQuantizeLinear", "GlobalMaxPool", "LRN", "MaxPool", "MeanVarianceNormalization")

_WRONG = ("STFT",)  # ONNX infers wrong shapes
_MICROSOFT, _PAIR = "com.microsoft", ("QuantizeLinear", "DequantizeLinear")
_UNKNOWN = "openbpu.unknown"  # a domain of which ONNX knows nothing
_LARGE = 1024  # elements: shapes, axes and indices are smaller, and inference reads their values


def array_of(tensor: onnx.TensorProto) -> np.ndarray:
    """The numbers of an initializer. Raises ModelError naming it."""
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(
            "its data must match its type and shape",
            where=f"initializer '{tensor.name}'",
            seen=error,
            remedy="export the model again",
        ) from error


def opset_of(model: onnx.ModelProto, default: int = 0) -> int:
    """The version of ONNX's own operators; `default` if the model imports none."""
    return max((o.version for o in model.opset_import if o.domain in STANDARD), default=default)


def shapes_of(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """The extents of inputs, inner tensors and outputs that the graph states; 0 for dynamic ones."""
    infos = (*graph.input, *graph.value_info, *graph.output)
    return {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in infos}


class Names:
    """Names for what is added to a graph: none that its tensors, nodes or earlier additions have."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._taken = {named.name for named in (*graph.initializer, *graph.input, *graph.node)}
        self._taken |= {name for node in graph.node for name in node.output}

    def fresh(self, name: str) -> str:
        """The name, with underscores behind it if it is taken; from now on it is taken."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Every tensor that a node reads, those that its sub-graphs take from outside included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
            own = {name for inner in graph.node for name in inner.output}
            own |= {i.name for i in graph.input} | {t.name for t in graph.initializer}
            for inner in graph.node:
                yield from (name for name in reads(inner) if name not in own)
            yield from (o.name for o in graph.output if o.name not in own)


def compact(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy: a message keeps the memory of all that it ever held, of replaced weights too."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def infer_shapes(model: onnx.ModelProto, *, strict: bool = False) -> onnx.ModelProto:
    """`model` with the shapes that follow, in place; raises what onnx.shape_inference raises.

    Large weights stay out of it, so that models beyond protobuf's 2 GB pass.
    """
    skeleton = onnx.ModelProto()
    for field in ("ir_version", "producer_name", "domain", "model_version"):
        if model.HasField(field):
            setattr(skeleton, field, getattr(model, field))
    skeleton.opset_import.extend(model.opset_import)
    skeleton.opset_import.add(domain=_UNKNOWN, version=1)
    skeleton.functions.extend(model.functions)
    graph = skeleton.graph
    graph.name = model.graph.name
    for name in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(graph, name).extend(getattr(model.graph, name))
    for tensor in model.graph.initializer:
        if _elements(tensor) <= _LARGE:
            graph.initializer.append(tensor)
        else:
            graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    for node in graph.node:  # ONNX infers nothing for these, or fails; their result has the shape of the first operand
        if node.op_type in _LIKE:
            node.op_type = _LIKE[node.op_type]
        elif node.op_type in _WRONG:
            node.domain = _UNKNOWN
        elif not strict and node.domain == _MICROSOFT and node.op_type in _PAIR:  # of int16, before opset 21
            node.domain = ""
    found = onnx.shape_inference.infer_shapes(skeleton, check_type=strict, strict_mode=strict, data_prop=True)
    for node, original in zip(found.graph.node, model.graph.node, strict=True):
        node.op_type, node.domain = original.op_type, original.domain
    for name in ("node", "value_info", "output"):
        target = getattr(model.graph, name)
        del target[:]
        target.extend(getattr(found.graph, name))
    return model


def _elements(tensor: onnx.TensorProto) -> int:
    count = 1
    for extent in tensor.dims:
        count *= extent
    return count
