"""One quantiser on one model: reads a folder, writes the outputs of the quantised model. Needs no openbpu.

    python bench/accuracy/peers.py "onnxruntime MinMax" FOLDER

FOLDER holds model.onnx, and calibration and evaluation inputs as calibration-00000.npz ... Written: outputs.npz (each
output, all evaluation samples stacked) and result.json (wall and CPU seconds, peak memory, products that stayed float).
Quantisers that emit QDQ models run in ONNX Runtime without its optimisations, the others in their own simulators.
`peers.py --list` prints the methods that can be imported here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

Feed = dict[str, np.ndarray]
Run = Callable[[Feed], list[np.ndarray]]


def feeds(folder: Path, kind: str) -> Iterator[Feed]:
    for path in sorted(folder.glob(f"{kind}-*.npz")):
        with np.load(path) as arrays:
            yield {name: arrays[name] for name in arrays.files}


PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
NOTES: list[str] = []  # what is said of the last model


def note_products(left: int, products: int) -> None:
    """[left/products]: so many convolutions and matrix products of a quantised model read float tensors."""
    NOTES[:] = [f"[{left}/{products}]"] if left else []


def qdq_runner(model: onnx.ModelProto) -> Run:
    quantised = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    quantised |= {tensor.name for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type in PRODUCTS]
    note_products(sum(not quantised.issuperset(node.input[:2]) for node in products), len(products))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1  # idle ones would spin
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda feed: list(session.run(None, feed))


def onnxruntime_static(folder: Path, method: str, symmetric: bool, per_channel: bool = True) -> Run:
    """ONNX Runtime's static quantiser: int8 activations and weights, its recommended preparation."""
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
            self.feeds = feeds(folder, "calibration")

        def get_next(self) -> Feed | None:
            return next(self.feeds, None)

    prepared, quantised = folder / "prepared.onnx", folder / "quantised.onnx"
    quant_pre_process(str(folder / "model.onnx"), str(prepared))
    options: dict[str, object] = {"ActivationSymmetric": symmetric}
    if method == "Percentile":
        options["CalibPercentile"] = 99.999
    quantize_static(
        str(prepared),
        str(quantised),
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
        calibrate_method=CalibrationMethod[method],
        extra_options=options,
    )
    return qdq_runner(onnx.load(quantised))


def nncf_quantize(folder: Path, **options: Any) -> Run:
    """NNCF on the ONNX model, all samples."""
    import nncf

    if options.pop("mixed", False):
        options["preset"] = nncf.QuantizationPreset.MIXED
    if options.pop("transformer", False):
        options["model_type"] = nncf.ModelType.TRANSFORMER
    samples = list(feeds(folder, "calibration"))
    model = onnx.load(folder / "model.onnx")
    return qdq_runner(nncf.quantize(model, nncf.Dataset(samples), subset_size=len(samples), **options))


def aimet(folder: Path, scheme: str, equalise: bool = False) -> Run:
    """AIMET's simulator, int8 for activations and weights; its default configuration has weights per channel."""
    from aimet_common.defs import QuantScheme
    from aimet_onnx.quantsim import QuantizationSimModel

    model = onnx.load(folder / "model.onnx")
    if equalise:
        from aimet_onnx.cross_layer_equalization import equalize_model

        equalize_model(model)
    simulation = QuantizationSimModel(
        model, quant_scheme=QuantScheme.from_str(scheme), default_activation_bw=8, default_param_bw=8,
        providers=["CPUExecutionProvider"],
    )  # fmt: skip
    simulation.compute_encodings(feeds(folder, "calibration"))
    return lambda feed: list(simulation.session.run(None, feed))


