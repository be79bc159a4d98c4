"""The whole road, stage by stage: start reading here.

float ONNX -> frontend -> clean float ONNX -> ptq (samples) -> QDQ ONNX
QDQ ONNX (ours or another tool's) -> lower -> integer graph -> schedule -> instructions -> executable
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from openbpu import frontend, lower, ptq, schedule
from openbpu.ir.profile import profile
from openbpu.runtime import Executable

if TYPE_CHECKING:
    import onnx

Sample = np.ndarray | Mapping[str, np.ndarray]
Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all (0: unknown)


def quantize(
    model: str | PathLike[str] | bytes | onnx.ModelProto,
    samples: Iterable[Sample],
    *,
    calibration: str = "auto",
    symmetric: bool = False,
    refinement: Collection[str] = ptq.REFINEMENTS,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    progress: Progress | None = None,
) -> onnx.ModelProto:
    """Quantises a float model to int8 by post-training quantisation; returns a standard QDQ ONNX model.

    `samples` yields an array for a model with one input, or a dict {input name: array}; it is read as a stream.
    `calibration` is "max", "percentile" or "auto" (chosen per tensor by measured error). `symmetric` forces all zero
    points to 0. `refinement` names what is done layer by layer after that: "rounding" (second-order weight rounding)
    and "bias" (correction of the mean error); () for neither, which is quicker. `input_shapes` fixes dynamic
    dimensions; a dynamic batch alone becomes 1. Raises ModelError, SampleError or ConfigError.
    """
    clean = frontend.prepare(frontend.load(model), input_shapes)
    return ptq.quantize(
        clean, samples, calibration=calibration, symmetric=symmetric, refinement=refinement, progress=progress
    )


def compile(model: str | PathLike[str] | bytes | onnx.ModelProto, *, march: str = "nash-e") -> Executable:
    """Compiles a QDQ model, of this or another tool, to an executable for the target profile `march`.

    The same model and options give the same bytes. Raises ModelError for a model that is not quantised or is damaged,
    UnsupportedError naming the node that has no place on the BPU, ConfigError for an unknown march.
    """
    target = profile(march)
    graph = lower.lower(frontend.prepare_qdq(frontend.load(model)))
    return Executable.from_bytes(schedule.schedule(graph, target))


def build(
    model: str | PathLike[str] | bytes | onnx.ModelProto,
    samples: Iterable[Sample],
    *,
    march: str = "nash-e",
    calibration: str = "auto",
    symmetric: bool = False,
    refinement: Collection[str] = ptq.REFINEMENTS,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    progress: Progress | None = None,
) -> Executable:
    """Quantises and compiles: `compile(quantize(model, samples, ...), march=march)`."""
    profile(march)  # a wrong march is said before the long work
    qdq = quantize(
        model,
        samples,
        calibration=calibration,
        symmetric=symmetric,
        refinement=refinement,
        input_shapes=input_shapes,
        progress=progress,
    )
    return compile(qdq, march=march)


def load(path: str | PathLike[str]) -> Executable:
    """Reads and verifies a .bpux file; ExecutableError says what is wrong with a bad one."""
    return Executable.load(path)
