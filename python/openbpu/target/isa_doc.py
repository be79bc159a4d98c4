"""docs/isa.md from the tables of the instruction set: `python -m openbpu.target.isa_doc > docs/isa.md`."""

from __future__ import annotations

from typing import Any

from openbpu import _native
from openbpu.target.records import INSTRUCTIONS, VERSIONS

_OPERANDS = {"A": "in0", "B": "in1", "O": "out", "W": "weight", "T": "table", "M": "in2"}
_QUEUES = {
    "CTRL": "Control",
    "LD": "Load",
    "ST": "Store",
    "MAC": "Multiply-accumulate",
    "VEC": "Vector",
    "CPU": "Ports and operators on the CPU",
}

_HEAD = """\
# The virtual BPU

<!-- Generated from csrc/isa/*.def by `python -m openbpu.target.isa_doc > docs/isa.md`; a test compares. -->

This page defines the machine that executables are made for: its memory, its records and its instructions, version
**{isa}**. What each instruction computes, bit for bit, is the law of numbers ([numerics.md](numerics.md)); how the
records lie in a file is [container.md](container.md). "Virtual" says that the encoding is ours and open; it claims no
compatibility with any vendor's chip.

An instruction is one layer of a network, one horizontal stripe of it, or one slice of its channels. Instructions work
on whole tensors in memory; there are no registers. A network takes some hundred instructions.

## Memory

| region | holds | access |
|---|---|---|
| CONST | section CONST of the file: weights, tables, constant tensors | read |
| DDR | activation arena of the entry, `ddr_bytes` long | read, write |
| SRAM | on-chip arena of the entry, `sram_bytes` long | read, write |
| IN k | the caller's input k, dense row-major | read by COPY, LOAD, QUANTIZE, CPUCALL, CSC, ROIRESIZE; some as in1 |
| OUT k | the output k of the caller, dense row-major | written by COPY, STORE, DEQUANTIZE, CPUCALL, ARGMAX |

An address is a region and a byte offset in it. Both arenas may be of size 0, and a program may use either as it
likes: `DDR_OPERAND` marks instructions that touch DDR, IN or OUT, which cost external bandwidth. Bytes of an arena
that no instruction has written have no defined value.

A **surface** is a tensor in a region: extents n, h, w, c (1 to 65535 each), and a byte stride for each of them. A
view is another surface on the same bytes: concatenation, slices and most reshapes along C need no instruction.
Arithmetic works on NHWC surfaces, whose channels are adjacent; moves and port conversions take any strides, which is
how transposition, NCHW ports and depth-to-space are expressed. A stride of 0 repeats an input.

An **output box** (`box_y`, `box_h`, `box_x`, `box_w`, `box_c`, `box_n`) selects the rows, columns and channels of
`out` that an instruction computes, for all images. What the box needs of the inputs follows from the operation.
Padding belongs to the operator and counts from row 0 of the whole tensor, so that all stripes of an operator have
equal records.

Operands of CPUCALL are tensors of their own kind: dense row-major, rank 0 to 8, any extents. They may lie on the
bytes of a surface.

In SRAM a surface may be a **rolling buffer**: it has the extents of the whole tensor, and memory for `roll_h` rows of
each image; row y lies where row y mod `roll_h` does. An instruction uses the rows that its box needs; they are no more
than `roll_h`, and a box that is written is one piece. So all stripes of an operator have equal records, wherever its
rows pass by.

Weights are read from CONST, or from SRAM where LDW has brought those of the box: `in1` names these bytes. LDW copies a
constant from byte `C` on, as many bytes as `out` has. Bytes that differ from those of `weight` are a defect of the
program; the exact machine reports it, others need not notice. Tables are read from CONST.

**HOME** is no memory. A surface in HOME names the elements of a logical tensor, and `home` of a surface in DDR or SRAM
names the surface in HOME that has the same elements, in the same positions. It says which copies are copies of one
tensor, so that a reader can prove that stripes and copies may be joined (decision 0021); it changes no result.

Hosts may store int8 in arenas in another form (decision 0001); programs cannot observe it.

## Order

Program order is a legal serial execution, and its results define those of every other. Instructions are retired in
order within each of the queues LD, ST, MAC and VEC. `wait[q] = k` delays an instruction until queue q has retired k
instructions of this run; waits name earlier instructions only, so that there is no deadlock. Instructions of queue
CPU are full barriers; control instructions order nothing. The compiler covers every read-after-write,
write-after-read and write-after-write between queues by waits; a serial interpreter may ignore them.
"""

