"""openbpu visualize: every box is drawn once, links are those of the model, and the page needs nothing else."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

import openbpu
from e2e.test_perf_page import _dom
from e2e.vendor_commands import Commands
from openbpu.artefacts import model_drawing, program_drawing
from openbpu.artefacts.drawing import Box, Layout, Link, layout
from openbpu.artefacts.page import visualize
from unit.float_networks import Net

SHAPE = (1, 3, 16, 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with a branch, and a name that a page must not take for markup."""
    folder = tmp_path_factory.mktemp("visualize")
    net = Net(3)
    first = net.op("Relu", net.conv("x", 3, 8, stride=2))
    both = net.op("Add", first, net.conv(first, 8, 8))
    net.nodes[-1].name = "</script><b>add"
    onnx.save(net.model(net.op("Softmax", net.op("Flatten", both), axis=-1, out="y"), shape=SHAPE), folder / "net.onnx")
    random = np.random.default_rng(0)
    samples = [random.standard_normal(SHAPE).astype(np.float32) for _ in range(2)]
    qdq = openbpu.quantize(folder / "net.onnx", samples, refinement=())
    onnx.save(qdq, folder / "net.qdq.onnx")
    for level in ("O0", "O2"):
        openbpu.compile(qdq, optimize_level=level).save(folder / f"{level}.bpux")
    return folder


@pytest.mark.parametrize("level", ["O0", "O2"])
def test_links_of_a_program_are_those_of_the_model(folder: Path, level: str) -> None:
    boxes, links = program_drawing.drawn(openbpu.load(folder / f"{level}.bpux"))
    names = [box.lines[1] if box.kind != "port" else box.lines[0] for box in boxes]
    found = {(names[link.source], names[link.target]) for link in links}
    add = next(name for name in names if "<b>add" in name)
    assert {("x", names[1]), ("Relu_1", "Conv_2"), ("Relu_1", add), ("Conv_2", add)} <= found
    assert [target for source, target in found if source == "x"] == [names[1]]
    assert [target for source, target in found if source == "Conv_2"] == [add]
    assert sum(link.target == len(boxes) - 1 for link in links) == 1
    assert all(link.source < link.target for link in links), "in the order in which layers begin to compute"
    relu = boxes[names.index("Relu_1")]
    assert relu.kind == "tae" and "int8 1x8x8x8" in relu.lines and any("MACs" in line for line in relu.lines)


def test_nodes_of_a_model(folder: Path) -> None:
    model = onnx.load(folder / "net.qdq.onnx")
    boxes, links = model_drawing.drawn(model)
    weights = [n for n in model.graph.node if n.op_type == "DequantizeLinear" and "/weight" in n.input[0]]
    assert weights and not any("weight" in line for box in boxes for line in box.lines)
    kinds = [box.lines[0] for box in boxes]
    assert kinds.count("Conv") == 2 and kinds.count("QuantizeLinear") == kinds.count("DequantizeLinear")
    assert len(links) >= len(boxes) - 1


def _overlap(boxes: list[Box], placed: Layout) -> bool:
    corners = sorted(zip(placed.corners, boxes, strict=True), key=lambda x: (x[0][1], x[0][0]))
    return any(a[0][1] == b[0][1] and a[0][0] + a[1].width > b[0][0] for a, b in pairwise(corners))


def test_a_thousand_boxes_lie_apart() -> None:
    random = np.random.default_rng(0)
    boxes = [Box((f"op {k}", "x" * int(random.integers(1, 34))), "node") for k in range(1000)]
    links = [Link(int(max(0, k - random.integers(1, 40))), k) for k in range(1, 1000) for _ in range(2)]
    links += [Link(900, 3), Link(5, 5), Link(0, 999)]
    placed = layout(boxes, links)
    assert not _overlap(boxes, placed) and len(placed.paths) == len(links)
    for (x, y), box in zip(placed.corners, boxes, strict=True):
        assert x >= 0 and x + box.width <= placed.width and y >= 0 and y + box.height <= placed.height
    for link in links:
        if link.source < link.target:
            assert placed.corners[link.source][1] < placed.corners[link.target][1]
    assert layout([], []).corners == []


def test_a_long_chain_with_branches_stays_a_column() -> None:
    boxes = [Box((f"box {k}",), "node") for k in range(301)]
    links = [Link(k, k + 1) for k in range(300)] + [Link(k, k + 3) for k in range(0, 298, 3)]
    assert layout(boxes, links).width < 10 * boxes[0].width


def test_the_page_in_a_browser(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "graph.html"
    path.write_text(visualize(folder / "O2.bpux"))
    assert not re.findall(r'(?:src|href)="|url\(|@import', path.read_text()), "the page needs no other file"
    boxes, _ = program_drawing.drawn(openbpu.load(folder / "O2.bpux"))
    dom = _dom(path, tmp_path / "profile", "#search=conv_2")
    assert f'data-ready="{len(boxes)}"' in dom and "1 found" in dom
    assert len(re.findall(r'class="box [a-z]+ found chosen"', dom)) == 1
    assert "</script><b>" not in dom


def test_command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], folder: Path) -> None:
    monkeypatch.chdir(folder)
    run = Commands(monkeypatch, capfd)
    assert run("openbpu visualize net.onnx")[0] == 0
    assert "<svg" in (folder / "net.onnx.html").read_text()
    code, _, error = run("openbpu visualize O2.bpux --netron")
    assert code == 1 and "Netron shows ONNX files" in error
    monkeypatch.setitem(__import__("sys").modules, "netron", None)
    code, _, error = run("openbpu visualize net.onnx --netron")
    assert code == 1 and "ip install netron" in error
