"""The files of a build, named as users of the vendor's toolchain know them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

from openbpu.files import write_file
from openbpu.workflow.stages import log

STAGE_RECORD = "openbpu.stage"  # metadata of an ONNX artefact: which it is


class Folder:
    """Where a build writes; each file whole or not at all."""

    def __init__(self, path: Path, prefix: str) -> None:
        self.path, self.prefix = path, prefix
        self.written: list[Path] = []

    def file(self, suffix: str) -> Path:
        """The path of one artefact: "quantized_model.onnx" or ".bpux"."""
        return self.path / (f"{self.prefix}{suffix}" if suffix.startswith(".") else f"{self.prefix}_{suffix}")

    def write(self, path: Path, data: bytes) -> Path:
        """Writes one file. Raises OpenBpuError naming it."""
        write_file(path, data)
        self.written.append(path)
        log.info("wrote %s (%d bytes)", path, len(data))
        return path

    def model(self, stage: str, model: onnx.ModelProto) -> Path:
        """Writes the ONNX artefact of a stage, which says in its metadata what it is."""
        record = next((p for p in model.metadata_props if p.key == STAGE_RECORD), None)
        record = record or model.metadata_props.add(key=STAGE_RECORD)
        record.value = stage
        return self.write(self.file(f"{stage}_model.onnx"), model.SerializeToString(deterministic=True))

    def samples(self, name: str, arrays: Sequence[np.ndarray]) -> None:
        """Writes the samples of an input as they were fed: calibration_data/INPUT/00000000.npy."""
        import io

        folder = self.path / "calibration_data" / re.sub(r"[^\w.-]", "_", name)
        for index, array in enumerate(arrays):
            buffer = io.BytesIO()
            np.save(buffer, array)
            self.write(folder / f"{index:08}.npy", buffer.getvalue())


def stage_of(model: onnx.ModelProto) -> str:
    """Which artefact an ONNX model is; "" if none."""
    return next((p.value for p in model.metadata_props if p.key == STAGE_RECORD), "")


def calibrated(clean: onnx.ModelProto, qdq: onnx.ModelProto) -> onnx.ModelProto:
    """The QDQ model with float weights: activations carry their ranges, weights are those of the clean model."""
    model = onnx.ModelProto()
    model.CopyFrom(qdq)
    graph = model.graph
    constants = {t.name for t in graph.initializer}
    folded = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in constants}
    floats = {t.name: t for t in clean.graph.initializer}
    given = {node.name: node for node in clean.graph.node}
    added: dict[str, onnx.TensorProto] = {}
    for node in graph.node:
        source = given.get(node.name)
        for place, name in enumerate(node.input):
            if source is not None and name in folded and place < len(source.input) and source.input[place] in floats:
                original = source.input[place]
                node.input[place] = original
                if original not in constants:
                    added[original] = floats[original]
    graph.initializer.extend(added.values())
    used = {name for node in graph.node for name in node.input}
    kept = [n for n in graph.node if not (n.op_type == "DequantizeLinear" and n.output[0] in folded - used)]
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in kept for name in node.input} | {o.name for o in graph.output}
    tensors = [t for t in graph.initializer if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    return model
