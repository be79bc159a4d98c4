"""Hot loops keep their accumulators in registers.

gcc spills arrays of vectors, and too many named ones, to the stack: the same kernel then runs at a fraction of its
speed and no other test notices. This one disassembles the objects of the MAC kernels.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from unit.isa_flags import isa_flags

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"

_PRODUCT = re.compile(r"\bv(pmaddubsw|pmaddwd|pdpbusd|pdpwssd)\b")
_STACK = re.compile(r"\(%r[sb]p\b[^)]*\).*%[yz]mm|%[yz]mm\d+.*\(%r[sb]p\b")
_JUMP = re.compile(r"\sj\w+\s+([0-9a-f]+) <")
_COLD = re.compile(r"pack|plan|count|constants")  # packing is not hot and may use the stack


def _tools() -> str:
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    machine = os.uname().machine
    if compiler is None or shutil.which("objdump") is None or machine not in ("x86_64", "AMD64"):
        if "OPENBPU_REQUIRE_ALL" in os.environ and machine in ("x86_64", "AMD64"):
            pytest.fail("needs a C++ compiler and objdump (binutils)")
        pytest.skip("needs x86, a C++ compiler and objdump")
    return compiler


def _mac_files() -> list[tuple[Path, list[str]]]:
    flags = isa_flags(ROOT)
    folders = ("conv", "dwconv", "tconv", "matmul", "x86")
    return [
        (path, flags[isa])
        for isa in flags
        for path in sorted((CSRC / "kernels").rglob(f"*_{isa}.cpp"))
        if path.parent.name in folders
    ]


def _functions(compiler: str, source: Path, flags: list[str], folder: Path) -> dict[str, list[tuple[int, str]]]:
    """Address and text of every instruction, by function."""
    target = folder / f"{source.stem}.o"
    command = [compiler, "-std=c++17", "-O3", "-DNDEBUG", "-fPIC", f"-I{CSRC}", *flags, "-c", str(source)]
    subprocess.run([*command, "-o", str(target)], check=True, capture_output=True, text=True, timeout=300)
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(target)], check=True, capture_output=True, text=True
    ).stdout
    functions: dict[str, list[tuple[int, str]]] = {}
    for line in listing.splitlines():
        if header := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            body = functions.setdefault(header[1], [])
        elif instruction := re.match(r"\s*([0-9a-f]+):\t(.*)", line):
            body.append((int(instruction[1], 16), "\t" + instruction[2]))
    return functions


def _hot_loops(body: list[tuple[int, str]]) -> list[list[str]]:
    """Innermost loops with products: from the target of a backward jump to the jump, no such pair inside."""
    spans = []
    for address, text in body:
        jump = _JUMP.search(text)
        if jump and int(jump[1], 16) < address:
            spans.append((int(jump[1], 16), address))
    innermost = [s for s in spans if not any(s != t and s[0] <= t[0] and t[1] <= s[1] for t in spans)]
    loops = [[text for address, text in body if begin <= address <= end] for begin, end in innermost]
    return [loop for loop in loops if any(_PRODUCT.search(text) for text in loop)]


def test_hot_loops_do_not_touch_the_stack(tmp_path: Path) -> None:
    compiler = _tools()
    with ThreadPoolExecutor(2) as pool:
        listings = pool.map(lambda item: (item[0], _functions(compiler, item[0], item[1], tmp_path)), _mac_files())
        loops = [
            (f"{path.relative_to(ROOT)}: {name}", loop)
            for path, functions in listings
            for name, body in functions.items()
            if not _COLD.search(name)
            for loop in _hot_loops(body)
        ]
    assert any("gemm_avx2" in where for where, _ in loops), "the reader of loops finds none"
    spills = [f"{where}: {text.strip()}" for where, loop in loops for text in loop if _STACK.search(text)]
    assert not spills, "\n".join(spills[:20])


def test_the_reader_of_loops_sees_spills(tmp_path: Path) -> None:
    compiler = _tools()
    source = tmp_path / "spill.cpp"
    source.write_text(
        "#include <immintrin.h>\n"
        "void f(const __m256i* x, const __m256i* w, __m256i* out, int n) {\n"
        "  __m256i acc[24] = {};\n"
        "  for (int k = 0; k < n; ++k)\n"
        "#pragma GCC unroll 24\n"
        "    for (int i = 0; i < 24; ++i) acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(x[i], w[k]));\n"
        "  for (int i = 0; i < 24; ++i) out[i] = acc[i];\n"
        "}\n"
    )
    functions = _functions(compiler, source, ["-mavx2"], tmp_path)
    loops = [loop for body in functions.values() for loop in _hot_loops(body)]
    assert any(_STACK.search(text) for loop in loops for text in loop)
