"""One sample as every stage takes it: levels, reals, and frames of a camera whose pixels the others see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openbpu.artefacts.sources import Sample
from openbpu.artefacts.sources import samples as _samples
from openbpu.artefacts.stages import PROGRAMS, Stage, Tensor
from openbpu.errors import ConfigError, SampleError
from openbpu.preprocess import InputSpec, Recipe

Feed = dict[str, np.ndarray]


class Inputs:
    """What all stages are run on. Inputs are those of the first ONNX stage, else of the first program.

    A program that takes frames of a camera gets frames; the other stages get the network input that its conversion
    makes of them in exact arithmetic (`InputSpec.reference`). Raises ConfigError for stages that take different frames.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages
        models = [s for s in stages if Path(s.name).suffix not in PROGRAMS]
        first = (models or stages)[0]
        self.recipes: dict[str, Recipe] = next((dict(s.recipes) for s in stages if s.recipes), {})
        self.cameras: dict[str, InputSpec] = {}
        for stage in stages if models else ():
            for name, spec in stage.cameras.items():
                if self.cameras.setdefault(name, spec) != spec:
                    raise ConfigError(
                        "programs that are compared take the same frames",
                        where=f"input {name} of {stage.name}",
                        seen=f"{spec.type_rt} and {self.cameras[name].type_rt}",
                        remedy="compare each with the ONNX stages by itself",
                    )
        self.tensors = tuple(self._known(t) for t in first.inputs)
        self.regions = {p.name for s in stages for p in s.inputs if p.name.endswith("_roi") and p.dtype == "int32"}
        self.ports = {t.name: _ports(self.cameras[t.name], t) for t in self.tensors if t.name in self.cameras}
        if lost := sorted(set(self.cameras) - set(self.ports)):
            raise ConfigError(
                "the ONNX stages must have the inputs that arrive as images",
                where=", ".join(lost),
                seen=", ".join(t.name for t in self.tensors),
                remedy="compare stages of one model",
            )

    @property
    def note(self) -> str:
        """How the inputs of stages belong together, where they differ; "" if they do not."""
        return "; ".join(
            f"input {name} arrives as {spec.type_rt} at the program, and the other stages get the pixels that it makes "
            "of it, without rounding"
            for name, spec in self.cameras.items()
        )

    def read(self, sources: Sequence[str]) -> Iterator[Sample]:
        """Samples from files: of the ports of the program, or of the model's inputs. Raises SampleError."""
        arriving = [p for t in self.tensors for p in self.ports.get(t.name, (t,))]
        return _samples(sources, [arriving, self.tensors] if self.ports else [self.tensors])

    def random(self, seed: int, count: int) -> Iterator[Sample]:
        """Seeded samples: reals within the range that a stage quantises, pixels, and small integers.

        Raises ConfigError for an input of unknown extents.
        """
        generator = np.random.default_rng(seed)
        for _ in range(count):
            sample: Sample = {}
            for tensor in self.tensors:
                for port in self.ports.get(tensor.name, (tensor,)):
                    sample[port.name] = self._drawn(port, generator)
            yield sample

    def feeds(self, sample: Any) -> list[Feed]:
        """The sample for each stage, in order. Raises SampleError naming stage and input."""
        given: dict[str, Any] = dict(sample) if isinstance(sample, Mapping) else {"": sample}
        if "" in given:
            given[self._only()] = given.pop("")
        known = {t.name for t in self.tensors} | {p.name for ports in self.ports.values() for p in ports}
        if unknown := sorted(set(given) - known):
            names = ", ".join(sorted(known))
            raise SampleError(
                "no such input", where="inputs", seen=", ".join(unknown), remedy=f"the inputs are {names}"
            )
        frames: Feed = {}
        values: Feed = {}
        for tensor in self.tensors:
            if tensor.name in self.cameras:
                arrived = self._frames(tensor, given)
                frames |= arrived
                pixels = self.cameras[tensor.name].reference(tensor.name, arrived)
                values[tensor.name] = pixels.astype(np.float32)
            elif tensor.name not in given:
                raise SampleError("every input needs an array", where="inputs", seen=f"none for {tensor.name}")
            else:
                values[tensor.name] = self._prepared(tensor.name, given[tensor.name])
        return [self._feed(stage, values, frames) for stage in self.stages]

    def _only(self) -> str:
        if len(self.tensors) != 1:
            names = ", ".join(t.name for t in self.tensors)
            raise SampleError("a model with several inputs needs a dict", seen="one array", remedy=f"name {names}")
        return self.tensors[0].name

    def _known(self, tensor: Tensor) -> Tensor:
        """The tensor with extents, type and scale that other stages know of it."""
        same = [t for s in self.stages for t in s.inputs if t.name == tensor.name]
        whole = [
            t.shape for t in same if t.dtype == tensor.dtype and all(t.shape) and len(t.shape) == len(tensor.shape)
        ]
        shape = tensor.shape if all(tensor.shape) or not whole else whole[0]
        if shape and not shape[0]:
            shape = (1, *shape[1:])  # a dynamic batch
        steps = tensor.steps or next((t.steps or t.scale for t in same if t.steps or t.scale), None)
        return Tensor(tensor.name, shape, tensor.dtype, tensor.scale, steps)

    def _drawn(self, tensor: Tensor, generator: np.random.Generator) -> np.ndarray:
        if not all(tensor.shape):
            raise ConfigError(
                "random inputs need a known shape", where=tensor.name, seen=tensor.shape, remedy="give --input"
            )
        if tensor.name in self.regions:
            return _whole_region(tensor, self._image_of(tensor))
        kind = np.dtype(tensor.dtype or "f4")
        if kind.kind == "f":
            drawn = generator.standard_normal(tensor.shape)
            if tensor.steps is not None:  # within the range that was calibrated
                low, high = tensor.steps.range
                drawn = np.clip((low + high) / 2 + (high - low) / 6 * drawn, low, high)
            return drawn.astype(kind)
        if kind.kind == "b" or kind.itemsize > 1:
            return generator.integers(0, 2, tensor.shape).astype(kind)  # legal as an index, a length, a mask
        return generator.integers(0, 256, tensor.shape, np.uint8).view(kind)

    def _image_of(self, region: Tensor) -> tuple[int, int]:
        """Rows and columns of the image to which a region of interest belongs."""
        image = region.name.removesuffix("_roi")
        ports = [p for ports in self.ports.values() for p in ports] or list(self.tensors)
        found = next((p.shape for p in ports if p.name in (image, f"{image}_y")), (1, 1, 1, 1))
        return (found[2], found[3]) if found[1] == 1 else (found[1], found[2])

    def _frames(self, tensor: Tensor, given: dict[str, Any]) -> Feed:
        """The arrays of the program's ports."""
        spec, ports = self.cameras[tensor.name], self.ports[tensor.name]
        value = given.get(tensor.name)
        if isinstance(value, Path):
            frame = self._recipe(tensor.name, value).frame(tensor.name, value, spec)
            rest = {p.name: _whole_region(p, self._image_of(p)) for p in ports if p.name not in frame}
            return frame | rest
        frames: Feed = {}
        for port in ports:
            array = given.get(port.name)
            if port.name in self.regions and array is None:
                array = _whole_region(port, self._image_of(port))
            if array is None or array.dtype != port.dtype:
                raise SampleError(
                    f"the program takes {spec.type_rt}, of which a network input cannot be made back",
                    where=f"input {tensor.name}",
                    seen="nothing" if array is None and value is None else "a network input",
                    remedy=f"give {', '.join(f'{p.name} ({p.dtype})' for p in ports)}, a photograph, or no input: "
                    "random frames are made",
                )
            if array.shape != port.shape or (
                port.name in self.regions and not np.array_equal(array, _whole_region(port, self._image_of(port)))
            ):
                rule = f"must be the whole of an image of the model's size: shape {port.shape}"
                remedy = "the ONNX stages have no region of interest and do not resize"
                raise SampleError(rule, where=f"input {port.name}", seen=f"shape {array.shape}", remedy=remedy)
            frames[port.name] = array
        return frames

    def _prepared(self, name: str, value: Any) -> np.ndarray:
        if isinstance(value, Path):
            return np.asarray(self._recipe(name, value).apply(value))
        return np.asarray(value)

    def _recipe(self, name: str, photograph: Path) -> Recipe:
        if name not in self.recipes:
            raise SampleError(
                "a photograph needs a recipe, and no stage records one",
                where=f"input {name}",
                seen=photograph,
                remedy="quantise with preprocess=..., or give arrays",
            )
        return self.recipes[name]

    def _feed(self, stage: Stage, values: Feed, frames: Feed) -> Feed:
        ported = {p.name for name in stage.cameras for p in self.ports.get(name, ())}
        rest = [t for t in stage.inputs if t.name not in ported]
        feed = {name: frames[name] for name in ported}
        plain = [t.name for t in self.tensors if t.name not in stage.cameras]
        by_name = all(t.name in values for t in rest)
        if not by_name and len(rest) != len(plain):
            seen = f"{', '.join(t.name for t in rest)} and {', '.join(plain)}"
            raise SampleError("stages have the same inputs, by name or in order", where=stage.name, seen=seen)
        for tensor, name in zip(rest, [t.name for t in rest] if by_name else plain, strict=False):
            feed[tensor.name] = _fitting(stage, tensor, values[name], self._scale_of(name))
        return feed

    def _scale_of(self, name: str) -> Any:
        return next(t.scale for t in self.tensors if t.name == name)


