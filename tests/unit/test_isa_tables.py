"""The tables of the instruction set: mistakes in them stop the build, and docs/isa.md is what they say."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import needs
from openbpu.target import isa_doc

_ROOT = Path(__file__).parents[2]
_ISA = _ROOT / "csrc" / "isa"
_HANDLER = """
#include "isa/reflect.hpp"
#include "isa/visit.hpp"
using namespace openbpu::isa;
struct Handler {
%s
};
int run(Op op) { return visit(op, Handler{}); }
"""


def _compiler() -> str:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        needs.missing("no C++ compiler")
    return compiler


def _compile(folder: Path, edits: dict[str, tuple[str, str]], without: str = "") -> subprocess.CompletedProcess[str]:
    """Checks a handler of all operations but `without` against edited copies of the tables."""
    tables = folder / "isa"
    shutil.copytree(_ISA, tables)
    for name, (old, new) in edits.items():
        text = (tables / name).read_text()
        assert text.count(old) == 1, f"{name}: {old}"
        (tables / name).write_text(text.replace(old, new))
    lines = (_ISA / "instructions.def").read_text().splitlines()
    names = [line.split("(")[1].split(",")[0] for line in lines if line.startswith("INSTRUCTION(")]
    handlers = [f"  int operator()(Tag<Op::{name}>) {{ return 0; }}" for name in names if name != without]
    source = folder / "handler.cpp"
    source.write_text(_HANDLER % "\n".join(handlers))
    command = [_compiler(), "-std=c++17", "-fsyntax-only", f"-I{folder}", f"-I{_ROOT / 'csrc'}", str(source)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_tables_compile(tmp_path: Path) -> None:
    result = _compile(tmp_path, {})
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["NOP", "CONV2D", "DEQUANTIZE"])
def test_a_missing_handler_stops_the_build(tmp_path: Path, name: str) -> None:
    result = _compile(tmp_path, {}, without=name)
    assert result.returncode != 0 and "Handler" in result.stderr


_MISTAKES = {
    "overlapping field": ("records.def", "FIELD(Instruction, 26, u16, in1", "FIELD(Instruction, 25, u16, in1", "in1"),
    "gap": ("records.def", "FIELD(Surface, 60, u32, home", "FIELD(Surface, 62, u32, home", "home"),
    "wrong type": ("records.def", "FIELD(ConvAux, 16, u32, groups", "FIELD(ConvAux, 16, u16, groups", "bytes between"),
    "wrong size": ("records.def", "RECORD(Port, 96,", "RECORD(Port, 104,", "Port: size"),
    "opcode taken": ("instructions.def", "INSTRUCTION(SUB, 0x31,", "INSTRUCTION(SUB, 0x30,", ""),
    "format taken": ("formats.def", "FORMAT(POOL, 7,", "FORMAT(POOL, 6,", "share a number"),
    "flag taken": ("flags.def", "FLAG(COUNT_PAD, 1,", "FLAG(COUNT_PAD, 0,", "share a bit"),
    "unknown queue": ("instructions.def", "INSTRUCTION(NOP, 0x00, Ctrl,", "INSTRUCTION(NOP, 0x00, Nowhere,", "Nowhere"),
    "unknown record": ("instructions.def", "O | T, Softmax,", "O | T, Softmix,", "Softmix"),
}


@pytest.mark.parametrize("mistake", list(_MISTAKES))
def test_a_mistake_in_a_table_stops_the_build(tmp_path: Path, mistake: str) -> None:
    name, old, new, message = _MISTAKES[mistake]
    result = _compile(tmp_path, {name: (old, new)})
    assert result.returncode != 0 and message in result.stderr, result.stderr


def test_the_page_is_what_the_tables_say() -> None:
    page = (_ROOT / "docs" / "isa.md").read_text()
    assert page == isa_doc.page(), "run: python -m openbpu.target.isa_doc > docs/isa.md"
