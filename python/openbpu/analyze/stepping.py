"""A model run node by node in ONNX Runtime, so that a change of some tensors is followed only where it leads."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Mapping

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from openbpu.errors import ModelError
from openbpu.ir.onnx_graph import reads
from openbpu.ptq.view import ModelView

Values = dict[str, np.ndarray]
Means = dict[str, np.ndarray]  # result of a weighted node -> what is taken off each of its channels


class Steps:
    """The nodes of a model in their order, each with a session of its own; one thread, the same results every time.

    Nodes that read constants alone run once.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._opsets, self._ir = list(model.opset_import), model.ir_version
        self.constants: Values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        self._sessions: dict[tuple[int, tuple[str, ...]], ort.InferenceSession] = {}
        view = ModelView(model)
        live = {i.name for i in model.graph.input} - self.constants.keys()
        for node in model.graph.node:
            if live.intersection(reads(node)):
                self.nodes.append(node)
                live.update(node.output)
            else:
                wanted = [n for n in node.output if n]
                self.constants.update(zip(wanted, self._session([node], {}, wanted).run(wanted, {}), strict=True))
        weighted = (node for node in self.nodes if view.weighted(node))
        self.axes = {node.output[0]: 1 if node.op_type.startswith("Conv") else -1 for node in weighted}
        self._readers: dict[str, list[int]] = defaultdict(list)
        for index, node in enumerate(self.nodes):
            for name in dict.fromkeys(reads(node)):
                self._readers[name].append(index)

    def all(self, feed: Mapping[str, np.ndarray]) -> Values:
        """Every tensor that depends on the inputs."""
        values = dict(feed)
        for index in range(len(self.nodes)):
            values.update(self.step(index, values))
        return values

    def follow(
        self, values: Values, replaced: Values, into: Collection[str], means: Means | None = None, first: bool = False
    ) -> Values:
        """What changes if the nodes named in `into` read `replaced` in place of some of the `values` or constants.

        `means` are taken off the results of weighted nodes, as a correction of their biases does. With `first` nothing
        is followed beyond the first weighted node on each way.
        """
        changed: Values = {}
        waiting = sorted({i for name in replaced for i in self._readers[name] if self.nodes[i].name in into})
        known = set(waiting)
        while waiting:
            index = heapq.heappop(waiting)
            node = self.nodes[index]
            own = {n: replaced[n] for n in reads(node) if n in replaced and n not in changed}
            made = self.step(index, values, changed, own if node.name in into else {})
            result = node.output[0]
            if means and result in means:
                made[result] = made[result] - self._along(result, means[result], made[result].ndim)
            changed.update(made)
            if first and result in self.axes:
                continue
            for following in {i for name in made for i in self._readers[name]} - known:
                known.add(following)
                heapq.heappush(waiting, following)
        return changed

    def channel_means(self, tensor: str, array: np.ndarray) -> np.ndarray:
        """The mean of each output channel of a weighted node's result."""
        axis = self.axes[tensor]
        return np.asarray(np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).mean(axis=1, dtype=np.float64))

    def _along(self, tensor: str, means: np.ndarray, rank: int) -> np.ndarray:
        shape = [1] * rank
        shape[self.axes[tensor]] = -1
        return means.reshape(shape).astype(np.float32)

    def step(self, index: int, *layers: Mapping[str, np.ndarray]) -> Values:
        """Runs a node on what the last of the layers that has it holds."""
        node = self.nodes[index]
        feed: Values = {}
        for name in dict.fromkeys(reads(node)):
            found = next((layer[name] for layer in reversed(layers) if name in layer), None)
            if found is not None:
                feed[name] = found
        wanted = [n for n in node.output if n]
        key = (index, tuple(feed))
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = self._session([node], feed, wanted)
        return dict(zip(wanted, session.run(wanted, feed), strict=True))

    def _session(self, nodes: list[onnx.NodeProto], feed: Values, wanted: list[str]) -> ort.InferenceSession:
        names = dict.fromkeys(n for node in nodes for n in reads(node) if n not in feed)
        constants = {name: self.constants[name] for name in names if name in self.constants}
        return open_session(nodes, feed, constants, wanted, self._opsets, self._ir)


def open_session(
    nodes: list[onnx.NodeProto],
    feed: Values,
    constants: Values,
    wanted: list[str],
    opsets: list[onnx.OperatorSetIdProto],
    ir_version: int,
) -> ort.InferenceSession:
    """A session of one thread over some nodes; inputs have the types and ranks of `feed`."""
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim)
        for name, array in feed.items()
    ]
    initialisers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    outputs = [onnx.ValueInfoProto(name=name) for name in wanted]
    graph = helper.make_graph(nodes, "step", inputs, outputs, initialisers)
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises several types of its own
        reason = str(error).splitlines()[0]
        where = f"node {nodes[0].name}"
        raise ModelError("ONNX Runtime must be able to run the node", where=where, seen=reason) from error
