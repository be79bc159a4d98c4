"""Options of `compile` that choose among programs: levels, aims, cores, longest instructions, the cache."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import float_networks
import numpy as np
import onnx
import pytest

import openbpu
from openbpu import pipeline
from openbpu.errors import ConfigError
from openbpu.ir.profile import PROFILES
from openbpu.runtime import Session


@cache
def _qdq() -> onnx.ModelProto:
    sample = np.random.default_rng(3).standard_normal((1, 3, 32, 32)).astype(np.float32)
    return openbpu.quantize(float_networks.unet(), [sample], calibration="max", refinement=())


def _outputs(executable: openbpu.Executable, **options: Any) -> list[np.ndarray]:
    image = np.random.default_rng(4).standard_normal((1, 3, 32, 32)).astype(np.float32)
    return list(Session(executable, **options).run(image).values())


@pytest.mark.parametrize(
    "options",
    [
        {"optimize_level": "O1"},
        {"optimize_level": "O2", "compile_mode": "bandwidth"},
        {"compile_mode": "balance", "balance_factor": 40},
        {"march": "nash-h", "core_num": 3},
        {"max_time_per_fc": 1000},
    ],
)
def test_every_choice_gives_the_same_bytes(options: dict[str, Any]) -> None:
    expected = _outputs(pipeline.compile(_qdq(), optimize_level="O0"))
    executable = pipeline.compile(_qdq(), **options)
    for run in ({}, {"exact_machine": True, "seed": 5}):
        for made, wanted in zip(_outputs(executable, **run), expected, strict=True):
            np.testing.assert_array_equal(made, wanted)


def test_more_cores_have_their_memory_together() -> None:
    assert PROFILES["nash-h"].cores == 3
    recorded = pipeline.compile(_qdq(), march="nash-h", core_num=2).meta["options"]
    assert recorded["core_num"] == 2 and recorded["optimize_level"] in ("O1", "O2")


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"optimize_level": "O3"}, "optimize_level"),
        ({"compile_mode": "speed"}, "compile_mode"),
        ({"compile_mode": "balance"}, "balance_factor"),
        ({"balance_factor": 101}, "balance_factor"),
        ({"max_time_per_fc": 999}, "max_time_per_fc"),
        ({"core_num": 2}, "core_num"),
        ({"cache_mode": "yes"}, "cache_mode"),
        ({"cache_mode": "enable"}, "cache_path"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pipeline.compile(_qdq(), **options)
    assert where in str(caught.value)


def test_long_instructions_are_cut() -> None:
    from dataclasses import replace

    from openbpu.frontend import prepare_qdq
    from openbpu.ir.profile import profile
    from openbpu.lower import lower
    from openbpu.schedule import Options, schedule

    slow = replace(profile("nash-e"), mac_pixels=1, mac_columns=1, mac_rows=1, clock_hz=1e8)
    graph = lower(prepare_qdq(_qdq()))
    plain, cut = (
        openbpu.Executable.from_bytes(schedule(graph, slow, Options(max_time_per_fc=limit))) for limit in (0, 1000)
    )
    count = [e.summary()["entries"][0]["instructions"] for e in (plain, cut)]
    assert count[1] > count[0] + 10
    for made, wanted in zip(_outputs(cut, exact_machine=True), _outputs(plain), strict=True):
        np.testing.assert_array_equal(made, wanted)


def test_the_cache_keeps_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"cache_mode": "enable", "cache_path": tmp_path / "kept"}
    first = pipeline.compile(_qdq(), **options).to_bytes()
    (file,) = (tmp_path / "kept").iterdir()
    monkeypatch.setattr(pipeline, "chosen", lambda *_: pytest.fail("it was compiled again"))
    assert pipeline.compile(_qdq(), **options).to_bytes() == first
    monkeypatch.undo()
    file.write_bytes(b"damaged")
    assert pipeline.compile(_qdq(), **options).to_bytes() == first == file.read_bytes()
    pipeline.compile(_qdq(), optimize_level="O1", **options)
    assert len(list((tmp_path / "kept").iterdir())) == 2
