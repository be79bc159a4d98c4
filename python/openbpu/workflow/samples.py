"""Calibration samples of a configuration, as the network takes them: files, or made-up data."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from openbpu.config import Config
from openbpu.errors import SampleError
from openbpu.preprocess import InputSpec
from openbpu.samples import SampleFiles

_MADE_UP = 4
_LOOKED_AT = 8  # samples that tell whether pixels are normalised already
_BRIGHTEST_NORMALISED = 16.0  # pixels 0..255 exceed this somewhere in any set of images
_KEY = "calibration_parameters.cal_data_dir"
log = logging.getLogger("openbpu")

Inputs = Mapping[str, tuple[tuple[int, ...], np.dtype]]  # shape and type per input
Feed = dict[str, np.ndarray]


@contextmanager
def _named() -> Iterator[None]:
    """What is wrong with a file or folder is said with the key that names it."""
    try:
        yield
    except SampleError as error:
        where = f"{_KEY}, {error.where}"
        raise SampleError(error.rule, where=where, seen=error.seen, remedy=error.remedy) from error


class CalibrationFiles:
    """The .npy files of `cal_data_dir`, one folder per input, as normalised feeds; re-iterable, read one at a time.

    Samples of images are pixels 0..255 in the layout and colours of training where mean, scale or std are given, and
    are normalised here; samples that are so already (negative, or none above 16) are taken as they are. A missing batch
    dimension is added; a larger batch takes as many files as it has images. Raises SampleError.
    """

    def __init__(self, folders: Mapping[str, Path], inputs: Inputs, specs: Mapping[str, InputSpec]) -> None:
        self._inputs, self._specs = inputs, specs
        with _named():
            self._files = SampleFiles([f"{name}={folder}" for name, folder in folders.items()])
        self._raw = {name: self._is_raw(name) for name in inputs}

    def __len__(self) -> int:
        batch = max((shape[0] for shape, _ in self._inputs.values() if shape), default=1)
        return -(-len(self._files) // batch) if self._batched() else len(self._files)

    def __iter__(self) -> Iterator[Feed]:
        waiting: list[Feed] = []
        for index, sample in enumerate(self._read()):
            assert isinstance(sample, Mapping)
            feed = {name: self._fitted(name, array, index) for name, array in sample.items()}
            waiting.append(feed)
            if self._complete(waiting):
                yield self._joined(waiting)
                waiting = []
        if waiting:
            wanted = next(shape[0] for shape, _ in self._inputs.values() if shape)
            waiting += [waiting[i % len(waiting)] for i in range(wanted)]
            yield self._joined(waiting[:wanted])

    def _read(self) -> Iterator[np.ndarray | Mapping[str, np.ndarray]]:
        with _named():
            yield from self._files

    def _batched(self) -> bool:
        first = next(self._read(), {})
        return any(
            self._fitted(name, array, 0).shape[:1] != self._inputs[name][0][:1]
            for name, array in first.items()  # type: ignore[union-attr]
        )

    def _complete(self, feeds: list[Feed]) -> bool:
        return all(not (s := self._inputs[n][0]) or sum(f[n].shape[0] for f in feeds) >= s[0] for n in self._inputs)

    def _joined(self, feeds: list[Feed]) -> Feed:
        if len(feeds) == 1:
            return feeds[0]
        return {name: np.concatenate([feed[name] for feed in feeds]) for name in self._inputs}

    def _fitted(self, name: str, array: np.ndarray, index: int) -> np.ndarray:
        shape, dtype = self._inputs[name]
        if array.shape == shape[1:]:
            array = array[None]
        if array.shape[1:] != shape[1:] or (array.shape and shape and array.shape[0] not in (1, shape[0])):
            raise SampleError(
                f"a sample of input {name} has the shape {_text(shape)}, or {_text(shape[1:])}",
                where=f"{_KEY}, sample {index}",
                seen=_text(array.shape),
                remedy="write .npy files in the layout of training, one sample each",
            )
        if array.dtype.kind not in "fiub":
            raise SampleError("a sample holds numbers", where=f"{_KEY}, sample {index}", seen=array.dtype)
        if self._raw.get(name):
            return normalised(array, self._specs[name]).astype(dtype)
        return array.astype(dtype) if dtype.kind == "f" else array

    def _is_raw(self, name: str) -> bool:
        spec = self._specs.get(name)
        if spec is None or (spec.mean is None and spec.scale is None and spec.std is None):
            return False
        low, high = 0.0, 0.0
        for index, sample in enumerate(self._read()):
            if index == _LOOKED_AT:
                break
            array = sample[name]
            low, high = min(low, float(array.min(initial=0))), max(high, float(array.max(initial=0)))
        if raw := low >= 0 and high > _BRIGHTEST_NORMALISED:
            return raw
        log.warning("samples of input %s are normalised already (%.3g to %.3g): taken as they are", name, low, high)
        return False


def normalised(pixels: np.ndarray, spec: InputSpec) -> np.ndarray:
    """(pixels - mean) * scale or / std, per channel of the layout of training."""
    gain, shift = (
        values.reshape(-1, 1, 1) if spec.layout_train == "NCHW" else values for values in spec.normalisation()
    )
    result: np.ndarray = pixels.astype(np.float64) * gain + shift
    return result


class MadeUp:
    """Seeded samples where there are none: images of noise on slopes, standard normal numbers, indices 0 and 1."""

    def __init__(self, inputs: Inputs, specs: Mapping[str, InputSpec], count: int = _MADE_UP) -> None:
        self._inputs, self._specs, self._count = inputs, specs, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Feed]:
        for index in range(self._count):
            random = np.random.default_rng(index)
            yield {name: self._made(random, name, *kind) for name, kind in self._inputs.items()}

    def _made(self, random: np.random.Generator, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        if dtype.kind != "f":
            return np.asarray(random.integers(0, 2, shape), dtype)
        spec = self._specs.get(name)
        if spec is None or spec.type_train == "featuremap":
            return np.asarray(random.standard_normal(shape), dtype)
        pixels = np.clip(random.uniform(0, 192) + 64 * random.standard_normal(shape), 0, 255)
        return normalised(pixels, spec).astype(dtype)


def samples_of(config: Config, inputs: Inputs, specs: Mapping[str, InputSpec]) -> CalibrationFiles | MadeUp:
    """The samples that a configuration names, or made-up ones if it names none or skips calibration."""
    group = config.calibration_parameters
    if not group.cal_data_dir or group.calibration_type == "skip":
        return MadeUp(inputs, specs)
    named = config.input_parameters.input_name
    order = named if set(named) == set(inputs) else tuple(inputs)  # a staged model may have lost the names
    return CalibrationFiles(dict(zip(order, group.cal_data_dir, strict=True)), inputs, specs)


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
