"""Runs a model node by node, for all samples at once, so that what changes at a node acts on everything behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from openbpu.ir.onnx_graph import reads
from openbpu.ptq.parallel import RunAll
from openbpu.ptq.samples import Feed


class Walk:
    """A model on its way from its inputs to its outputs.

    `live` holds, of each tensor that a node still to come reads, its array for every sample; `constants` what does not
    depend on the samples.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        feeds: list[Feed],
        run_all: RunAll,
        constants: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """`run_all` runs the samples; `constants`: the initialisers of the model, if they are at hand as arrays."""
        self.model, self.samples, self._run_all = model, len(feeds), run_all
        if constants is None:
            constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.constants = dict(constants)
        self.live: dict[str, list[np.ndarray]] = {name: [feed[name] for feed in feeds] for name in feeds[0]}
        self._uses = Counter(name for node in model.graph.node for name in {*reads(node)})
        self._computed: set[str] = set()  # constants that nodes made
        self._rest = iter(model.graph.node)
        self._next = next(self._rest, None)

    def before(self, name: str) -> onnx.NodeProto | None:
        """Goes on until the node of this name is the next, and returns it; None if none has it."""
        while self._next is not None and self._next.name != name:
            self.execute(self._next)
            self.leave(self._next)
            self._next = next(self._rest, None)
        return self._next

    def execute(self, node: onnx.NodeProto) -> None:
        """Computes the outputs of a node."""
        dynamic = [name for name in dict.fromkeys(reads(node)) if name in self.live]
        session = self._session(node, dynamic)
        outputs = [name for name in node.output if name]
        if not dynamic:
            self.constants.update(zip(outputs, session.run(outputs, {}), strict=True))
            self._computed.update(outputs)
            return
        feeds = ({name: self.live[name][k] for name in dynamic} for k in range(self.samples))
        results = self._run_all(partial(session.run, outputs, feed) for feed in feeds)
        for index, name in enumerate(outputs):
            self.live[name] = [result[index] for result in results]

    def leave(self, node: onnx.NodeProto) -> None:
        """Forgets what only this node was still to read."""
        for name in {*reads(node)}:
            self._uses[name] -= 1
            if self._uses[name] == 0:
                self.live.pop(name, None)
                if name in self._computed:  # weights in float, four times the integers
                    self.constants.pop(name, None)

    def _session(self, node: onnx.NodeProto, dynamic: list[str]) -> ort.InferenceSession:
        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(self.live[name][0].dtype), _common_shape(self.live[name])
            )
            for name in dynamic
        ]
        initialisers = [
            numpy_helper.from_array(self.constants[name], name)
            for name in dict.fromkeys(reads(node))
            if name in self.constants
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([node], "node", inputs, outputs, initialisers)
        model = helper.make_model(graph, opset_imports=list(self.model.opset_import), ir_version=self.model.ir_version)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _common_shape(arrays: list[np.ndarray]) -> list[int | None]:
    """The shape of the arrays; None where they differ, as behind a NonZero."""
    return [
        extents.pop() if len(extents) == 1 else None
        for extents in map(set, zip(*(a.shape for a in arrays), strict=True))
    ]
