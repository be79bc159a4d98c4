"""onnx's backend tests through openbpu.backend: every case that lies in the onnx package, each with its outcome.

Models of the kinds are those of onnx.backend.test.loader, results are compared by onnx's own Runner, with tolerances
that the case states. A case is refused if preparing or running it raises an OpenBpuError, and failed by any other
exception and by results that differ.
"""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from openbpu.backend import OpenBpuBackend
from openbpu.errors import OpenBpuError

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted", "real")
_WHEEL = Path(onnx.__file__).parents[1]
_CHUNK = 32  # cases that go to a worker at once
# Expected results that are themselves off by more than the case tolerates: 2e-7 where the exact value is 0.
_ROUNDED = ("test_dft_inverse", "test_dft_inverse_opset19")

DataSet = tuple[list[Any], list[Any]]


@dataclass(frozen=True)
class Outcome:
    """What became of a case: it passed if `refused` and `failed` are empty; both are sentences."""

    kind: str
    name: str
    operator: str
    refused: str = ""
    failed: str = ""


@cache
def cases(kind: str) -> dict[str, Any]:
    """The cases of a kind by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # operators that overflow on purpose
        from onnx.backend.test.case.node import collect_testcases
        from onnx.backend.test.loader import load_model_tests

        found = collect_testcases(None) if kind == "node" else load_model_tests(kind=kind)
    return {case.name: case for case in sorted(found, key=lambda case: case.name)}


def run_suite(kinds: tuple[str, ...] = KINDS, workers: int = 2) -> list[Outcome]:
    """The outcomes of all cases of these kinds, in the order of kinds and names."""
    names = [(kind, name) for kind in kinds for name in cases(kind)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        return list(pool.map(_outcome, *zip(*names, strict=True), chunksize=_CHUNK))


def _outcome(kind: str, name: str) -> Outcome:
    case = cases(kind)[name]
    model = _model(case)
    operator = _operator(kind, name, model)
    try:
        _check(case, model)
    except OpenBpuError as error:
        return Outcome(kind, name, operator, refused=_sentence(error))
    except Exception as error:  # whatever it is, it is a fault of ours, and the suite goes on
        return Outcome(kind, name, operator, failed=f"{type(error).__name__}: {error}")
    return Outcome(kind, name, operator)


def _check(case: Any, model: onnx.ModelProto) -> None:
    from onnx.backend.test.runner import Runner

    prepared = OpenBpuBackend.prepare(model)
    for inputs, wanted in _data_sets(case, model):
        results = prepared.run(inputs)
        atol = 1e-6 if case.name in _ROUNDED else case.atol
        Runner.assert_similar_outputs(wanted, results, rtol=case.rtol, atol=atol)


def _sentence(error: OpenBpuError) -> str:
    """The rule that refuses a case; the types and numbers seen would split groups that belong together."""
    return error.rule.partition(" (on the CPU)")[0]


def _model(case: Any) -> onnx.ModelProto:
    if case.model is not None:
        return case.model
    return onnx.load(_path(case))


def _path(case: Any) -> Path:
    return Path(case.model_dir) / "model.onnx" if case.model_dir else _WHEEL / case.url


def _data_sets(case: Any, model: onnx.ModelProto) -> Iterator[DataSet]:
    if case.data_sets is not None:
        for inputs, outputs in case.data_sets:
            yield [_array(value) for value in inputs], [_array(value) for value in outputs]
    elif case.model_dir is None:
        yield _light_data(_path(case), model)
    else:
        for folder in sorted(Path(case.model_dir).glob("test_data_set*")):
            inputs = _stored(folder, "input", model.graph.input)
            yield inputs, _stored(folder, "output", model.graph.output)


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _stored(folder: Path, stem: str, infos: Any) -> list[Any]:
    values = []
    for index, info in enumerate(infos):
        path = folder / f"{stem}_{index}.pb"
        if not path.exists():  # an initialiser that is listed as an input too
            break
        kind = info.type.WhichOneof("value")
        proto = {"sequence_type": onnx.SequenceProto, "optional_type": onnx.OptionalProto}.get(kind, onnx.TensorProto)()
        proto.ParseFromString(path.read_bytes())
        read = {"sequence_type": numpy_helper.to_list, "optional_type": numpy_helper.to_optional}
        values.append(read.get(kind, numpy_helper.to_array)(proto))
    return values


def _light_data(path: Path, model: onnx.ModelProto) -> DataSet:
    """The input that onnx's runner makes for a light model, and the stored output."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs: list[Any] = []
    for info in model.graph.input:
        if info.name not in constants:
            shape = [d.dim_value if d.HasField("dim_value") else 1 for d in info.type.tensor_type.shape.dim]
            count = int(np.prod(shape))
            inputs.append((np.arange(count).reshape(shape) / count).astype(np.float32))
    outputs = [
        numpy_helper.to_array(onnx.load_tensor(path.with_name(f"{path.stem}_output_{index}.pb")))
        for index in range(len(model.graph.output))
    ]
    return inputs, outputs


def _operator(kind: str, name: str, model: onnx.ModelProto) -> str:
    """The operator that a node case is about: an expanded function stands for its operator."""
    if kind != "node":
        return ""
    base = cases(kind).get(name.partition("_expanded")[0])
    nodes = model.graph.node if base is None else base.model.graph.node
    own = nodes[-1] if nodes else None
    return "" if own is None else f"{own.domain}.{own.op_type}".removeprefix("ai.onnx").lstrip(".")