_WORD = """
## Instruction word

All records are little endian. A field that an operation does not use is zero (`in2` too; other ids
and `aux`: none).
"""

_INSTRUCTIONS = """
## Instructions

Operand names are fields of the instruction word; `aux` points at the operator record of the last column.
"""

_RECORDS = """
## Operator records

They lie in section AUX at multiples of 8 bytes; instructions may share them. Input row of tap `ky` for output row `y`
is `y * stride_h - pad_top + ky * dilation_h`, columns alike; TCONV2D adds input row `i` into output row `i * stride_h
- pad_top + ky * dilation_h`. There is no field for padding below and to the right: whatever a window reaches outside
the input is padding.

The record of CPUCALL is a CpuCallAux, then `inputs` + `outputs` records CpuTensor, then `words` words of 64 bits:
the attributes in the order of the operator's table ([cpu-operators.md](cpu-operators.md)). An integer is an i64, a
number an f64, a word of an enumeration its position; lists are a count and their items.
"""

_DATA = """
## Surfaces, constants, ports, entries
"""

_FORMATS = """
## Formats of constants

Items lie at multiples of 64 bytes; `[c/16]` is rounded up, and padding lanes are zero, so that one 64-byte line feeds
16 channels of a dot-product unit.
"""

_RULES = """
## Rules

A file is verified before any of it is used, by the compiler on its own output and by every reader
(`csrc/isa/verify*.cpp`; `tests/cpp/verify_*_test.cpp` breaks each rule once). A program that passes reads and writes
inside its regions and overflows nowhere, whatever its inputs. A breach is named with its place, rule and value, for
example `section CODE, instruction 12 (CONV2D), field out: must lie inside its region; the end of the surface; it is
4096`.

**File.** At most 2^24 instructions, 65534 surfaces, 65534 constants; entries divide sections CODE and PORT among them
in order; at most 256 inputs and 256 outputs per entry. Arenas and ports are no larger than the caller allows (8 GiB
unless told otherwise). Names are UTF-8 and differ within their kind. Reserved fields are zero.

**Ports.** `flags` is 0, or 1 to 3 of an input of bytes with rank 4, or 4 of an input int32 [n, 4]. With bit 0 the rows
of an application may have gaps, with bit 1 its image may be smaller than the shape; whoever fills the buffer of the
port, which is dense, puts it into the upper left.

**Surfaces.** Extents are 1 to 65535 and their product is below 2^31. Base and strides are multiples of the element.
NHWC means `stride_c` = element size. `roll_h` is 0 outside SRAM. `home` is 0, or names a surface in HOME of the same
extents and type, for surfaces in DDR and SRAM; no operand lies in HOME. Scales are finite and not negative; zero points
lie in the range of the type. Where an instruction uses it, every byte of a surface lies in its region; a surface in
IN or OUT names a port of the entry, has its type and lies inside its bytes. Elements of an output share no byte.

**Rolling.** The rows under the box of an operand that rolls are at least one and at most `roll_h`; the box of a result
that rolls does not wrap. Its rows do not overlap. Where an instruction uses it, all `roll_h` rows lie in SRAM.

**Weights in SRAM.** `in1` beside `weight` is dense uint8 in SRAM and has exactly the bytes of the weights of the box:
the blocks of 16 output channels, or all of a grouped operator.

**Overlap.** Output and operands of an instruction share no byte; channel, column and row slices of one buffer are
told apart exactly. ADD, SUB, MUL, MAX, MIN, LUT8, LUT16 and RESCALE may also work in place: an operand with the base,
extents and strides of `out`.

**Constants.** The size is what format and dims imply, at most 2^31 - 1 bytes. RQ8: m 16384..32767, s 0..31. RQ16: m >
0, sh 1..62, |bias| < 2^62. POOL: m 16384..32767, sh 1..46. RESIZE: indices not negative, weights not negative with
sum 2048; RESIZE16 2^20. EXP, EXP16: entry 0 is 65535. LUT16, EXP16: 2^k + 1 knots, k 9..16. RATIO: magnitudes of at
most 2^54. CSC: multipliers within 32767, |b| < 2^30, lo <= hi. Padding of weights is zero.

**Fields.** `L` is 0..15; `lo` and `hi` are int8 values with lo <= hi. Unknown flag bits are refused, and
`DDR_OPERAND` is set exactly where it is true. The box holds something and lies in `out`; for the MAC queue `box_c` is
a multiple of 16.

**Windows.** Kernel, stride and dilation are at least 1; a window has at most 2^24 taps (a global mean is a window of
the size of the image). With padding, the windows of an operator reach over at most 2^20 rows and columns, and the rows
under one row of outputs have at most 2^28 bytes; for TCONV2D, stride_h * stride_w * out.c is at most 2^18. Padding
itself is not limited, except that a window of MAXPOOL, or of AVGPOOL without COUNT_PAD, has a tap inside the input.

**Overflow.** For each output channel c of a convolution or MATMUL, `(128 * sum of |w|) * 2^L + |B[c]| < 2^31`; for
MATMULD, `K * max|a - za| * max|b - zb| * 2^L + |B| < 2^31`. For ADD and SUB, `128 * (|ma| + |mb|) + |C| < 2^31` with
`sh` 0..22 and multipliers within 32767. MUL, and REDUCE with a sum: `C` 16384..32767, `sh` 1..46. DIV: `sh` 1..46.
SOFTMAX: the constant C of its record is 1..2^62 - 1.
LAYERNORM, RMSNORM: `sh` 1..30, eps 1..2^60 - 1, F 0..14; int16: `sh` 1..46, F 0..24 with out.c * 4^F at most 2^58.
CSC: `sh` 0..22.

**16-bit forms.** An instruction of the queues MAC and VEC, QUANTIZE or DEQUANTIZE is of a 16-bit form if `in0` or `out`
is int16. Then `in0` and `in1` are int16, `out` is int16 or int8 (RESCALE: `in0` too), and int16 has zero point 0. The
table is RQ16 in place of RQ8, POOL and the fields `L`, `sh`, `ma`, `mb` and `C`, which are zero: one entry per output
channel, per number of taps, or one; two for ADD and SUB, with equal `sh` 15..45, m below 2^29 together and bias 0 in
the second. SOFTMAX has EXP16, RESIZE_BILIN RESIZE16. `lo` and `hi` are values of the type of `out`. With `F` the sum
of |w| of a channel, `K * 2^15` of MATMULD or the taps of AVGPOOL, `F * 2^15 * m + |bias| < 2^63`. Such files need
container 1.2, with LAYERNORM, RMSNORM or GATHER 1.4.

**Operations.**

| operation | extents, types, parameters |
|---|---|
| LOAD, STORE, COPY | equal extents; equal types, or int8 and uint8, where uint8 is int8 + 128 |
| LDW | `out` dense, whole box, inside the constant from byte `C` on, a multiple of 64 |
| CONV2D | equal n; weights of 1 group, out.c, kernel, in0.c; one RQ8 entry per channel |
| GCONV2D, TCONV2D | likewise; groups divide in0.c and out.c; with several, the box holds all channels |
| DWCONV2D | in0.c = out.c = groups |
| MATMUL | h = 1, equal n and w; weights 1, out.c, 1, in0.c |
| MATMULD | h = 1, extents of a matrix product per image, whole box, one RQ8 entry |
| ADD, SUB, MUL, CMP, DIV | in0 as out; each extent of in1 as out's or 1 |
| MAX, MIN | likewise, and equal scale and zero point of in0, in1 and out |
| SELECT | each extent of in0, in1 and in2 as out's or 1; equal scale and zero point of in0, in1 and out |
| REDUCE | equal n, h, w; out.c 1; equal scale and zero point for maximum and minimum, whose `C` and `sh` are 0 |
| ARGMAX | equal n, h, w; out.c 1; out int64 of any strides |
| GRIDSAMPLE | equal n, c, scale and zero point of in0 and out; in1 float32 of the extents of out, with 2 channels |
| GATHER | equal n, h, c, scale and zero point of in0 and out; in1 int32 or int64 of extents 1, 1, out.w, 1 |
| CSC | bytes, not in CONST: in0 one channel, in1 two, of all or half the rows and columns; an entry per channel |
| ROIRESIZE | in0 bytes, not in CONST, of the n and c of out; in1 int32 of extents out.n, 1, 1, 4; out int8 |
| RESCALE, LUT8, LUT16, SOFTMAX | in0 as out; RESCALE with 1 or out.c entries; SOFTMAX with all channels in the box |
| LAYERNORM, RMSNORM | in0 as out; one table entry per channel, all channels in the box |
| MAXPOOL, RESIZE_NN, RESIZE_BILIN | equal n, c, scale and zero point; one table entry per output row and column |
| AVGPOOL | equal n and c; 1 table entry or one per tap |
| QUANTIZE, DEQUANTIZE | equal extents; the integer side has a positive normal float32 scale |
| CPUCALL | operands inside their region; outputs share bytes with nothing else; what the operator's rule asks |

Operands are int8, or int16 as above, and NHWC, except those of LOAD, STORE, COPY, LDW, CSC, ROIRESIZE and CPUCALL, and
the float32 side of QUANTIZE and DEQUANTIZE. Operands of CPUCALL have less than 2^31 elements, its parameters lie in
CONST, and the rules of the operators are in `csrc/operators`. Indices and regions that are data, those of GATHER and
ROIRESIZE too, are checked while they are used: a breach ends the run with an error.

## Cost

The MACs of an instruction are the products of a weight (or second factor) with a tap of its box, taps in the padding
included; for TCONV2D those products that reach the box; for CPUCALL those of matrix products, convolutions and
recurrent layers. They add up over stripes. `Entry.macs` is their sum: a caller can bound the work of a file before it
runs it.
"""


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _record(name: str, record: dict[str, Any]) -> str:
    rows: list[tuple[object, ...]] = []
    for field in record["fields"]:
        kind = {"i": "i", "u": "u", "f": "f"}[field["format"][1]] + str(8 * int(field["format"][2]))
        count = f"[{field['count']}]" if field["count"] > 1 else ""
        rows.append((field["offset"], kind + count, f"`{field['name']}`", field["doc"]))
    return f"\n### {name}, {record['size']} bytes\n\n{record['doc']}\n\n" + _table(
        ("offset", "type", "field", ""), rows
    )


