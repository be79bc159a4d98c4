"""Programs for a small SRAM: the same bytes from the exact machine, the joined program and the program in DDR."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import cache

import float_networks
import numpy as np
import onnx
import pytest

from openbpu import _native
from openbpu.errors import UnsupportedError
from openbpu.frontend import prepare_qdq
from openbpu.ir.graph import Graph
from openbpu.ir.profile import profile
from openbpu.lower import lower
from openbpu.pipeline import quantize
from openbpu.schedule import Options, schedule
from openbpu.target.records import RECORDS
from schedules.drawn import drawn
from schedules.sections import resealed, section

KIB = 1024
NETWORKS = float_networks.NETWORKS
_SCHEDULES = int(os.environ.get("OPENBPU_FUZZ_SCHEDULES", "4"))  # of each network
_MUTANTS = int(os.environ.get("OPENBPU_FUZZ_MUTANTS", "60"))


@cache
def _qdq(name: str) -> onnx.ModelProto:
    model = NETWORKS[name]()
    shapes = {i.name: tuple(d.dim_value or 1 for d in i.type.tensor_type.shape.dim) for i in model.graph.input}
    random = np.random.default_rng(3)
    feeds = [{k: random.standard_normal(s).astype(np.float32) for k, s in shapes.items()} for _ in range(2)]
    return quantize(model, feeds, calibration="max", refinement=())


def _graph(name: str) -> Graph:
    return lower(prepare_qdq(_qdq(name)))


def _compiled(name: str, kib: float, options: Options = Options()) -> _native.Program:  # noqa: B008
    target = replace(profile("nash-e"), sram_bytes=int(kib * KIB))
    return _native.Program.from_bytes(schedule(_graph(name), target, options))


def _feeds(program: _native.Program) -> list[np.ndarray]:
    random = np.random.default_rng(7)
    ports = [p for p in program.ports() if p["direction"] == "input"]
    return [random.standard_normal(p["shape"]).astype(p["dtype"]) for p in ports]


@cache
def _expected(name: str) -> list[np.ndarray]:
    program = _compiled(name, 256, Options(optimize_level="O0"))
    return _native.Engine(program).run(_feeds(program))


def _check(name: str, program: _native.Program) -> None:
    for made, wanted in zip(_native.Engine(program).run(_feeds(program)), _expected(name), strict=True):
        np.testing.assert_array_equal(made, wanted)
    for flip, seed in ((0, 1), (None, 2)):
        exact = _native.Engine(program, exact_machine=True, seed=seed, flip=flip, isa="scalar" if flip == 0 else "auto")
        for made, wanted in zip(exact.run(_feeds(program)), _expected(name), strict=True):
            np.testing.assert_array_equal(made, wanted)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kib", [6, 10, 16, 64, 1024])
def test_the_same_bytes_for_every_size(name: str, kib: int) -> None:
    try:
        program = _compiled(name, kib)
    except UnsupportedError:
        assert kib < 16
        return
    assert _native.Engine(program).joined
    assert program.summary()["entries"][0]["sram_bytes"] <= kib * KIB
    _check(name, program)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", range(_SCHEDULES))
def test_random_schedules(name: str, seed: int) -> None:
    options = Options(partitioner=drawn(seed))
    program = _compiled(name, 40 + 24 * (seed % 5), options)
    assert _native.Engine(program).joined
    _check(name, program)


def test_cascades_and_residents_save_traffic() -> None:
    by_level = {}
    for level in ("O1", "O2"):
        program = _compiled("unet", 12, Options(optimize_level=level))
        by_level[level] = _memory(program)
    assert by_level["O2"]["traffic_bytes"] < by_level["O1"]["traffic_bytes"] < by_level["O1"]["naive_traffic_bytes"]


def _memory(program: _native.Program) -> dict[str, int]:
    return json.loads(program.meta)["memory"]


# ---- what the exact machine refuses


def test_a_missing_wait_is_a_race() -> None:
    data = bytearray(_compiled("detector", 24).to_bytes())
    code, records = section(data, 5)
    words = np.frombuffer(data, RECORDS["Instruction"], records, code).copy()
    waiting = np.flatnonzero(words["wait"].any(axis=1))[::11]
    for at in waiting:
        changed = words.copy()
        changed["wait"][at] = 0
        data[code : code + changed.nbytes] = changed.tobytes()
        program = _native.Program.from_bytes(bytes(resealed(data)))
        with pytest.raises(_native.NativeError, match="no wait covers"):
            _native.Engine(program, exact_machine=True)
        for made, wanted in zip(_native.Engine(program).run(_feeds(program)), _expected("detector"), strict=True):
            np.testing.assert_array_equal(made, wanted)  # program order needs no waits
    assert len(waiting) > 5


def test_false_homes_change_nothing() -> None:
    """Mutants of records: refused, or the joined program gives what the program as written gives."""
    original = _compiled("detector", 24).to_bytes()
    random = np.random.default_rng(11)
    joined = told_apart = 0
    for _ in range(_MUTANTS):
        data = bytearray(original)
        offset, count = section(data, 3)
        surfaces = np.frombuffer(data, RECORDS["Surface"], count, offset).copy()
        at = int(random.choice(np.flatnonzero(surfaces["region"] != 0)))
        field = random.choice(["home", "home", "base", "roll_h", "stride_h"])
        homes = np.flatnonzero(surfaces["region"] == 5)
        if field == "home":
            surfaces[at]["home"] = random.choice([0, *(homes + 1)])
        elif field == "roll_h":
            surfaces[at]["roll_h"] = random.integers(0, 40)
        else:
            surfaces[at][field] += random.choice([-1024, -64, 64, 1024])
        data[offset : offset + surfaces.nbytes] = surfaces.tobytes()
        try:
            program = _native.Program.from_bytes(bytes(resealed(data)))
        except (_native.NativeError, OverflowError):
            continue
        engine = _native.Engine(program)
        made = engine.run(_feeds(program))
        joined += engine.joined
        try:
            exact = _native.Engine(program, exact_machine=True).run(_feeds(program))
        except _native.NativeError:
            continue  # a race, or bytes that nothing has written
        told_apart += not engine.joined
        for a, b in zip(made, exact, strict=True):
            np.testing.assert_array_equal(a, b)
    assert joined and told_apart


def test_a_layer_that_fits_in_no_split_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        _compiled("residual", 0.25)
    assert "must fit into the SRAM" in str(caught.value) and "layer" in str(caught.value)
    assert "profile with more SRAM" in str(caught.value)
