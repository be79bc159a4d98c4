"""A compiled, verified program: immutable, shareable between sessions and threads."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from openbpu import _native
from openbpu.errors import ConfigError, ExecutableError, OpenBpuError

if TYPE_CHECKING:
    from openbpu.preprocess import InputSpec, Recipe

_T = TypeVar("_T")
STRIDES, _SIZE, REGION = 1, 2, 4  # bits of Port.flags


@dataclass(frozen=True)
class Port:
    """An input or output as the caller sees it. scale is 0 for tensors that are not quantised."""

    name: str
    direction: str  # "input" or "output"
    dtype: str  # numpy's name
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    flags: int = 0  # docs/isa.md: of camera inputs

    @property
    def any_size(self) -> bool:
        """Whether an image [n, h, w, c] of any size up to `shape` will do."""
        return bool(self.flags & _SIZE)

    @property
    def extents(self) -> str:
        """The shape as text: 1x3x224x224, 1x<=2160x<=3840x1."""
        open_ = self.sides if self.any_size else ()
        return "x".join(f"{'<=' if axis in open_ else ''}{extent}" for axis, extent in enumerate(self.shape))

    @property
    def sides(self) -> tuple[int, int]:
        """The axes of rows and columns of an image."""
        return (2, 3) if self.shape[1] == 1 else (1, 2)


class Executable:
    """The contents of a .bpux file. Every instance has passed the verifier."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise ConfigError(
                "an Executable is made from the bytes of a file",
                seen=type(data).__name__,
                remedy="use Executable.load for a path",
            )
        try:
            self._program = _native.Program.from_bytes(bytes(data))
        except _native.NativeError as error:
            raise _executable_error(error, "executable") from None

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Executable:
        """Reads and verifies a .bpux file. Raises ExecutableError naming the file and what is wrong with it."""
        try:
            with io.FileIO(os.fsdecode(path)) as file:  # pathlib takes longer to import than most files to load
                empty = not file.read(1)
        except OSError as error:
            raise ExecutableError("the file must be readable", where=str(path), seen=error.strerror) from error
        if empty:
            raise ExecutableError("the file is empty", where=str(path), remedy=_REMEDIES["Corrupt"])
        executable = Executable.__new__(Executable)
        try:
            executable._program = _native.Program.load(os.fsdecode(path))
        except _native.NativeError as error:
            raise _executable_error(error, str(path)) from None
        return executable

    @staticmethod
    def from_bytes(data: bytes | bytearray | memoryview) -> Executable:
        """Verifies the bytes of a .bpux file. Raises ExecutableError."""
        return Executable(data)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file whole or not at all. Raises OpenBpuError naming the path."""
        from openbpu.files import write_file

        write_file(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The contents of the file."""
        return self._program.to_bytes()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._program.size

    @property
    def native(self) -> _native.Program:
        """The program as the runtime holds it; sessions share it."""
        return self._program

    @property
    def entries(self) -> list[str]:
        """Names of the models in the file."""
        return self._program.entries

    @property
    def meta(self) -> dict[str, Any]:
        """What the compiler recorded of the first model: see `metadata`."""
        return self.metadata()

    def metadata(self, entry: str = "") -> dict[str, Any]:
        """What the compiler recorded of an entry (default: the first): march, options, source map, memory plan.

        Empty if the file holds none of it.
        """
        import json

        text = self._program.meta or "{}"
        try:
            meta = json.loads(text)
            if "\\ud" in text.lower():  # halves of a character pass JSON, and no stream that prints them
                meta = json.loads(json.dumps(meta, ensure_ascii=False).encode(errors="replace"))
        except ValueError as error:
            raise ExecutableError("section META must hold JSON", where="section META", seen=error) from error
        if isinstance(meta, dict) and isinstance(meta.get("entries"), dict):  # of linked files
            meta = meta["entries"].get(entry or self.entries[0])
        return meta if isinstance(meta, dict) else {}

    @property
    def preprocess(self) -> dict[str, Recipe]:
        """The recipes recorded with the model, by input name: `recipe.apply(image)` gives the network's input."""
        return self.preprocess_of()

    def preprocess_of(self, entry: str = "") -> dict[str, Recipe]:
        """`preprocess` of an entry (default: the first)."""
        from openbpu.preprocess.recipe import recorded

        return self._noted("preprocess", recorded, entry)

    @property
    def cameras(self) -> dict[str, InputSpec]:
        """How images arrive, by the name of the model's input: `recipe.frame(name, image, spec)` makes the ports."""
        return self.cameras_of()

    def cameras_of(self, entry: str = "") -> dict[str, InputSpec]:
        """`cameras` of an entry (default: the first)."""
        from openbpu.preprocess import InputSpec

        def read(specs: Any) -> dict[str, InputSpec]:
            return {name: InputSpec.from_dict(spec) for name, spec in specs.items()}

        return self._noted("inputs", read, entry)

    def _noted(self, key: str, read: Callable[[Any], dict[str, _T]], entry: str = "") -> dict[str, _T]:
        value = self.metadata(entry).get(key)
        try:
            return read(value) if value else {}
        except (OpenBpuError, AttributeError, TypeError) as error:
            where = f"section META, {key}"
            raise ExecutableError("must be what this release writes", where=where, seen=error) from error

    def ports(self, entry: str = "") -> tuple[Port, ...]:
        """Ports of an entry (default: the first), inputs first. Raises ExecutableError for an unknown entry."""
        try:
            return tuple(Port(**port) for port in self._program.ports(entry))
        except _native.NativeError as error:
            raise _executable_error(error, "executable") from None

    def summary(self) -> dict[str, Any]:
        """Versions, sizes, and per entry the instruction, MAC and arena counts."""
        return {"file_bytes": self.size, **self._program.summary()}

    def disassemble(self, entry: str = "") -> str:
        """The instructions of an entry, one line each. Raises ExecutableError for an unknown entry."""
        try:
            return self._program.disassemble(entry)
        except _native.NativeError as error:
            raise _executable_error(error, "executable") from None

    def tables(self, entry: str = "") -> dict[str, Any]:
        """The records of an entry as bytes, for tools (`openbpu.target.records` has their types).

        entry, ports and code of the entry, surfaces, consts and aux of the file; macs: those of each instruction.
        Raises ExecutableError for an unknown entry.
        """
        try:
            return self._program.tables(entry)
        except _native.NativeError as error:
            raise _executable_error(error, "executable") from None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Executable):
            return NotImplemented
        return self.size == other.size and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __reduce__(self) -> tuple[type[Executable], tuple[bytes]]:
        return Executable, (self.to_bytes(),)

    def __repr__(self) -> str:
        return f"Executable({', '.join(self.entries)}: {self.size:,} bytes)"


_REMEDIES = {
    "Corrupt": "the file is damaged or no .bpux file: compile the model again",
    "Unsupported": "the file is of another version: compile the model again with this release",
    "Illegal": "the file breaks a rule of the instruction set: compile the model again",
}


def _executable_error(error: _native.NativeError, where: str) -> ExecutableError:
    code, place, message = error.args
    return ExecutableError(message, where=f"{where}, {place}" if place else where, remedy=_REMEDIES.get(code, ""))
