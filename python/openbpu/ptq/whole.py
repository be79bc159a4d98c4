"""Compares quantised forms of a model as wholes: all tensors quantised, on samples that did not decide before.

What is chosen tensor by tensor, each alone quantised and on few samples, may not hold for the network: errors meet, and
other samples reach other values. It is therefore tried here beside simpler choices, and given up if the whole is closer
to float with one of these.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property, partial

import numpy as np
import onnx

from openbpu.ir.onnx_graph import shapes_of
from openbpu.ptq.blocks import energy, session
from openbpu.ptq.calibration import Runner, tensor_bytes
from openbpu.ptq.operators import SATURATING, SHARING
from openbpu.ptq.output_error import comparable
from openbpu.ptq.parallel import side_by_side
from openbpu.ptq.samples import Feed, SampleStream
from openbpu.ptq.stretches import FEWEST
from openbpu.ptq.view import ModelView

_MOST, _FEWEST = 16, 4  # samples
_ENOUGH = 6  # samples besides those that decided: with fewer, all are looked at
_BYTES = 256 << 20  # of samples and float results that are kept
_LEAST_GAIN = 0.01  # nepers
SMALLEST = 1e-10  # relative error that counts as none


def loss_of(errors: np.ndarray) -> float:
    """One number for the relative errors of all samples, in nepers: three parts their mean, one part the typical one.

    The mean is that of the one or two worst samples; the mean of the logarithms hardly sees these.
    """
    return float(0.75 * np.log(errors.mean() + SMALLEST) + 0.25 * np.log(errors + SMALLEST).mean())


def confirmed(loss: float, before: float) -> bool:
    """Whether a change of a model lessens its loss by more than chance."""
    return loss < before - _LEAST_GAIN


class Whole:
    """A float model on some samples, beside which quantised forms of it are judged."""

    def __init__(self, model: onnx.ModelProto, samples: SampleStream, decided: Collection[int] = ()) -> None:
        """`decided`: indices of samples that chose between the forms. Nothing is run before the first form."""
        self._model, self._samples, self._decided = model, samples, decided
        self._names = _judged(model, min(samples.count, _MOST))

    @property
    def tells(self) -> bool:
        """Whether there is anything by which forms can be judged."""
        return bool(self._names)

    def loss(self, form: onnx.ModelProto) -> float:
        """How far a quantised form is from the float model; only differences between forms mean something."""
        loss = loss_of(self.errors(form)) if self.tells else 0.0
        return np.inf if np.isnan(loss) else loss

    def errors(self, form: onnx.ModelProto) -> np.ndarray:
        """The relative error of a form for each sample; empty if nothing can be judged."""
        if not self.tells:
            return np.zeros(0)
        feeds, results, signal = self._float
        runner = session(_fetching(form, self._names))

        def error(feed: Feed, floats: list[np.ndarray]) -> float:
            noise = [energy(y - x) for y, x in zip(runner.run(self._names, feed), floats, strict=True)]
            return float((np.array(noise) / signal).sum())

        with side_by_side() as run_all:
            return np.array(run_all(partial(error, *pair) for pair in zip(feeds, results, strict=True)))

    @cached_property
    def _float(self) -> tuple[list[Feed], list[list[np.ndarray]], np.ndarray]:
        """The samples, what the float model makes of each, and the mean energy of each of its judged tensors."""
        shapes, samples = shapes_of(self._model.graph), self._samples
        sizes = [tensor_bytes(i) for i in self._model.graph.input]
        sizes += [4 * int(np.prod(shapes[name], dtype=np.int64)) for name in self._names]
        most = int(np.clip(_BYTES // max(sum(sizes), 1), _FEWEST, _MOST))
        without = self._decided if samples.count - len(self._decided) >= _ENOUGH else ()
        feeds = list(samples.spread(most, without=without))
        runner, results = Runner(self._model, self._names), []
        for feed in feeds:
            found = dict(runner.run(feed))
            results.append([found[name] for name in self._names])
        signal = np.mean([[energy(y) for y in floats] for floats in results], axis=0)
        return feeds, results, np.maximum(signal, 1e-30)


def _judged(model: onnx.ModelProto, samples: int) -> list[str]:
    """The float outputs; if they are a handful of numbers that saturate, what is saturated as well.

    Probabilities of two classes are 0 and 1 for most samples, whatever was lost on the way to them.
    """
    view, shapes, found = ModelView(model), shapes_of(model.graph), dict[str, None]()
    fixed = {info.name for info in (*model.graph.value_info, *model.graph.output) if comparable(info)}
    outputs = [str(output.name) for output in model.graph.output if output.name in fixed]
    few = samples * sum(int(np.prod(shapes[name], dtype=np.int64)) for name in outputs) < FEWEST
    for name in outputs:
        found[name] = None
        if not few:
            continue
        node = view.producers.get(name)
        while node is not None and node.op_type in SHARING:
            node = view.producers.get(node.input[0])
        if node is not None and node.op_type in SATURATING and node.input[0] in view.producers.keys() & fixed:
            found[str(node.input[0])] = None
    return list(found)


def _fetching(form: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """The form with these tensors as outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(form)
    present = {output.name for output in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    return copy
