"""Block-wise reconstruction: span after span is learned so that its quantised outputs are those of the float span.

Method: BRECQ (Li et al. 2021). What a span reads is what the quantised model gives it, with all spans in front as they
were learned; what it shall give is what the float model has there. Learned are the rounding of the weights, one step up
or down at most, in place of AdaRound's (Nagel et al. 2020) sigmoid with the straight-through gradient of a latent
weight, which needs tens of steps instead of thousands; the scales of the tensors inside (LSQ, Esser et al. 2020), with
fixed zero points; and the biases. A span keeps what it learned only if samples that taught nothing come out better.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import numpy_helper

from openbpu.ir.onnx_graph import shapes_of
from openbpu.memory import collect
from openbpu.ptq.blocks import energy
from openbpu.ptq.calibration import Progress
from openbpu.ptq.output_error import comparable
from openbpu.ptq.placement import Placement
from openbpu.ptq.reconstruction.learning import STEPS, Lesson, Teacher, repeatable
from openbpu.ptq.reconstruction.network import Network
from openbpu.ptq.reconstruction.parts import Part, Parts
from openbpu.ptq.reconstruction.spans import Span, spans
from openbpu.ptq.reconstruction.translation import Untranslated
from openbpu.ptq.samples import Feed
from openbpu.ptq.view import ModelView

_FEWEST = 100  # numbers that the outputs of a span have together
_CLOSE = 0.1  # of the error of quantisation: what torch and ONNX Runtime may differ by


@dataclass
class Outcome:
    """The QDQ model as it was learned, and what became of each span with weights, by the tensor that leaves it."""

    model: onnx.ModelProto
    learned: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)  # no better, or outputs of too few numbers to learn from
    left: dict[str, str] = field(default_factory=dict)  # not tried, and why


class Reconstruction:
    """The step on its way through the spans."""

    def __init__(
        self,
        model: onnx.ModelProto,
        qdq: onnx.ModelProto,
        placement: Placement,
        feeds: Sequence[Feed],
        held: Collection[int],
        progress: Progress,
    ) -> None:
        """`model` is the clean float model that `qdq` was made of. Of the samples `feeds` those with indices in `held`
        judge, the others teach."""
        learned = onnx.ModelProto()
        learned.CopyFrom(qdq)
        self.outcome, self.progress, self.placement = Outcome(learned), progress, placement
        self.held = [k for k in range(len(feeds)) if k in held]
        self.taught = [k for k in range(len(feeds)) if k not in held]
        self.floats, self.quantised, self.view = Parts(model), Parts(learned), ModelView(model)
        self.spans, self.shapes = spans(model, placement.groups), shapes_of(model.graph)
        infos = (*model.graph.value_info, *model.graph.output)
        self.comparable = {info.name for info in infos if comparable(info)}
        self.tensors = {tensor.name: tensor for tensor in learned.graph.initializer}
        self.constants = {name: numpy_helper.to_array(tensor) for name, tensor in self.tensors.items()}
        self.scales = {n.output[0]: n.input[1] for n in learned.graph.node if n.op_type == "DequantizeLinear"}
        self.real, self.integers = _pairs(learned, placement)
        inputs = [i.name for i in model.graph.input]
        self.float_arrays = {name: [feed[name] for feed in feeds] for name in inputs}
        self.arrays = dict(self.float_arrays)
        if quantised := [self.real[name] for name in inputs if name in self.real]:
            self.arrays |= self.quantised.run(self.quantised.part(quantised, self.arrays), self.arrays)

    def run(self) -> Outcome:
        """Learns every span. The same inputs give the same bytes."""
        last = max((k for k, span in enumerate(self.spans) if span.layers), default=-1)
        with repeatable():
            for k, span in enumerate(self.spans[: last + 1]):
                self._span(span)
                self._forget(self.spans[k + 1 : last + 1])
                self.progress("learn spans", k + 1, last + 1)
        return self.outcome

    def _span(self, span: Span) -> None:
        floats = self.floats.run(self.floats.part(span.outputs, self.float_arrays), self.float_arrays)
        part = self.quantised.part([self.real.get(name, name) for name in span.outputs], self.arrays)
        if span.layers:
            try:
                self._learn(span, part, floats)
            except Untranslated as reason:
                self.outcome.left[span.title] = str(reason)
        self.arrays |= self.quantised.run(part, self.arrays)
        self.float_arrays |= floats
        collect()

    def _learn(self, span: Span, part: Part, floats: Mapping[str, list[np.ndarray]]) -> None:
        if not {*span.outputs} <= self.comparable & self.placement.groups.keys():
            raise Untranslated("outputs that are not quantised, or of no fixed shape")
        own, added = {node.name for node in span.nodes}, ("QuantizeLinear", "DequantizeLinear", "Add")
        if any(node.name not in own and node.op_type not in added for node in part.nodes):
            raise Untranslated("float tensors between spans")
        weighted = (n for n in span.nodes if self.view.weighted(n))
        weights = {node.name: self.view.constants[node.input[1]].astype(np.float32) for node in weighted}
        if len(self.taught) * sum(math.prod(self.shapes[name]) for name in span.outputs) < _FEWEST:
            self.outcome.unchanged.append(span.title)
            return
        network = Network(part, self.constants, weights, self.scales, self._learned_groups(part))
        lesson = Lesson(
            {name: self.arrays[name] for name in part.inputs}, [floats[name] for name in span.outputs],
            self.taught, self.held,
        )  # fmt: skip
        elements = sum(math.prod(self.shapes.get(n, ())) for node in span.nodes for n in node.output)
        teacher = Teacher(network, lesson, elements)
        self._check(teacher, part)
        before, after = teacher.learn(STEPS)
        if after >= before:
            self.outcome.unchanged.append(span.title)
            return
        self.outcome.learned.append(span.title)
        for name, array in network.result().items():
            self.constants[name] = array
            self.tensors[name].CopyFrom(numpy_helper.from_array(array, name))

    def _check(self, teacher: Teacher, part: Part) -> None:
        """Raises Untranslated if torch does not compute what ONNX Runtime does."""
        k, lesson = teacher.lesson.held[0], teacher.lesson
        found = self.quantised.run(part, {name: [arrays[k]] for name, arrays in lesson.inputs.items()})
        for y, name, wanted in zip(teacher.outputs(k), part.outputs, lesson.targets, strict=True):
            reference = found[name][0]
            noise = energy(reference - wanted[k]) + 1e-9 * energy(reference)
            if y.shape != reference.shape or energy(y - reference) > _CLOSE * noise:
                raise Untranslated(f"{name}: torch and ONNX Runtime differ")

    def _learned_groups(self, part: Part) -> dict[str, str]:
        """The groups of int8 tensors that are made in this part and nowhere else, by what QuantizeLinear makes."""
        here = Counter(
            group for node in part.nodes for name in node.output if (group := self.integers.get(name)) is not None
        )
        everywhere = Counter(self.integers.values())
        fixed = self.placement.fixed.keys() | self.placement.wide
        whole = {group for group, count in here.items() if count == everywhere[group] and group not in fixed}
        return {name: group for name, group in self.integers.items() if group in whole}

    def _forget(self, later: Sequence[Span]) -> None:
        """Drops what no later span reads."""
        read = {name for span in later for name in span.inputs}
        for name in [n for n in self.float_arrays if n not in read]:
            del self.float_arrays[name]
        read |= {self.real[name] for name in read if name in self.real}
        for name in [n for n in self.arrays if n not in read]:
            del self.arrays[name]


def _pairs(qdq: onnx.ModelProto, placement: Placement) -> tuple[dict[str, str], dict[str, str]]:
    """Float tensor -> its dequantised tensor; what QuantizeLinear makes -> the group. int8 copies are in neither."""
    real, integers = {}, {}
    made = {n.input[0]: n.output[0] for n in qdq.graph.node if n.op_type == "DequantizeLinear"}
    for node in qdq.graph.node:
        if node.op_type == "QuantizeLinear":
            result = made[node.output[0]]
            name = next((n for n in (result, node.input[0]) if n in placement.groups), None)
            if name is not None:
                real[name], integers[node.output[0]] = result, placement.groups[name]
    return real, integers
