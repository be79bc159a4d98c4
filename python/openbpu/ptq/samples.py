"""Calibration samples: checked one at a time, read as often as a method needs, never held in memory together."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from operator import length_hint
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from openbpu.errors import SampleError, SampleWarning

Feed = dict[str, np.ndarray]
_FITTED = "ranges and corrections fit it and little else; 50 to 100"
_ONE_SAMPLE = f"one calibration sample only: {_FITTED} are usual"


class SampleStream:
    """Samples as feeds {input: array}, re-iterable. A one-shot iterator is spooled to a temporary folder on first use.

    Raises SampleError for samples that do not fit the inputs of the model, or are none.
    """

    def __init__(self, samples: Iterable[Any], model: onnx.ModelProto, *, calibrates: bool = True) -> None:
        if isinstance(samples, np.ndarray | str | bytes | Mapping) or not isinstance(samples, Iterable):
            raise SampleError(
                "samples must be an iterable of arrays or of {input: array}",
                seen=type(samples).__name__,
                remedy="put a single sample into a list",
            )
        self._shapes = {i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in model.graph.input}
        self._types = {i.name: helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type) for i in model.graph.input}
        self._samples, self._calibrates = samples, calibrates
        self._equal: list[str] = []  # samples of the first pass that hold one value only
        self._repeated: Feed | None = None  # the first sample, as long as all that follow are the same
        self._spool: tempfile.TemporaryDirectory[str] | None = None
        self.count = 0  # samples of a whole pass; 0 before the first

    @property
    def expected(self) -> int:
        """Samples of a pass, for progress: before the first what the samples say of themselves; 0 if nothing."""
        return self.count or length_hint(self._samples)

    def __iter__(self) -> Iterator[Feed]:
        if self._spool is not None:
            yield from self._spooled()
            return
        iterator = iter(self._samples)
        one_shot = iterator is self._samples
        if one_shot:
            self._spool = tempfile.TemporaryDirectory(prefix="openbpu-samples-")
        count = 0
        for count, sample in enumerate(iterator, 1):
            feed = self._feed(sample, count - 1)
            if one_shot and self._spool is not None:
                np.savez(Path(self._spool.name) / f"{count - 1:08}.npz", *feed.values())
            self._compare(feed, count)
            yield feed
        if count == 0:
            what = "calibration sample" if self._calibrates else "sample"
            raise SampleError(f"at least one {what} is needed", seen="none")
        if not self.count and self._calibrates:
            self._warn(count)
        self.count = count

    def _compare(self, feed: Feed, count: int) -> None:
        """Whether the samples of the first pass are all the same: one of them is kept, until another differs."""
        if count == 1 and not self.count:
            self._repeated = {name: array.copy() for name, array in feed.items()}  # the caller may use its buffer again
        elif self._repeated is not None and any(not np.array_equal(feed[n], x) for n, x in self._repeated.items()):
            self._repeated = None

    def _warn(self, count: int) -> None:
        """Of samples that say little."""
        if count == 1:
            warnings.warn(_ONE_SAMPLE, SampleWarning, stacklevel=3)
        elif self._repeated is not None:
            said = f"all {count} calibration samples are the same: {_FITTED} different ones are usual"
            warnings.warn(said, SampleWarning, stacklevel=3)
        if self._equal:
            warnings.warn(_all_equal(self._equal, count), SampleWarning, stacklevel=3)
        self._repeated = None

    def places(self, most: int, odd: bool = False, without: Collection[int] = ()) -> list[int]:
        """Indices of at most so many samples of a stream that was read before, evenly spaced.

        `odd`: of odd index, if there are any; none of `without`.
        """
        pool: Sequence[int] = range(1, self.count, 2) if odd and self.count > 1 else range(self.count)
        pool = [index for index in pool if index not in without]
        return [pool[k * len(pool) // most] for k in range(most)] if len(pool) > most else pool

    def spread(self, most: int, odd: bool = False, without: Collection[int] = ()) -> Iterator[Feed]:
        """The samples at these `places`, in order."""
        wanted = set(self.places(most, odd, without))
        if self._spool is not None:
            yield from self._spooled(wanted)
            return
        for index, sample in enumerate(self._samples):  # those between are neither looked at nor checked again
            if index in wanted:
                yield self._feed(sample, index)
            if index >= max(wanted):
                return

    def _spooled(self, wanted: Container[int] | None = None) -> Iterator[Feed]:
        assert self._spool is not None
        for index, path in enumerate(sorted(Path(self._spool.name).iterdir())):
            if wanted is None or index in wanted:
                with np.load(path) as arrays:
                    yield dict(zip(self._shapes, (arrays[k] for k in arrays.files), strict=True))

    def _feed(self, sample: Any, index: int) -> Feed:
        where = f"sample {index}"
        if not isinstance(sample, Mapping):
            if len(self._shapes) != 1:
                names = ", ".join(self._shapes)
                raise SampleError(f"must be a dict with arrays for {names}", where=where, seen=type(sample).__name__)
            sample = {next(iter(self._shapes)): sample}
        extra, missing = sample.keys() - self._shapes.keys(), self._shapes.keys() - sample.keys()
        if extra or missing:
            raise SampleError(
                f"must have exactly the inputs {', '.join(self._shapes)}", where=where, seen=", ".join(map(str, sample))
            )
        return {name: self._array(sample[name], name, where) for name in self._shapes}

    def _array(self, value: Any, name: str, where: str) -> np.ndarray:
        where = f"{where}, input {name}"
        if isinstance(value, str | PathLike):
            remedy = "a photograph needs a recipe: preprocess=..., or one that the model records"
            raise SampleError("must be an array", where=where, seen=f"the path {fspath(value)}", remedy=remedy)
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise SampleError("must be an array", where=where, seen=error) from error
        if array.dtype.kind not in "fiub":
            raise SampleError("must be an array of real numbers", where=where, seen=f"type {array.dtype}")
        shape = self._shapes[name]
        if array.shape != shape:
            hint = ""
            if array.shape == shape[1:]:
                hint = "add the batch dimension: x[None]"
            elif shape and array.ndim and array.shape[1:] == shape[1:] and len(array) > shape[0]:
                hint = f"give {shape[0]} at a time: x[k : k + {shape[0]}]"
            raise SampleError(f"must have shape {shape}", where=where, seen=f"shape {array.shape}", remedy=hint)
        wanted = self._types[name]
        if wanted.kind != "f" and not (array.dtype.kind in "iub" and np.array_equal(array, array.astype(wanted))):
            raise SampleError(f"must hold values of type {wanted}", where=where, seen=f"type {array.dtype}")
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, wanted)
        if wanted.kind == "f" and not np.isfinite(array).all():
            kind = "NaN" if np.isnan(array).any() else "inf"
            raise SampleError("all values must be finite float32", where=where, seen=kind)
        if not self.count and wanted.kind == "f" and array.size > 1 and array.min() == array.max():
            self._equal.append(f"{where} ({array.flat[0]:g})")
        return array


def _all_equal(samples: list[str], count: int) -> str:
    shown = ", ".join(samples[:3]) + (" ..." if len(samples) > 3 else "")
    return f"of {count} samples, {len(samples)} arrays hold one value only: {shown}; ranges may be too narrow"
