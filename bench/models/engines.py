"""The engines under comparison: each quantises the same float model to its own int8 file, then loads and runs the file.

openbpu quantises with openbpu. ONNX Runtime and OpenVINO get QDQ models of ONNX Runtime's static quantiser, each in the
form that is fastest for it on x86: unsigned activations, signed weights per channel, and Q/DQ inside SiLU or around it.
LiteRT gets an int8 .tflite file (tflite_writer.py). Float enters and leaves every engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Loaded:
    """A model ready to run: `run()` computes one image and returns its outputs."""

    version: str
    run: Callable[[], list[np.ndarray]]
    load_ms: float


@dataclass(frozen=True)
class Engine:
    """`prepare(model, folder)` writes the engine's file, `load(path, threads, isa)` makes it ready to run.

    `faithful` writes the file whose outputs are held against the float model's, where the timed one will not do;
    `takes` tells the models that it can be given.
    """

    prepare: Callable[[Any, Path], Path]
    load: Callable[[Path, int, str], Loaded]
    faithful: Callable[[Any, Path], Path] | None = None
    takes: Callable[[Any], bool] = lambda model: True


def samples(shape: tuple[int, ...], count: int, seed: int = 0) -> list[np.ndarray]:
    """Seeded normal noise, float32."""
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32) for _ in range(count)]


def _input_shape(model: Any) -> tuple[int, ...]:
    return tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)


def image(model: Any) -> np.ndarray:
    """What every engine is run on, NCHW."""
    return samples(_input_shape(model), 1)[0]


def _calibration(model: Any) -> list[np.ndarray]:
    return samples(_input_shape(model), 9)[1:]  # the first is what is run


def _timed(make: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    made = make()
    return made, (time.perf_counter() - start) * 1e3


# ---- openbpu


def _prepare_openbpu(model: Any, folder: Path) -> Path:
    import openbpu

    path = folder / f"{model.graph.name}.bpux"
    if not path.exists():
        openbpu.build(model, _calibration(model), calibration="max", refinement=()).save(path)
    return path


def _load_openbpu(path: Path, threads: int, isa: str) -> Loaded:
    import openbpu
    from openbpu import runtime

    session, load_ms = _timed(lambda: runtime.Session(path, threads=threads, isa=isa))
    port = session.inputs[0]
    feed = {port.name: samples(port.shape, 1)[0]}
    return Loaded(openbpu.__version__, lambda: list(session.run(feed).values()), load_ms)


# ---- peers


_FORMS: dict[str, tuple[str, ...]] = {  # operators without Q/DQ of their own
    "": (),
    "whole": ("Sigmoid", "Mul"),  # a convolution and its SiLU are one region
    # What is no product stays float, as NNCF does with transformers, and activations are signed and symmetric.
    "products": (
        "Add", "Concat", "Div", "Erf", "Gather", "LayerNormalization", "Mul", "Reshape", "Softmax", "Transpose",
    ),
}  # fmt: skip


def _prepare_qdq(model: Any, folder: Path, form: str = "") -> Path:
    """The QDQ model in one of the forms above."""
    import logging

    import onnx
    from onnxruntime import quantization as q

    path = folder / f"{model.graph.name}{'.' if form else ''}{form}.qdq.onnx"
    if path.exists():
        return path
    logging.disable(logging.WARNING)  # advice on pre-processing, which folds nothing here

    class Reader(q.CalibrationDataReader):
        def __init__(self) -> None:
            self.rest: Iterator[np.ndarray] = iter(_calibration(model))

        def get_next(self) -> dict[str, np.ndarray] | None:
            sample = next(self.rest, None)
            return None if sample is None else {"image": sample}

    kinds = sorted({node.op_type for node in model.graph.node} - {*_FORMS[form]})
    float_path = folder / f"{model.graph.name}.onnx"
    onnx.save(model, float_path)
    q.quantize_static(
        float_path,
        path,
        Reader(),
        quant_format=q.QuantFormat.QDQ,
        per_channel=True,
        activation_type=q.QuantType.QInt8 if form == "products" else q.QuantType.QUInt8,
        weight_type=q.QuantType.QInt8,
        op_types_to_quantize=kinds if form else None,
        extra_options={"ActivationSymmetric": form == "products"},
    )
    if form == "whole":
        quantised = onnx.load(path)
        _unquantise_inputs(quantised.graph, ("Sigmoid", "Mul"))
        onnx.save(quantised, path)
    return path


def _unquantise_inputs(graph: Any, kinds: tuple[str, ...]) -> None:
    """Takes away the Q/DQ pairs whose result only operators of these kinds read."""
    producers = {output: node for node in graph.node for output in node.output}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in [n for n in graph.node if n.op_type == "DequantizeLinear"]:
        before, after = producers.get(node.input[0]), readers.get(node.output[0], [])
        if before is None or not after or any(n.op_type not in kinds for n in after):
            continue
        for reader in after:
            reader.input[:] = [before.input[0] if name == node.output[0] else name for name in reader.input]
        graph.node.remove(node)
        if readers[before.output[0]] == [node]:
            graph.node.remove(before)


def _prepare_openvino(model: Any, folder: Path) -> Path:
    """OpenVINO computes SiLU in the convolution unless Q/DQ stands between; ONNX Runtime wants the Q/DQ.

    It computes attention in one node if activations have no zero points.
    """
    kinds = {node.op_type for node in model.graph.node}
    return _prepare_qdq(model, folder, "whole" if "Sigmoid" in kinds else "products" if "Softmax" in kinds else "")


def _load_onnxruntime(path: Path, threads: int, isa: str) -> Loaded:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session, load_ms = _timed(lambda: ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
    feed = {"image": samples(tuple(session.get_inputs()[0].shape), 1)[0]}
    return Loaded(ort.__version__, lambda: session.run(None, feed), load_ms)


def _load_openvino(path: Path, threads: int, isa: str) -> Loaded:
    import openvino as ov

    core = ov.Core()
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    compiled, load_ms = _timed(lambda: core.compile_model(str(path), "CPU", hints))
    request = compiled.create_infer_request()
    feed = {"image": samples(tuple(compiled.inputs[0].shape), 1)[0]}

    def run() -> list[np.ndarray]:
        return list(request.infer(feed, share_inputs=True, share_outputs=True).values())

    return Loaded(ov.__version__.split("-")[0], run, load_ms)


def _ranges(model: Any) -> dict[str, tuple[float, float]]:
    """Minimum and maximum of every value of the graph over the calibration samples."""
    import onnx
    import onnxruntime as ort

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend([*model.graph.value_info, *model.graph.output])
    names = [value.name for value in watched.graph.output]
    session = ort.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    runs = [{"image": x, **dict(zip(names, session.run(None, {"image": x}), strict=True))} for x in _calibration(model)]
    return {n: (min(float(r[n].min()) for r in runs), max(float(r[n].max()) for r in runs)) for n in runs[0]}


def _prepare_tflite(model: Any, folder: Path, exact_padding: bool = False) -> Path:
    from bench.models import guards, tflite_writer

    path = folder / f"{model.graph.name}{'.exact' if exact_padding else ''}.tflite"
    if not path.exists():
        data, macs = tflite_writer.write(model, _ranges(model), exact_padding)
        if macs != guards.count_macs(model):
            raise SystemExit(f"{path.name} holds {macs} products, the float graph {guards.count_macs(model)}")
        path.write_bytes(data)
    return path


def _is_convolutional(model: Any) -> bool:
    """Our .tflite writer has no transformers."""
    return all(node.op_type != "Softmax" for node in model.graph.node)


def _prepare_faithful_tflite(model: Any, folder: Path) -> Path:
    return _prepare_tflite(model, folder, exact_padding=True)


def _load_litert(path: Path, threads: int, isa: str) -> Loaded:
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter

    def make() -> Interpreter:
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
        return interpreter

    interpreter, load_ms = _timed(make)
    port = interpreter.get_input_details()[0]
    n, h, w, c = port["shape"]
    x = np.ascontiguousarray(samples((n, c, h, w), 1)[0].transpose(0, 2, 3, 1))
    outputs = [o["index"] for o in interpreter.get_output_details()]

    def run() -> list[np.ndarray]:
        interpreter.set_tensor(port["index"], x)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return Loaded(getattr(ai_edge_litert, "__version__", ""), run, load_ms)


ENGINES: dict[str, Engine] = {
    "openbpu": Engine(_prepare_openbpu, _load_openbpu),
    "onnxruntime": Engine(_prepare_qdq, _load_onnxruntime),
    "openvino": Engine(_prepare_openvino, _load_openvino),
    "litert": Engine(_prepare_tflite, _load_litert, _prepare_faithful_tflite, _is_convolutional),
}
