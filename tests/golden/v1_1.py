"""Golden file of container 1.1: every operator on the CPU is called, each call into an output of its own.

`python tests/golden/v1_1.py` prints what tests/golden/v1_1.json must hold; with `--write` it makes v1_1.bpux anew,
which is right only for as long as version 1.1 has not been released: later versions read this very file for ever.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from golden.v1 import digest, noise
from openbpu.target import CpuTensor, ProgramBuilder

HERE = Path(__file__).parent
FILE = HERE / "v1_1.bpux"
DIGESTS = HERE / "v1_1.json"

Shape = tuple[int, ...]

# Results that go through the host's mathematical library, equal to some units in the last place only, and one that is
# not a number here and there, of any sign.
LIBRARY = {"LRN", "LpPool", "GlobalLpPool", "Acosh"}


def inputs() -> dict[str, np.ndarray]:
    """The arrays that v1_1.json's digests are of. Calls read prefixes of them in whatever shape they like."""
    return {
        "x": (noise((768,), -1000, 1000, 21) / 256).astype(np.float32),
        "p": (noise((768,), 1, 255, 22) / 256).astype(np.float32),
        "i": noise((64,), 0, 1, 23),
        "j": noise((64,), -100, 100, 24).astype(np.int32),
        "b": noise((768,), 0, 1, 25).astype(bool),
        "q": noise((256,), -128, 127, 26).astype(np.int8),
        "u": noise((256,), 0, 255, 27).astype(np.uint8),
        "d": noise((64,), -1000, 1000, 28) / 256,
    }


class Calls:
    """Calls with the arrays of `inputs` as their operands."""

    def __init__(self) -> None:
        self.b = ProgramBuilder("v1_1")
        self.ports = {name: (self.b.input(name, a.shape, a.dtype.name), a.dtype.name) for name, a in inputs().items()}
        self.count = 0

    def take(self, name: str, *shape: int) -> CpuTensor:
        """The first elements of an input in that shape."""
        port, dtype = self.ports[name]
        return self.b.tensor("in", shape, dtype, port=port)

    def __call__(self, op: str, operands: list[Any], *outputs: Any, **attributes: Any) -> None:
        """One call; operands are tensors, arrays or None, outputs shapes or (shape, type)."""
        tensors = [self.b.const_tensor(x) if isinstance(x, np.ndarray) else x for x in operands]
        results = []
        for k, output in enumerate(outputs):
            shape, dtype = output if output and isinstance(output[-1], str) else (output, "float32")
            port = self.b.output(f"{op}_{self.count}_{k}", shape, dtype)
            results.append(self.b.tensor("out", shape, dtype, port=port))
        self.b.cpucall(op, tensors, results, attributes, layer=self.count)
        self.count += 1


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def _moves(c: Calls) -> None:
    x, i = c.take("x", 2, 3, 4, 4), c.take("i", 2, 2)
    c("Identity", [x], (6, 16))
    c("Transpose", [x], (4, 2, 4, 3), perm=[2, 0, 3, 1])
    c("Transpose", [x], (2, 4, 4, 3), perm=[0, 2, 3, 1])
    c("Concat", [x, c.take("p", 2, 2, 4, 4)], (2, 5, 4, 4), axis=1)
    c("Split", [x], (2, 1, 4, 4), (2, 2, 4, 4), axis=1)
    c("Slice", [x, _ints(3, 0), _ints(0, 99), _ints(-1, 1), _ints(-2, 2)], (2, 2, 4, 2))
    for mode in ("constant", "reflect", "edge", "wrap"):
        c("Pad", [x, _ints(0, 0, 1, 2, 0, -1, 0, 1), _floats(0.5)], (2, 2, 5, 7), mode=mode)
    c("Expand", [c.take("x", 3, 1)], (2, 3, 5))
    c("Tile", [c.take("x", 2, 3)], (4, 9))
    c("Gather", [x, i], (2, 2, 2, 4, 4), axis=1)
    c("GatherElements", [c.take("x", 4, 3), c.take("i", 2, 3)], (2, 3), axis=0)
    c("GatherND", [x, c.take("i", 5, 2)], (5, 4, 4))
    for reduction in ("none", "add", "mul", "max", "min"):
        c("ScatterElements", [c.take("x", 3, 3), i, c.take("p", 2, 2)], (3, 3), axis=1, reduction=reduction)
        c("ScatterND", [c.take("x", 4, 3), c.take("i", 2, 1), c.take("p", 2, 3)], (4, 3), reduction=reduction)
    c("OneHot", [i, _ints(3), _floats(-1, 2)], (2, 3, 2), axis=1)
    for mode in ("DCR", "CRD"):
        c("DepthToSpace", [c.take("x", 1, 8, 2, 3)], (1, 2, 4, 6), blocksize=2, mode=mode)
        c("SpaceToDepth", [c.take("x", 1, 2, 4, 6)], (1, 8, 2, 3), blocksize=2, mode=mode)
    c("Trilu", [c.take("x", 2, 4, 5), _ints(1)], (2, 4, 5), upper=0)
    c("ReverseSequence", [c.take("x", 4, 2, 3), c.take("i", 2)], (4, 2, 3))
    c("Compress", [c.take("x", 6, 4), c.take("b", 5)], (6, 4), ((), "int64"), axis=0)
    c("NonZero", [c.take("b", 4, 4)], ((2, 16), "int64"), ((), "int64"))
    c("Unique", [c.take("j", 32)], ((32,), "int32"), *[((32,), "int64")] * 3, ((), "int64"), sorted=0)
    c("TopK", [c.take("x", 3, 20), _ints(5)], (3, 5), ((3, 5), "int64"), largest=0)
    c("TopK", [c.take("x", 20, 3), _ints(5)], (5, 3), axis=0)
    boxes = [c.take("x", 1, 20, 4), c.take("p", 1, 2, 20), _ints(4), _floats(0.3), _floats(0.1)]
    c("NonMaxSuppression", boxes, ((8, 3), "int64"), ((), "int64"))
    c("Where", [c.take("b", 4, 1), c.take("x", 4, 5), c.take("p", 5)], (4, 5))
    for name, dtype in (
        ("x", "int8"),
        ("x", "float16"),
        ("q", "float32"),
        ("j", "bool"),
        ("d", "uint64"),
        ("u", "int64"),
    ):
        c("Cast", [c.take(name, 40)], ((40,), dtype))


