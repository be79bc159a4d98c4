"""The rows of table.py: kept in a file so that later runs add to them, and written into a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

_MARKS = ("<!-- table: begin -->\n", "<!-- table: end -->\n")
_COLUMNS = ("method", "SQNR dB", "cosine", "same class %", "top-1 %", "CPU seconds", "peak GB")
HEAD = f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}"
_ABOUT = (
    "**Networks that peers lose on.** SQNR in dB of the worst output, of MiniLM of the sentence embeddings; behind it\n"
    "the same class in %, of the recogniser the same character; [a/b]: of b products a stay in float. The best of the\n"
    "peers is bold, the default where it is better."
)
OURS, SEARCHED = "**openbpu, default**", "openbpu, searched"
# title, beginning of the names of the methods, whether products in float count out
_GAINS = (
    ("default over the best of ONNX Runtime", "onnxruntime", False),
    ("over the best peer", "", False),
    ("over the best with all products in integers", "", True),
)


@dataclass(frozen=True)
class Row:
    """SQNR in dB and cosine of the worst output; the others may be missing."""

    method: str
    sqnr: float = np.nan
    cosine: float = np.nan
    agreement: float = np.nan
    top1: float = np.nan
    wall: float = np.nan
    cpu: float = np.nan
    peak: float = np.nan
    failure: str = ""
    note: str = ""

    def line(self) -> str:
        if self.failure:
            return f"| {self.method} | fails: {self.failure} |{' |' * (len(_COLUMNS) - 2)}"
        cells = (
            f"{self.sqnr:.2f}", f"{self.cosine:.5f}", f"{self.agreement:.2f}", f"{self.top1:.2f}",
            f"{self.cpu:.0f}", f"{self.peak / 1e9:.2f}",
        )  # fmt: skip
        title = f"{self.method} {self.note}" if self.note else self.method
        return f"| {title} | {' | '.join('' if cell == 'nan' else cell for cell in cells)} |"

    def cell(self, bold: bool) -> str:
        """SQNR and agreement, for the table of many networks."""
        agreement = "" if np.isnan(self.agreement) else f", {self.agreement:.1f} %"
        mark = "**" if bold else ""
        return f"{mark}{self.sqnr:.1f}{mark}{agreement}" + (f" {self.note}" if self.note else "")


@dataclass
class Entry:
    """The rows of one network, by method, on one set of samples."""

    digest: str  # of the samples
    counts: tuple[int, int]  # samples that calibrate, that evaluate
    whole: bool  # a table of its own, or a column of the table of many networks
    rows: dict[str, Row] = field(default_factory=dict)

    def best_peer(self, family: str = "", integers: bool = False) -> Row | None:
        """The row of the highest SQNR that is not ours, of the methods whose name begins so.

        `integers` leaves out those with products in float.
        """
        rows = [row for row in self.rows.values() if "openbpu" not in row.method and row.method.startswith(family)]
        fit = [row for row in rows if not np.isnan(row.sqnr) and not (integers and row.note)]
        return max(fit, key=lambda row: row.sqnr, default=None)


class Results:
    """Entries by the title of the network; `path` None keeps nothing. A row replaces that of the same method."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.entries = path, dict[str, Entry]()
        if path is not None and path.exists():
            for title, found in json.loads(path.read_text()).items():
                rows = {row["method"]: Row(**row) for row in found["rows"]}
                self.entries[title] = Entry(found["digest"], tuple(found["counts"]), found["whole"], rows)

    def start(self, title: str, entry: Entry) -> None:
        """Rows of other samples than those of the entry are dropped: they compare with nothing."""
        if title not in self.entries or self.entries[title].digest != entry.digest:
            self.entries[title] = entry

    def add(self, title: str, row: Row) -> None:
        self.entries[title].rows[row.method] = row
        if self.path is None:
            return
        content = {t: asdict(e) | {"rows": [asdict(row) for row in e.rows.values()]} for t, e in self.entries.items()}
        self.path.write_text(json.dumps(content, indent=1))

    def text(self, order: Iterable[str]) -> str:
        """All tables; `order`: names of methods."""
        place = {method: k for k, method in enumerate(order)}
        parts = []
        for title, entry in self.entries.items():
            if entry.whole:
                rows = sorted(entry.rows.values(), key=lambda row: place.get(row.method, len(place)))
                counts = f"{entry.counts[0]} samples calibrate, {entry.counts[1]} evaluate."
                table = "".join(f"{row.line()}\n" for row in rows)
                parts.append(f"**{title}.** {counts} {verdict(entry)}\n\n{HEAD}\n{table}")
        many = {title: entry for title, entry in self.entries.items() if not entry.whole}
        if many:
            methods = {method for entry in many.values() for method in entry.rows}
            parts.append(matrix(many, sorted(methods, key=lambda method: place.get(method, len(place)))))
        return "\n".join(parts)


def matrix(entries: dict[str, Entry], methods: Sequence[str]) -> str:
    """Methods down, networks across; behind the table what the methods that failed said."""
    failures: dict[str, int] = {}
    counts = (f"{entry.counts[0]} + {entry.counts[1]}" for entry in entries.values())
    lines = [f"| | {' | '.join(entries)} |", "|---|" + "---|" * len(entries), f"| samples | {' | '.join(counts)} |"]
    for method in methods:
        lines.append(f"| {method} | {' | '.join(_cell(entry, method, failures) for entry in entries.values())} |")
    for title, family, integers in _GAINS:
        gains = (_gain(entry, family, integers) for entry in entries.values())
        lines.append(f"| {title} | {' | '.join(gains)} |")
    mine = [entry.rows.get(OURS, Row(OURS)) for entry in entries.values()]
    cosines = (f"{np.floor(row.cosine * 1e4) / 1e4:.4f}".replace("nan", "") for row in mine)
    lines.append(f"| default: cosine | {' | '.join(cosines)} |")
    seconds = (f"{row.cpu:.0f}, {row.peak / 1e9:.1f}".replace(", nan", "").replace("nan", "") for row in mine)
    lines.append(f"| default: CPU seconds, peak GB | {' | '.join(seconds)} |")
    said = [f"{number}. {failure}" for failure, number in failures.items()]
    return "\n".join([_ABOUT, "", *lines, *(["", "What fails says:", "", *said] if said else [])]) + "\n"


def _cell(entry: Entry, method: str, failures: dict[str, int]) -> str:
    row = entry.rows.get(method)
    if row is None:
        return ""
    if row.failure:
        return f"fails ({failures.setdefault(row.failure, len(failures) + 1)})"
    peer = entry.best_peer()
    return row.cell(peer is not None and method in (OURS, peer.method) and row.sqnr >= peer.sqnr)


def _gain(entry: Entry, family: str = "", integers: bool = False) -> str:
    mine, peer = entry.rows.get(OURS), entry.best_peer(family, integers)
    return "" if mine is None or mine.failure or peer is None else f"{mine.sqnr - peer.sqnr:+.1f}"


def verdict(entry: Entry) -> str:
    """Our default against the best of the others' rows."""
    peer, gain = entry.best_peer(), _gain(entry)
    return f"Default beside the best peer ({peer.method}): {gain} dB." if peer and gain else ""


def write(page: Path, text: str) -> None:
    """Replaces what stands between the marks."""
    old = page.read_text()
    begin, end = (old.index(mark) for mark in _MARKS)
    page.write_text(old[: begin + len(_MARKS[0])] + text + old[end:])
