"""The C++ runtime (csrc/api): programs, engines, and the instruction set as data."""

from typing import Any

import numpy as np

class NativeError(Exception):
    """A Status from C++: args are (code, where, message); code is a name of openbpu::Code, e.g. 'Corrupt'."""

class Program:
    """A verified executable. Immutable; share it between threads."""

    @staticmethod
    def from_bytes(data: bytes) -> Program: ...
    @staticmethod
    def load(path: str) -> Program: ...
    def to_bytes(self) -> bytes: ...
    @property
    def size(self) -> int:
        """Bytes of the file."""
    @property
    def entries(self) -> list[str]: ...
    def ports(self, entry: str = "") -> list[dict[str, Any]]:
        """Inputs first: name, direction, dtype (numpy name), shape (tuple), scale, zero_point."""
    @property
    def meta(self) -> str: ...
    def summary(self) -> dict[str, Any]:
        """Counts, arena and section sizes, versions; MACs per entry."""
    def disassemble(self, entry: str = "") -> str: ...
    def tables(self, entry: str = "") -> dict[str, Any]:
        """Records as bytes: entry, ports and code of the entry, surfaces, consts, aux; macs: int per instruction."""

class Engine:
    """Runs one entry; one run at a time. `flip` (0, 128 or as the ISA wants) is how int8 lies in memory, for tests.

    `exact_machine` runs the program as it is written, checked, in an order drawn with `seed` (csrc/engine/exact.hpp).
    """

    def __init__(
        self,
        program: Program,
        entry: str = "",
        isa: str = "auto",
        threads: int = 1,
        flip: int | None = None,
        exact_machine: bool = False,
        seed: int = 0,
    ) -> None: ...
    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """Dense arrays of the ports' dtypes and shapes, in port order; releases the GIL; results own their memory."""
    def run_task(
        self, inputs: list[np.ndarray], priority: int = 0, custom_id: int = 0, cores: int = 128, timeout: int = 0
    ) -> list[np.ndarray]:
        """The same as a task of the process (csrc/engine/scheduler.hpp); `timeout` in milliseconds, 0: none."""
    def run_profiled(self, inputs: list[np.ndarray]) -> list[np.ndarray]: ...
    def steps(self) -> list[dict[str, Any]]:
        """instruction, op, layer, row, reason, macs, bytes, nanoseconds."""
    @property
    def joined(self) -> bool:
        """Whether stripes were joined and copies left out (csrc/engine/host_form.hpp)."""
    @property
    def moved_bytes(self) -> int:
        """Bytes that the last run moved through the DDR port; 0 but on the exact machine."""
    @property
    def isa(self) -> str: ...
    @property
    def threads(self) -> int: ...

def available_isas() -> list[str]: ...
def host_features() -> list[str]: ...
def peak_gmacs(isa: str) -> float:
    """int8 GMAC/s of one core's dot-product instructions from registers, measured now; 0 for an ISA without them."""

def records() -> dict[str, dict[str, Any]]:
    """Record name -> {size, doc, fields: [{name, format (numpy), offset, count, doc}]}, from csrc/isa/records.def."""

def instructions() -> list[dict[str, Any]]:
    """name, opcode, queue, operands ("AO", ...), aux (record name or ""), summary, from csrc/isa/instructions.def."""

def formats() -> list[dict[str, Any]]: ...
def flags() -> list[dict[str, Any]]: ...
def cpu_kernels() -> list[dict[str, Any]]:
    """The operators of CPUCALL, from csrc/operators/kernels.def.

    name, id, min_inputs, max_inputs, min_outputs, max_outputs, statics (bit mask of the inputs that are parameters),
    attributes ([{name, kind, words, default, required}]), summary.
    """

def versions() -> dict[str, int]:
    """isa, numerics, container_major, container_minor."""

def write(parts: dict[str, Any]) -> bytes:
    """Packs entries, ports, surfaces, consts, code (structured arrays), aux, constants, strings (bytes), meta (str).

    Fills in Entry.macs; verifies nothing (Program.from_bytes does).
    """
