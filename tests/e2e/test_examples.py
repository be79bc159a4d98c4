"""Every command that the pages or a --help show runs as it stands, in a folder with the files that they name."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import onnx
import pytest

import openbpu
from e2e.vendor_commands import Commands, write_photographs, write_project, write_samples
from openbpu.cli import main as openbpu_command
from openbpu.preprocess import Recipe, Resize
from unit.float_networks import Net

ROOT = Path(__file__).parents[2]
SCREEN = 50  # lines
_PROGRAM = re.compile(r"^(openbpu|hb_\w+)$")
# Commands with data or processes of their own, and the test that runs them.
_ELSEWHERE = {
    "openbpu demo": "e2e/test_demo.py",
    "openbpu evaluate net.onnx net.bpux --loader my_data:test_set --metric my_data:mean_ap --jobs 4": (
        "e2e/test_evaluate_command.py"
    ),
}
_VENDOR = re.findall(r"^(hb_\w+) =", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def _pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _lines(text: str) -> Iterator[str]:
    """The commands of a text, with continued lines joined, without comments and prompts."""
    for line in text.replace("\\\n", " ").splitlines():
        for part in re.split(r"\s(?:&&|;)\s", line):
            words = shlex.split(part.strip().removeprefix("$ "), comments=True) if part.count("'") % 2 == 0 else []
            if words and _PROGRAM.match(words[0]):
                yield " ".join(words)


def _examples_of_pages() -> Iterator[str]:
    for page in _pages():
        for block in re.findall(r"^```(?:sh|console|bash)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            yield from _lines(block)


def _commands() -> dict[str, click.Command]:
    """Every command and verb by what a user types."""
    found: dict[str, click.Command] = {"openbpu": importlib.import_module("openbpu.cli.main").command}
    for name in _VENDOR:
        found[name] = importlib.import_module(f"openbpu.cli.vendor.{name.removeprefix('hb_')}").command
    for name, command in list(found.items()):
        if isinstance(command, click.Group):
            context = click.Context(command)
            for verb in command.list_commands(context):
                inner = command.get_command(context, verb)
                assert inner is not None
                found[f"{name} {verb}"] = inner
    return found


COMMANDS = _commands()
EXAMPLES = sorted({*_examples_of_pages(), *(x for c in COMMANDS.values() for x in _lines(c.help or ""))})


def test_examples_are_found() -> None:
    assert openbpu_command is not None
    assert "hb_compile -c net.yaml" in EXAMPLES
    assert all((ROOT / "tests" / test).is_file() for test in _ELSEWHERE.values())
    assert "openbpu quantize net.onnx --samples calibration/ -o net.qdq.onnx" in EXAMPLES
    assert len(EXAMPLES) > 20


@pytest.mark.parametrize("name", _VENDOR)
def test_an_installed_command_starts_what_it_names(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [name, "--version"])
    with pytest.raises(SystemExit) as ended:
        getattr(importlib.import_module("openbpu.cli.vendor"), name)()
    assert not ended.value.code
    assert capsys.readouterr().out.startswith(f"openbpu, {name}, version ")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_screen_and_shows_an_example(name: str) -> None:
    command = COMMANDS[name]
    with click.Context(command, info_name=name, max_content_width=80, terminal_width=80) as context:
        text = command.get_help(context)
    assert len(text.splitlines()) <= SCREEN
    assert "Example" in text
    assert any(line.strip().startswith(name) for line in text.splitlines() if "Usage" not in line)


def _network() -> onnx.ModelProto:
    """An image in, a head called head_0 whose result is transposed, four classes out."""
    net = Net(7)
    features = net.op("Relu", net.conv("x", 3, 8, stride=2))
    net.op("Conv", features, net.normal(4, 8, 1, 1, scale=0.3), out="head_0")
    net.nodes[-1].name = "head_0"
    last = net.op("Transpose", "head_0", perm=[0, 2, 3, 1])
    return net.model(net.op("ReduceMean", last, axes=[1, 2], keepdims=0, out="y"), shape=(1, 3, 16, 16))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples name: net.onnx, net.qdq.onnx, net.bpux, x.npy, calibration/, test/, net.yaml, photographs/."""
    folder = tmp_path_factory.mktemp("examples")
    build = {
        "model_parameters": {"working_dir": "model_output"},
        "calibration_parameters": {"cal_data_dir": "calibration"},
    }
    write_project(folder, _network(), (1, 3, 16, 16), build)
    for name in ("calibration", "test"):
        write_samples(folder / name, (1, 3, 16, 16), low=-2, high=2)
    write_photographs(folder / "photographs", folder / "val.txt")
    labels = "".join(f"{path.name},{i % 4}\n" for i, path in enumerate(sorted((folder / "test").iterdir())))
    (folder / "labels.csv").write_text(f"file,label\n{labels}")
    (folder / "imagenet.json").write_text(Recipe((Resize(16, 16),), mean=127.5, scale=1 / 127.5).to_json())
    samples = [np.load(path) for path in sorted((folder / "calibration").iterdir())]
    np.save(folder / "x.npy", samples[0])
    qdq = openbpu.quantize(folder / "net.onnx", samples, refinement=())
    onnx.save(qdq, folder / "net.qdq.onnx")
    executable = openbpu.compile(qdq)
    for name in ("net", "other"):
        executable.save(folder / f"{name}.bpux")
    openbpu.link({"classify": executable, "detect": executable}).save(folder / "both.bpux")
    return folder


@pytest.fixture
def hb(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], folder: Path) -> Commands:
    monkeypatch.chdir(folder)
    return Commands(monkeypatch, capfd)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e not in _ELSEWHERE])
def test_an_example_runs_as_it_stands(example: str, hb: Commands, folder: Path) -> None:
    if "model_output/" in example and not (folder / "model_output").is_dir():
        assert hb("hb_compile -c net.yaml")[0] == 0
    code, out, error = hb(example)
    assert code == 0, f"{out}\n{error}"


def test_the_python_of_the_page_runs(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.chdir(folder)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "vendor.md").read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "docs/vendor.md", "exec"), {})
