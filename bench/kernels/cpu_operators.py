"""CPU operators beside ONNX Runtime, one thread each: python -m bench.kernels.cpu_operators [--only ArgMax]

Every case is a model of one node, run by both in turns; the times are medians of whole runs, borders included, by the
clock of the one thread, which stands while other processes run. Cases have the sizes that heads, encoders and
segmenters bring. The aim is a ratio of at most 1.5.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import openbpu
from bench.machine import describe

Shape = tuple[int, ...]
_SECONDS = 0.25  # of measuring per case and engine
_AIM = 1.5


@dataclass(frozen=True)
class Case:
    """A node: float inputs, then constants that are weights (a shape) or numbers (an array)."""

    op: str
    inputs: tuple[Shape, ...]
    constants: tuple[Any, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1

    @property
    def label(self) -> str:
        shapes = " ".join("x".join(map(str, shape)) for shape in self.inputs)
        given = " ".join(f"{key}={value}" for key, value in self.attributes.items())
        return f"{self.op} {shapes} {given}".strip().replace(", ", ",")


_IMAGE, _ROWS, _SCORES = (1, 64, 80, 80), (1, 197, 768), (1, 80, 8400)
_FUNCTIONS = (
    "Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh",
    "Asinh", "Acosh", "Atanh", "Tanh", "Erf", "Exp", "Sigmoid", "Relu", "IsInf",
    "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "HardSigmoid", "HardSwish", "Softplus", "Softsign", "Mish",
    "Gelu", "IsNaN", "Sqrt", "Log", "Reciprocal",
)  # fmt: skip
_PAIRS = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Greater", "LessOrEqual", "Equal", "PRelu")
_REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceLogSumExp",
               "ReduceProd", "ReduceSumSquare", "ReduceLogSum")  # fmt: skip


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def _cases() -> list[Case]:
    cases = [Case(op, (_IMAGE,)) for op in _FUNCTIONS]
    for op in _PAIRS:
        cases += [Case(op, (_IMAGE, _IMAGE)), Case(op, (_IMAGE,), ((1, 64, 1, 1),))]
    cases += [Case("Mod", (_IMAGE,), ((1, 64, 1, 1),), {"fmod": 1})]
    for op in _REDUCTIONS:
        cases += [
            Case(op, (_ROWS,), (_ints(-1),)),
            Case(op, (_ROWS,), (_ints(1),)),
            Case(op, (_IMAGE,), (_ints(2, 3),)),
        ]
    for axis in (1, 2):
        cases += [
            Case(op, (_SCORES,), attributes={"axis": axis}) for op in ("ArgMax", "ArgMin", "Softmax", "LogSoftmax")
        ]
    cases += [Case("ArgMax", ((1, 21, 160, 160),), attributes={"axis": 1}), Case("Softmax", ((1, 12, 197, 197),))]
    return cases + _products() + _windows() + _moves() + _norms()


def _products() -> list[Case]:
    return [
        Case("MatMul", (_ROWS,), ((768, 768),)),
        Case("MatMul", ((1, 12, 197, 64), (1, 12, 64, 197))),
        Case("Gemm", ((1, 1280),), ((1280, 1000), (1000,))),
        Case("Gemm", ((197, 768),), ((768, 768), (768,)), {"transB": 1}),
        Case("Einsum", ((1, 12, 197, 64), (1, 12, 197, 64)), attributes={"equation": "bhid,bhjd->bhij"}),
        Case("Conv", (_IMAGE,), ((64, 64, 3, 3), (64,)), {"pads": [1] * 4}),
        Case("Conv", (_IMAGE,), ((128, 64, 1, 1), (128,))),
        Case("Conv", (_IMAGE,), ((64, 1, 3, 3), (64,)), {"pads": [1] * 4, "group": 64}),
        Case("Conv", (_IMAGE,), ((64, 64, 3, 3), (64,)), {"pads": [1] * 4, "strides": [2, 2]}),
        Case("Conv", ((1, 3, 224, 224),), ((32, 3, 3, 3), (32,)), {"pads": [1] * 4, "strides": [2, 2]}),
        Case("Conv", (_IMAGE,), ((64, 16, 3, 3), (64,)), {"pads": [1] * 4, "group": 4}),
        Case("Conv", ((1, 64, 1000),), ((64, 64, 5), (64,)), {"pads": [2, 2]}),
        Case("ConvTranspose", ((1, 64, 40, 40),), ((64, 32, 2, 2), (32,)), {"strides": [2, 2]}),
        Case("ConvTranspose", ((1, 64, 40, 40),), ((64, 32, 4, 4), (32,)), {"strides": [2, 2], "pads": [1] * 4}),
        Case("ConvTranspose", ((1, 64, 40, 40),), ((64, 32, 3, 3), (32,)), {"pads": [1] * 4}),
        Case("LSTM", ((50, 1, 64),), ((1, 512, 64), (1, 512, 128), (1, 1024)), {"hidden_size": 128}),
        Case("GRU", ((50, 1, 64),), ((1, 384, 64), (1, 384, 128), (1, 768)), {"hidden_size": 128}),
    ]


def _windows() -> list[Case]:
    pools = [
        Case(op, (_IMAGE,), attributes={"kernel_shape": [size] * 2, "strides": [step] * 2, "pads": [pad] * 4})
        for op in ("AveragePool", "MaxPool")
        for size, step, pad in ((2, 2, 0), (3, 2, 1), (3, 1, 1), (5, 1, 2), (7, 7, 0))
    ]
    resizes = [
        Case("Resize", (_IMAGE,), (None, _floats(1, 1, 2, 2)), {"mode": mode})
        for mode in ("nearest", "linear", "cubic")
    ]
    grid = (1, 80, 80, 2)
    return [
        *pools,
        *resizes,
        Case("GlobalAveragePool", (_IMAGE,)),
        Case("GlobalMaxPool", (_IMAGE,)),
        Case("LpPool", (_IMAGE,), attributes={"kernel_shape": [2, 2], "strides": [2, 2]}),
        *(Case("GridSample", (_IMAGE, grid), attributes={"mode": mode}) for mode in ("linear", "nearest")),
    ]


def _moves() -> list[Case]:
    rows = np.random.default_rng(0).integers(0, 8400, 300)
    return [
        Case("Transpose", (_IMAGE,), attributes={"perm": [0, 2, 3, 1]}),
        Case("Transpose", (_SCORES,), attributes={"perm": [0, 2, 1]}),
        Case("Transpose", ((1, 197, 12, 64),), attributes={"perm": [0, 2, 1, 3]}),
        Case("Concat", (_IMAGE, _IMAGE), attributes={"axis": 1}),
        Case("Concat", (_SCORES, _SCORES), attributes={"axis": 2}),
        Case("Slice", (_IMAGE,), (_ints(0), _ints(32), _ints(1))),
        Case("Slice", (_IMAGE,), (_ints(0, 0), _ints(80, 80), _ints(2, 3), _ints(2, 2))),
        Case("Split", (_SCORES,), (_ints(4, 76),), {"axis": 1}, outputs=2),
        Case("Pad", (_IMAGE,), (_ints(0, 0, 1, 1, 0, 0, 1, 1),)),
        Case("Pad", (_IMAGE,), (_ints(0, 0, 1, 1, 0, 0, 1, 1),), {"mode": "reflect"}),
        Case("Expand", ((1, 64, 1, 1),), (_ints(1, 64, 80, 80),)),
        Case("Tile", ((1, 64, 20, 20),), (_ints(1, 1, 4, 4),)),
        Case("Gather", (_SCORES,), (rows,), {"axis": 2}),
        Case("Gather", ((8400, 80),), (rows,), {"axis": 0}),
        Case("DepthToSpace", (_IMAGE,), attributes={"blocksize": 2}),
        Case("SpaceToDepth", (_IMAGE,), attributes={"blocksize": 2}),
        Case("CumSum", (_ROWS,), (np.array(1, np.int64),)),
        Case("TopK", ((1, 8400),), (_ints(300),), {}, outputs=2),
        Case("TopK", ((100, 1000),), (_ints(5),), {}, outputs=2),
        Case("Clip", (_IMAGE,), (np.float32(0), np.float32(6))),
        Case("Cast", (_IMAGE,), attributes={"to": TensorProto.INT32}),
        Case("Trilu", ((1, 12, 197, 197),), attributes={"upper": 0}),
    ]


def _norms() -> list[Case]:
    return [
        Case("LayerNormalization", (_ROWS,), ((768,), (768,)), {"axis": -1}),
        Case("InstanceNormalization", (_IMAGE,), ((64,), (64,))),
        Case("GroupNormalization", (_IMAGE,), ((64,), (64,)), {"num_groups": 8}),
        Case("BatchNormalization", (_IMAGE,), tuple(np.linspace(0.5, 1, 64, dtype=np.float32) for _ in range(4))),
        Case("LRN", (_IMAGE,), attributes={"size": 5}),
        Case("LpNormalization", (_ROWS,), attributes={"axis": -1}),
    ]


def _model(case: Case) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    names = [f"x{k}" for k in range(len(case.inputs))]
    constants = []
    for k, given in enumerate(case.constants):
        if given is None:
            names.append("")
            continue
        if isinstance(given, tuple):
            given = (random.standard_normal(given) / np.sqrt(max(1, np.prod(given[1:])))).astype(np.float32)
        constants.append(numpy_helper.from_array(given, f"c{k}"))
        names.append(f"c{k}")
    results = [f"y{k}" for k in range(case.outputs)]
    infos = [helper.make_tensor_value_info(f"x{k}", TensorProto.FLOAT, shape) for k, shape in enumerate(case.inputs)]
    outputs = [onnx.ValueInfoProto(name=name) for name in results]
    node = helper.make_node(case.op, names, results, name="node", **case.attributes)
    graph = helper.make_graph([node], "bench", infos, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for info, shape in zip(model.graph.output, case.inputs, strict=False):
        if not info.type.tensor_type.elem_type:  # what the inference does not know keeps type and shape
            info.CopyFrom(helper.make_tensor_value_info(info.name, TensorProto.FLOAT, shape))
    return model


def _median(run: Callable[[], Any], other: Callable[[], Any]) -> tuple[float, float]:
    """Median seconds of both on this thread, run in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    end = time.thread_time() + 2 * _SECONDS
    while time.thread_time() < end or len(times[0]) < 7:
        for kept, function in zip(times, (run, other), strict=True):
            start = time.thread_time()
            function()
            kept.append(time.thread_time() - start)
    return float(np.median(times[0])), float(np.median(times[1]))


