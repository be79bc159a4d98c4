"""Is what was trained what runs? PyTorch, ONNX Runtime and the executable side by side, per output and per layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn

from openbpu import pipeline
from openbpu.errors import ConfigError, SampleError
from openbpu.qat.exporting import export, tensors_of_sites
from openbpu.qat.states import State
from openbpu.qat.switching import arguments, each, sites, state_of, watched
from openbpu.runtime import Executable, Session

_LEAST_WITHIN, _MOST, _LEAST_AGREEMENT = 0.999, 2.0, 0.999
_LAYERS_AT_ONCE = 64  # outputs of one executable
_Arrays = list[np.ndarray]


@dataclass
class Difference:
    """Two computations of one tensor, in steps of its grid (of its largest value / 255 if it has none)."""

    elements: int = 0
    equal: int = 0
    within: int = 0  # at most one step
    largest: float = 0.0
    rows: int = 0
    agreeing: int = 0  # rows with the same position of the maximum

    def add(self, one: np.ndarray, other: np.ndarray, step: float) -> None:
        """Takes one more pair of tensors into account."""
        steps = np.abs(one.astype(np.float64) - other) / step
        self.elements += steps.size
        self.equal += int((steps < 0.5).sum())
        self.within += int((steps < 1.5).sum())
        self.largest = max(self.largest, float(steps.max(initial=0)))
        a, b = (x.reshape(-1, x.shape[-1]) if x.ndim > 1 else x.reshape(1, -1) for x in (one, other))
        self.rows += len(a)
        # Of equal maxima the position is a toss: they agree if either's choice is a maximum of the other.
        chosen = np.take_along_axis(b, a.argmax(1)[:, None], 1)[:, 0]
        self.agreeing += int((chosen >= b.max(1) - 1e-12).sum())

    @property
    def ok(self) -> bool:
        """Within a step on 99.9 % of elements, nowhere beyond two, the same maximum in 99.9 % of rows."""
        share = self.within / max(self.elements, 1), self.agreeing / max(self.rows, 1)
        return share[0] >= _LEAST_WITHIN and self.largest < _MOST + 0.5 and share[1] >= _LEAST_AGREEMENT


@dataclass
class Comparison:
    """One tensor: PyTorch against the executable, PyTorch against ONNX Runtime, ONNX Runtime against the executable."""

    name: str
    executable: Difference
    onnxruntime: Difference
    between: Difference


@dataclass
class Verification:
    """The result of `verify`: a row per output and one per layer."""

    outputs: list[Comparison]
    layers: list[Comparison]

    @property
    def ok(self) -> bool:
        """Every output of the executable equals PyTorch's, as `Difference.ok` says."""
        return all(row.executable.ok for row in self.outputs)

    def __str__(self) -> str:
        columns = ("elements", "equal %", "<=1 step %", "largest", "max agrees %", "ORT largest")
        head = f"{'':32} " + " ".join(name.rjust(w) for name, w in zip(columns, (10, 9, 11, 8, 13, 12), strict=True))
        lines = [head]
        for title, rows in (("layers", self.layers), ("outputs", self.outputs)):
            lines.append(title)
            lines += [_line(row) for row in rows]
        return "\n".join([*lines, "equal" if self.ok else "NOT equal"])


def _line(row: Comparison) -> str:
    d = row.executable
    shares = [100 * part / max(whole, 1) for part, whole in ((d.equal, d.elements), (d.within, d.elements))]
    agreement = 100 * d.agreeing / max(d.rows, 1)
    return (
        f"  {row.name:30} {d.elements:10} {shares[0]:9.3f} {shares[1]:11.4f} {d.largest:8.2f} {agreement:13.2f} "
        f"{row.onnxruntime.largest:12.2f}"
    )


def verify(
    model: nn.Module, executable: Executable, samples: Iterable[Any], qdq: onnx.ModelProto | None = None
) -> Verification:
    """Compares a prepared model in state validation with its exported and its compiled form.

    `samples` are tensors, tuples of arguments or {argument: tensor}, of any batch: each row of the batch is run on its
    own. `qdq` is what `export` gave (default: exported anew). Raises ConfigError in another state, SampleError without
    samples.
    """
    if state_of(model) is not State.VALIDATION:
        raise ConfigError("verify the state validation", where="model", seen=state_of(model).value)
    qdq = export(model) if qdq is None else qdq
    shapes = [tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in qdq.graph.input]
    rows = [row for sample in each(samples) for row in _rows(arguments(model, sample), shapes)]
    if not rows:
        raise SampleError("at least one sample", where="verify", seen="none")
    outputs = [o.name for o in qdq.graph.output]
    steps = {name: float(site.quantiser.positive_scale().detach()) for name, site in sites(model).items()}
    tensors = tensors_of_sites(qdq, model)
    inputs = [i.name for i in qdq.graph.input]
    want = _Torch(model)
    runner = Runner(qdq, [*outputs, *tensors.values()])
    parts = _Parts(qdq, list(tensors.values()))
    session = Session(executable)
    made_by = {tensor: name for name, tensor in tensors.items()}
    by_output = {name: Comparison(name, Difference(), Difference(), Difference()) for name in outputs}
    by_layer = {name: Comparison(name, Difference(), Difference(), Difference()) for name in tensors}
    for row in rows:
        feeds = {name: np.asarray(x.detach().cpu(), order="C") for name, x in zip(inputs, row, strict=True)}
        results, layers = want(row)
        ran = session.run(feeds)
        onnx_results = runner(feeds)
        for name, result in zip(outputs, results, strict=True):
            step = steps.get(made_by.get(name, ""), 0.0) or _step_of(name, qdq, result)
            _compare(by_output[name], result, ran[name], onnx_results[name], step)
        for tensor, array in parts(feeds):
            name = made_by[tensor]
            _compare(by_layer[name], layers[name], array, onnx_results[tensor], steps[name])
    return Verification(list(by_output.values()), list(by_layer.values()))