def esp_ppq(folder: Path, algorithm: str) -> Run:
    """PPQ's int8 scheme for TensorRT, in its simulator."""
    import torch
    from esp_ppq import QuantizationSettingFactory, TorchExecutor
    from esp_ppq.api import quantize_onnx_model
    from esp_ppq.core import TargetPlatform
    from esp_ppq.IR import QuantableOperation

    samples = [[torch.from_numpy(array) for array in feed.values()] for feed in feeds(folder, "calibration")]
    setting = QuantizationSettingFactory.default_setting()
    setting.quantize_activation_setting.calib_algorithm = algorithm
    graph = quantize_onnx_model(
        onnx_import_file=str(folder / "model.onnx"), calib_dataloader=samples, calib_steps=len(samples),
        input_shape=None, inputs=samples[0], platform=TargetPlatform.TRT_INT8, setting=setting, device="cpu", verbose=0,
    )  # fmt: skip
    products = [op for op in graph.operations.values() if op.type in PRODUCTS]
    note_products(sum(not isinstance(op, QuantableOperation) for op in products), len(products))
    executor = TorchExecutor(graph, device="cpu")
    return lambda feed: [y.numpy() for y in executor.forward([torch.from_numpy(array) for array in feed.values()])]


TRANSFORMER = "NNCF, transformer"  # for transformers only
ON_REQUEST = ("NNCF, mixed preset", "AIMET CLE + tf_enhanced")  # no better than the others of their kind
# name -> (package that must be there, what makes a runner)
METHODS: dict[str, tuple[str, Callable[[Path], Run]]] = {
    "onnxruntime, its defaults (per-tensor weights)": (
        "onnxruntime",
        lambda f: onnxruntime_static(f, "MinMax", False, per_channel=False),
    ),
    "onnxruntime MinMax": ("onnxruntime", lambda f: onnxruntime_static(f, "MinMax", False)),
    "onnxruntime Percentile": ("onnxruntime", lambda f: onnxruntime_static(f, "Percentile", False)),
    "onnxruntime MinMax, symmetric": ("onnxruntime", lambda f: onnxruntime_static(f, "MinMax", True)),
    "onnxruntime Percentile, symmetric": ("onnxruntime", lambda f: onnxruntime_static(f, "Percentile", True)),
    "NNCF": ("nncf", nncf_quantize),
    "NNCF, mixed preset": ("nncf", lambda f: nncf_quantize(f, mixed=True)),
    "NNCF, accurate bias correction": ("nncf", lambda f: nncf_quantize(f, fast_bias_correction=False)),
    TRANSFORMER: ("nncf", lambda f: nncf_quantize(f, transformer=True)),
    "AIMET min_max": ("aimet_onnx", lambda f: aimet(f, "min_max")),
    "AIMET tf_enhanced": ("aimet_onnx", lambda f: aimet(f, "tf_enhanced")),
    "AIMET CLE + tf_enhanced": ("aimet_onnx", lambda f: aimet(f, "tf_enhanced", True)),
    "esp-ppq KL": ("esp_ppq", lambda f: esp_ppq(f, "kl")),
    "esp-ppq MSE": ("esp_ppq", lambda f: esp_ppq(f, "mse")),
}


def main() -> None:
    if sys.argv[1:] == ["--list"]:
        print(json.dumps([name for name, (package, _) in METHODS.items() if importlib.util.find_spec(package)]))
        return
    measure(METHODS[sys.argv[1]][1], Path(sys.argv[2]))


def peak_memory() -> int:
    """Bytes of the largest resident set; getrusage would count what the process was forked from."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


def measure(make: Callable[[Path], Run], folder: Path) -> None:
    """Quantises and writes outputs.npz and result.json."""
    wall, cpu = time.perf_counter(), time.process_time()
    run = make(folder)
    facts: dict[str, Any] = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    facts["note"] = "".join(NOTES)
    facts["peak"] = peak_memory()
    names = [o.name for o in onnx.load(folder / "model.onnx", load_external_data=False).graph.output]
    results = [run(feed) for feed in feeds(folder, "evaluation")]
    outputs = {name: [result[k] for result in results] for k, name in enumerate(names)}
    # As many rows as were found of something do not compare.
    stacked = {name: np.stack(found) for name, found in outputs.items() if len({y.shape for y in found}) == 1}
    np.savez(folder / "outputs.npz", **stacked)
    (folder / "result.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
    main()
