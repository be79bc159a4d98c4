"""onnx's node tests of every operator in the CPU table: one CPUCALL each, within onnx's own tolerances."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from cpu_operators import one_node
from openbpu import _native
from openbpu.target.records import CPU_KERNELS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases

    CASES = {case.name: case for case in collect_testcases(None) if len(case.model.graph.node) == 1}

# Part of what the door says -> why the call has no form for the case.
REASONS = {
    "a tensor without elements": "static shapes have positive extents",
    "type object": "strings",
    "type bfloat16": "ports have numpy's types",
    "type int4": "4-bit types are unpacked by the compiler",
    "type uint4": "4-bit types are unpacked by the compiler",
    "type int2": "2-bit types are unpacked by the compiler",
    "type uint2": "2-bit types are unpacked by the compiler",
    "type float8": "8-bit floats",
    "type float4": "4-bit floats",
    "type float16": "arithmetic is in float32: the compiler casts",
    "training": "training",
    "sequence": "sequences",
}
OPERATORS = {*CPU_KERNELS, "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Dropout"}
NAMES = sorted(name for name, case in CASES.items() if case.model.graph.node[0].op_type in OPERATORS)


def _arrays(case: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    values_in, values_out = case.data_sets[0]
    if any(isinstance(value, list | type(None)) for value in (*values_in, *values_out)):
        raise one_node.Refused("sequence")
    names = [[port.name for port in ports] for ports in (case.model.graph.input, case.model.graph.output)]
    first, second = (
        {name: np.asarray(value) for name, value in zip(keys, values, strict=True)}
        for keys, values in zip(names, (values_in, values_out), strict=True)
    )
    return first, second


@pytest.mark.parametrize("name", NAMES)
def test_node(name: str) -> None:
    """The node's results on every ISA, or a refusal for a reason that is known."""
    case = CASES[name]
    try:
        inputs, outputs = _arrays(case)
        data = one_node.program(case.model.graph.node[0], inputs, outputs)
    except one_node.Refused as refused:
        assert any(part in str(refused) for part in REASONS), refused
        return
    expected = [outputs[key] for key in case.model.graph.node[0].output if key in outputs]
    seen = one_node.run(data, inputs)
    for wanted, got in zip(expected, seen, strict=False):
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(got, wanted, rtol=case.rtol, atol=case.atol)
        else:
            np.testing.assert_array_equal(got, wanted)
    for isa in _native.available_isas():
        for first, other in zip(seen, one_node.run(data, inputs, isa, threads=2), strict=True):
            assert first.tobytes() == other.tobytes(), f"{isa} gives other bits"