def _compare(row: Comparison, want: np.ndarray, ran: np.ndarray, onnx_result: np.ndarray, step: float) -> None:
    row.executable.add(want, ran, step)
    row.onnxruntime.add(want, onnx_result, step)
    row.between.add(onnx_result, ran, step)


def _rows(tensors: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]) -> Iterator[tuple[Tensor, ...]]:
    """A sample as samples of the shapes that the model was exported for."""
    parts = [_split(t, shape) for t, shape in zip(tensors, shapes, strict=True)]
    count = max((len(part) for part in parts), default=0)
    if any(len(part) not in (1, count) for part in parts):
        raise SampleError("inputs of one batch", where="verify", seen=[tuple(t.shape) for t in tensors])
    for index in range(count):
        yield tuple(part[index % len(part)] for part in parts)


def _split(tensor: Tensor, shape: tuple[int, ...]) -> Sequence[Tensor]:
    if tensor.shape == shape:
        return (tensor,)
    if tensor.dim() != len(shape) or tensor.shape[1:] != shape[1:] or tensor.shape[0] % shape[0]:
        raise SampleError(f"batches of shape {shape}", where="verify", seen=tuple(tensor.shape))
    return tensor.split(shape[0])


def _step_of(output: str, qdq: onnx.ModelProto, result: np.ndarray) -> float:
    """The step of the grid that an output lies on, found through operators that move numbers."""
    producers = {name: node for node in qdq.graph.node for name in node.output}
    constants = {t.name: t for t in qdq.graph.initializer}
    name = output
    while name in producers:
        node = producers[name]
        if node.op_type == "DequantizeLinear" and node.input[1] in constants:
            return float(onnx.numpy_helper.to_array(constants[node.input[1]]))
        name = node.input[0] if node.input else ""
    return float(np.abs(result).max(initial=0)) / 255 or 1.0


class _Torch:
    """The trained model: outputs, and the tensor of every site."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.seen: dict[str, np.ndarray] = {}

    def __call__(self, row: Sequence[Tensor]) -> tuple[_Arrays, dict[str, np.ndarray]]:
        device = next((t.device for t in (*self.model.parameters(), *self.model.buffers())), torch.device("cpu"))
        with torch.no_grad(), watched(self.model, lambda name, x: self.seen.__setitem__(name, x.cpu().numpy())):
            result = self.model(*(t.to(device) for t in row))
        flat, _ = torch.utils._pytree.tree_flatten(result)
        return [t.cpu().numpy() for t in flat if isinstance(t, Tensor)], self.seen


class Runner:
    """The QDQ model in ONNX Runtime, with inner tensors as outputs, as it stands: nothing optimised."""

    def __init__(self, qdq: onnx.ModelProto, wanted: Sequence[str]) -> None:
        self.wanted = list(dict.fromkeys(wanted))
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        model = _with_outputs(qdq, self.wanted)
        self.session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def __call__(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self.wanted, self.session.run(self.wanted, feeds), strict=True))


class _Parts:
    """Executables that give inner tensors: the same instructions, compiled with more outputs."""

    def __init__(self, qdq: onnx.ModelProto, tensors: Sequence[str]) -> None:
        pieces = [tensors[i : i + _LAYERS_AT_ONCE] for i in range(0, len(tensors), _LAYERS_AT_ONCE)]
        self.sessions = [(Session(pipeline.compile(_with_outputs(qdq, piece))), piece) for piece in pieces]

    def __call__(self, feeds: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        for session, piece in self.sessions:
            results = session.run(feeds)
            yield from ((name, results[name]) for name in piece)


def _with_outputs(qdq: onnx.ModelProto, wanted: Sequence[str]) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(qdq)
    present = {o.name for o in model.graph.output}
    kept = [o for o in model.graph.output if o.name in wanted]
    infos = [onnx.ValueInfoProto(name=name) for name in wanted if name not in present]
    del model.graph.output[:]
    model.graph.output.extend([*kept, *infos])
    known = {i.name: i for i in onnx.shape_inference.infer_shapes(model).graph.value_info}
    for output in model.graph.output:
        if output.name in known and not output.HasField("type"):
            output.CopyFrom(known[output.name])
    return model
