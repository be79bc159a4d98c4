"""The rows of table.py: kept in a file so that later runs add to them, and written into a page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

_MARKS = ("<!-- table: begin -->\n", "<!-- table: end -->\n")
_COLUMNS = ("method", "SQNR dB", "cosine", "same class %", "top-1 %", "CPU seconds", "peak GB")
HEAD = f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}"
_FAMILIES = ("NNCF", "AIMET", "esp-ppq")
_SHORT = (
    "| network | samples | onnxruntime MinMax, asymmetric / symmetric | best of NNCF's modes | best of AIMET's "
    "| best of PPQ's | openbpu, default | CPU s |\n|" + "---|" * 8
)
OURS, SEARCHED = "**openbpu, default**", "openbpu, searched"


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
            return f"| {self.method} | failed: {self.failure} |{' |' * (len(_COLUMNS) - 2)}"
        cells = (
            f"{self.sqnr:.2f}", f"{self.cosine:.5f}", f"{self.agreement:.2f}", f"{self.top1:.2f}",
            f"{self.cpu:.0f}", f"{self.peak / 1e9:.2f}",
        )  # fmt: skip
        title = f"{self.method} ({self.note})" if self.note else self.method
        return f"| {title} | {' | '.join('' if cell == 'nan' else cell for cell in cells)} |"

    def cell(self, top: float) -> str:
        """SQNR and cosine, for a table of many networks; bold where the SQNR is `top`."""
        if self.failure:
            return "fails"
        note = f", {self.note}" if self.note else ""
        cosine = np.floor(self.cosine * 1e4) / 1e4  # 0.99995 is not 1
        mark = "**" if self.sqnr == top else ""
        return f"{mark}{self.sqnr:.1f}{mark} ({cosine:.4f})".replace("(0.", "(.") + note


@dataclass
class Entry:
    """The rows of one network, by method, on one set of samples."""

    digest: str  # of the samples
    counts: tuple[int, int]  # samples that calibrate, that evaluate
    whole: bool  # a table of its own, or a line of the table of many networks
    rows: dict[str, Row] = field(default_factory=dict)


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
        parts, lines = [], []
        for title, entry in self.entries.items():
            rows = sorted(entry.rows.values(), key=lambda row: place.get(row.method, len(place)))
            if not entry.whole:
                lines.append(short(title, entry))
                continue
            counts = f"{entry.counts[0]} samples calibrate, {entry.counts[1]} evaluate."
            table = "".join(f"{row.line()}\n" for row in rows)
            parts.append(f"**{title}.** {counts} {verdict(rows)}\n\n{HEAD}\n{table}")
        if lines:
            about = (
                "**Networks that peers lose on.** SQNR in dB (cosine) of the worst output, of MiniLM of the sentences."
            )
            parts.append(f"{about}\n\n{_SHORT}\n" + "".join(f"{line}\n" for line in lines))
        return "\n".join(parts)


def short(title: str, entry: Entry) -> str:
    """One line for a network: of each family of peers the best; the highest SQNR is bold."""
    groups = [[name] for name in _STATIC]
    groups += [[name for name in entry.rows if name.startswith(family)] for family in _FAMILIES]
    groups += [[OURS], [SEARCHED]]
    found = [best([entry.rows[name] for name in names if name in entry.rows]) for names in groups]
    top = max((row.sqnr for row in found if row and not row.failure), default=np.nan)
    asymmetric, symmetric, *others, mine, searched = [row.cell(top) if row else "" for row in found]
    cells = [title, f"{entry.counts[0]} + {entry.counts[1]}", f"{asymmetric} / {symmetric}", *others]
    cells.append(f"{mine}; searched {searched}" if searched else mine)
    cells.append(f"{entry.rows[OURS].cpu:.0f}" if OURS in entry.rows else "")
    return f"| {' | '.join(cells)} |"


_STATIC = ("onnxruntime MinMax", "onnxruntime MinMax, symmetric")


def best(rows: list[Row]) -> Row | None:
    """The row of the highest SQNR; one that failed if all did, None if there is none."""
    return max(rows, key=lambda row: -np.inf if row.failure or not np.isfinite(row.sqnr) else row.sqnr, default=None)


def verdict(rows: list[Row]) -> str:
    """Our default against the best of the others' rows."""
    mine = next((row for row in rows if row.method == OURS), None)
    others = [row for row in rows if "openbpu" not in row.method and not row.failure and np.isfinite(row.sqnr)]
    peer = best(others)
    if mine is None or mine.failure or peer is None:
        return ""
    return f"Default beside the best peer ({peer.method}): {mine.sqnr - peer.sqnr:+.2f} dB."


def write(page: Path, text: str) -> None:
    """Replaces what stands between the marks."""
    old = page.read_text()
    begin, end = (old.index(mark) for mark in _MARKS)
    page.write_text(old[: begin + len(_MARKS[0])] + text + old[end:])
