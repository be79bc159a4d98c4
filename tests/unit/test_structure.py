"""One direction of dependency: the floors of docs/architecture.md, read from includes, imports and objects."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from unit.isa_flags import MACHINES, Tools, architecture, isa_flags, tools_for

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"
PACKAGE = ROOT / "python" / "openbpu"

# A folder of csrc may include from itself and from these.
CPP_FLOORS = {
    "support": set(),
    "numerics": {"support"},
    "operators": {"support"},
    "kernels": {"operators", "numerics", "support"},
    "isa": {"operators", "support"},
    "container": {"isa", "support"},
    "engine": {"container", "isa", "kernels", "operators", "numerics", "support"},
    "api": {"engine", "container", "isa", "kernels", "operators", "numerics", "support"},
}

# A module or folder of python/openbpu may import from itself and from these.
_BASE = {"errors", "files", "memory"}
_STAGE = {*_BASE, "ir"}
PYTHON_FLOORS = {
    "errors": set(),
    "files": {"errors"},
    "memory": set(),
    "samples": {"errors"},
    "tasks": {"errors"},
    "ir": {"errors"},
    "preprocess": {"errors"},
    "frontend": {*_STAGE, "preprocess"},
    "fake_quantisation": set(),
    "ptq": {*_STAGE, "fake_quantisation", "__init__"},  # it writes the version into what it makes
    "lower": {*_STAGE, "preprocess", "_native"},  # it asks the runtime which CPU operators there are
    "schedule": {*_STAGE, "target"},  # it emits through target
    "target": {*_STAGE, "_native"},
    "runtime": {*_BASE, "preprocess", "_native", "__init__"},  # it tells the version
    "hbm_runtime": {"runtime"},
    "config": {*_STAGE, "preprocess"},
    "zoo": {*_BASE, "preprocess", "samples"},
    "analyze": {*_STAGE, "ptq", "tasks"},
    "perf": {*_STAGE, "target", "runtime"},
    "debugger": {*_STAGE, "analyze", "frontend", "preprocess"},
    "evaluation": {*_STAGE, "preprocess", "frontend", "ptq", "runtime", "tasks"},
    "artefacts": {*_STAGE, "analyze", "evaluation", "frontend", "perf", "preprocess", "runtime", "target"},
    "tuning": {*_STAGE, "analyze", "evaluation", "perf", "runtime"},
    "programs": {*_STAGE, "perf", "schedule", "runtime"},
    "assignment": {*_STAGE, "frontend", "lower", "ptq"},
    "pipeline": {
        *_STAGE,
        "__init__",
        "assignment",
        "programs",
        "preprocess",
        "analyze",
        "perf",
        "evaluation",
        "artefacts",
        "tuning",
        "frontend",
        "ptq",
        "lower",
        "schedule",
        "target",
        "runtime",
    },
    "workflow": {
        *_STAGE,
        "__init__",
        "analyze",
        "config",
        "frontend",
        "perf",
        "pipeline",
        "preprocess",
        "samples",
        "runtime",
    },
    "backend": {*_STAGE, "lower", "pipeline", "runtime"},
    "qat": {*_STAGE, "fake_quantisation", "analyze", "frontend", "ptq", "lower", "pipeline", "runtime", "__init__"},
    "demo": {*_STAGE, "preprocess", "samples", "zoo", "pipeline", "runtime", "_native"},
    "cli": {
        *_STAGE,
        "preprocess",
        "analyze",
        "debugger",
        "artefacts",
        "evaluation",
        "perf",
        "samples",
        "config",
        "workflow",
        "zoo",
        "pipeline",
        "runtime",
        "demo",
        "_native",
        "__init__",
    },
    "__main__": {"cli"},
    "__init__": {"pipeline", "runtime", "errors"},
}

# Packages that only these may import; the standard library and numpy are free.
EXTERNAL = {
    "onnx": {
        "analyze",
        "artefacts",
        "backend",
        "debugger",
        "ir",
        "evaluation",
        "frontend",
        "ptq",
        "lower",
        "assignment",
        "pipeline",
        "qat",
        "tuning",
        "zoo",
        "demo",
        "workflow",
        "cli",
    },
    "onnxruntime": {"analyze", "evaluation", "frontend", "ptq", "pipeline", "qat", "demo", "workflow", "cli"},
    "onnxscript": {"fake_quantisation", "frontend", "ptq", "qat"},
    "torch": {"fake_quantisation", "ptq", "qat"},
    "click": {"cli"},
    "rich": {"cli"},
    "pydantic": {"config"},
    "pydantic_core": {"config"},
    "annotated_types": {"config"},
    "yaml": {"config"},
    "jinja2": {"analyze", "artefacts", "perf", "qat"},
    "tomli": {"ir"},
    "ml_dtypes": {"lower"},
    "matplotlib": {"analyze", "demo"},
    "skimage": {"zoo", "demo"},
    "PIL": {"preprocess", "zoo", "demo", "cli"},
}


def _includes() -> Iterator[tuple[Path, str]]:
    for path in sorted([*CSRC.rglob("*.hpp"), *CSRC.rglob("*.h"), *CSRC.rglob("*.cpp")]):
        for target in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE):
            yield path.relative_to(CSRC), target


# Public headers are included as applications do it; version.hpp is generated.
PUBLIC_HEADERS = CSRC / "api" / "include"


def _is_public(target: str) -> bool:
    return (PUBLIC_HEADERS / target).is_file() or (PUBLIC_HEADERS / f"{target}.in").is_file()


def test_public_headers_show_nothing_inside() -> None:
    inside = [
        f"{path}: {target}"
        for path, target in _includes()
        if path.is_relative_to("api/include") and not _is_public(target)
    ]
    assert not inside, "\n".join(inside)


def test_includes_go_down() -> None:
    breaches = []
    for path, target in _includes():
        if path.parts[0] == "api" and _is_public(target):
            continue
        if not (CSRC / target).is_file():
            breaches.append(f"{path}: {target} is not rooted at csrc")
            continue
        floor, lower = path.parts[0], Path(target).parts[0]
        if lower != floor and lower not in CPP_FLOORS[floor]:
            breaches.append(f"{path}: {target}")
    assert not breaches, "\n".join(breaches)


def test_the_reader_of_includes_sees_them() -> None:
    assert (Path("engine/engine.cpp"), "engine/features.hpp") in set(_includes())


def _unit(module: str) -> str | None:
    """The floor that a dotted module of ours belongs to."""
    parts = module.split(".")
    if parts[0] != "openbpu":
        return None
    is_module = len(parts) > 1 and (parts[1] == "_native" or any(PACKAGE.glob(f"{parts[1]}*")))
    return parts[1] if is_module else "__init__"


def _imports(path: Path) -> Iterator[str]:
    """Dotted names of everything that a file imports, at any depth and under TYPE_CHECKING too."""
    package = ["openbpu", *path.relative_to(PACKAGE).with_suffix("").parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "openbpu" else (module,)


def _python_files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def test_imports_go_down() -> None:
    breaches = []
    for path in _python_files():
        floor = path.relative_to(PACKAGE).with_suffix("").parts[0]
        assert floor in PYTHON_FLOORS, f"{path}: give the new folder its floor"
        for module in _imports(path):
            lower = _unit(module)
            outside = module.split(".")[0]
            if lower is not None and lower != floor and lower not in PYTHON_FLOORS[floor]:
                breaches.append(f"{path.relative_to(ROOT)}: {module}")
            if floor not in EXTERNAL.get(outside, {floor}):
                breaches.append(f"{path.relative_to(ROOT)}: {module}")
    assert not breaches, "\n".join(breaches)


def test_the_reader_of_imports_sees_them() -> None:
    assert "openbpu._native" in set(_imports(PACKAGE / "runtime" / "session.py"))
    assert "openbpu.runtime.executable" in set(_imports(PACKAGE / "runtime" / "session.py"))


def test_the_runtime_imports_numpy_only() -> None:
    import sys

    outside = {
        module.split(".")[0] for path in _python_files() if path.parent.name == "runtime" for module in _imports(path)
    }
    assert outside - sys.stdlib_module_names <= {"openbpu", "numpy"}


# ---- ISA files


def _isa_files(machine: str) -> list[tuple[Path, list[str]]]:
    flags = isa_flags(ROOT)
    return [
        (path, flags[isa])
        for isa in flags
        if architecture(isa) == machine
        for path in sorted(CSRC.rglob(f"*_{isa}.cpp"))
    ]


def _weak_symbols(tools: Tools, source: Path, flags: list[str], folder: Path) -> list[str]:
    """Definitions that the linker may choose for the whole program, as the plainest compilation shows them.

    DW.ref.* is no code: a pointer to the runtime's unwinder, the same from every file.
    """
    target = folder / f"{source.stem}.o"
    command = [tools.compiler, "-std=c++17", "-O0", f"-I{CSRC}", *flags, "-c", str(source), "-o", str(target)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    listing = subprocess.run([tools.nm, "-C", str(target)], check=True, capture_output=True, text=True).stdout
    return [line for line in listing.splitlines() if re.search(r" [WVu] (?!DW\.ref\.)", line)]


@pytest.mark.parametrize("machine", MACHINES)
def test_isa_objects_define_no_weak_symbols(machine: str, tmp_path: Path) -> None:
    """A weak symbol of a file with AVX-512 flags may replace the same inline function everywhere."""
    tools = tools_for(machine)
    files = _isa_files(machine)
    assert files, "CMakeLists.txt names the ISAs as openbpu_flags_<isa>"
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda item: (item[0], _weak_symbols(tools, *item, tmp_path)), files)
        weak = [f"{path.relative_to(ROOT)}: {line}" for path, lines in found for line in lines]
    assert not weak, "\n".join(weak)


def test_the_reader_of_symbols_sees_weak_ones(tmp_path: Path) -> None:
    source = tmp_path / "weak.cpp"
    source.write_text("inline int f() { return 1; }\nint g() { return f(); }\n")
    assert len(_weak_symbols(tools_for(os.uname().machine), source, [], tmp_path)) == 1