def _elementwise(c: Calls) -> None:
    signed = (
        "Abs Neg Sign Floor Ceil Round Exp Sin Cos Tan Atan Sinh Cosh Tanh Asinh Erf Sigmoid Relu LeakyRelu Elu Selu "
        "Celu ThresholdedRelu HardSigmoid HardSwish Softplus Softsign Gelu Mish Swish Shrink"
    )
    for op in signed.split():
        c(op, [c.take("x", 37)], (37,))
    for op in ["Sqrt", "Reciprocal", "Log", "Asin", "Acos", "Atanh", "Acosh"]:
        c(op, [c.take("p", 37)], (37,))
    c("Gelu", [c.take("x", 37)], (37,), approximate="tanh")
    c("Neg", [c.take("q", 37)], ((37,), "int8"))
    c("Abs", [c.take("d", 37)], ((37,), "float64"))
    c("Not", [c.take("b", 9)], ((9,), "bool"))
    c("BitwiseNot", [c.take("j", 9)], ((9,), "int32"))
    for op in ("IsNaN", "IsInf"):
        c(op, [c.take("x", 9)], ((9,), "bool"))
    c("Clip", [c.take("x", 37), _floats(-1), None], (37,))
    for op in ["Add", "Sub", "Mul", "Div", "Mod", "PRelu", "Max", "Min", "Sum", "Mean"]:
        c(op, [c.take("x", 3, 1, 7), c.take("p", 5, 7)], (3, 5, 7), **({"fmod": 1} if op == "Mod" else {}))
    for op in ["Add", "Sub", "Mul", "Div", "Mod"]:
        c(op, [c.take("j", 8), c.take("j", 1)], ((8,), "int32"))
    c("Pow", [c.take("p", 9), c.take("x", 9)], (9,))
    for op in ["And", "Or", "Xor"]:
        c(op, [c.take("b", 3, 5), c.take("b", 5)], ((3, 5), "bool"))
    for op in ["BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift"]:
        c(op, [c.take("u", 3, 5), c.take("u", 3, 1)], ((3, 5), "uint8"))
    for op in ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]:
        c(op, [c.take("j", 4, 8), c.take("j", 8)], ((4, 8), "bool"))


