"""Operators of reconstruction in torch compute what ONNX Runtime computes."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import needs

torch = needs.module("torch", "pip install 'openbpu[qat]'")
translation = importlib.import_module("openbpu.ptq.reconstruction.translation")

_RANDOM = np.random.default_rng(1)


def _f(*shape: int) -> np.ndarray:
    return _RANDOM.standard_normal(shape).astype(np.float32)


def _i(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


IMAGE, TOKENS = _f(1, 4, 8, 6), _f(1, 5, 12)
WINDOW: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 1], "pads": [1, 1, 1, 1]}
UNARY = ("Relu", "Sigmoid", "HardSwish", "Tanh", "Erf", "Exp", "Neg", "Abs", "Softplus", "Identity", "Dropout")
# title -> (operator, run-time inputs, constant inputs, attributes)
CASES: dict[str, tuple[str, list[np.ndarray], list[np.ndarray], dict[str, Any]]] = {
    "conv": ("Conv", [IMAGE], [_f(6, 2, 3, 3), _f(6)], {"group": 2, "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    "conv, uneven": ("Conv", [IMAGE], [_f(6, 4, 3, 3)], {"pads": [0, 1, 1, 2], "dilations": [1, 2]}),
    "conv of a sequence": ("Conv", [TOKENS], [_f(3, 5, 3)], {"pads": [1, 1]}),
    "conv transpose": ("ConvTranspose", [IMAGE], [_f(4, 3, 2, 2), _f(3)], {"strides": [2, 2]}),
    "gemm": ("Gemm", [_f(1, 7)], [_f(5, 7), _f(5)], {"transB": 1, "alpha": 0.5}),
    "gemm, plain": ("Gemm", [_f(1, 7)], [_f(7, 5)], {}),
    "matmul": ("MatMul", [TOKENS], [_f(12, 3)], {}),
    "average pool": ("AveragePool", [IMAGE], [], WINDOW),
    "average pool with pads": ("AveragePool", [IMAGE], [], {**WINDOW, "count_include_pad": 1}),
    "max pool": ("MaxPool", [IMAGE], [], {**WINDOW, "pads": [0, 1, 1, 1]}),
    "global pool": ("GlobalAveragePool", [IMAGE], [], {}),
    "mean": ("ReduceMean", [IMAGE], [_i(2, 3)], {"keepdims": 0}),
    "sum": ("ReduceSum", [TOKENS], [_i(-1)], {}),
    "layer norm": ("LayerNormalization", [TOKENS], [_f(12), _f(12)], {"epsilon": 1e-4}),
    "softmax": ("Softmax", [TOKENS], [], {"axis": 1}),
    **{kind.lower(): (kind, [IMAGE, IMAGE + 3], [], {}) for kind in ("Add", "Sub", "Mul", "Div", "Max", "Min")},
    "pow": ("Pow", [IMAGE], [np.float32([2.0])], {}),
    "clip": ("Clip", [IMAGE], [np.float32(-0.5), np.float32(0.7)], {}),
    "leaky relu": ("LeakyRelu", [IMAGE], [], {"alpha": 0.2}),
    "hard sigmoid": ("HardSigmoid", [IMAGE], [], {"alpha": 0.3, "beta": 0.4}),
    "gelu": ("Gelu", [IMAGE], [], {}),
    "gelu, tanh": ("Gelu", [IMAGE], [], {"approximate": "tanh"}),
    **{kind.lower(): (kind, [IMAGE], [], {}) for kind in UNARY},
    "sqrt": ("Sqrt", [np.abs(IMAGE)], [], {}),
    "concat": ("Concat", [IMAGE, IMAGE], [], {"axis": 1}),
    "reshape": ("Reshape", [TOKENS], [_i(0, -1, 6)], {}),
    "flatten": ("Flatten", [IMAGE], [], {"axis": 2}),
    "squeeze": ("Squeeze", [_f(1, 4, 1, 1)], [_i(2, -1)], {}),
    "unsqueeze": ("Unsqueeze", [TOKENS], [_i(1, -1)], {}),
    "transpose": ("Transpose", [IMAGE], [], {"perm": [0, 2, 3, 1]}),
    "slice": ("Slice", [IMAGE], [_i(1, 0), _i(2**62, -1), _i(2, 3), _i(2, 1)], {}),
    "split": ("Split", [IMAGE], [_i(1, 3)], {"axis": 1}),
    "gather": ("Gather", [TOKENS], [_i(3, -1)], {"axis": 1}),
    "gather of one": ("Gather", [TOKENS], [np.array(0, np.int64)], {"axis": 1}),
    "resize": (
        "Resize", [IMAGE], [np.float32([]), np.float32([1, 1, 2, 3])],
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", CASES)
def test_torch_gives_what_onnxruntime_gives(title: str) -> None:
    kind, inputs, constants, attributes = CASES[title]
    outputs = ["y", "z"] if kind == "Split" else ["y"]
    names = [f"x{k}" for k in range(len(inputs))] + [f"c{k}" for k in range(len(constants))]
    node = helper.make_node(kind, names, outputs, name="node", **attributes)
    values = [helper.make_tensor_value_info(f"x{k}", TensorProto.FLOAT, x.shape) for k, x in enumerate(inputs)]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    kept = [numpy_helper.from_array(np.asarray(c), f"c{k}") for k, c in enumerate(constants)]
    graph = helper.make_graph([node], "one", values, results, kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(None, {f"x{k}": x for k, x in enumerate(inputs)})
    arrays = [torch.from_numpy(np.array(x)) for x in (*inputs, *constants)]
    call = translation.Call(kind, translation.attributes_of(node), arrays, [None] * len(inputs) + constants)
    made = translation.TABLE[kind](call)
    for found, want in zip([made] if isinstance(made, torch.Tensor) else made, wanted, strict=True):
        np.testing.assert_allclose(found.numpy(), want, atol=2e-5, rtol=2e-5)


def test_every_operator_of_the_table_is_tried() -> None:
    assert {kind for kind, *_ in CASES.values()} == translation.TABLE.keys()


@pytest.mark.parametrize(
    ("kind", "attributes", "constants"),
    [
        ("Conv", {"auto_pad": "SAME_UPPER"}, [_f(6, 4, 3, 3)]),
        ("AveragePool", {**WINDOW, "ceil_mode": 1}, []),
        ("Resize", {"mode": "linear"}, [np.float32([]), np.float32([1, 1, 2, 2])]),
        ("Slice", {}, [_i(5), _i(0), _i(2), _i(-1)]),
    ],
)
def test_forms_that_torch_has_not_are_refused(
    kind: str, attributes: dict[str, Any], constants: list[np.ndarray]
) -> None:
    arrays = [torch.from_numpy(np.array(x)) for x in (IMAGE, *constants)]
    with pytest.raises(translation.Untranslated, match=kind):
        translation.TABLE[kind](translation.Call(kind, attributes, arrays, [None, *constants]))
