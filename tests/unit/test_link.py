"""Several models in one file: each computes what it computes alone, from every door."""

from __future__ import annotations

import json
from pathlib import Path

import float_networks
import numpy as np
import pytest
import runtime_programs as programs
from click.testing import CliRunner

import openbpu
from golden import v1, v1_1, v1_2
from golden.v1 import digest
from openbpu import _native
from openbpu.cli.main import command
from openbpu.errors import ConfigError, ExecutableError
from openbpu.runtime import Executable, Session

GOLDEN = {"one": v1, "calls": v1_1, "wide": v1_2}


@pytest.fixture(scope="module")
def linked() -> Executable:
    return openbpu.link({name: Executable(module.FILE.read_bytes()) for name, module in GOLDEN.items()})


@pytest.mark.parametrize("name", GOLDEN)
def test_models_compute_what_they_compute_alone(linked: Executable, name: str) -> None:
    inputs = GOLDEN[name].inputs()
    alone = Executable(GOLDEN[name].FILE.read_bytes())
    want = digest(Session(alone, isa="scalar").run(inputs))
    assert digest(Session(linked, entry=name, isa="scalar").run(inputs)) == want
    assert linked.ports(name) == alone.ports() and linked.metadata(name) == alone.metadata()


def test_names_and_order(linked: Executable) -> None:
    assert linked.entries == list(GOLDEN) and linked.meta == linked.metadata("one")
    more = openbpu.link([("", linked), ("again", Executable(v1.FILE.read_bytes()))])
    assert more.entries == [*GOLDEN, "again"] and more.metadata("calls") == linked.metadata("calls")
    assert more == openbpu.link([("", linked), ("again", Executable(v1.FILE.read_bytes()))])
    assert digest(Session(more, entry="calls", isa="scalar").run(v1_1.inputs())) == digest(
        Session(linked, entry="calls", isa="scalar").run(v1_1.inputs())
    )


def test_equal_constants_are_stored_once() -> None:
    net = Executable(programs.convolution(channels=256))
    one, two = openbpu.link({"a": net}), openbpu.link({"a": net, "b": net})
    assert two.size - one.size < net.size / 10
    with pytest.raises(ConfigError, match="different names"):
        openbpu.link([("a", net), ("a", net)])


@pytest.mark.filterwarnings("ignore:one calibration sample")
def test_models_of_one_file_are_for_one_machine() -> None:
    net = float_networks.residual()
    qdq = openbpu.quantize(net, float_networks.samples(1), calibration="max", refinement=())
    made = {march: openbpu.compile(qdq, march=march) for march in ("nash-e", "nash-m")}
    with pytest.raises(ConfigError, match=r"one machine.*nash-e, nash-m"):
        openbpu.link(made)


def test_layers_and_estimates_are_those_of_the_model(linked: Executable) -> None:
    net = Executable(programs.convolution())
    both = openbpu.link({"first": Executable(v1.FILE.read_bytes()), "net": net})
    layers = [step.layer for step in Session(both, entry="net").explain().steps]
    assert layers == [step.layer for step in Session(net).explain().steps]
    assert openbpu.estimate(both, march="nash-e", entry="net").macs == openbpu.estimate(net, march="nash-e").macs
    with pytest.raises(ExecutableError, match="no model called"):
        both.ports("none")


def test_too_many_surfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbpu.target.linking._MOST_IDS", 10)
    with pytest.raises(ExecutableError, match="fewer than 10 surfaces"):
        openbpu.link({"a": Executable(v1.FILE.read_bytes())})


def test_command(tmp_path: Path) -> None:
    (tmp_path / "net.bpux").write_bytes(programs.convolution())
    (tmp_path / "copies.bpux").write_bytes(programs.copies(("a", "y", "float32")))
    np.save(tmp_path / "x.npy", programs.image())
    both = tmp_path / "both.bpux"
    sources = [f"{tmp_path}/copies.bpux", f"seen={tmp_path}/net.bpux"]
    result = CliRunner().invoke(command, ["link", *sources, "-o", str(both)], catch_exceptions=False)
    assert result.exit_code == 0 and "seen" in result.output
    run = ["run", str(both), "--entry", "seen", "--input", f"{tmp_path}/x.npy", "--json"]
    rows = json.loads(CliRunner().invoke(command, run, catch_exceptions=False).output)
    alone = ["run", f"{tmp_path}/net.bpux", "--input", f"{tmp_path}/x.npy", "--json"]
    assert rows == json.loads(CliRunner().invoke(command, alone, catch_exceptions=False).output)
    for verb in ("info", "bench", "perf"):
        options = ["--march", "nash-e"] if verb == "perf" else []
        shown = CliRunner().invoke(
            command, [verb, str(both), "--entry", "seen", "--json", *options], catch_exceptions=False
        )
        assert shown.exit_code == 0, shown.output
    assert _native.Program.load(str(both)).entries[1] == "seen"
