"""The installed package: headers that stand alone, a sample that builds and runs, symbols, sizes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import needs
import openbpu
from cpp_tree import ROOT, run
from unit.float_networks import detector, samples

SAMPLES = ROOT / "docs" / "samples"
SAMPLE = SAMPLES / "harness"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")


def library_folder(prefix: Path) -> Path:
    return next(prefix.rglob("libopenbpu.so")).parent


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled network with two outputs of different layout."""
    path = tmp_path_factory.mktemp("model") / "net.bpux"
    openbpu.build(detector(), samples(4), refinement=()).save(path)
    return path


@pytest.fixture(scope="module")
def harness(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, built against the installed package."""
    folder = tmp_path_factory.mktemp("harness")
    run("cmake", "-S", SAMPLE, "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Release")
    run("cmake", "--build", folder)
    return folder


@pytest.fixture(scope="module")
def application(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample of the hbDNN calls, built with nothing but a compiler and -ldnn -lhbucp."""
    program = tmp_path_factory.mktemp("application") / "application"
    folder = library_folder(prefix)
    flags = ("-std=c++17", *WARNINGS, f"-I{prefix / 'include'}")
    link = (f"-L{folder}", "-ldnn", "-lhbucp", f"-Wl,-rpath,{folder}")
    run(os.environ.get("CXX", "c++"), *flags, SAMPLES / "hbdnn" / "main.cpp", *link, "-o", program)
    return program


def test_headers_compile_alone(prefix: Path, tmp_path: Path) -> None:
    include = prefix / "include"
    headers = sorted(path.relative_to(include) for path in include.rglob("*.h*"))
    assert len(headers) >= 11
    compiler, c_compiler = os.environ.get("CXX", "c++"), os.environ.get("CC", "cc")
    for header in headers:
        source = tmp_path / "alone.cpp"
        source.write_text(f"#include <{header}>\n#include <{header}>\nint main() {{ return 0; }}\n")
        for mode in ((), ("-fno-exceptions", "-fno-rtti")):
            run(compiler, "-std=c++17", *WARNINGS, *mode, f"-I{include}", "-fsyntax-only", source)
        if header.suffix == ".h":
            twin = tmp_path / "alone.c"
            twin.write_text(source.read_text().replace("main()", "main(void)"))
            run(c_compiler, "-std=c11", *WARNINGS, "-Wstrict-prototypes", f"-I{include}", "-fsyntax-only", twin)


@pytest.mark.parametrize("program", ["harness", "harness_shared"])
def test_the_sample_gives_the_bytes_of_the_session(
    harness: Path, executable: Path, tmp_path: Path, program: str
) -> None:
    x = samples(1, seed=11)[0]
    x.tofile(tmp_path / "x.bin")
    trace = run(harness / program, executable, tmp_path / "x.bin", cwd=tmp_path)
    assert "CONV2D" in trace
    for name, want in openbpu.Session(executable).run({"x": x}).items():
        got = np.fromfile(tmp_path / f"{name}.bin", want.dtype)
        assert got.tobytes() == want.tobytes(), name


def test_the_documented_calls_give_the_bytes_of_the_session(
    application: Path, executable: Path, tmp_path: Path
) -> None:
    x = samples(1, seed=12)[0]
    x.tofile(tmp_path / "x.bin")
    run(application, executable, tmp_path / "x.bin", cwd=tmp_path)
    for name, want in openbpu.Session(executable).run({"x": x}).items():
        assert (tmp_path / f"{name}.bin").read_bytes() == want.tobytes(), name


def test_the_sample_of_the_calls_builds_from_the_package(prefix: Path, executable: Path, tmp_path: Path) -> None:
    run("cmake", "-S", SAMPLES / "hbdnn", "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path)
    run(tmp_path / "application", executable, cwd=tmp_path)


def test_the_sample_explains_errors(harness: Path, tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "bad.bpux").write_bytes(b"no program")
    for path, word in ((tmp_path / "bad.bpux", "Corrupt"), (tmp_path / "none.bpux", "Io")):
        result = subprocess.run([harness / "harness", path], capture_output=True, text=True, check=False)
        assert result.returncode == 1 and word in result.stderr


def test_pkg_config(prefix: Path, executable: Path, tmp_path: Path) -> None:
    needs.tools("pkg-config")
    environment = {**os.environ, "PKG_CONFIG_PATH": str(library_folder(prefix) / "pkgconfig")}
    assert run("pkg-config", "--modversion", "openbpu", env=environment).strip() == "0.1.0"
    flags = run("pkg-config", "--cflags", "--libs", "openbpu", env=environment).split()
    program = tmp_path / "harness"
    run(os.environ.get("CXX", "c++"), "-std=c++17", SAMPLE / "main.cpp", *flags, "-o", program)
    run(program, executable, cwd=tmp_path, env={**os.environ, "LD_LIBRARY_PATH": str(library_folder(prefix))})


@pytest.mark.parametrize("library", ["openbpu", "hbucp", "dnn"])
def test_exported_symbols_are_those_on_the_list(prefix: Path, library: str) -> None:
    listing = run("nm", "-DC", "--defined-only", library_folder(prefix) / f"lib{library}.so")
    exported = sorted({line.split(" ", 2)[2].split("@")[0] for line in listing.splitlines() if " A " not in line})
    expected = (ROOT / "csrc" / "api" / "symbols" / f"{library}.txt").read_text().splitlines()
    assert exported == expected


def test_the_library_needs_the_standard_library_only(prefix: Path) -> None:
    dynamic = run("readelf", "-d", library_folder(prefix) / "libopenbpu.so")
    needed = {line.split("[")[1].split("]")[0] for line in dynamic.splitlines() if "(NEEDED)" in line}
    assert {name.split(".so")[0] for name in needed} <= {
        "libstdc++",
        "libgcc_s",
        "libc",
        "libm",
        "libpthread",
        "ld-linux-x86-64",
    }
    assert "libopenbpu.so.0" in dynamic


def test_a_stripped_static_harness_is_small(harness: Path, tmp_path: Path) -> None:
    run("strip", "-o", tmp_path / "stripped", harness / "harness")
    assert (tmp_path / "stripped").stat().st_size < 3 << 19  # 1.5 MiB
