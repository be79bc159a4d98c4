"""The scheduler: views instead of copies, the arena, waits, what META says."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lowering.check import check
from lowering.nets import Net
from openbpu.errors import ConfigError
from openbpu.ir import strides
from openbpu.ir.graph import Graph
from openbpu.ir.profile import profile
from openbpu.lower import lower
from openbpu.runtime import Executable
from openbpu.schedule import Options, arena, schedule
from openbpu.schedule.memory import Memory, Place, dense_strides, reshaped


def instructions(graph: Graph) -> list[str]:
    """Mnemonics of the compiled graph, without marks."""
    text = Executable(schedule(graph, profile("nash-e"), Options("O0"))).disassemble()
    names = [line.split()[2] for line in text.splitlines() if re.match(r"\d+ ", line)]
    return [name for name in names if name not in ("MARK", "END", "QUANTIZE", "DEQUANTIZE")]


def _conv(net: Net, x: str, co: int, ci: int, **attributes: object) -> str:
    return net.node("Conv", x, net.weight(net.random.standard_normal((co, ci, 1, 1))), **attributes)


def test_concat_and_slices_are_views() -> None:
    net = Net(1)
    x = net.quantise(net.input(1, 4, 6, 6, quantised=False), 0.02)
    a, b = (net.quantise(_conv(net, x, c, 4), 0.1) for c in (5, 6))
    inner = net.node("Concat", a, b, axis=1)
    outer = net.quantise(net.node("Concat", net.quantise(_conv(net, x, 3, 4), 0.1), inner, axis=1), 0.1)
    first, second = net.node("Split", outer, net.constant([6, 8], np.int64), axis=1, outputs=2)
    net.output(net.quantise(net.node("Flatten", _conv(net, first, 2, 6))))
    net.output(net.quantise(_conv(net, second, 2, 8)))
    graph = check(net)
    assert "COPY" not in [n for n in instructions(graph) if n == "COPY"][1:], "only the Flatten moves bytes"
    assert sorted(set(instructions(graph))) == ["CONV2D", "COPY"]


def test_value_in_two_concats_is_copied_once() -> None:
    net = Net(2)
    x = net.quantise(net.input(1, 4, 6, 6, quantised=False), 0.02)
    a, b = (net.quantise(_conv(net, x, 5, 4), 0.1) for _ in range(2))
    for parts in ((a, b), (b, a)):
        net.output(net.quantise(_conv(net, net.node("Concat", *parts, axis=1), 3, 10)))
    assert instructions(check(net)).count("COPY") == 2


def test_detection_heads_need_one_copy_each() -> None:
    """Convolution, channels last, flattened and concatenated: the transposition writes into the common buffer."""
    net = Net(3)
    heads = []
    for size in (6, 3):
        x = net.quantise(net.input(1, 4, size, size, quantised=False), 0.02)
        y = net.quantise(net.node("Transpose", net.quantise(_conv(net, x, 6, 4), 0.1), perm=[0, 2, 3, 1]), 0.1)
        heads.append(net.node("Reshape", y, net.constant([1, -1, 3], np.int64)))
    net.output(net.quantise(net.node("Concat", *heads, axis=1), 0.1))
    names = instructions(check(net))
    assert names == ["CONV2D", "CONV2D"], "channels last in ONNX is dense in memory: no copy at all"


def test_channel_shuffle_is_one_copy() -> None:
    net = Net(4)
    x = net.quantise(net.input(1, 8, 6, 6, quantised=False), 0.02)
    y = net.node("Transpose", net.node("Reshape", x, net.constant([1, 2, 4, 6, 6], np.int64)), perm=[0, 2, 1, 3, 4])
    net.output(net.quantise(_conv(net, net.node("Reshape", y, net.constant([1, 8, 6, 6], np.int64)), 3, 8)))
    assert instructions(check(net)) == ["COPY", "CONV2D"]


def test_focus_is_four_copies() -> None:
    net = Net(5)
    x = net.quantise(net.input(1, 3, 8, 8, quantised=False), 0.02)
    parts = []
    for z, y in ((0, 0), (0, 1), (1, 0), (1, 1)):
        operands = [net.constant(v, np.int64) for v in ([y, z], [8, 8], [2, 3], [2, 2])]
        parts.append(net.node("Slice", x, *operands))
    net.output(net.quantise(_conv(net, net.node("Concat", *parts, axis=1), 3, 12)))
    assert instructions(check(net)) == ["COPY"] * 4 + ["CONV2D"]


def test_element_wise_results_reuse_their_input() -> None:
    net = Net(6)
    x = net.input(1, 16, 16, 16)
    for _ in range(4):
        x = net.quantise(net.node("Tanh", net.quantise(net.node("Add", x, net.node("Sigmoid", x)))))
    net.output(x)
    net.output(net.quantise(net.node("GlobalMaxPool", x)))
    graph = check(net, tolerance=8)
    memory = Executable(schedule(graph, profile("nash-e"), Options("O0"))).meta["memory"]
    assert memory["ddr_bytes"] < 3 * 16**3


def test_chain_of_layers_needs_two_buffers() -> None:
    net = Net(7)
    x = net.input(1, 16, 8, 8)
    for _ in range(6):
        x = net.quantise(_conv(net, x, 16, 16))
    net.output(x)
    memory = Executable(schedule(lower(net.model()), profile("nash-e"), Options("O0"))).meta["memory"]
    assert (memory["ddr_bytes"], memory["lower_bound_bytes"], memory["over_percent"]) == (2048, 2048, 0.0)


@pytest.mark.parametrize("channels", [3, 5, 7, 12, 20, 24, 36])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_operator_between_two_parts_of_a_concat(channels: int, axis: int) -> None:
    """Its input and its result interleave in one buffer, which begins at any multiple of 64."""
    net = Net(11)
    x = net.input(2, 4, 5, 6)
    a = net.quantise(_conv(net, x, channels, 4), 0.1)
    b = net.quantise(net.node("Tanh", a), 0.1)
    c = net.quantise(net.node("Add", a, b), 0.1)
    net.output(net.quantise(net.node("Concat", a, b, c, axis=axis), 0.1))
    net.output(net.quantise(_conv(net, x, 3, 4)))
    assert "COPY" not in instructions(check(net, tolerance=2))


def test_single_channels_are_views() -> None:
    net = Net(12)
    x = net.quantise(net.input(1, 4, 6, 6, quantised=False), 0.02)
    step = net.node("Slice", x, *(net.constant([v], np.int64) for v in (1, 99, 1, 4)))
    net.output(step)
    net.output(net.quantise(_conv(net, step, 2, 1)))
    assert instructions(check(net)) == ["CONV2D"]


# ---- arena


@pytest.mark.parametrize("seed", range(20))
def test_arena_never_overlaps(seed: int) -> None:
    random = np.random.default_rng(seed)
    lives = {}
    for _ in range(60):
        first = int(random.integers(0, 100))
        lives[Memory("ddr", int(random.integers(1, 5000)))] = (first, first + int(random.integers(0, 20)))
    plan = arena.plan(lives)
    used = np.zeros((120, plan.bytes), np.uint8)
    for memory, (first, last) in lives.items():
        assert memory.address % 64 == 0
        used[first : last + 1, memory.address : memory.address + memory.size] += 1
    assert used.max() == 1
    assert plan.lower_bound <= plan.bytes <= 1.3 * plan.lower_bound


def test_arena_check_finds_an_overlap() -> None:
    lives = {Memory("ddr", 100): (0, 3), Memory("ddr", 100): (2, 5)}
    with pytest.raises(AssertionError, match="overlap"):
        arena.check(lives)


# ---- views


@pytest.mark.parametrize("seed", range(60))
def test_reshaped_places_agree_with_numpy(seed: int) -> None:
    """Where a place says that a view exists, it shows the same elements as numpy's reshape."""
    random = np.random.default_rng(seed)
    memory = np.arange(4096)
    before = tuple(int(v) for v in random.choice((1, 2, 3, 4), 4))
    base = dense_strides(before) if seed % 3 else dense_strides((before[0], before[1], before[2] + 1, before[3] + 2))
    view = np.lib.stride_tricks.as_strided(memory, before, [8 * s for s in base])
    after = (
        np.array(before)[random.permutation(4)]
        if seed % 2
        else (1, 1, int(np.prod(before[:2])), int(np.prod(before[2:])))
    )
    extents = tuple(int(e) for e in after)
    found = reshaped(Place(Memory("ddr", 4096), 0, base), before, extents)
    if found is None:
        assert seed % 3 == 0 or seed % 2, "a dense tensor has every shape"
        return
    shown = np.lib.stride_tricks.as_strided(memory, extents, [8 * s for s in found.strides])
    np.testing.assert_array_equal(shown, view.reshape(extents))


