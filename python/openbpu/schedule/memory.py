"""Where tensors lie: memories, places in them, and views as arithmetic on strides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

Extents = tuple[int, int, int, int]  # n, h, w, c


@dataclass(eq=False)
class Memory:
    """A piece of a region: a buffer of the DDR arena, a port of the caller, or a constant of the file."""

    region: str  # "ddr", "in", "out", "const"
    size: int
    index: int = 0  # port index within its direction
    address: int = 0  # byte offset in the region, once known
    host: Memory | None = None  # the buffer whose bytes this one reuses

    @property
    def root(self) -> Memory:
        """The buffer that really has bytes and an address."""
        return self if self.host is None else self.host.root


@dataclass(frozen=True)
class Place:
    """A strided tensor in a memory; offset and strides in bytes."""

    memory: Memory
    offset: int
    strides: Extents

    def part(self, axis: int, start: int, step: int = 1) -> Place:
        """The view that starts at `start` of an axis and takes every `step`-th element."""
        strides = list(self.strides)
        offset = self.offset + start * strides[axis]
        strides[axis] *= step
        return replace(self, offset=offset, strides=_four(strides))

    def permuted(self, perm: Sequence[int]) -> Place:
        return replace(self, strides=_four([self.strides[axis] for axis in perm]))

    def with_strides(self, strides: Sequence[int]) -> Place:
        return replace(self, strides=_four(strides))


def dense_strides(extents: Sequence[int], size: int = 1) -> Extents:
    """Byte strides of a dense row-major tensor."""
    strides = [size] * 4
    for axis in (2, 1, 0):
        strides[axis] = strides[axis + 1] * extents[axis + 1]
    return _four(strides)


def is_channel_dense(place: Place, extents: Extents) -> bool:
    """True if kernels can work on it: channels lie side by side."""
    return place.strides[3] == 1 or extents[3] == 1


def normalised(place: Place, extents: Extents) -> Place:
    """Strides of extents of 1 set as in a dense tensor, so that equal views compare equal."""
    strides = list(place.strides)
    for axis in (3, 2, 1, 0):
        if extents[axis] == 1:
            strides[axis] = 1 if axis == 3 else strides[axis + 1] * extents[axis + 1]
    return place.with_strides(strides)


def reshaped(place: Place, before: Extents, after: Extents) -> Place | None:
    """The same elements, in the same order, under other extents; None if no strides do that."""
    atoms = merged([(e, s) for e, s in zip(before, place.strides, strict=True) if e > 1])
    strides = []
    for extent in reversed(after):
        if extent == 1:
            strides.append(0)
            continue
        if not atoms:
            return None
        available, stride = atoms.pop()
        if available % extent:
            return None
        strides.append(stride)
        if available > extent:
            atoms.append((available // extent, stride * extent))
    return normalised(place.with_strides(strides[::-1]), after)


def merged(axes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(extent, stride) pairs, outermost first, with neighbours joined that step as one axis."""
    joined: list[tuple[int, int]] = []
    for extent, stride in axes:
        if joined and joined[-1][1] == extent * stride:
            joined[-1] = (joined[-1][0] * extent, stride)
        else:
            joined.append((extent, stride))
    return joined


def _four(strides: Sequence[int]) -> Extents:
    n, h, w, c = strides
    return n, h, w, c
