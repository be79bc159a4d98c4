"""Masks of whole numbers: a 1 stays a 1, whatever the type, so that (1 - mask) * -3.4e38 masks what it should."""

from __future__ import annotations

import numpy as np
import pytest
from float_networks import Net, run, sqnr

import openbpu


@pytest.mark.parametrize("refinement", [(), ("scales",)])
@pytest.mark.parametrize(("kind", "symmetric"), [("int8", False), ("int8", True), ("int16", False)])
def test_a_mask_of_ones_is_not_rounded(kind: str, symmetric: bool, refinement: tuple[str, ...]) -> None:
    net = Net(seed=2)
    turned = net.op("Mul", net.op("Sub", net.constant(1.0), "mask"), net.constant(-3.4028234663852886e38))
    scores = net.op("Add", net.op("MatMul", "x", net.normal(12, 12)), turned)
    model = net.model(net.op("Softmax", scores, axis=-1, out="y"), shape=(1, 8, 12), mask=(1, 1, 12))
    random = np.random.default_rng(1)
    feeds = []
    for count in (5, 9, 7):
        mask = (np.arange(12) < count).astype(np.float32)[None, None]
        feeds.append({"x": random.standard_normal((1, 8, 12)).astype(np.float32), "mask": mask})
    qdq = openbpu.quantize(model, feeds, all_nodes_type=kind, symmetric=symmetric, refinement=refinement)
    session = openbpu.Session(openbpu.compile(qdq))
    wanted = run(model, *feeds)[0]
    found = np.stack([session.run(feed)["y"] for feed in feeds])
    assert sqnr(wanted, found) > 20
