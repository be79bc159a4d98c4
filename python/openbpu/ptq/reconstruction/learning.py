"""Learns a span: Adam on the error of its outputs, judged on samples that taught nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openbpu.ptq.reconstruction.network import Network, stacked
from openbpu.ptq.reconstruction.translation import Untranslated

STEPS = 60
_BATCH, _FEWEST = 8, 2  # samples per step
_ELEMENTS = 8 << 20  # of all tensors of a step: of large feature maps each sample tells more
_RATES = (0.01, 0.004, 0.01)  # of weights (steps), scales (logarithm), biases (mean magnitude); halved as a cosine
_BYTES, _HELD_PER_ELEMENT = 512 << 20, 24  # that gradients may need at a time; what an element costs them
_SHARES = (1.0, 0.5, 0.25)  # of the way from where learning started
_THREADS = 1  # whatever the machine has: sums of floats depend on it


@dataclass(frozen=True)
class Lesson:
    """Inputs of a span in the quantised model and its outputs in the float model, by sample."""

    inputs: Mapping[str, Sequence[np.ndarray]]
    targets: Sequence[Sequence[np.ndarray]]  # by output
    taught: Sequence[int]  # indices of the samples that are learned from
    held: Sequence[int]  # and of those that judge

    def power(self) -> list[float]:
        """The mean square of each output."""
        return [max(float(np.mean([np.mean(np.square(y)) for y in of])), 1e-30) for of in self.targets]


@contextmanager
def repeatable() -> Iterator[None]:
    """Torch with a fixed number of threads and deterministic algorithms; as it was before, afterwards."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(_THREADS)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)


class Teacher:
    """One span, what it shall give, and how many samples of it are run at a time."""

    def __init__(self, network: Network, lesson: Lesson, elements: int) -> None:
        """`elements`: of all tensors of the span for one sample."""
        self.network, self.lesson, self.power = network, lesson, lesson.power()
        self.batch = min(len(lesson.taught), max(_FEWEST, min(_BATCH, _ELEMENTS // max(elements, 1))))
        fitting = _BYTES // (_HELD_PER_ELEMENT * max(elements, 1))
        self.together = max(1, min(fitting, self.batch)) if self._bears_batches() else 1

    def outputs(self, sample: int) -> list[np.ndarray]:
        """What the span gives for one sample, as it stands."""
        with torch.no_grad():
            return [y.numpy() for y in self.network.run(stacked(self.lesson.inputs, [sample]))]

    def errors(self, indices: Sequence[int]) -> np.ndarray:
        """The relative error of the outputs for each sample."""
        found = []
        with torch.no_grad():
            for k in indices:
                outputs = self.network.run(stacked(self.lesson.inputs, [k]))
                found.append(sum(float(x) for x in self._differences(outputs, [k])))
        return np.array(found)

    def learn(self, steps: int) -> tuple[float, float]:
        """Learns; gives the error of the samples held back before and after, and takes the better of both."""
        before, start = float(self.errors(self.lesson.held).mean()), self._state()
        self._descend(steps)
        end = self._state()
        best, kept = before, start
        for share in _SHARES:
            state = [a.lerp(b, share) for a, b in zip(start, end, strict=True)]
            self._restore(state)
            error = float(self.errors(self.lesson.held).mean())
            if error < best:
                best, kept = error, state
        self._restore(kept)
        return before, best

    def _descend(self, steps: int) -> None:
        network, (weights, scales, biases) = self.network, _RATES
        rates = [weights] * len(network.weights) + [scales] * len(network.factors) + [biases] * len(network.biases)
        groups = [{"params": [p], "lr": rate} for p, rate in zip(network.parameters(), rates, strict=True)]
        optimiser = torch.optim.Adam(groups)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: 0.5 * (1 + math.cos(math.pi * k / steps)))
        draw, waiting = np.random.default_rng(0), list[int]()
        for _ in range(steps):
            while len(waiting) < self.batch:
                waiting += draw.permutation(self.lesson.taught).tolist()
            batch, waiting = sorted(waiting[: self.batch]), waiting[self.batch :]
            optimiser.zero_grad()
            for k in range(0, len(batch), self.together):
                indices = batch[k : k + self.together]
                outputs = network.run(stacked(self.lesson.inputs, indices))
                sum(self._differences(outputs, indices)).backward()
            optimiser.step()
            schedule.step()
            network.confine()

    def _differences(self, outputs: Sequence[Tensor], indices: Sequence[int]) -> list[Tensor]:
        """Of each output the mean square of its error, summed over the samples, over that of the output."""
        found = []
        for y, wanted, power in zip(outputs, self.lesson.targets, self.power, strict=True):
            target = torch.from_numpy(np.concatenate([wanted[k] for k in indices]))
            found.append((y - target).square().mean() * (len(indices) / power))
        return found

    def _bears_batches(self) -> bool:
        """Whether samples may lie along the batch: tried out."""
        arrays = [found[0] for found in (*self.lesson.inputs.values(), *self.lesson.targets)]
        if any(not x.ndim or x.shape[0] != 1 for x in arrays) or len(self.lesson.taught) < 2:
            return False
        pair = list(self.lesson.taught[:2])
        with torch.no_grad():
            single = [self.network.run(stacked(self.lesson.inputs, [k])) for k in pair]
            try:
                both = self.network.run(stacked(self.lesson.inputs, pair))
            except (Untranslated, RuntimeError):
                return False
        for k, y in enumerate(both):
            wanted = torch.cat([of[k] for of in single])
            if y.shape != wanted.shape or (y - wanted).square().mean() > 1e-4 * wanted.square().mean():
                return False
        return True

    def _state(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.network.parameters()]

    @torch.no_grad()
    def _restore(self, state: Sequence[Tensor]) -> None:
        for p, value in zip(self.network.parameters(), state, strict=True):
            p.copy_(value)
