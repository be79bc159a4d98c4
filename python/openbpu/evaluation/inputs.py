"""What an evaluation is given: models of any kind, and samples with or without labels, checked one at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from openbpu import frontend
from openbpu.errors import ConfigError, OpenBpuError, SampleError
from openbpu.evaluation.loading import LabelledFolder
from openbpu.evaluation.metrics import place
from openbpu.evaluation.runners import EXECUTABLE, FLOAT, QDQ, Feed, Runnable
from openbpu.preprocess import Recipe
from openbpu.preprocess.attach import recipes_of, stream
from openbpu.preprocess.recipe import recorded_in
from openbpu.ptq.samples import SampleStream
from openbpu.runtime import Executable

Model = onnx.ModelProto | Executable


def gathered(
    models: Mapping[str, Any] | Sequence[Any],
    samples: Any,
    labels: Any,
    preprocess: Any,
    input_shapes: Mapping[str, tuple[int, ...]] | None,
) -> tuple[dict[str, Runnable], Iterator[tuple[Feed, Any]], int]:
    """The models, the pairs (feed, label) that they run over, and how many, 0 if unknown; see `pipeline.evaluate`.

    Photographs go through `preprocess`, else through the recipe of the first model that records one.
    """
    given = _models(models)
    executables = [m for m in given.values() if isinstance(m, Executable)]
    protos = [_ready(m, input_shapes) for m in given.values() if not isinstance(m, Executable)]
    recipes: dict[str, Recipe] = next(
        filter(None, [*map(recorded_in, protos), *(m.preprocess for m in executables)]), {}
    )
    shapes = _shapes(protos, executables)
    if preprocess is not None:
        recipes = recipes_of(preprocess, shapes)
    pairs, count = _labelled(samples, labels)
    feeds = _checked(pairs, recipes, protos[0] if protos else None, list(shapes))
    return {name: _runnable(model) for name, model in given.items()}, feeds, count


def _ready(model: onnx.ModelProto, input_shapes: Mapping[str, tuple[int, ...]] | None) -> onnx.ModelProto:
    prepare = frontend.prepare_qdq if frontend.is_quantised(model) else frontend.prepare
    return prepare(model, input_shapes)


def _shapes(protos: Sequence[onnx.ModelProto], executables: Sequence[Executable]) -> dict[str, tuple[int, ...]]:
    """Of the inputs of the first model in ONNX, else of the first executable."""
    if protos:
        inputs = protos[0].graph.input
        return {i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in inputs}
    return {p.name: p.shape for m in executables[:1] for p in m.ports() if p.direction == "input"}


def _models(models: Mapping[str, Any] | Sequence[Any]) -> dict[str, Model]:
    """Models by name: paths, bytes, ModelProtos or Executables; those of a list are called by their files.

    Raises ConfigError if two have the same name, and what reading raises.
    """
    if isinstance(models, str | bytes | os.PathLike):
        raise ConfigError("a list or dict of models", where="models", seen=type(models).__name__)
    if isinstance(models, Mapping):
        return {str(name): _loaded(model) for name, model in models.items()}
    titles = [_title(model, k) for k, model in enumerate(models)]
    if len(set(titles)) < len(titles):
        raise ConfigError("each model needs a name of its own", where="models", seen=", ".join(titles))
    return dict(zip(titles, map(_loaded, models), strict=True))


def _title(model: Any, place: int) -> str:
    return str(model) if isinstance(model, str | os.PathLike) else f"model {place}"


def _loaded(model: Any) -> Model:
    if isinstance(model, Executable):
        return model
    if isinstance(model, str | os.PathLike) and Path(model).suffix in (".bpux", ".hbm"):
        return Executable.load(model)
    return frontend.load(model)


def _runnable(model: Model) -> Runnable:
    """The model as bytes that other processes can run."""
    if isinstance(model, Executable):
        return Runnable(EXECUTABLE, model.to_bytes())
    return Runnable(QDQ if frontend.is_quantised(model) else FLOAT, model.SerializeToString())


class _Pairs:
    """Samples of an iterable of pairs (sample, label) or of samples; labels are kept until they are asked for."""

    def __init__(self, samples: Iterable[Any], labels: Sequence[Any] | None) -> None:
        self.samples, self.given = samples, labels
        self.labels: deque[Any] = deque()

    def __iter__(self) -> Iterator[Any]:
        count = 0
        for count, item in enumerate(self._items(), 1):
            sample, label = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
            if self.given is not None:
                if count > len(self.given):
                    raise SampleError("one label per sample", where="labels", seen=f"only {len(self.given)} labels")
                label = self.given[count - 1]
            self.labels.append(label)
            yield sample
        if self.given is not None and count < len(self.given):
            raise SampleError("one label per sample", where="labels", seen=f"{len(self.given)} for {count} samples")

    def _items(self) -> Iterator[Any]:
        """The samples; what a loader raises is said as an error of the loader."""
        try:
            yield from self.samples
        except OpenBpuError:
            raise
        except (Exception, SystemExit) as error:
            seen = f"{type(error).__name__}: {error}"
            raise SampleError("the loader must not fail", where="samples", seen=seen, remedy=place(error)) from error


def _labelled(samples: Any, labels: Any) -> tuple[_Pairs, int]:
    """Samples with their labels, and how many, 0 if unknown: a folder and its table, or an iterable and a list."""
    if isinstance(samples, str | os.PathLike):
        if labels is not None and not isinstance(labels, str | os.PathLike):
            raise ConfigError("the labels of a folder are a CSV file", where="labels", seen=type(labels).__name__)
        folder = LabelledFolder(os.fspath(samples), None if labels is None else os.fspath(labels))
        return _Pairs(folder, None), len(folder)
    if isinstance(labels, str | os.PathLike):
        raise ConfigError("a table of labels belongs to a folder of samples", where="labels", seen=labels)
    if isinstance(samples, np.ndarray | bytes | Mapping) or not isinstance(samples, Iterable):
        raise SampleError(
            "samples are a folder, or an iterable of pairs (sample, label) or of samples", seen=type(samples).__name__
        )
    return _Pairs(samples, labels), len(samples) if isinstance(samples, Sized) else 0


def _checked(
    pairs: _Pairs, recipes: Mapping[str, Recipe], model: onnx.ModelProto | None, names: Sequence[str]
) -> Iterator[tuple[Feed, Any]]:
    """Feeds and labels: photographs through their recipe, shapes and types those of `model`, if there is one."""
    prepared = stream(pairs, recipes)
    feeds = prepared if model is None else SampleStream(prepared, model, calibrates=False)
    for index, sample in enumerate(feeds):
        label = pairs.labels.popleft()
        if not isinstance(sample, Mapping):
            if len(names) != 1:
                text = f"must be a dict with arrays for {', '.join(names)}"
                raise SampleError(text, where=f"sample {index}", seen=type(sample).__name__)
            sample = {names[0]: np.asarray(sample)}
        yield dict(sample), label
