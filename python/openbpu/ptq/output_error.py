"""Chooses parameters of activations by what they do to the outputs of the operators that read them.

A tensor's own error misleads: clipping outliers makes it smaller and may ruin the network, or may cost nothing because
a norm or a clamp follows. Each candidate is therefore tried on the float model: the tensor quantised, all else float,
and the error of the model's outputs, relative to their energy. Where that would take too long, the error some operators
further on: behind a single convolution it says little, because what a layer does to large values matters less to the
network than what it does to those that the next activation keeps apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import onnx

from openbpu.ir.onnx_graph import reads, shapes_of
from openbpu.ir.quant import QuantParams
from openbpu.ptq.blocks import Block, BlockRunner, blocks, energy, joined, noises
from openbpu.ptq.calibration import PORTION_BYTES, Progress, Runner, tensor_bytes
from openbpu.ptq.operators import SHARING, WEIGHTED
from openbpu.ptq.parallel import RunAll, side_by_side
from openbpu.ptq.placement import Placement
from openbpu.ptq.samples import SampleStream
from openbpu.ptq.view import ModelView, channel_axis

SAMPLES = 4
FEWEST = 2000  # numbers that outputs must have together to tell candidates apart
_SESSIONS = 8  # at the same time
_WEIGHT_BYTES = 128 << 20  # that sessions hold together, each its own copy
# How many blocks that compute follow the tensor: to the outputs if the products fit the budget, else the first that do.
_DEPTHS = (10**6, 12, 6, 3, 1)
_BUDGET = 2e12  # multiplications of all trials together
_LARGEST_BYTES = 1 << 30  # of weights behind one tensor: its session has them thrice while it is made


def errors(
    model: onnx.ModelProto,
    samples: SampleStream,
    placement: Placement,
    candidates: Mapping[str, Sequence[QuantParams]],
    progress: Progress,
) -> dict[str, np.ndarray]:
    """By group, the relative error that each of its candidates leaves some operators further on, summed over outputs.

    Groups that nothing reads are missing. Uses at most 4 samples from all over the stream; memory is bounded by the
    tensors of one sample.
    """
    view = ModelView(model)
    infos = {i.name: i for i in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
    sizes = {name: tensor_bytes(info) for name, info in infos.items()}
    wanted = {group: len(found) for group, found in candidates.items() if len(found) > 1}
    stretches = [
        (tensor, block)
        for tensor, block in _affordable(model, view, placement, wanted)
        if all(name in infos for name in (*block.inputs, *block.outputs))
    ]
    feeds = list(samples.spread(SAMPLES)) if stretches else []
    totals: dict[str, np.ndarray] = {}
    done = 0
    weights = {name: array.nbytes for name, array in view.constants.items()}

    def measured(portion: Sequence[tuple[str, Block]], run_all: RunAll) -> list[_Trial]:
        tensors = dict.fromkeys(name for _, b in portion for name in (*b.inputs, *b.outputs) if name in infos)
        runner, make = Runner(model, tensors), partial(_Trial, model, view, placement, candidates)
        trials: list[_Trial] = run_all(partial(make, tensor, block) for tensor, block in portion)
        for feed in feeds:
            arrays = dict(runner.run(feed))
            run_all(call for trial in trials for call in trial.calls(arrays))
        return [trial for trial in trials if trial.kept]  # else nothing but outputs whose shapes depend on values

    with side_by_side() as run_all:
        for portion in _portions(stretches, sizes, weights):
            for group, relative in [(placement.groups[t.tensor], t.relative()) for t in measured(portion, run_all)]:
                totals[group] = totals.get(group, 0.0) + relative
            done += len(portion)
            progress("measure ranges", done, len(stretches))
    return totals


def _affordable(
    model: onnx.ModelProto, view: ModelView, placement: Placement, wanted: Mapping[str, int]
) -> list[tuple[str, Block]]:
    """The stretches of the greatest depth whose runs, for so many candidates of each group, fit budget and memory."""
    shapes, weights = shapes_of(model.graph), {name: array.nbytes for name, array in view.constants.items()}
    cost = {node.output[0]: multiplications(view, node, shapes) for node in model.graph.node}
    found: list[tuple[str, Block]] = []
    for depth in _DEPTHS:
        found = _stretches(model, view, placement, wanted, depth)
        runs = ((wanted[placement.groups[tensor]], block) for tensor, block in found)
        work = SAMPLES * sum(count * sum(cost[n.output[0]] for n in block.nodes) for count, block in runs)
        if work <= _BUDGET and all(_held(block, weights) <= _LARGEST_BYTES for _, block in found):
            break
    return found


def multiplications(view: ModelView, node: onnx.NodeProto, shapes: Mapping[str, Sequence[int]]) -> int:
    """Of one run of a node; of other operators than products the elements of the result."""
    elements = int(np.prod(shapes.get(node.output[0], ()), dtype=np.int64))
    if node.op_type not in WEIGHTED:
        return elements
    weight = view.constants.get(node.input[1])
    if weight is None:
        return elements * int(shapes.get(node.input[0], (1,))[-1])
    if node.op_type == "ConvTranspose":
        return int(np.prod(shapes.get(node.input[0], ()), dtype=np.int64)) * int(weight[0].size)
    return elements * int(weight.size) // int(weight.shape[channel_axis(node)])


def _stretches(
    model: onnx.ModelProto, view: ModelView, placement: Placement, wanted: Container[str], most: int
) -> list[tuple[str, Block]]:
    """Of each tensor in the groups `wanted` what follows it, `most` blocks that compute deep.

    Of an int16 tensor what follows the readers of its int8 copy.
    """
    found, shapes = blocks(model, placement.groups), shapes_of(model.graph)
    readers: dict[str, list[int]] = defaultdict(list)
    for index, block in enumerate(found):
        for name in block.inputs:
            readers[name].append(index)
    passing = {i for i, b in enumerate(found) if all(n.op_type in SHARING for n in b.nodes)}
    made_by = {name: index for index, block in enumerate(found) for name in block.outputs}
    result = []
    for tensor, group in placement.groups.items():
        if group not in wanted:
            continue
        wide = group in placement.wide
        if (
            not wide
            and made_by.get(tensor, -1) in passing
            and any(placement.groups.get(name) == group for name in found[made_by[tensor]].inputs)
        ):
            continue  # judged where it comes from
        reached: dict[int, int] = {}
        copied = {index for index in readers[tensor] if _reads_any(found[index], tensor, placement.narrow)}
        front = [(index, 1) for index in (copied if wide else readers[tensor])]
        while front:
            index, depth = front.pop()
            depth -= index in passing
            if depth > most or reached.get(index, most + 1) <= depth:
                continue
            reached[index] = depth
            front += [(after, depth + 1) for name in found[index].outputs for after in readers[name]]
        if reached:
            result.append((tensor, _telling(view, [found[index] for index in sorted(reached)], shapes)))
    return result


def _reads_any(block: Block, tensor: str, readers: Container[str]) -> bool:
    """Whether one of these nodes reads the tensor in this block."""
    return any(node.name in readers and tensor in reads(node) for node in block.nodes)


def _telling(view: ModelView, parts: Sequence[Block], shapes: Mapping[str, Sequence[int]]) -> Block:
    """The parts as one; if their outputs are a handful of numbers, what lies before is looked at as well."""
    whole = joined(view, parts)
    if SAMPLES * sum(int(np.prod(shapes.get(name, ()))) for name in whole.outputs) >= FEWEST:
        return whole
    return replace(whole, outputs=tuple(dict.fromkeys(name for part in parts for name in part.outputs)))


class _Trial:
    """One input of one block with all candidates for it."""

    def __init__(
        self,
        model: onnx.ModelProto,
        view: ModelView,
        placement: Placement,
        candidates: Mapping[str, Sequence[QuantParams]],
        tensor: str,
        block: Block,
    ) -> None:
        self.tensor, self.block, self.candidates = tensor, block, candidates[placement.groups[tensor]]
        readers = placement.narrow if placement.groups[tensor] in placement.wide else None
        self.runner = BlockRunner(model, view, block, tensor, readers)
        infos = {i.name: i for i in (*model.graph.value_info, *model.graph.output)}
        self.kept = [k for k, name in enumerate(block.outputs) if comparable(infos[name])]
        self.noise = np.zeros((len(self.candidates), len(self.kept)))
        self.signal = np.zeros(len(self.kept))

    def calls(self, arrays: Mapping[str, np.ndarray]) -> list[Callable[[], None]]:
        """What adds the noise of a sample, candidate by candidate; they may run at the same time."""
        inputs = {name: arrays[name] for name in self.block.inputs}
        floats = [arrays[self.block.outputs[k]] for k in self.kept]
        self.signal += [energy(y) for y in floats]

        def call(index: int) -> None:
            quant = self.candidates[index]
            results = self.runner.run(inputs, quant.s, quant.z)
            self.noise[index] += noises([results[place] for place in self.kept], floats)

        return [partial(call, index) for index in range(len(self.candidates))]

    def relative(self) -> np.ndarray:
        return np.asarray((self.noise / np.maximum(self.signal, 1e-30)).sum(axis=1))


def _portions(
    stretches: Sequence[tuple[str, Block]], sizes: Mapping[str, int], weights: Mapping[str, int]
) -> Iterator[list[tuple[str, Block]]]:
    """What is measured together, so that its tensors fit the memory."""
    portion: list[tuple[str, Block]] = []
    names: set[str] = set()
    room = _WEIGHT_BYTES
    for tensor, block in stretches:
        held = _held(block, weights)
        new = {name for name in (*block.inputs, *block.outputs) if name in sizes}
        if portion and (sum(sizes[n] for n in names | new) > PORTION_BYTES or len(portion) >= _SESSIONS or held > room):
            yield portion
            portion, names, room = [], set(), _WEIGHT_BYTES
        portion.append((tensor, block))
        room -= held
        names |= new
    if portion:
        yield portion


def _held(block: Block, weights: Mapping[str, int]) -> int:
    """Bytes of the weights of a block."""
    return sum(weights[name] for name in {n for node in block.nodes for n in node.input} & weights.keys())


def comparable(info: onnx.ValueInfoProto) -> bool:
    """float32, and of a shape that does not depend on values."""
    kind = info.type.tensor_type
    fixed = kind.HasField("shape") and all(d.HasField("dim_value") and d.dim_value > 0 for d in kind.shape.dim)
    return bool(kind.elem_type == onnx.TensorProto.FLOAT and fixed)
