"""The step `reconstruction`: which samples teach and which judge, and whether the whole model gains. Without torch."""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Sequence

import numpy as np
import onnx

from openbpu.errors import ConfigError, ModelWarning, SampleWarning
from openbpu.ir.onnx_graph import shapes_of
from openbpu.ptq.calibration import Progress
from openbpu.ptq.placement import Placement
from openbpu.ptq.reconstruction.spans import Span, spans
from openbpu.ptq.samples import SampleStream
from openbpu.ptq.whole import SMALLEST, Whole, confirmed, loss_of

NAME = "reconstruction"
_FEWEST = 12  # samples, half of which judge
_FEWEST_HELD, _MOST_HELD = 6, 16
_MOST = 64
_BYTES = 512 << 20  # of tensors between spans


def check() -> None:
    """Raises ConfigError if torch is missing."""
    if importlib.util.find_spec("torch") is None:
        raise ConfigError(
            f"the step '{NAME}' learns with PyTorch",
            where="refinement",
            seen="no package torch",
            remedy="pip install 'openbpu[qat]', or leave the step out",
        )


def taken(
    model: onnx.ModelProto, qdq: onnx.ModelProto, placement: Placement, samples: SampleStream, progress: Progress
) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The QDQ model after the step and what is to be recorded of it; nothing if the model is as it was.

    Warns of spans that could not be learned, and of too few samples.
    """
    from openbpu.ptq.reconstruction.walk import Reconstruction

    most = min(_MOST, max(_BYTES // max(_bytes_between(model, spans(model, placement.groups)), 1), _FEWEST))
    if samples.count < _FEWEST:
        rule = f"{NAME} learns from {_FEWEST} samples or more; it was left out"
        warnings.warn(f"{rule}: {samples.count} are given", SampleWarning, stacklevel=3)
        return qdq, {}
    held = samples.places(max(_FEWEST_HELD, min(_MOST_HELD, most // 3, samples.count // 5)))
    wanted = sorted({*held, *samples.places(most - len(held), without=held)})
    others = {*range(samples.count)} - {*wanted}
    feeds = list(samples.spread(len(wanted), without=others))
    judging = [wanted.index(k) for k in held]
    outcome = Reconstruction(model, qdq, placement, feeds, judging, progress).run()
    if outcome.left:
        reasons = "; ".join(f"{title} ({why})" for title, why in outcome.left.items())
        warnings.warn(f"{NAME} left parts of the model as they were: {reasons}", ModelWarning, stacklevel=3)
    if not outcome.learned:
        return qdq, {}
    whole = Whole(model, samples, {*range(samples.count)} - {*held})
    if not _better(whole.errors(outcome.model), whole.errors(qdq)):
        return qdq, {}
    parts = len(outcome.learned) + len(outcome.unchanged) + len(outcome.left)
    return outcome.model, {NAME: f"{len(outcome.learned)} of {parts} spans"}


def _better(errors: np.ndarray, before: np.ndarray) -> bool:
    """Whether errors, sample by sample, are smaller by more than chance, of the worst sample and of the typical one."""
    if not len(errors) or not confirmed(loss_of(errors), loss_of(before)):
        return False
    gains = np.log((before + SMALLEST) / (errors + SMALLEST))
    return bool(gains.mean() > gains.std(ddof=1) / math.sqrt(len(gains)))


def _bytes_between(model: onnx.ModelProto, found: Sequence[Span]) -> int:
    """The most that one sample holds in front of a span and behind it, in the float and in the quantised model."""
    shapes, most, live = shapes_of(model.graph), 0, {i.name for i in model.graph.input}
    for k, span in enumerate(found):
        live |= {*span.outputs}
        most = max(most, sum(math.prod(shapes.get(name, ())) for name in live))
        read = {name for later in found[k + 1 :] for name in later.inputs}
        live &= read
    return 2 * 4 * most