def _instructions() -> str:
    text = ""
    for queue, title in _QUEUES.items():
        rows: list[tuple[object, ...]] = []
        for info in INSTRUCTIONS.values():
            if info["queue"] == queue:
                operands = ", ".join(_OPERANDS[letter] for letter in info["operands"])
                rows.append((f"`{info['name']}`", f"0x{info['opcode']:02X}", operands, info["summary"], info["aux"]))
        text += f"\n### {title} (queue {queue})\n\n" + _table(("name", "code", "operands", "", "record"), rows)
    return text


def _flags() -> str:
    rows: list[tuple[object, ...]] = [(f"`{f['name']}`", f"0x{f['mask']:02X}", f["doc"]) for f in _native.flags()]

    return "\n### Flags\n\n" + _table(("name", "mask", ""), rows)


def _formats() -> str:
    rows: list[tuple[object, ...]] = [
        (f["number"], f"`{f['name']}`", f["dims"], f["layout"]) for f in _native.formats()
    ]
    return "\n" + _table(("number", "name", "dims", "layout and size"), rows)


def page() -> str:
    """The text of docs/isa.md."""
    records = _native.records()
    auxiliary = [name for name in records if name.endswith("Aux")]
    entries = [name for name in records if name.endswith("Entry") and name != "Entry"]
    data = [name for name in records if name not in {"Instruction", *auxiliary, *entries}]

    def of(names: list[str]) -> str:
        return "".join(_record(name, records[name]) for name in names)

    return "".join(
        (
            _HEAD.format(**VERSIONS),
            _WORD,
            of(["Instruction"]),
            _flags(),
            _INSTRUCTIONS,
            _instructions(),
            _RECORDS,
            of(auxiliary),
            _DATA,
            of(data),
            _FORMATS,
            _formats(),
            of(entries),
            _RULES,
        )
    )


if __name__ == "__main__":
    print(page(), end="")
