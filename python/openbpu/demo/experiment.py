"""Quantises, compiles and runs EfficientNet-Lite0 on photographs, float and int8 side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from openbpu import pipeline, zoo
from openbpu.files import write_file
from openbpu.runtime import Session
from openbpu.zoo.images import crops

_CALIBRATION_CROPS = 60
_ROUNDS = 30


@dataclass(frozen=True)
class Photograph:
    """What both networks say of one photograph: class index and probability of the best class, logits compared."""

    name: str
    pixels: np.ndarray
    float_class: int
    float_probability: float
    int8_class: int
    int8_probability: float
    cosine: float


@dataclass(frozen=True)
class Result:
    """The table of the demonstration. Latencies are medians in milliseconds, one thread, interleaved."""

    photographs: tuple[Photograph, ...]
    cosine: float  # of all logits together
    sqnr_db: float
    agreement: float  # share of photographs with the same best class
    float_ms: float
    int8_ms: float
    isa: str
    float_bytes: int
    qdq_bytes: int
    executable_bytes: int


def run(folder: Path, *, isa: str = "auto", progress: Callable[[str, int, int], None] | None = None) -> Result:
    """Runs the demonstration and leaves the float model, the QDQ model and the executable in `folder`.

    Raises OpenBpuError with the pip command to run if the weights or the photographs are not installed.
    """
    float_model = zoo.efficientnet_lite0()
    images = zoo.photographs()
    qdq = pipeline.quantize(float_model, crops(_CALIBRATION_CROPS), progress=progress)
    executable = pipeline.compile(qdq)
    paths = [folder / f"efficientnet_lite0{suffix}" for suffix in (".onnx", ".qdq.onnx", ".bpux")]
    for path, model in zip(paths, (float_model, qdq), strict=False):
        write_file(path, model.SerializeToString(deterministic=True))
    executable.save(paths[2])

    session = Session(paths[2], isa=isa, threads=1)
    reference = _float_session(paths[0])
    inputs = [zoo.imagenet_input(image) for image in images.values()]
    float_logits = np.concatenate([reference.run(None, {"image": x})[0] for x in inputs]).astype(np.float64)
    int8_logits = np.concatenate([session.run({"image": x})["logits"] for x in inputs]).astype(np.float64)
    float_ms, int8_ms = _latencies(reference, session, inputs[0])
    rows = tuple(
        _photograph(name, np.asarray(image), a, b)
        for (name, image), a, b in zip(images.items(), float_logits, int8_logits, strict=True)
    )
    noise = float(np.sum((float_logits - int8_logits) ** 2))
    return Result(
        photographs=rows,
        cosine=_cosine(float_logits.ravel(), int8_logits.ravel()),
        sqnr_db=10 * float(np.log10(np.sum(float_logits**2) / noise)) if noise else float("inf"),
        agreement=float(np.mean([row.float_class == row.int8_class for row in rows])),
        float_ms=float_ms,
        int8_ms=int8_ms,
        isa=session.isa,
        float_bytes=paths[0].stat().st_size,
        qdq_bytes=paths[1].stat().st_size,
        executable_bytes=paths[2].stat().st_size,
    )


def _float_session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _latencies(reference: ort.InferenceSession, session: Session, x: np.ndarray) -> tuple[float, float]:
    runs: tuple[Callable[[], object], ...] = (
        lambda: reference.run(None, {"image": x}),
        lambda: session.run({"image": x}),
    )
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):
        for run_once, times in zip(runs, seconds, strict=True):
            start = time.perf_counter()
            run_once()
            times.append(time.perf_counter() - start)
    return float(np.median(seconds[0])) * 1e3, float(np.median(seconds[1])) * 1e3


def _photograph(name: str, pixels: np.ndarray, float_logits: np.ndarray, int8_logits: np.ndarray) -> Photograph:
    a, b = _softmax(float_logits), _softmax(int8_logits)
    return Photograph(
        name=name,
        pixels=pixels,
        float_class=int(a.argmax()),
        float_probability=float(a.max()),
        int8_class=int(b.argmax()),
        int8_probability=float(b.max()),
        cosine=_cosine(float_logits, int8_logits),
    )


def _softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max())
    return np.asarray(e / e.sum())


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
