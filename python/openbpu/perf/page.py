"""The report as one HTML page that needs no other file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from openbpu.perf.trace import LANES

if TYPE_CHECKING:
    from openbpu.perf.report import PerfReport

_POINTS = 160
_WIDTH, _HEIGHT = 1000, 150


def page(report: PerfReport) -> str:
    """HTML with its style, script and data inside; sorted by the user, zoomed with the mouse, light or dark."""
    from jinja2 import Environment, PackageLoader

    from openbpu.perf.report import BOUNDS

    environment = Environment(
        loader=PackageLoader("openbpu.perf"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"us": _time, "bytes": _bytes, "percent": lambda share: f"{100 * share:.1f}"}
    curves = report.intervals(_POINTS)
    return environment.get_template("perf.html").render(
        report=report,
        lanes=LANES,
        bounds=BOUNDS,
        shares=_shares(report),
        advice=report.advice(),
        data=_data(report),
        parameters=_parameters(report),
        memory=_memory(report),
        use=_chart({name: curves[name] for name in ("mac", "vector", "cpu")}, 100.0, "%"),
        bandwidth=_chart({name: curves[name] for name in ("load", "store")}, _peak(report), " MB/s"),
    )


def _shares(report: PerfReport) -> list[tuple[str, float]]:
    """What the time goes to: layers by what bounds them, then the launch and time that no layer accounts for."""
    total = report.latency_us or 1.0
    sums = dict.fromkeys(("compute", "memory", "vector", "cpu", "overhead"), 0.0)
    for layer in report.layers:
        sums[layer.bound] += layer.time_us / total
    known = sum(sums.values())
    sums["launch"] = report.launch_us / total
    scale = (1 - sums["launch"]) / known if known > 1 - sums["launch"] else 1.0  # units that work side by side
    shares = {name: share * (1.0 if name == "launch" else scale) for name, share in sums.items()}
    shares["waiting"] = max(1 - sum(shares.values()), 0.0)
    return [(name, share) for name, share in shares.items() if share >= 0.0005]


def _peak(report: PerfReport) -> float:
    return report.profile.ddr_bytes_per_second / 1e6


def _data(report: PerfReport) -> dict[str, Any]:
    """What the timeline draws."""
    order = {layer.id: index for index, layer in enumerate(report.layers)}
    events = [
        [
            LANES.index(e.lane), order[e.layer], e.op, round(e.start_us, 3), round(e.end_us, 3),
            round(e.port_start_us, 3), round(e.port_end_us, 3), e.read_bytes, e.write_bytes, e.macs, e.index,
        ]
        for e in report.events
    ]  # fmt: skip
    return {
        "lanes": list(LANES),
        "layers": [layer.name for layer in report.layers],
        "events": events,
        "makespan": round(report.makespan_us, 3),
    }


def _parameters(report: PerfReport) -> list[tuple[str, str, str, str]]:
    """Name, value, unit and meaning of every parameter of the machine."""
    from dataclasses import fields

    return [
        (p.name, f"{getattr(report.profile, p.name):,}", p.metadata["unit"], p.metadata["doc"])
        for p in fields(report.profile)
        if p.name != "name"
    ]


def _memory(report: PerfReport) -> list[tuple[str, int, str]]:
    return [
        ("SRAM in use", report.sram_bytes, f"of {report.profile.sram_bytes:,} bytes of the machine"),
        ("activations in DDR", report.ddr_bytes, "arena of the entry"),
        ("inputs", report.input_bytes, "memory of the caller"),
        ("outputs", report.output_bytes, "memory of the caller"),
        ("weights and tables", report.constant_bytes, "constants that the program uses"),
        ("instructions", report.code_bytes, ""),
        ("read per run", report.read_bytes, "from DDR"),
        ("written per run", report.write_bytes, "to DDR"),
        ("no schedule avoids", report.ideal_bytes, "constants, inputs and outputs once"),
    ]


def _chart(curves: dict[str, list[float]], top: float, unit: str) -> Markup:
    """Areas over the run, one on another, with a scale of 0 to `top`."""
    parts = []
    for share in (0.25, 0.5, 0.75):
        y = _HEIGHT * (1 - share)
        parts.append(f'<line class="grid" x1="0" y1="{y:.1f}" x2="{_WIDTH}" y2="{y:.1f}"/>')
    base = [0.0] * _POINTS
    for name, values in curves.items():
        upper = [b + v for b, v in zip(base, values, strict=True)]
        edges = [*_edges(upper, top), *reversed(_edges(base, top))]
        parts.append(f'<polygon class="{name}" points="{" ".join(edges)}"/>')
        base = upper
    label = ", ".join(f"{name} up to {max(values):.0f}{unit}" for name, values in curves.items())
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}" preserveAspectRatio="none">'
        f"{''.join(parts)}</svg>"
    )


def _edges(values: list[float], top: float) -> list[str]:
    """Left and right end of every interval at its height."""
    width = _WIDTH / len(values)
    heights = [_HEIGHT * (1 - min(value / top, 1.0)) for value in values]
    return [f"{(k + end) * width:.1f},{y:.1f}" for k, y in enumerate(heights) for end in (0, 1)]


def _time(time_us: float) -> str:
    return f"{time_us / 1e3:.3f} ms" if time_us >= 1000 else f"{time_us:.1f} µs"


def _bytes(count: int) -> str:
    for unit, size in (("MB", 1e6), ("KB", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"
