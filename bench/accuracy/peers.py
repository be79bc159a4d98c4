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
import resource
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


def float_products(model: onnx.ModelProto) -> str:
    """How many convolutions and matrix products of a QDQ model still read float tensors; "" if none does."""
    quantised = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    quantised |= {tensor.name for tensor in model.graph.initializer}
    products = [n for n in model.graph.node if n.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")]
    left = [n for n in products if not quantised.issuperset(n.input[:2])]
    return f"{len(left)} of {len(products)} products in float" if left else ""


NOTES: list[str] = []  # what is said of the last model


def qdq_runner(model: onnx.ModelProto) -> Run:
    NOTES[:] = [float_products(model)]
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda feed: list(session.run(None, feed))


def onnxruntime_static(folder: Path, method: str, symmetric: bool) -> Run:
    """ONNX Runtime's static quantiser: int8 activations, int8 weights per channel, its recommended preparation."""
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
        per_channel=True,
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


def aimet(folder: Path, scheme: str, equalise: bool = False, per_channel: bool = False) -> Run:
    """AIMET's simulator, int8 for weights and activations; by default its weights have one scale per tensor."""
    from aimet_common.defs import QuantScheme
    from aimet_onnx.quantsim import QuantizationSimModel

    model = onnx.load(folder / "model.onnx")
    if equalise:
        from aimet_onnx.cross_layer_equalization import equalize_model

        equalize_model(model)
    config = None
    if per_channel:
        from aimet_onnx.common.quantsim_config.utils import get_path_for_per_channel_config

        config = get_path_for_per_channel_config()
    simulation = QuantizationSimModel(
        model, quant_scheme=QuantScheme.from_str(scheme), default_activation_bw=8, default_param_bw=8,
        providers=["CPUExecutionProvider"], config_file=config,
    )  # fmt: skip
    simulation.compute_encodings(feeds(folder, "calibration"))
    return lambda feed: list(simulation.session.run(None, feed))


def esp_ppq(folder: Path, algorithm: str) -> Run:
    """PPQ's int8 scheme for TensorRT, in its simulator."""
    import torch
    from esp_ppq import QuantizationSettingFactory, TorchExecutor
    from esp_ppq.api import quantize_onnx_model
    from esp_ppq.core import TargetPlatform

    samples = list(feeds(folder, "calibration"))
    if len(samples[0]) != 1:
        raise ValueError("one input only")
    tensors = [torch.from_numpy(next(iter(sample.values()))) for sample in samples]
    setting = QuantizationSettingFactory.default_setting()
    setting.quantize_activation_setting.calib_algorithm = algorithm
    graph = quantize_onnx_model(
        onnx_import_file=str(folder / "model.onnx"), calib_dataloader=tensors, calib_steps=len(tensors),
        input_shape=list(tensors[0].shape), platform=TargetPlatform.TRT_INT8, setting=setting, device="cpu", verbose=0,
    )  # fmt: skip
    executor = TorchExecutor(graph, device="cpu")
    return lambda feed: [y.numpy() for y in executor.forward(torch.from_numpy(next(iter(feed.values()))))]


# name -> (package that must be there, what makes a runner)
METHODS: dict[str, tuple[str, Callable[[Path], Run]]] = {
    "onnxruntime MinMax": ("onnxruntime", lambda f: onnxruntime_static(f, "MinMax", False)),
    "onnxruntime Percentile": ("onnxruntime", lambda f: onnxruntime_static(f, "Percentile", False)),
    "onnxruntime MinMax, symmetric": ("onnxruntime", lambda f: onnxruntime_static(f, "MinMax", True)),
    "onnxruntime Percentile, symmetric": ("onnxruntime", lambda f: onnxruntime_static(f, "Percentile", True)),
    "NNCF": ("nncf", nncf_quantize),
    "NNCF, mixed preset": ("nncf", lambda f: nncf_quantize(f, mixed=True)),
    "NNCF, accurate bias correction": ("nncf", lambda f: nncf_quantize(f, fast_bias_correction=False)),
    "NNCF, transformer": ("nncf", lambda f: nncf_quantize(f, transformer=True)),
    "AIMET min_max": ("aimet_onnx", lambda f: aimet(f, "min_max")),
    "AIMET tf_enhanced": ("aimet_onnx", lambda f: aimet(f, "tf_enhanced")),
    "AIMET CLE + tf_enhanced": ("aimet_onnx", lambda f: aimet(f, "tf_enhanced", True)),
    "AIMET min_max, per channel": ("aimet_onnx", lambda f: aimet(f, "min_max", per_channel=True)),
    "AIMET tf_enhanced, per channel": ("aimet_onnx", lambda f: aimet(f, "tf_enhanced", per_channel=True)),
    "esp-ppq KL": ("esp_ppq", lambda f: esp_ppq(f, "kl")),
    "esp-ppq MSE": ("esp_ppq", lambda f: esp_ppq(f, "mse")),
}


def main() -> None:
    if sys.argv[1:] == ["--list"]:
        print(json.dumps([name for name, (package, _) in METHODS.items() if importlib.util.find_spec(package)]))
        return
    measure(METHODS[sys.argv[1]][1], Path(sys.argv[2]))


def measure(make: Callable[[Path], Run], folder: Path) -> None:
    """Quantises and writes outputs.npz and result.json."""
    wall, cpu = time.perf_counter(), time.process_time()
    run = make(folder)
    facts: dict[str, Any] = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    facts["note"] = "".join(NOTES)
    facts["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
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
