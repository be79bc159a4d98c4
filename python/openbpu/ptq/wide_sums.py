"""Finds sums that 8 bits are too few for: norms read them, and a few channels are far larger than the rest.

Text encoders have one or two channels, and one or two tokens, a hundred times larger than all others, in every sum of
the residual path. A scale that holds them leaves the rest a handful of steps, and the norm behind brings the rest back
to size. Factors cannot help: what a norm reads must keep its proportions. 16 bits do, and cost little: sums and norms
are a small part of the work. What is measured is the norm's own result, with its input in 8 bits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx

from openbpu.ir.quant import QuantParams
from openbpu.ptq.blocks import Block, BlockRunner, Weights, energy
from openbpu.ptq.calibration import Progress, Runner
from openbpu.ptq.operators import NORMALISING
from openbpu.ptq.placement import Placement
from openbpu.ptq.ranges import parameters
from openbpu.ptq.samples import Feed, SampleStream
from openbpu.ptq.view import ModelView

_WORST = 0.002  # noise over signal behind a norm, 27 dB: a network has many, and the noise of all of them adds up
_SHARES = (1.0, 0.7, 0.5, 0.35, 0.25)  # of the extremes: clipping the few may be the better loss
_SAMPLES = 8


def wide_sums(
    model: onnx.ModelProto, samples: SampleStream, placement: Placement, kept: Collection[str], progress: Progress
) -> list[str]:
    """Names of the sums of a clean float model that should be int16, in graph order; none of `kept`.

    A norm that follows reads them as they are (`placement.place`). Uses at most 8 samples from all over the stream.
    """
    view = ModelView(model)
    infos = {i.name for i in (*model.graph.value_info, *model.graph.output)}
    found: dict[str, tuple[str, list[onnx.NodeProto]]] = {}  # name of a sum -> its result, the norms that read it
    for node in model.graph.node:
        total = view.producers.get(node.input[0]) if node.op_type in NORMALISING else None
        if total is None or not _is_sum(view, total, placement) or {total.name, node.name} & {*kept, *placement.cpu}:
            continue
        if {total.output[0], node.output[0]} <= infos:
            found.setdefault(total.name, (str(total.output[0]), []))[1].append(node)
    if not found:
        return []
    if not samples.count:
        for _ in samples:  # once through all of them: it checks and counts them
            pass
    feeds = list(samples.spread(_SAMPLES))
    result = []
    for done, (name, (tensor, norms)) in enumerate(found.items(), 1):
        if _least_loss(model, view, tensor, norms, feeds) > _WORST:
            result.append(name)
        progress("measure sums", done, len(found))
    return result


def _is_sum(view: ModelView, node: onnx.NodeProto, placement: Placement) -> bool:
    """Of two tensors that are quantised; not the bias of a product, not an int16 one."""
    if node.op_type not in ("Add", "Sub") or placement.groups.get(node.output[0]) in {None, *placement.wide}:
        return False
    return all(name in placement.groups for name in node.input)


def _least_loss(
    model: onnx.ModelProto, view: ModelView, tensor: str, norms: Sequence[onnx.NodeProto], feeds: Sequence[Feed]
) -> float:
    """Of the worst norm the relative error of its result with the tensor in 8 bits, of the ranges the best."""
    names = [tensor, *(str(norm.output[0]) for norm in norms)]
    runner = Runner(model, names)
    arrays: list[Mapping[str, np.ndarray]] = [dict(runner.run(feed)) for feed in feeds]
    low, high = (float(f([f(a[tensor], initial=0.0) for a in arrays])) for f in (np.min, np.max))
    ranges = [parameters(low * share, high * share, False) for share in _SHARES]
    return max(min(_loss(model, view, norm, tensor, arrays, quant) for quant in ranges) for norm in norms)


def _loss(
    model: onnx.ModelProto,
    view: ModelView,
    norm: onnx.NodeProto,
    tensor: str,
    arrays: Sequence[Mapping[str, np.ndarray]],
    quant: QuantParams,
) -> float:
    runner = BlockRunner(model, Weights(view.constants), Block((norm,), (tensor,), (norm.output[0],)), tensor)
    noise = signal = 0.0
    for found in arrays:
        wanted = found[norm.output[0]]
        noise += energy(runner.run({tensor: found[tensor]}, quant.s, quant.z)[0] - wanted)
        signal += energy(wanted)
    return noise / max(signal, 1e-30)
