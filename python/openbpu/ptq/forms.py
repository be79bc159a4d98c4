"""From a clean model and ranges of its groups to a QDQ model."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx

from openbpu.errors import ModelWarning
from openbpu.ir.quant import QuantParams
from openbpu.ptq.calibration import Statistics
from openbpu.ptq.feasibility import feasible
from openbpu.ptq.insertion import insert
from openbpu.ptq.placement import SOFTMAX, Placement
from openbpu.ptq.ranges import by_method, choose16
from openbpu.ptq.refinement import Refinements

Ranges = Mapping[str, QuantParams]  # int8 parameters by group; of int16 groups those of their int8 copies


@dataclass(frozen=True)
class Options:
    """How ranges are made: see `quantizer.quantize`."""

    calibration: str
    symmetric: bool
    percentile: float


@dataclass(frozen=True)
class Ground:
    """A clean model and what all its QDQ forms have in common."""

    model: onnx.ModelProto
    placement: Placement
    statistics: Mapping[str, Statistics]
    options: Options

    def symmetric(self, group: str) -> bool:
        return self.options.symmetric or group in self.placement.symmetric

    def uniform(self, methods: Collection[str]) -> dict[str, dict[str, QuantParams]]:
        """By method the ranges of all groups."""
        found = {
            group: by_method(statistics, methods, self.symmetric(group), self.options.percentile)
            for group, statistics in self.statistics.items()
        }
        return {method: {group: of[method] for group, of in found.items()} for method in methods}

    def form(self, ranges: Ranges, refined: Refinements | None = None) -> onnx.ModelProto:
        """The QDQ model with these ranges; warns of scales that had to grow."""
        calibration, percentile = self.options.calibration, self.options.percentile
        wide = {g: choose16(s, calibration, percentile) for g, s in self.statistics.items() if g in self.placement.wide}
        always_zero = {g for g, s in self.statistics.items() if s.low == s.high}
        return form(self.model, self.placement, {**ranges, **wide}, ranges, always_zero, refined)

    def trial(self, ranges: Ranges, refined: Refinements | None = None) -> onnx.ModelProto:
        """The same, to be measured only: without warnings."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ModelWarning)
            return self.form(ranges, refined)


def form(
    model: onnx.ModelProto,
    placement: Placement,
    by_group: Mapping[str, QuantParams],
    narrow: Ranges,
    always_zero: Collection[str],
    refined: Refinements | None = None,
) -> onnx.ModelProto:
    """The QDQ model with the parameters of all groups that placement has not fixed."""
    fixed = {
        group: QuantParams.per_tensor(scale, zero, "int16" if group in placement.wide else "int8")
        for group, (scale, zero) in placement.fixed.items()
    }
    chosen = feasible(model, placement, {**by_group, **fixed}, narrow, always_zero)
    params = {tensor: chosen[group] for tensor, group in placement.groups.items()}
    wide = {tensor: group for tensor, group in placement.groups.items() if group in placement.wide}
    copies = {tensor: narrow.get(group, SOFTMAX) for tensor, group in wide.items()}
    return insert(model, params, refined or Refinements(), placement.cpu, copies, placement.narrow)
