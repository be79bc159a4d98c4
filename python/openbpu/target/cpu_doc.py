"""docs/cpu-operators.md from the table of CPU operators: `python -m openbpu.target.cpu_doc > docs/cpu-operators.md`."""

from __future__ import annotations

from typing import Any

from openbpu.target.records import CPU_KERNELS

_HEAD = """\
# Operators on the CPU

<!-- Generated from csrc/operators/kernels.def: `python -m openbpu.target.cpu_doc > docs/cpu-operators.md`. -->

What cannot or should not be quantised runs as float32 (and integer) operators of the C++ runtime, in the same file
and the same call as the integer part: instruction CPUCALL of the [virtual BPU](isa.md). A call is one ONNX operator
in its newest form with static shapes. The shapes and types of its outputs stand for everything that ONNX computes
from attributes (`to`, `ceil_mode`, `output_padding`, split sizes, repeats).

- **Parameters** are inputs that must be constants of the file (axes, starts, sizes, k): marked in the table below.
- **Results whose number the data decides** (NonZero, NonMaxSuppression, Compress, Unique) fill an output of the size
  that the program gives; what is left is -1 for indices and 0 for values, and a further output counts them. More
  results than room end the run with an error.
- **Indices** that are data are checked while the call runs; one outside its axis ends the run with an error.
- **Types**: element-wise operators and reductions take float32, float64 and all integers, as ONNX does; products,
  normalisations and windows take float32. float16 and bfloat16 are for moves and Cast.
- **Bits**: results are the same on every instruction set and with every number of threads, but for the sign and
  payload of not-a-number. Every element is computed by one chain of correctly rounded operations, and sums are taken in
  one order (`csrc/kernels/cpu/vector.hpp`). Only what is in float64, LRN, norms of other powers in LpPool and angles
  beyond 131,072 go through the host's mathematical library.
- **Accuracy** of float32 functions, in units of the last place from the exact result, measured over their range
  (`tests/unit/test_cpu_functions.py`): Log 0.8; Exp 1; Acos 1.1; Pow 1.2; Sin, Cos 1.5; Atan 1.8; Asin, Asinh 2.4;
  Acosh, Atanh, Cosh 2.7; Tan, Sinh 3; Mod with fmod is exact.
- **Integers** wrap as two's complement does; division by zero gives 0; Cast from float truncates and saturates, and
  not-a-number becomes 0.

Attributes are written `name: default`; those without a default must be given.

"""


def _attribute(spec: dict[str, Any]) -> str:
    if spec["kind"] in "ew":
        words = " / ".join(spec["words"].split("|"))
        return f"{spec['name']}: {'list of ' if spec['kind'] == 'w' else ''}{words}"
    if spec["required"]:
        return str(spec["name"])
    return f"{spec['name']}: {spec['default'] or 'none'}"


def _count(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} - {high}"


def page() -> str:
    """The text of docs/cpu-operators.md."""
    lines = [
        "| operator | id | inputs | parameters | outputs | attributes | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for info in CPU_KERNELS.values():
        parameters = ", ".join(str(k) for k in range(32) if info["statics"] >> k & 1)
        attributes = "; ".join(_attribute(spec) for spec in info["attributes"])
        inputs = _count(info["min_inputs"], info["max_inputs"])
        outputs = _count(info["min_outputs"], info["max_outputs"])
        cells = (
            f"`{info['name']}`",
            info["id"],
            inputs,
            parameters,
            outputs,
            attributes,
            info["summary"].replace("|", "\\|"),
        )
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return _HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
