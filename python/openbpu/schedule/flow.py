"""What the instructions of whole tensors read and write, row by row: the ground on which stripes are cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from openbpu.schedule.memory import Memory
from openbpu.schedule.program import Instruction, Operand

_WINDOWS = frozenset({"CONV2D", "GCONV2D", "DWCONV2D", "MAXPOOL", "AVGPOOL"})
_BY_ROWS = _WINDOWS | {
    "TCONV2D", "RESIZE_NN", "RESIZE_BILIN", "ADD", "SUB", "MUL", "MAX", "MIN", "CMP", "SELECT", "DIV", "RESCALE",
    "LUT8", "LUT16", "SOFTMAX", "LAYERNORM", "RMSNORM", "REDUCE", "COPY",
}  # fmt: skip
CPU = frozenset({"QUANTIZE", "DEQUANTIZE", "CPUCALL"})


@dataclass(frozen=True)
class Geometry:
    """A buffer as an NHWC tensor: rows of `row` bytes, pixels of `pixel` bytes, images of `h` rows."""

    n: int
    h: int
    w: int
    row: int
    pixel: int


@dataclass(eq=False)
class Root:
    """A buffer of the arena and all that touches it; times are indices of instructions."""

    memory: Memory
    geometry: Geometry | None = None
    first: int = 0
    last: int = 0
    writes: list[int] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)
    external: bool = False  # the CPU works on it: it lies in DDR

    @property
    def size(self) -> int:
        return -(-self.memory.size // 64) * 64


@dataclass(frozen=True)
class Access:
    """An operand in a buffer of the arena; bytes [low, high) of each pixel if it is `regular`."""

    root: Root
    operand: Operand
    regular: bool
    low: int = 0
    high: int = 0


@dataclass(eq=False)
class Node:
    """An instruction on whole tensors: reads by the names of their fields, the write, bytes of weights."""

    index: int
    instruction: Instruction
    reads: dict[str, Access]
    write: Access | None
    weight_bytes: int
    by_rows: bool
    _tables: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict, repr=False)

    @property
    def rows(self) -> int:
        return self.instruction.out.extents[1]

    def window(self, name: str, first: int, end: int) -> tuple[int, int]:
        """Rows of an operand under output rows [first, end)."""
        return window(self.instruction, name, first, end)

    def tops(self, name: str) -> list[int]:
        """By output row: the first row of an operand that it or a later one reads; of the result if `name` is empty."""
        return self._table(name)[0]

    def ends(self, name: str) -> list[int]:
        """By number of output rows: the end of the rows of an operand that they read; of the result likewise."""
        return self._table(name)[1]

    def _table(self, name: str) -> tuple[list[int], list[int]]:
        if name not in self._tables:
            rows = self.rows
            if not name:
                self._tables[name] = list(range(rows + 1)), list(range(rows + 1))
            else:
                tops = [self.window(name, row, rows)[0] for row in range(rows)]
                self._tables[name] = tops, [0, *(self.window(name, 0, end)[1] for end in range(1, rows + 1))]
        return self._tables[name]


def window(i: Instruction, name: str, first: int, end: int) -> tuple[int, int]:
    """Rows of an operand under rows [first, end) of the result; all rows where that is not known."""
    extent = getattr(i, name).extents[1]
    if name == "in0" and i.aux is not None and i.op in _WINDOWS:
        top = first * i.aux["stride_h"] - i.aux["pad_top"]
        end = (end - 1) * i.aux["stride_h"] - i.aux["pad_top"] + (i.aux["kernel_h"] - 1) * i.aux["dilation_h"] + 1
        return _clipped(top, end, extent)
    if name == "in0" and i.aux is not None and i.op == "TCONV2D":
        stride, pad, reach = i.aux["stride_h"], i.aux["pad_top"], (i.aux["kernel_h"] - 1) * i.aux["dilation_h"]
        return _clipped(-((reach - first - pad) // stride), (end - 1 + pad) // stride + 1, extent)
    if name == "in0" and i.row_taps is not None:
        taps = i.row_taps[first:end]
        return int(taps.min()), int(taps.max()) + 1
    if extent == 1 or i.op not in _BY_ROWS | {"LOAD", "STORE"}:
        return 0, extent
    return first, end


def _clipped(first: int, end: int, extent: int) -> tuple[int, int]:
    first = min(max(first, 0), extent)
    return first, max(first, min(max(end, 0), extent))


class Flow:
    """The program as nodes and buffers."""

    def __init__(self, code: Sequence[Instruction], weight_bytes: Sequence[int]) -> None:
        self.roots: dict[Memory, Root] = {}
        self.nodes: list[Node] = []
        for index, instruction in enumerate(code):
            for operand in (*instruction.writes, *instruction.reads):
                self._register(operand, instruction, index, operand in instruction.writes)
        for index, (instruction, weights) in enumerate(zip(code, weight_bytes, strict=True)):
            self.nodes.append(self._node(index, instruction, weights))

    def _register(self, operand: Operand, instruction: Instruction, index: int, writes: bool) -> None:
        memory = operand.place.memory.root
        if memory.region != "ddr":
            return
        root = self.roots.setdefault(memory, Root(memory, first=index))
        root.last = index
        (root.writes if writes else root.reads).append(index)
        root.external = root.external or instruction.op in CPU
        if root.geometry is None:
            root.geometry = _geometry(operand, memory.size)

    def _node(self, index: int, instruction: Instruction, weights: int) -> Node:
        if instruction.op in CPU:
            return Node(index, instruction, {}, None, 0, False)
        reads = {}
        direct = True  # operands outside the arena are of no hindrance
        for name in ("in0", "in1", "in2"):
            operand = getattr(instruction, name)
            if operand is None:
                continue
            access = self._access(operand)
            if access is not None:
                reads[name] = access
                direct = direct and access.regular
        write = self._access(instruction.out)
        regular = direct and (write is None or write.regular) and instruction.out.extents[1] > 1
        known = instruction.op in _BY_ROWS or (instruction.op == "CSC" and not reads)  # of an image that arrives
        return Node(index, instruction, reads, write, weights, regular and known)

    def _access(self, operand: Operand) -> Access | None:
        root = self.roots.get(operand.place.memory.root)
        if root is None:
            return None
        g, place, (n, h, w, c) = root.geometry, operand.place, operand.extents
        size = operand.value.item_size
        regular = (
            g is not None
            and (n, h, w) == (g.n, g.h, g.w)
            and place.strides[1:] == (g.row, g.pixel, size)
            and (n == 1 or place.strides[0] == g.h * g.row)
            and place.offset + c * size <= g.pixel
        )
        return Access(root, operand, regular, place.offset, place.offset + c * size)


def _geometry(operand: Operand, size: int) -> Geometry | None:
    """The buffer as a tensor of which the operand is all, or some channels."""
    (n, h, w, c), strides, item = operand.extents, operand.place.strides, operand.value.item_size
    pixel = strides[2] if w > 1 else strides[1] if h > 1 else size // n
    dense = strides[3] == item and pixel >= c * item and (h == 1 or strides[1] == w * pixel)
    if not dense or n * h * w * pixel != size or (n > 1 and strides[0] != h * w * pixel):
        return None
    return Geometry(n, h, w, w * pixel, pixel)
