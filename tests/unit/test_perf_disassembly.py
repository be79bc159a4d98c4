"""The disassembly by layer: every instruction, once, under the layer that it belongs to, with its bytes and cycles."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from openbpu.errors import ConfigError
from openbpu.ir.profile import PROFILES
from openbpu.perf import estimate, listing
from openbpu.runtime import Executable
from openbpu.target import ProgramBuilder
from unit.perf_programs import IMAGE, TABLE, WEIGHTS, C, W, striped, whole
from unit.runtime_programs import convolution

_ROW = re.compile(r"(\d+) +([\d.]+) +(\d+) +(\d+)?.*?  ([A-Z0-9]+) ")


def test_rows_of_a_program_in_stripes() -> None:
    executable = Executable(striped())
    text = listing(executable)
    assert "; layer 1: conv (conv2d) <- /conv, /relu" in text and "nash-e" in text
    rows = [match for match in map(_ROW.match, text.splitlines()) if match]
    assert [row[5] for row in rows] == ["LDW", "LOAD", "CONV2D", "LOAD", "STORE", "CONV2D", "STORE"]
    report = estimate(executable)
    assert [int(row[3]) for row in rows] == [event.cycles for event in report.events]
    assert [float(row[2]) for row in rows] == [round(event.start_us, 1) for event in report.events]
    assert [int(row[4] or 0) for row in rows[:4]] == [WEIGHTS, 29 * W * C, TABLE, 27 * W * C]
    assert "wait:mac>=1" in text and f"SRAM+{IMAGE}" in text


def test_native_lines_are_kept_whole() -> None:
    for data in (striped(), whole(), convolution()):
        executable = Executable(data)
        text = listing(executable)
        for line in executable.disassemble().splitlines():
            body = re.sub(r"^\d+\s*L\d+\s+", "", line).rstrip()
            assert body in text


def test_without_a_profile_bytes_stay_and_cycles_go() -> None:
    text = listing(Executable(convolution()))
    assert "; layer 2: features (CONV2D) <- /conv, /relu" in text
    (row,) = (line for line in text.splitlines() if "CONV2D" in line and not line.startswith(";"))
    assert row.split()[1] == "2816"
    assert "us (" not in text
    assert "us (" in listing(Executable(convolution()), "nash-m")


def test_names_with_brackets_are_printed(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from openbpu.cli.perf_command import command

    b = ProgramBuilder("net")
    shape = (1, 8, 8, 16)
    b.emit("COPY", b.surface("ddr", shape), b.surface("ddr", shape, base=4096), layer=1)
    layers = {"1": {"name": "x[/y]", "op": "[bold]", "nodes": ["[0]"]}}
    path = tmp_path / "net.bpux"
    path.write_bytes(b.finish(8192, {"march": "nash-e", "layers": layers, "versions": [], "options": 3}))
    result = CliRunner().invoke(command, [str(path), "--advice", "0"])
    assert result.exit_code == 0, result.exception
    assert "x[/y]" in result.output and "[bold]" in result.output


def test_a_profile_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown march"):
        listing(Executable(striped()), "nash-z")
    with pytest.raises(ConfigError, match="SRAM"):
        listing(Executable(striped()), replace(PROFILES["nash-e"], sram_bytes=1 << 17))
