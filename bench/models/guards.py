"""What a comparison must pass before its figures mean anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bench.models.engines import Loaded

LEAST_COSINE = 0.95


def check_threads(threads: int, processors: int) -> None:
    """Threads that share a processor measure the scheduler: engines whose workers spin would lose by it."""
    if not 1 <= threads <= processors:
        raise SystemExit(f"{threads} threads need as many processors; this process may use {processors} (taskset)")


def count_macs(model: Any) -> int:
    """Products of the convolutions and matrix products of a float graph. Raises SystemExit if weights are zero."""
    from onnx import numpy_helper

    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info}
    shapes |= {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.output}
    shapes |= {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input}
    weights = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    macs = 0
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        weight = weights.get(node.input[1])
        if node.op_type == "MatMul":
            macs += int(np.prod(shapes[node.output[0]])) * shapes[node.input[0]][-1]
        else:
            macs += int(np.prod(shapes[node.output[0]])) * int(np.prod(weights[node.input[1]].shape[1:]))
        if weight is not None and np.count_nonzero(weight) < 0.99 * weight.size:
            raise SystemExit(f"{node.name}: weights are zero: engines would skip work")
    return macs


def check_program(name: str, path: Path, macs: int) -> None:
    """Our program computes every product of the float graph: nothing was folded away."""
    from openbpu import runtime

    counted = runtime.Session(path).macs
    if counted != macs:
        raise SystemExit(f"{name}: {macs} products in the float graph, {counted} in our program")


def float_outputs(model: Any, image: np.ndarray) -> list[np.ndarray]:
    import onnxruntime as ort

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"image": image}))


def check_outputs(name: str, engine: str, loaded: Loaded, expected: list[np.ndarray]) -> float:
    """Least cosine between the engine's outputs and the float model's: that it computes the same network."""
    least = min(_cosine(got, want) for got, want in zip(loaded.run(), expected, strict=True))
    if not least >= LEAST_COSINE:
        raise SystemExit(f"{engine} on {name}: cosine {least:.3f} to the float model: it computes something else")
    return least


def _cosine(got: np.ndarray, want: np.ndarray) -> float:
    if got.ndim == 4 and got.shape != want.shape:
        got = got.transpose(0, 3, 1, 2)  # LiteRT's NHWC
    a, b = got.ravel().astype(np.float64), want.ravel().astype(np.float64)
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30))


def peak(isa: str) -> float:
    """GMAC/s of one core's dot-product instructions, the best of some tries: what no result may beat."""
    from openbpu import _native

    return max(_native.peak_gmacs(isa) for _ in range(5))


def check_rate(name: str, engine: str, rate: float, ceiling: float) -> None:
    """No engine beats the instruction that does its products; two per cent for the noise of both measurements."""
    if rate > 1.02 * ceiling:
        raise SystemExit(f"{engine} on {name}: {rate:.0f} GMAC/s beats the peak of {ceiling:.0f}: the run is void")
