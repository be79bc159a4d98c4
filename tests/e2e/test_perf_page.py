"""The page of the performance report in a browser: it loads without an error, draws, sorts, and needs nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

import needs
import openbpu
from openbpu.perf import PerfReport, estimate
from unit.perf_programs import striped

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class _Tables(HTMLParser):
    """Texts of the cells of every table with an id."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] | None = None
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._rows = self.tables.setdefault(dict(attrs).get("id") or "", [])
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag in ("td", "th") and self._rows:
            self._rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside and self._rows:
            self._rows[-1][-1] += data.strip() + " "


def test_the_python_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of docs/performance-estimate.md, beside a net.bpux; e2e/test_examples.py runs its commands."""
    text = (Path(__file__).parents[2] / "docs" / "performance-estimate.md").read_text()
    (tmp_path / "net.bpux").write_bytes(striped())
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(compile(block, "docs/performance-estimate.md", "exec"), {"openbpu": openbpu})
    assert (tmp_path / "perf.html").is_file()


@pytest.fixture(scope="module")
def report() -> PerfReport:
    """A program whose layers have names that a page must not take for markup."""
    from openbpu.runtime import Executable
    from openbpu.target import ProgramBuilder
    from unit.perf_programs import GEOMETRY, constants

    b = ProgramBuilder("net</script><b>&")
    one = GEOMETRY | {"kernel_h": 1, "kernel_w": 1, "pad_top": 0, "pad_left": 0}
    held = {c: constants(b, c, c, 1) for c in (16, 64)}
    layers = {}
    for layer, (channels, rows) in enumerate([(16, 8), (64, 64), (16, 32), (64, 16)], 1):
        x, y = (b.surface("ddr", (1, rows, 64, channels), base=base, scale=0.1) for base in (0, 1 << 20))
        b.emit("CONV2D", y, x, **held[channels], aux=one, layer=layer, lo=-128, hi=127)
        layers[str(layer)] = {"name": f"<i>layer_{layer}</i></script>", "op": "conv2d", "nodes": [f"n{layer}"]}
    return estimate(Executable(b.finish(2 << 20, {"march": "nash-e", "layers": layers})))


def _dom(path: Path, profile: Path, fragment: str = "") -> str:
    """The document after its script has run; fails on a script error or a request for anything but the file."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        needs.missing("needs Chromium (apt-get install chromium)")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}",
        "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", f"file://{path}{fragment}",
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "CONSOLE" not in result.stderr, result.stderr[-2000:]
    return result.stdout


def test_the_page_in_a_browser(report: PerfReport, tmp_path: Path) -> None:
    path = tmp_path / "perf.html"
    report.save(path)
    assert not re.findall(r'(?:src|href)="|url\(|@import', path.read_text()), "the page needs no other file"
    dom = _dom(path, tmp_path / "profile", "#sort=time")
    assert f'data-ready="{len(report.events)}"' in dom, "the script ran to its end"
    parser = _Tables()
    parser.feed(dom)
    head, *rows = parser.tables["layers"]
    assert [cell.strip() for cell in head][:3] == ["#", "layer", "time"]
    slowest = sorted(report.layers, key=lambda layer: -layer.time_us)
    assert [row[1].split()[0] for row in rows] == [layer.name for layer in slowest], "sorted by time, slowest first"
    assert [float(row[2]) for row in rows] == [round(layer.time_us, 2) for layer in slowest]
    assert [row[0].strip() for row in rows] != ["1", "2", "3", "4"], "in another order than that of the program"
    assert len(parser.tables["advice"]) > 1
    assert "</script><b>" not in dom and "<i>layer_" not in dom


def test_a_page_of_one_layer(tmp_path: Path) -> None:
    path = tmp_path / "one.html"
    estimate(striped()).save(path)
    dom = _dom(path, tmp_path / "profile")
    parser = _Tables()
    parser.feed(dom)
    assert [row[1].split()[0] for row in parser.tables["layers"][1:]] == ["conv"]