def measure(case: Case) -> tuple[float, float]:
    """Median seconds of openbpu and of ONNX Runtime, whose results must agree."""
    model = _model(case)
    random = np.random.default_rng(1)
    feeds = {f"x{k}": np.abs(random.standard_normal(shape)).astype(np.float32) for k, shape in enumerate(case.inputs)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = openbpu.Session(openbpu.compile(model), threads=1)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    reference = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for got, wanted in zip(session.run(feeds).values(), reference.run(None, feeds), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)
    return _median(lambda: session.run(feeds), lambda: reference.run(None, feeds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="cases whose label holds this")
    arguments = parser.parse_args()
    print(describe(), f"\n\n| case | openbpu us | onnxruntime {ort.__version__} us | ratio |\n|---|---|---|---|")
    worst = []
    for case in _cases():
        if arguments.only and arguments.only not in case.label:
            continue
        ours, theirs = measure(case)
        worst.append(ours / theirs)
        print(f"| {case.label} | {ours * 1e6:.0f} | {theirs * 1e6:.0f} | {ours / theirs:.2f} |", flush=True)
    slow = sum(ratio > _AIM for ratio in worst)
    print(f"\n{len(worst)} cases, {slow} above {_AIM}; median ratio {np.median(worst):.2f}")


if __name__ == "__main__":
    main()
