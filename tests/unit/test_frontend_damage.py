"""Damaged models end in an error of openbpu.errors, or compile: no other exception, no crash.

OPENBPU_FUZZ_DAMAGE says how many damaged models each test makes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import float_networks as nets
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import openbpu
from graph_fuzz.damage import bytes_damaged, fields_damaged
from graph_fuzz.graph import Graph
from graph_fuzz.models import graphs
from openbpu.errors import OpenBpuError

_COUNT = int(os.environ.get("OPENBPU_FUZZ_DAMAGE", "150"))


def _try(action: Callable[[], object]) -> bool:
    """Whether an error of ours refused the model."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            action()
        except OpenBpuError as error:
            assert str(error)
            return True
    return False


@pytest.fixture(scope="module")
def models() -> list[onnx.ModelProto]:
    """A float model, and the same one quantised."""
    model = nets.residual()
    return [model, openbpu.quantize(model, nets.samples(2), calibration="max", refinement=())]


def test_damaged_bytes(models: list[onnx.ModelProto]) -> None:
    random = np.random.default_rng(1)
    refused = 0
    for count in range(_COUNT):
        damaged = bytes_damaged(models[count % 2].SerializeToString(), random)
        refused += _try(lambda data=damaged: openbpu.compile(data))
    assert refused > _COUNT // 10  # many changes hit weights and are harmless


def test_damaged_fields(models: list[onnx.ModelProto]) -> None:
    random = np.random.default_rng(2)
    refused = 0
    for count in range(_COUNT):
        damaged = fields_damaged(models[count % 2], random)
        refused += _try(lambda model=damaged: openbpu.compile(model))
    assert refused > _COUNT // 4


@pytest.mark.filterwarnings("ignore")
def test_damaged_fields_of_random_graphs() -> None:
    """Every operator's attributes and operands get wrong ones."""
    random = np.random.default_rng(3)

    @settings(
        max_examples=_COUNT,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(graph=graphs())
    def check(graph: Graph) -> None:
        if graph.nodes:
            damaged = fields_damaged(graph.model(), random)
            _try(lambda: openbpu.compile(damaged))

    check()


def test_damaged_external_data(tmp_path: Path, models: list[onnx.ModelProto]) -> None:
    path = tmp_path / "net.onnx"
    copy = onnx.ModelProto.FromString(models[0].SerializeToString())
    onnx.save(copy, path, save_as_external_data=True, location="net.bin", size_threshold=0)
    files = {name: (tmp_path / name).read_bytes() for name in ("net.onnx", "net.bin")}
    random = np.random.default_rng(4)
    refused = 0
    for count in range(_COUNT):
        name = ("net.onnx", "net.bin")[count % 2]
        for other, data in files.items():
            (tmp_path / other).write_bytes(bytes_damaged(data, random) if other == name else data)
        refused += _try(lambda: openbpu.compile(path))
    assert refused > _COUNT // 10
