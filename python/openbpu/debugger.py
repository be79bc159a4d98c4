"""Studies of a quantised model beside its float model, as the vendor's debugger has them: figures and plots."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import onnx

from openbpu import frontend
from openbpu.analyze import study_files
from openbpu.analyze.accuracy import AccuracyReport, measure
from openbpu.analyze.studies import (
    KINDS,
    Curve,
    Distribution,
    NodeSensitivity,
    accumulated_error,
    distributions,
    feeds_of,
    node_sensitivity,
    units_of,
)
from openbpu.errors import ConfigError
from openbpu.preprocess.attach import stream
from openbpu.preprocess.recipe import recorded_in

_COSINE = "cosine-similarity"
_WORST = 5  # nodes that are studied if none is named
_STEPS = 16  # mixtures of a sensitivity analysis
Model = str | PathLike[str] | bytes | onnx.ModelProto
Progress = Callable[[str, int, int], None]


class Debugger:
    """A float model, its QDQ form and the first `count` of some samples; each study returns figures or writes files.

    Nodes are operators of the executable, called by the ONNX node that computes most. Metrics are cosine-similarity,
    sqnr (dB), mse, mre (relative to the mean magnitude) and chebyshev (largest error), of the worst output. Raises
    ModelError, SampleError, and ConfigError for unknown nodes, outputs and metrics.
    """

    def __init__(
        self,
        model: Model,
        qdq: Model,
        samples: Iterable[Any],
        *,
        count: int = 4,
        input_shapes: Mapping[str, tuple[int, ...]] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.model, self.qdq = frontend.prepare(frontend.load(model), input_shapes), frontend.load(qdq)
        prepared = stream(samples, recorded_in(self.qdq))
        self.feeds, self.progress = feeds_of(self.model, prepared, count), progress
        self.nodes = [unit.name for unit in units_of(self.model, self.qdq)]

    def sensitivity(
        self, kind: str = "node", metric: str = _COSINE, outputs: Collection[str] = (), nodes: Collection[str] = ()
    ) -> list[NodeSensitivity]:
        """Each node quantised alone, worst first: its inputs ("activation"), its weights ("weight") or both."""
        return node_sensitivity(
            *(self.model, self.qdq, self.feeds),
            kind=kind,
            outputs=outputs,
            nodes=nodes,
            metric=metric,
            progress=self.progress,
        )

    def accumulated(self, metric: str = _COSINE, only: Collection[str] = (), but: Collection[str] = ()) -> list[Curve]:
        """The error behind every node: all quantised, one alone (each of `only`), all but one (each of `but`)."""
        if unknown := {*only, *but} - set(self.nodes):
            raise ConfigError("an operator of the quantised model", where="nodes", seen=", ".join(sorted(unknown)))
        choices = {"all": self.nodes, **{f"only {name}": [name] for name in only}}
        choices |= {f"all but {name}": [n for n in self.nodes if n != name] for name in but}
        return self._curves(choices, metric)

    def distributions(self, nodes: Collection[str] = (), axis: int | None = None) -> list[Distribution]:
        """Values of inputs, outputs and weights, float and quantised; default: of the most sensitive nodes."""
        names = nodes or [x.node for x in self.sensitivity()[:_WORST]]
        return distributions(self.model, self.qdq, self.feeds, names, axis=axis, progress=self.progress)

    def lifting(self, metric: str = _COSINE, threshold: float = 0.999, nodes: Collection[str] = ()) -> list[Curve]:
        """What the outputs gain as more and more of `nodes` stay float, by default of those below the threshold."""
        found = self.sensitivity()
        picked = list(nodes) or [x.node for x in found if x.cosine < threshold] or [x.node for x in found[:_WORST]]
        counts = dict.fromkeys([*range(0, len(picked) + 1, -(-len(picked) // _STEPS)), len(picked)])
        return self._curves({f"{k} float": [n for n in self.nodes if n not in picked[:k]] for k in counts}, metric)

    def report(self) -> AccuracyReport:
        """The accuracy report with the sensitivity of every node."""
        return measure(self.model, self.qdq, self.feeds, self.progress, sensitivity=len(self.feeds))

    def run_all(self, folder: str | PathLike[str], metric: str = _COSINE, threshold: float = 0.999) -> list[Path]:
        """Every study, for the most sensitive nodes where nodes are to be named, and report.html; the files written."""
        target, paths = Path(folder), []
        for kind in KINDS:
            paths += study_files.save_sensitivity(target, kind, metric, self.sensitivity(kind, metric))
        paths += study_files.save_curves(target, "accumulated_error", metric, self.accumulated(metric))
        values = self.distributions()
        paths += [*study_files.save_distributions(target, values), *study_files.save_channels(target, values)]
        paths += study_files.save_lifting(target, metric, threshold, self.lifting(metric, threshold))
        report = self.report()
        paths += study_files.save_tensors(target, report)
        report.save(target / "report.html")
        return [*paths, target / "report.html"]

    def _curves(self, choices: Mapping[str, Collection[str]], metric: str) -> list[Curve]:
        return accumulated_error(self.model, self.qdq, self.feeds, choices, metric=metric, progress=self.progress)