def _reductions(c: Calls) -> None:
    for op in ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"]:
        c(f"Reduce{op}", [c.take("p", 3, 20, 5), _ints(1)], (3, 1, 5))
        c(f"Reduce{op}", [c.take("p", 3, 100), _ints(-1)], (3,), keepdims=0)
    for op in ("ArgMax", "ArgMin"):
        c(op, [c.take("x", 4, 9)], ((4, 1), "int64"), axis=1)
    for op in ("CumSum", "CumProd"):
        c(op, [c.take("p", 4, 9), _ints(1)], (4, 9), exclusive=1, reverse=1)
    for op in ["Softmax", "LogSoftmax", "Hardmax", "LpNormalization"]:
        c(op, [c.take("x", 3, 40)], (3, 40))
        c(op, [c.take("x", 3, 4, 5)], (3, 4, 5), axis=1)
    x, s = c.take("x", 2, 4, 5, 3), c.take("p", 4)
    c("BatchNormalization", [x, s, s, s, s], (2, 4, 5, 3))
    c("InstanceNormalization", [x, s, s], (2, 4, 5, 3))
    c("GroupNormalization", [x, s, s], (2, 4, 5, 3), num_groups=2)
    c("LayerNormalization", [c.take("x", 6, 40), c.take("p", 40), c.take("p", 40)], (6, 40), (6, 1), (6, 1))
    c("RMSNormalization", [c.take("x", 6, 40), c.take("p", 40)], (6, 40))
    c("LRN", [x], (2, 4, 5, 3), size=3)
    c("MeanVarianceNormalization", [x], (2, 4, 5, 3))


def _products(c: Calls) -> None:
    weights = (noise((768,), -1000, 1000, 31) / 512).astype(np.float32)
    c("MatMul", [c.take("x", 2, 13, 20), weights[:640].reshape(20, 32)], (2, 13, 32))
    c("MatMul", [c.take("x", 2, 7, 20), c.take("p", 2, 20, 9)], (2, 7, 9))
    c("Gemm", [c.take("x", 20, 7), c.take("p", 9, 20), c.take("p", 9)], (7, 9), transA=1, transB=1, alpha=0.5, beta=2.0)
    c("Einsum", [c.take("x", 3, 4), c.take("p", 4, 5)], (5, 3), labels=[0, 1, 1, 2, 2, 0])
    c("Conv", [c.take("x", 1, 4, 9, 9), weights[:288].reshape(8, 4, 3, 3), weights[:8]], (1, 8, 9, 9), pads=[1] * 4)
    c("Conv", [c.take("x", 1, 4, 9, 9), weights[:72].reshape(4, 2, 3, 3)], (1, 4, 4, 4), group=2, strides=[2, 2])
    c(
        "Conv",
        [c.take("x", 1, 4, 9, 9), weights[:36].reshape(4, 1, 3, 3)],
        (1, 4, 5, 5),
        group=4,
        strides=[2, 2],
        pads=[1] * 4,
    )
    c("Conv", [c.take("x", 2, 4, 20), c.take("p", 3, 4, 5)], (2, 3, 12), dilations=[2])
    c(
        "ConvTranspose",
        [c.take("x", 1, 4, 5, 5), weights[:108].reshape(4, 3, 3, 3)],
        (1, 3, 10, 10),
        strides=[2, 2],
        pads=[1, 1, 0, 0],
    )
    c("DeformConv", [c.take("x", 1, 2, 6, 6), weights[:24].reshape(3, 2, 2, 2), c.take("p", 1, 8, 5, 5)], (1, 3, 5, 5))
    c("Col2Im", [c.take("x", 1, 8, 9), _ints(4, 4), _ints(2, 2)], (1, 2, 4, 4))
    c("MatMulInteger", [c.take("q", 4, 9), c.take("u", 9, 5), c.take("q", 1), c.take("u", 5)], ((4, 5), "int32"))
    c(
        "ConvInteger",
        [c.take("u", 1, 2, 6, 6), c.take("q", 3, 2, 3, 3), c.take("u", 1)],
        ((1, 3, 6, 6), "int32"),
        pads=[1] * 4,
    )
    c("Det", [c.take("x", 3, 4, 4)], (3,))
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        operands = [
            c.take("x", 5, 2, 3),
            weights[: gates * 24].reshape(2, gates * 4, 3),
            weights[: gates * 32].reshape(2, gates * 4, 4),
        ]
        results: list[Shape] = [(5, 2, 2, 4), (2, 2, 4), (2, 2, 4)]
        c(op, operands, *results[: 3 if op == "LSTM" else 2], direction="bidirectional", hidden_size=4)


