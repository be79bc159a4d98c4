"""Single nodes as ONNX Runtime computes them, or onnx's reference where ONNX Runtime has no kernel."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from onnx import defs, helper
from onnx.reference import ReferenceEvaluator

Runner = Callable[[Sequence[np.ndarray | None]], list[np.ndarray]]


class Unsupported(Exception):
    """Neither of the two computes the node."""


def node_runner(node: onnx.NodeProto, opset: int) -> Runner:
    """A function of the node's operands, None for those left out."""

    def run(operands: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        feeds = {name: value for name, value in zip(node.input, operands, strict=False) if value is not None}
        model = _model(node, feeds, opset)
        try:
            return session(model).run(None, feeds)
        except Exception as error:  # classes of onnxruntime have no common base
            if not any(word in f"{type(error).__name__} {error}" for word in ("NOT_IMPLEMENTED", "NotImplemented")):
                raise Unsupported(str(error)) from error
        return _by_reference(model, feeds)

    return run


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    """ONNX Runtime on one thread with every optimisation off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _by_reference(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, feeds)]
    except Exception as error:  # the evaluator raises errors of many kinds
        raise Unsupported(str(error)) from error


def _model(node: onnx.NodeProto, feeds: dict[str, np.ndarray], opset: int) -> onnx.ModelProto:
    schema = defs.get_schema(node.op_type, opset, "")
    if schema.deprecated:
        raise Unsupported("deprecated")
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in feeds.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = helper.make_graph([node], "node", infos, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
