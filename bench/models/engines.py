"""The engines under comparison: each loads the int8 form of the same float model and runs one image at a time.

openbpu runs the model quantised by openbpu; the peers run the same float model quantised by ONNX Runtime's static
quantiser in the form that is fastest for them on x86: unsigned activations, signed per-channel weights, QDQ.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx


@dataclass(frozen=True)
class Loaded:
    """A model ready to run: `run()` computes one image and returns its outputs; load time in milliseconds."""

    engine: str
    version: str
    run: Callable[[], list[np.ndarray]]
    load_ms: float


def samples(model: onnx.ModelProto, count: int, seed: int = 0) -> list[np.ndarray]:
    """Seeded images, smooth enough to look like photographs to a convolution."""
    random = np.random.default_rng(seed)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    return [random.standard_normal(shape).astype(np.float32) for _ in range(count)]


def openbpu(model: onnx.ModelProto, folder: Path, threads: int) -> Loaded:
    import openbpu as product

    x, *calibration = samples(model, 9)
    path = folder / f"{model.graph.name}.bpux"
    product.build(model, calibration, calibration="max", refinement=()).save(path)
    start = time.perf_counter()
    session = product.Session(path, threads=threads)
    load_ms = (time.perf_counter() - start) * 1e3
    return Loaded("openbpu", product.__version__, lambda: list(session.run({"image": x}).values()), load_ms)


def onnxruntime(model: onnx.ModelProto, folder: Path, threads: int) -> Loaded:
    import onnxruntime as ort

    x = samples(model, 1)[0]
    path = _static_qdq(model, folder)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    start = time.perf_counter()
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    load_ms = (time.perf_counter() - start) * 1e3
    return Loaded("onnxruntime", ort.__version__, lambda: session.run(None, {"image": x}), load_ms)


def openvino(model: onnx.ModelProto, folder: Path, threads: int) -> Loaded:
    import openvino as ov

    x = samples(model, 1)[0]
    path = _static_qdq(model, folder)
    core = ov.Core()
    start = time.perf_counter()
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    request = core.compile_model(str(path), "CPU", hints).create_infer_request()
    load_ms = (time.perf_counter() - start) * 1e3
    return Loaded("openvino", ov.__version__.split("-")[0], lambda: list(request.infer({"image": x}).values()), load_ms)


ENGINES: dict[str, Callable[[onnx.ModelProto, Path, int], Loaded]] = {
    "openbpu": openbpu,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
}


def _static_qdq(model: onnx.ModelProto, folder: Path) -> Path:
    from onnxruntime import quantization as q

    path = folder / f"{model.graph.name}.u8s8.onnx"
    if not path.exists():

        class Reader(q.CalibrationDataReader):
            def __init__(self) -> None:
                self.rest: Iterator[np.ndarray] = iter(samples(model, 9)[1:])

            def get_next(self) -> dict[str, np.ndarray] | None:
                sample = next(self.rest, None)
                return None if sample is None else {"image": sample}

        float_path = folder / f"{model.graph.name}.onnx"
        onnx.save(model, float_path)
        q.quantize_static(
            float_path,
            path,
            Reader(),
            quant_format=q.QuantFormat.QDQ,
            per_channel=True,
            activation_type=q.QuantType.QUInt8,
            weight_type=q.QuantType.QInt8,
        )
    return path