def _windows(c: Calls) -> None:
    x = c.take("x", 1, 3, 9, 9)
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    c("MaxPool", [x], (1, 3, 5, 5), ((1, 3, 5, 5), "int64"), **window)
    c("AveragePool", [x], (1, 3, 5, 5), count_include_pad=1, **window)
    c("LpPool", [x], (1, 3, 5, 5), p=3, **window)
    for op in ["GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"]:
        c(op, [x], (1, 3, 1, 1))
    c(
        "MaxUnpool",
        [c.take("x", 1, 1, 2, 2), c.take("i", 1, 1, 2, 2)],
        (1, 1, 4, 4),
        kernel_shape=[2, 2],
        strides=[2, 2],
    )
    c("MaxRoiPool", [x, c.take("p", 2, 5)], (2, 3, 2, 2), spatial_scale=8.0)
    c("RoiAlign", [x, c.take("p", 2, 4), np.zeros(2, np.int64)], (2, 3, 2, 2), spatial_scale=8.0)
    for mode in ("nearest", "linear", "cubic"):
        c("Resize", [x, None, None, _ints(1, 3, 5, 14)], (1, 3, 5, 14), mode=mode)
    c("Resize", [x, None, _floats(0.5, 0.5), None], (1, 3, 4, 4), mode="linear", antialias=1, axes=[2, 3])
    for mode in ("linear", "nearest", "cubic"):
        for padding in ("zeros", "border", "reflection"):
            c("GridSample", [x, c.take("x", 1, 4, 5, 2)], (1, 3, 4, 5), mode=mode, padding_mode=padding)
    c("AffineGrid", [c.take("x", 2, 2, 3), _ints(2, 1, 4, 5)], (2, 4, 5, 2))
    c("QuantizeLinear", [c.take("x", 2, 3, 4), c.take("p", 3), c.take("u", 3)], ((2, 3, 4), "uint8"))
    c("DequantizeLinear", [c.take("q", 2, 6), c.take("p", 2, 3), None], (2, 6), block_size=2)
    c("DynamicQuantizeLinear", [c.take("x", 40)], ((40,), "uint8"), (), ((), "uint8"))


def build() -> bytes:
    """The bytes of the file."""
    calls = Calls()
    for part in (_moves, _elementwise, _reductions, _products, _windows):
        part(calls)
    return calls.b.finish(0)


def exact(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs whose bits are the same on every host."""
    return {name: y for name, y in outputs.items() if name.split("_")[0] not in LIBRARY}


def main() -> None:
    from openbpu.runtime import Session

    if "--write" in sys.argv:
        FILE.write_bytes(build())
    data = FILE.read_bytes()
    outputs = Session(data, isa="scalar").run(inputs())
    print(json.dumps({"file": hashlib.sha256(data).hexdigest(), "outputs": digest(exact(outputs))}, indent=1))


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    main()
