"""Stages of a build on the same inputs, compared output by output."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from openbpu.analyze.difference import Difference
from openbpu.artefacts.feeds import Inputs
from openbpu.artefacts.stages import PROGRAMS, Scale, Stage, Tensor, stage
from openbpu.errors import ConfigError, SampleError
from openbpu.evaluation.runners import EXECUTABLE, FLOAT, Outputs

MODES = ("auto", "cosine", "consistency")
AGAINST = ("first", "previous")
DIGITS = 5
Progress = Callable[[str, int, int], None]


@dataclass
class Row:
    """An output of a stage against that of another, over all samples."""

    stage: str
    reference: str
    output: str
    shape: tuple[int, ...]
    mode: str  # cosine or consistency
    cosine: float = 1.0
    largest: float = 0.0  # absolute difference
    steps: float | None = None  # the same in steps of the quantised output
    equal: float = 1.0  # share of the values that are the same
    ok: bool = True

    @property
    def verdict(self) -> str:
        """For tables."""
        if self.mode == "cosine":
            return "" if self.ok else "below"
        return "consistent" if self.ok else "DIFFERS"


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found."""

    stages: Sequence[tuple[str, str]]  # name, kind
    rows: Sequence[Row]
    samples: int
    seed: int | None  # of random inputs
    digits: int | None  # of consistency; None: the same bits
    fail_under: float | None
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether every row is."""
        return all(row.ok for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """For programs; cosines that are no number are null."""
        rows = [asdict(row) for row in self.rows]
        for row in rows:
            row |= {k: v if math.isfinite(v) else None for k, v in row.items() if isinstance(v, float)}
        return asdict(self) | {"rows": rows, "ok": self.ok}

    def to_json(self) -> str:
        """Equal reports give equal text."""
        return json.dumps(self.to_dict(), indent=2)


def verify(
    models: Sequence[str | PathLike[str]],
    samples: Iterable[Any] | None = None,
    *,
    sources: Sequence[str] = (),
    mode: str = "auto",
    against: str = "first",
    digits: int | None = DIGITS,
    fail_under: float | None = None,
    entry: str = "",
    seed: int = 0,
    count: int = 1,
    progress: Progress | None = None,
) -> VerifyReport:
    """Runs files of one build (ONNX of any stage, .bpux) on the same inputs and compares their outputs.

    `samples` yields arrays or dicts {input: array}, or `sources` names files ("[NAME=]FILE": .npy, .npz, .bin,
    photographs, folders); without either `count` random samples of `seed`. Each stage is compared `against` the "first"
    or the "previous" one: `mode` "consistency" wants |a - b| <= 1.5 * 10**-digits * max(1, max |reference|), or with
    digits None the same bits; "cosine" measures alone, and fails below `fail_under`; "auto" is consistency between
    float models and between programs (there the same bits), else cosine. Outputs belong together by name, else in
    order; integers of a known scale are compared as reals. Raises ConfigError, SampleError, and what reading and
    running raise.
    """
    _check(models, mode, against)
    stages = [stage(model, entry if Path(model).suffix in PROGRAMS else "") for model in models]
    inputs = Inputs(stages)
    drawn = samples is None and not sources
    stream = samples if samples is not None else inputs.read(sources) if sources else inputs.random(seed, count)
    pairs = [(k, 0 if against == "first" else k - 1) for k in range(1, len(stages))]
    comparisons = [c for k, r in pairs for c in _comparisons(stages[k], stages[r], k, r, mode, digits)]
    done = 0
    for sample in stream:
        results = []
        for number, (one, feed) in enumerate(zip(stages, inputs.feeds(sample), strict=True)):
            results.append(next(one.runnable.run([feed]))[0])
            if progress is not None:
                progress("stages", done * len(stages) + number + 1, 0)
        for comparison in comparisons:
            comparison.add(results)
        done += 1
    if not done:
        raise SampleError("at least one sample", where="inputs", seen="none")
    rows = [c.row(fail_under) for c in comparisons]
    kinds = [(s.name, s.kind) for s in stages]
    return VerifyReport(kinds, rows, done, seed if drawn else None, digits, fail_under, inputs.note)


def _check(models: Sequence[Any], mode: str, against: str) -> None:
    if isinstance(models, str | PathLike) or len(models) < 2:
        raise ConfigError("two files or more", where="models", seen=models if isinstance(models, str) else len(models))
    for key, value, known in (("mode", mode, MODES), ("against", against, AGAINST)):
        if value not in known:
            raise ConfigError(f"one of {', '.join(known)}", where=key, seen=value)


@dataclass
class _Comparison:
    """One output of two stages, sample by sample."""

    stages: tuple[int, int]  # the compared one, the reference
    outputs: tuple[Tensor, Tensor]
    names: tuple[str, str]
    mode: str
    digits: int | None
    difference: Difference = field(default_factory=Difference)
    worst: float = 1.0
    same: int = 0
    consistent: bool = True
    shape: tuple[int, ...] = ()
    finite: bool = True

    def add(self, results: Sequence[Outputs]) -> None:
        """Compares one sample. Raises SampleError if shapes differ."""
        levels = tuple(results[k][t.name] for k, t in zip(self.stages, self.outputs, strict=True))
        given, wanted = (_reals(x, t) for x, t in zip(levels, self.outputs, strict=True))
        for name, array, tensor in zip(self.names, levels, self.outputs, strict=True):
            if array.dtype.kind in "iu" and tensor.scale is None and any(x.dtype.kind == "f" for x in levels):
                raise SampleError(
                    "the output holds integers of which the file does not tell the scale",
                    where=f"{name}, output {tensor.name}",
                    seen=array.dtype,
                    remedy="compare with stages that have integers there, or keep Dequantize at the outputs",
                )
        if given.shape != wanted.shape:
            raise SampleError(
                f"outputs of stages have the same shape, and {self.names[1]} has {wanted.shape}",
                where=f"{self.names[0]}, output {self.outputs[0].name}",
                seen=f"shape {given.shape}",
                remedy="where a build took nodes off the outputs, compare from the optimized_float model on",
            )
        self.shape = given.shape
        equal = (given == wanted) | (np.isnan(given) & np.isnan(wanted))
        self.same += int(equal.sum())
        alike = equal.all()
        one = Difference()
        with np.errstate(invalid="ignore"):
            one.add(wanted, given)
            self.difference.add(wanted, given)
        finite = math.isfinite(one.noise)
        cosine = one.cosine if finite else 1.0 if alike else math.nan
        self.worst = cosine if math.isnan(cosine) or cosine < self.worst else self.worst
        self.finite = self.finite and (finite or bool(alike))
        if self.digits is None:
            self.consistent = self.consistent and bool(alike)
        else:
            reach = 1.5 * 10.0**-self.digits * max(1.0, float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)))
            with np.errstate(invalid="ignore"):
                self.consistent = self.consistent and bool((equal | (np.abs(given - wanted) <= reach)).all())

    def row(self, fail_under: float | None) -> Row:
        """What was found."""
        scale = next((t.scale or t.steps for t in self.outputs if t.scale or t.steps), None)
        below = fail_under is not None and not self.worst >= fail_under
        largest = self.difference.largest if self.finite else math.inf
        return Row(
            *self.names,
            output=self.outputs[1].name,
            shape=self.shape,
            mode=self.mode,
            cosine=self.worst,
            largest=largest,
            steps=largest / scale.scale if scale is not None else None,
            equal=self.same / max(self.difference.elements, 1),
            ok=not below and (self.mode == "cosine" or self.consistent),
        )


def _comparisons(given: Stage, wanted: Stage, k: int, r: int, mode: str, digits: int | None) -> list[_Comparison]:
    exact = digits
    if mode == "auto":
        alike = given.kind == wanted.kind and given.kind in (FLOAT, EXECUTABLE)
        mode = "consistency" if alike else "cosine"
        exact = None if given.kind == EXECUTABLE else digits
    names = (given.name, wanted.name)
    return [_Comparison((k, r), pair, names, mode, exact) for pair in _paired(given, wanted)]


def _paired(given: Stage, wanted: Stage) -> list[tuple[Tensor, Tensor]]:
    """Outputs by name, else in order."""
    mine: Mapping[str, Tensor] = {t.name: t for t in given.outputs}
    if all(t.name in mine for t in wanted.outputs):  # layer_out_dump adds outputs
        return [(mine[t.name], t) for t in wanted.outputs]
    if len(given.outputs) != len(wanted.outputs):
        theirs = ", ".join(t.name for t in wanted.outputs)
        raise ConfigError(
            f"outputs as those of {wanted.name} ({theirs}), by name or in order", where=given.name, seen=", ".join(mine)
        )
    return list(zip(given.outputs, wanted.outputs, strict=True))


def _reals(x: np.ndarray, tensor: Tensor) -> np.ndarray:
    scale: Scale | None = tensor.scale
    return scale.reals(x) if scale is not None and x.dtype.kind in "iu" else x.astype(np.float64)
