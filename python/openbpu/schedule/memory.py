"""Where tensors lie: memories, places in them, and views as arithmetic on strides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from openbpu.ir import strides

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
        new = list(self.strides)
        offset = self.offset + start * new[axis]
        new[axis] *= step
        return replace(self, offset=offset, strides=_four(new))

    def permuted(self, perm: Sequence[int]) -> Place:
        return replace(self, strides=_four([self.strides[axis] for axis in perm]))

    def with_strides(self, new: Sequence[int]) -> Place:
        return replace(self, strides=_four(new))


def dense_strides(extents: Sequence[int], size: int = 1) -> Extents:
    """Byte strides of a dense row-major tensor."""
    return _four([stride for _, stride in strides.dense(extents, size)])


def is_channel_dense(place: Place, extents: Extents, size: int = 1) -> bool:
    """True if kernels can work on it: channels of `size` bytes lie side by side."""
    return place.strides[3] == size or extents[3] == 1


def normalised(place: Place, extents: Extents, size: int = 1) -> Place:
    """Strides of extents of 1 set as in a dense tensor, so that equal views compare equal."""
    new = list(place.strides)
    for axis in (3, 2, 1, 0):
        if extents[axis] == 1:
            new[axis] = size if axis == 3 else new[axis + 1] * extents[axis + 1]
    return place.with_strides(new)


def reshaped(place: Place, before: Extents, after: Extents, size: int = 1) -> Place | None:
    """The same elements of `size` bytes, in the same order, under other extents; None if no strides do that."""
    groups = strides.grouped(list(zip(before, place.strides, strict=True)), after)
    if groups is None:
        return None
    joined = [strides.merged(group) for group in groups]
    if any(len(group) > 1 for group in joined):
        return None
    return normalised(place.with_strides([group[0][1] if group else 0 for group in joined]), after, size)


def _four(values: Sequence[int]) -> Extents:
    n, h, w, c = values
    return n, h, w, c
