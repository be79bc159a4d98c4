"""EfficientNet-Lite0: what each way of quantising loses against the float model, on a folder of photographs.

    python bench/accuracy/lite0.py --data photographs/ [--labels labels.csv] [--peers] [--only default]

Every seventh file in name order calibrates (the first 100 of those), all others evaluate. Both models run in ONNX
Runtime with its optimisations off, which is within one step per operator of the compiled model. SQNR, cosine and
agreement of the arg-max compare with the float model; top-1 needs --labels (file name, class index 0..999). On some
hundred photographs differences of top-1 below 1 point and of SQNR below 0.3 dB are noise.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from PIL import Image

from openbpu import frontend, ptq, zoo

CALIBRATION = 100
Quantise = Callable[[onnx.ModelProto, list[np.ndarray]], onnx.ModelProto]


def ours(**options: object) -> Quantise:
    return lambda model, samples: ptq.quantize(model, samples, **options)  # type: ignore[arg-type]


def peer(method: str, symmetric: bool) -> Quantise:
    """ONNX Runtime's static quantiser: int8 activations, int8 weights per channel, its recommended preparation."""

    def quantise(model: onnx.ModelProto, samples: list[np.ndarray]) -> onnx.ModelProto:
        from onnxruntime.quantization import (
            CalibrationDataReader,
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )
        from onnxruntime.quantization.shape_inference import quant_pre_process

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.feeds = iter(samples)

            def get_next(self) -> dict[str, np.ndarray] | None:
                sample = next(self.feeds, None)
                return None if sample is None else {"image": sample}

        with tempfile.TemporaryDirectory() as folder:
            paths = [str(Path(folder) / name) for name in ("float.onnx", "prepared.onnx", "int8.onnx")]
            onnx.save(model, paths[0])
            quant_pre_process(paths[0], paths[1])
            options: dict[str, object] = {"ActivationSymmetric": symmetric}
            if method == "Percentile":
                options["CalibPercentile"] = 99.999
            quantize_static(
                paths[1],
                paths[2],
                Reader(),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                calibrate_method=CalibrationMethod[method],
                extra_options=options,
            )
            return onnx.load(paths[2])

    return quantise


METHODS: dict[str, Quantise] = {
    "default": ours(),
    "default, symmetric": ours(symmetric=True),
    "bias correction only": ours(refinement=("bias",)),
    **{
        f"{calibration}, unrefined{', symmetric' * symmetric}": ours(
            calibration=calibration, symmetric=symmetric, refinement=()
        )
        for calibration in ptq.CALIBRATIONS
        for symmetric in (False, True)
    },
}
PEERS: dict[str, Quantise] = {
    f"onnxruntime {method}{', symmetric' * symmetric}": peer(method, symmetric)
    for method in ("MinMax", "Percentile")
    for symmetric in (False, True)
}


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def logits(model: onnx.ModelProto, files: list[Path]) -> np.ndarray:
    running = session(model)
    results = [running.run(None, {"image": x})[0] for x in inputs(files)]
    return np.concatenate(results).astype(np.float64)


def inputs(files: list[Path]) -> Iterator[np.ndarray]:
    for file in files:
        with Image.open(file) as image:
            yield zoo.imagenet_input(image)


def read_labels(path: Path, files: list[Path]) -> np.ndarray:
    """Class indices of the files; the first column of a row is the file name, the first integer behind it the class."""
    with path.open(newline="") as lines:
        rows = {row[0]: row[1:] for row in csv.reader(lines) if row}
    return np.array([int(next(cell for cell in rows[file.name] if cell.strip().isdecimal())) for file in files])


def row(name: str, reference: np.ndarray, other: np.ndarray, labels: np.ndarray | None, seconds: float) -> str:
    noise = np.sum((reference - other) ** 2)
    sqnr = 10 * np.log10(np.sum(reference**2) / noise) if noise else np.inf
    cosine = np.sum(reference * other) / (np.linalg.norm(reference) * np.linalg.norm(other))
    agreement = 100 * np.mean(reference.argmax(1) == other.argmax(1))
    top = "" if labels is None else f"{100 * np.mean(other.argmax(1) == labels):7.2f}"
    return f"{name:32} {sqnr:7.2f} {cosine:8.5f} {agreement:8.2f} {top:>7} {seconds:7.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--labels", type=Path, help="CSV of file name and class index")
    parser.add_argument("--peers", action="store_true", help="also ONNX Runtime's static quantiser")
    parser.add_argument("--only", action="append", help="only this method; repeatable")
    arguments = parser.parse_args()
    files = sorted(p for p in arguments.data.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    chosen = files[::7][:CALIBRATION]
    evaluation = sorted({*files} - {*chosen})
    samples = list(inputs(chosen))
    labels = read_labels(arguments.labels, evaluation) if arguments.labels else None
    model = frontend.prepare(frontend.load(zoo.efficientnet_lite0()))
    reference = logits(model, evaluation)
    print(f"{len(chosen)} photographs calibrate, {len(evaluation)} evaluate; onnxruntime {ort.__version__}")
    print(f"{'':32} SQNR dB   cosine  agree %  top-1 % seconds")
    print(row("float", reference, reference, labels, 0.0))
    methods = {**METHODS, **(PEERS if arguments.peers else {})}
    for name in arguments.only or methods:
        start = time.perf_counter()
        quantised = methods[name](model, samples)
        seconds = time.perf_counter() - start
        print(row(name, reference, logits(quantised, evaluation), labels, seconds), flush=True)


if __name__ == "__main__":
    main()