def test_grouped_axes() -> None:
    axes = strides.merged([(6, 4), (4, 1)])
    assert axes == [(24, 1)]
    assert strides.grouped(axes, (2, 12)) == [[(2, 12)], [(12, 1)]]
    assert strides.grouped([(4, 10), (3, 1)], (6, 2)) is None


# ---- waits


def _surfaces(line: str) -> list[tuple[int, int]]:
    """Byte ranges in DDR of the operands in a line of the disassembly, output first."""
    ranges = []
    for base, shape, steps in re.findall(r"DDR\+(\d+):\w+\[([\d,]+)\](?:/([\d,]+))?", line):
        extents = [int(v) for v in shape.split(",")]
        step = [int(v) for v in steps.split(",")] if steps else list(dense_strides(extents))
        reach = sum((e - 1) * s for e, s in zip(extents, step, strict=True)) + 1
        ranges.append((int(base), int(base) + reach))
    return ranges


def test_waits_cover_every_hazard_between_queues() -> None:
    """Replays the program: whatever overlaps must be ordered by a queue, a wait, or a barrier, transitively."""
    net = Net(8)
    x = net.input(1, 8, 8, 8)
    values = [x]
    for step in range(24):
        a = values[int(net.random.integers(max(0, len(values) - 4), len(values)))]
        b = values[int(net.random.integers(len(values)))]
        kind = step % 4
        y = _conv(net, a, 8, 8) if kind in (0, 2) else net.node("Add", a, b) if kind == 1 else net.node("Tanh", a)
        values.append(net.quantise(y, 0.1))
    net.output(net.quantise(net.node("Concat", *values, axis=1), 0.1))
    queues = {"CONV2D": "mac", "ADD": "vec", "LUT8": "vec", "QUANTIZE": "cpu", "DEQUANTIZE": "cpu"}
    before: list[tuple[str, int, list[tuple[int, int]], set[int]]] = []  # queue, number, ranges, indices done before it
    done_of: dict[str, list[int]] = {"mac": [], "vec": [], "cpu": []}
    waits = 0
    for line in Executable(schedule(lower(net.model()), profile("nash-e"), Options("O0"))).disassemble().splitlines():
        parts = line.split()
        if len(parts) < 3 or parts[2] not in queues:
            continue
        queue, index = queues[parts[2]], len(before)
        done = set(range(index)) if queue == "cpu" else set(done_of["cpu"]) | set(done_of[queue])
        for name, count in re.findall(r"(mac|vec)>=(\d+)", line):
            waits += 1
            done.update(done_of[name][: int(count)])
        for earlier in list(done):
            done |= before[earlier][3]
        ranges = _surfaces(line)
        writes = ranges[:1] if "<- " in line and line.index("DDR") < line.index("<-") else []
        for earlier, (_, _, others, _) in enumerate(before):
            theirs = others[:1]
            hazard = any(p < s and r < q for p, q in ranges for r, s in theirs)
            hazard |= any(p < s and r < q for p, q in writes for r, s in others)
            assert not hazard or earlier in done, f"instruction {index} does not wait for {earlier}: {line}"
        before.append((queue, index, ranges, done))
        done_of[queue].append(index)
    assert 10 < waits < 40


# ---- the file


def test_meta_maps_layers_to_nodes() -> None:
    net = Net(9)
    net.output(net.quantise(net.node("Relu", _conv(net, net.input(1, 4, 5, 5), 3, 4))))
    graph = lower(net.model())
    executable = Executable(schedule(graph, profile("nash-p")))
    meta = executable.meta
    assert meta["march"] == "nash-p" and meta["versions"]["isa"] == 1
    layer = next(entry for entry in meta["layers"].values() if entry["op"] == "conv2d")
    assert [name.split("_")[1][:4] for name in layer["nodes"]] == ["conv", "relu"]
    assert len(meta["layers"]) == 3


def test_same_graph_gives_the_same_bytes() -> None:
    net = Net(10)
    net.output(net.quantise(net.node("Concat", net.input(1, 4, 5, 5), net.input(1, 3, 5, 5), axis=1)))
    model = net.model()
    assert schedule(lower(model), profile("nash-e")) == schedule(lower(model), profile("nash-e"))


def test_unknown_march() -> None:
    with pytest.raises(ConfigError, match="nash-e"):
        profile("bayes")