def _fitting(stage: Stage, tensor: Tensor, value: np.ndarray, levels: Any) -> np.ndarray:
    """A value as the stage's input takes it; `levels` is the scale if the value holds levels."""
    where = f"{stage.name}, input {tensor.name}"
    if value.ndim == len(tensor.shape) - 1:
        value = value[None]
    if len(value.shape) != len(tensor.shape) or any(
        w and w != h for w, h in zip(tensor.shape, value.shape, strict=True)
    ):
        wanted = "x".join(str(extent or "?") for extent in tensor.shape)
        raise SampleError(f"must have shape {wanted}", where=where, seen=f"shape {value.shape}", remedy=_SHAPES)
    if tensor.scale is not None and value.dtype.kind == "f":
        return tensor.scale.quantised(value)
    kind = np.dtype(tensor.dtype or value.dtype)
    if kind.kind == "f" and value.dtype.kind in "iu" and levels is not None:
        value = levels.reals(value)
    elif kind.kind != "f" and value.dtype.kind == "f":
        raise SampleError(f"must be of type {kind}", where=where, seen=value.dtype)
    return np.ascontiguousarray(value.astype(kind))


_SHAPES = "where a build took Transpose or Reshape off the inputs, compare from the optimized_float model on"


def _ports(spec: InputSpec, tensor: Tensor) -> tuple[Tensor, ...]:
    """The program's inputs for a model's input, images in the size of the model."""
    if not all(tensor.shape):
        remedy = "fix the shape of the model"
        raise ConfigError("an image input needs a known shape", where=tensor.name, seen=tensor.shape, remedy=remedy)
    spec.checked(tensor.name, tensor.shape)
    ports = spec.ports(tensor.name, tensor.shape)
    if spec.input_source == "resizer":
        from dataclasses import replace

        sized = {p.name: p.shape for p in replace(spec, source="pyramid").ports(tensor.name, tensor.shape)}
        return tuple(Tensor(p.name, sized.get(p.name, p.shape), p.dtype) for p in ports)
    return tuple(Tensor(p.name, p.shape, p.dtype, None, tensor.steps) for p in ports)


def _whole_region(port: Tensor, size: tuple[int, int]) -> np.ndarray:
    """left, top, right, bottom of whole images."""
    return np.tile(np.array([0, 0, size[1] - 1, size[0] - 1], np.int32), (port.shape[0], 1))
