"""Chooses parameters of activations by what they do to the outputs of the operators that read them.

A tensor's own error misleads: clipping outliers makes it smaller and may ruin the network, or may cost nothing because
a norm or a clamp follows. Each candidate is therefore tried on the float model: the tensor quantised, all else float,
and the error of what its consumers make of it, up to the next quantised tensors, relative to their energy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx

from openbpu.ir.quant import QuantParams
from openbpu.ptq.blocks import Block, BlockRunner, blocks
from openbpu.ptq.calibration import PORTION_BYTES, Progress, Runner, tensor_bytes
from openbpu.ptq.placement import Placement
from openbpu.ptq.samples import SampleStream
from openbpu.ptq.view import ModelView

_SAMPLES = 16


def errors(
    model: onnx.ModelProto,
    samples: SampleStream,
    placement: Placement,
    candidates: Mapping[str, Sequence[QuantParams]],
    progress: Progress,
) -> dict[str, np.ndarray]:
    """By group, the relative error that each of its candidates leaves in the outputs of its consumers, summed.

    Groups without a consumer that computes (outputs of the model, layout operators only) are missing. Uses at most 16
    samples from all over the stream; memory is bounded by the tensors of one sample.
    """
    view, infos = ModelView(model), {}
    for info in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        infos[info.name] = info
    wanted = [b for b in blocks(model, placement.groups) if _judged(b, placement, candidates)]
    totals: dict[str, np.ndarray] = {}
    done = 0
    for portion in _portions(wanted, {name: tensor_bytes(info) for name, info in infos.items()}):
        trials = [_Trial(model, view, b, name, candidates[placement.groups[name]])
                  for b in portion for name in _judged(b, placement, candidates)]  # fmt: skip
        tensors = dict.fromkeys(name for b in portion for name in (*b.inputs, *b.outputs) if name in infos)
        runner = Runner(model, tensors)
        for feed in samples.spread(_SAMPLES):
            arrays = dict(runner.run(feed))
            for trial in trials:
                trial.add(arrays)
        for trial in trials:
            group = placement.groups[trial.tensor]
            totals[group] = totals.get(group, 0.0) + trial.relative()
        done += len(portion)
        progress("measure ranges", done, len(wanted))
    return totals


def _judged(block: Block, placement: Placement, candidates: Mapping[str, Sequence[QuantParams]]) -> list[str]:
    """The inputs of a block whose candidates it can judge: it makes something else of them."""
    made = {placement.groups.get(name) for name in block.outputs}
    groups = placement.groups
    return [n for n in block.inputs if len(candidates.get(groups.get(n, ""), ())) > 1 and groups[n] not in made]


class _Trial:
    """One input of one block with all candidates for it."""

    def __init__(
        self, model: onnx.ModelProto, view: ModelView, block: Block, tensor: str, candidates: Sequence[QuantParams]
    ) -> None:
        self.tensor, self.block, self.candidates = tensor, block, candidates
        self.runner = BlockRunner(model, view, block, tensor)
        self.noise = np.zeros((len(candidates), len(block.outputs)))
        self.signal = np.zeros(len(block.outputs))

    def add(self, arrays: Mapping[str, np.ndarray]) -> None:
        inputs = {name: arrays[name] for name in self.block.inputs}
        floats = [arrays[name].astype(np.float64, copy=False) for name in self.block.outputs]
        self.signal += [float(np.vdot(y, y)) for y in floats]
        for index, quant in enumerate(self.candidates):
            for k, (y, found) in enumerate(zip(floats, self.runner.run(inputs, quant.s, quant.z), strict=True)):
                difference = (found - y).ravel()
                self.noise[index, k] += float(difference @ difference)

    def relative(self) -> np.ndarray:
        return np.asarray((self.noise / np.maximum(self.signal, 1e-30)).sum(axis=1))


def _portions(wanted: Sequence[Block], sizes: Mapping[str, int]) -> Iterator[list[Block]]:
    """Blocks whose tensors are held together."""
    portion: list[Block] = []
    room = PORTION_BYTES
    for block in wanted:
        need = sum(sizes.get(name, 0) for name in (*block.inputs, *block.outputs))
        if portion and need > room:
            yield portion
            portion, room = [], PORTION_BYTES
        portion.append(block)
        room -= need
    if portion:
        yield portion
