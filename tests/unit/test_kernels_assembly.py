"""Hot loops keep their accumulators in registers.

gcc spills arrays of vectors, and too many named ones, to the stack: the same kernel then runs at a fraction of its
speed and no other test notices. This one disassembles the objects of the MAC kernels.
"""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from unit.isa_flags import MACHINES, Tools, architecture, isa_flags, tools_for

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"


@dataclass(frozen=True)
class Assembly:
    """How the listing of a machine shows products, vectors on the stack and jumps."""

    product: re.Pattern[str]
    stack: re.Pattern[str]
    jump: re.Pattern[str]
    canary: str  # a file whose loops must be found


ASSEMBLY = {
    "x86_64": Assembly(
        re.compile(r"\b(vpmaddubsw|vpmaddwd|vpdpbusd|vpdpwssd|tdpbusd)\b"),
        re.compile(r"\(%r[sb]p\b[^)]*\).*%[yz]mm|%[yz]mm\d+.*\(%r[sb]p\b"),
        re.compile(r"\sj\w+\s+([0-9a-f]+) <"),
        "gemm_avx2",
    ),
    "aarch64": Assembly(
        re.compile(r"\b(sdot|smmla|smlal2?|smull2?)\b"),
        re.compile(r"\b(ldr|str|ldp|stp|ldur|stur)\t[qd]\d+\b.*\[(sp|x29)\b"),
        re.compile(r"\s(?:b\.\w+|cbn?z|tbn?z)\s+(?:\w+, (?:#\d+, )?)?([0-9a-f]+) <"),
        "gemm_neondot",
    ),
}
_COLD = re.compile(r"pack|plan|count|constants|arrange")  # packing is not hot and may use the stack


def _mac_files(machine: str) -> list[tuple[Path, list[str]]]:
    flags = isa_flags(ROOT)
    folders = ("conv", "dwconv", "tconv", "matmul", "x86", "arm")
    return [
        (path, flags[isa])
        for isa in flags
        if architecture(isa) == machine
        for path in sorted((CSRC / "kernels").rglob(f"*_{isa}.cpp"))
        if path.parent.name in folders
    ]


def _functions(tools: Tools, source: Path, flags: list[str], folder: Path) -> dict[str, list[tuple[int, str]]]:
    """Address and text of every instruction, by function."""
    target = folder / f"{source.stem}.o"
    command = [tools.compiler, "-std=c++17", "-O3", "-DNDEBUG", "-fPIC", f"-I{CSRC}", *flags, "-c", str(source)]
    subprocess.run([*command, "-o", str(target)], check=True, capture_output=True, text=True, timeout=300)
    listing = subprocess.run(
        [tools.objdump, "-d", "--no-show-raw-insn", str(target)], check=True, capture_output=True, text=True
    ).stdout
    functions: dict[str, list[tuple[int, str]]] = {}
    for line in listing.splitlines():
        if header := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            body = functions.setdefault(header[1], [])
        elif instruction := re.match(r"\s*([0-9a-f]+):\t(.*)", line):
            body.append((int(instruction[1], 16), "\t" + instruction[2]))
    return functions


def _hot_loops(assembly: Assembly, body: list[tuple[int, str]]) -> list[list[str]]:
    """Innermost loops with products: from the target of a backward jump to the jump, no such pair inside."""
    spans = []
    for address, text in body:
        jump = assembly.jump.search(text)
        if jump and int(jump[1], 16) < address:
            spans.append((int(jump[1], 16), address))
    innermost = [s for s in spans if not any(s != t and s[0] <= t[0] and t[1] <= s[1] for t in spans)]
    loops = [[text for address, text in body if begin <= address <= end] for begin, end in innermost]
    return [loop for loop in loops if any(assembly.product.search(text) for text in loop)]


@pytest.mark.parametrize("machine", MACHINES)
def test_hot_loops_do_not_touch_the_stack(machine: str, tmp_path: Path) -> None:
    tools, assembly = tools_for(machine), ASSEMBLY[machine]
    with ThreadPoolExecutor(2) as pool:
        listings = pool.map(lambda item: (item[0], _functions(tools, *item, tmp_path)), _mac_files(machine))
        loops = [
            (f"{path.relative_to(ROOT)}: {name}", loop)
            for path, functions in listings
            for name, body in functions.items()
            if not _COLD.search(name)
            for loop in _hot_loops(assembly, body)
        ]
    assert any(assembly.canary in where for where, _ in loops), "the reader of loops finds none"
    spills = [f"{where}: {text.strip()}" for where, loop in loops for text in loop if assembly.stack.search(text)]
    assert not spills, "\n".join(spills[:20])


_SPILLING = {
    "x86_64": (
        ["-mavx2"],
        "#include <immintrin.h>\n"
        "void f(const __m256i* x, const __m256i* w, __m256i* out, int n) {\n"
        "  __m256i acc[24] = {};\n"
        "  for (int k = 0; k < n; ++k)\n"
        "#pragma GCC unroll 24\n"
        "    for (int i = 0; i < 24; ++i) acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(x[i], w[k]));\n"
        "  for (int i = 0; i < 24; ++i) out[i] = acc[i];\n"
        "}\n",
    ),
    "aarch64": (
        ["-march=armv8.2-a+dotprod"],
        "#include <arm_neon.h>\n"
        "void f(const int8x16_t* x, const int8x16_t* w, int32x4_t* out, int n) {\n"
        "  int32x4_t acc[40] = {};\n"
        "  for (int k = 0; k < n; ++k)\n"
        "#pragma GCC unroll 40\n"
        "    for (int i = 0; i < 40; ++i) acc[i] = vdotq_s32(acc[i], x[i], w[k]);\n"
        "  for (int i = 0; i < 40; ++i) out[i] = acc[i];\n"
        "}\n",
    ),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_the_reader_of_loops_sees_spills(machine: str, tmp_path: Path) -> None:
    tools, assembly = tools_for(machine), ASSEMBLY[machine]
    flags, text = _SPILLING[machine]
    source = tmp_path / "spill.cpp"
    source.write_text(text)
    functions = _functions(tools, source, flags, tmp_path)
    loops = [loop for body in functions.values() for loop in _hot_loops(assembly, body)]
    assert any(assembly.stack.search(text) for loop in loops for text in loop)
