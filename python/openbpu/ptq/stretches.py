"""What follows a tensor of the float model: the blocks by whose outputs its quantisation is judged.

To the outputs of the model; where running all that would take too long, some blocks deep: behind a single convolution
an error says little, because what a layer does to large values matters less to the network than what it does to those
that the next activation keeps apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from openbpu.ir.onnx_graph import reads, shapes_of
from openbpu.ptq.blocks import Block, blocks, joined
from openbpu.ptq.operators import SHARING, WEIGHTED
from openbpu.ptq.placement import Placement
from openbpu.ptq.view import ModelView, channel_axis

SAMPLES = 4
FEWEST = 2000  # numbers that outputs must have together to tell candidates apart
# How many blocks that compute follow the tensor: to the outputs if the products fit the budget, else the first that do.
_DEPTHS = (10**6, 12, 6, 3, 1)
_BUDGET = 2e12  # multiplications of all trials of a round
_LARGEST_BYTES = 1 << 30  # of weights behind one tensor: its session has them thrice while it is made


@dataclass(frozen=True)
class Stretch:
    """A tensor, and what follows it as one block."""

    tensor: str
    block: Block


def affordable(
    model: onnx.ModelProto, view: ModelView, placement: Placement, wanted: Mapping[str, Sequence[int]]
) -> list[Stretch]:
    """The stretches of the greatest depth whose runs fit budget and memory; `wanted`: candidates by group and round."""
    shapes, weights = shapes_of(model.graph), {name: array.nbytes for name, array in view.constants.items()}
    cost = {node.output[0]: multiplications(view, node, shapes) for node in model.graph.node}
    found: list[Stretch] = []
    for depth in _DEPTHS:
        found = stretches(model, view, placement, wanted, depth)
        runs = [(wanted[placement.groups[s.tensor]], sum(cost[n.output[0]] for n in s.block.nodes)) for s in found]
        rounds = zip(*([count * work for count in counts] for counts, work in runs), strict=True)
        if all(SAMPLES * sum(works) <= _BUDGET for works in rounds) and all(
            held(s.block, weights) <= _LARGEST_BYTES for s in found
        ):
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


def stretches(
    model: onnx.ModelProto, view: ModelView, placement: Placement, wanted: Container[str], most: int
) -> list[Stretch]:
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
            result.append(Stretch(tensor, _telling(view, [found[index] for index in sorted(reached)], shapes)))
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


def held(block: Block, weights: Mapping[str, int]) -> int:
    """Bytes of the weights of a block."""
    return sum(weights[name] for name in {n for node in block.nodes for n in node.input} & weights.keys())
