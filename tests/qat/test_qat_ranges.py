"""Training starts from the ranges of a model that was quantised without it."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import openbpu
from openbpu import qat
from openbpu.errors import ModelError, SampleError
from openbpu.qat.observers import Fixed
from openbpu.qat.switching import quantisers, sites
from qat import nets


@pytest.fixture(autouse=True)
def _deterministic() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


def exported(net: nn.Module, x: Tensor) -> onnx.ModelProto:
    """The float network as the older exporter of PyTorch writes it."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x[:1],), stream, dynamo=False)
    return onnx.load_from_string(stream.getvalue())


NETS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "mobilenet": (nets.MobileNet, (3, 24, 24)),
    "unet": (nets.UNet, (3, 16, 16)),
    "vit": (nets.ViT, (3, 16, 16)),
}


def parameters(model: nn.Module) -> list[tuple[float, int]]:
    return [(float(q.positive_scale().detach()), int(q.zero_point)) for q in quantisers(model)]


@pytest.mark.parametrize(("name", "ranges"), [("mobilenet", "moving"), ("unet", "learned"), ("vit", "moving")])
def test_every_site_has_the_parameters_of_post_training_quantisation(name: str, ranges: str) -> None:
    make, shape = NETS[name]
    x = torch.randn(8, *shape)
    net = nets.settled(make(), [x])
    qdq = openbpu.quantize(exported(net, x), list(x[:, None].numpy()), refinement=())
    model = qat.prepare(net, x, qat.Config(ranges=ranges))
    assert qat.load_ranges(model, qdq) == []
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in qdq.graph.initializer}
    pairs = {
        (float(constants[n.input[1]]), int(constants[n.input[2]]))
        for n in qdq.graph.node
        if n.op_type == "QuantizeLinear"
    }
    for quantiser, (scale, zero) in zip(quantisers(model), parameters(model), strict=True):
        if not isinstance(quantiser.observer, Fixed) and not (quantiser.symmetric and quantiser.grid.name == "int8"):
            assert any(abs(scale / s - 1) < 1e-6 and zero == z for s, z in pairs), quantiser.name
    qat.set_state(model, "training")
    model(x).square().mean().backward()
    qat.set_state(model, "validation")
    with torch.no_grad():
        error = (model(x) - net(x)).square().mean() / net(x).square().mean()
    assert float(error) < 0.01


def test_an_export_gives_its_ranges_back(tmp_path: Path) -> None:
    x = torch.randn(8, 1, 16, 16)
    net = nets.settled(nets.Residual(), [x])
    first = qat.prepare(net, x)
    qat.calibrate(first, [x])
    qat.export(first, tmp_path / "net.onnx")
    second = qat.prepare(net, x)
    assert qat.load_ranges(second, tmp_path / "net.onnx", x) == []
    assert parameters(second) == parameters(first)


def test_other_types_keep_the_range_and_other_sites_keep_theirs() -> None:
    x = torch.randn(8, 1, 16, 16)
    net = nets.settled(nets.Residual(), [x])
    first = qat.prepare(net, x)
    qat.calibrate(first, [x])
    qdq = qat.export(first)
    del qdq.graph.value_info[:]
    unsigned = {n.input[2] for n in qdq.graph.node if n.op_type == "QuantizeLinear"}
    for constant in qdq.graph.initializer:
        if constant.name in unsigned:  # as ONNX Runtime quantises
            raised = onnx.numpy_helper.to_array(constant).astype(np.int16) + 128
            constant.CopyFrom(onnx.numpy_helper.from_array(raised.astype(np.uint8), constant.name))
    wide = qat.prepare(net, x, qat.Config(templates=[qat.ModuleName({"head": "int16", "stem": {"threshold": 3.0}})]))
    assert qat.load_ranges(wide, qdq) == []
    narrow, found = sites(first), sites(wide)
    assert float(found["relu"].quantiser.scale) == float(narrow["relu"].quantiser.scale)
    assert int(found["relu"].quantiser.zero_point) == int(narrow["relu"].quantiser.zero_point)
    assert float(found["head"].quantiser.scale) * 32768 >= float(narrow["head"].quantiser.scale) * 127
    assert float(found["stem.2"].quantiser.scale) == 3 / 128

    _leave_float(qdq, "relu")
    third = qat.prepare(net, x)
    assert qat.load_ranges(third, qdq) == ["relu"]
    with pytest.raises(openbpu.OpenBpuError, match=r"'relu'.*no range"):
        qat.set_state(third, "training")
    qat.calibrate(third, [x])
    before = dict(zip(sites(third), parameters(third), strict=True))["relu"]
    qat.load_ranges(third, qdq)
    assert dict(zip(sites(third), parameters(third), strict=True))["relu"] == before


def test_another_network_is_refused() -> None:
    x = torch.randn(8, 1, 16, 16)
    first = qat.prepare(nets.settled(nets.Residual(), [x]), x)
    qat.calibrate(first, [x])
    qdq = qat.export(first)
    _leave_float(qdq, "x")  # it is equal in both
    with pytest.raises(ModelError, match="same network"):
        qat.load_ranges(qat.prepare(nets.settled(nets.Residual(), [x]), x), qdq)
    with pytest.raises(ModelError, match="shape of input"):
        qat.load_ranges(qat.prepare(nn.Sequential(nn.Linear(4, 4)), torch.randn(2, 4)), qdq)
    with pytest.raises(SampleError, match="tensors of x"):
        qat.load_ranges(first, qdq, (x, x))


def _leave_float(qdq: onnx.ModelProto, site: str) -> None:
    """Takes away the pair of a site."""
    for node in qdq.graph.node:
        if node.name in (f"{site}/QuantizeLinear", f"{site}/DequantizeLinear"):
            node.CopyFrom(onnx.helper.make_node("Identity", node.input[:1], node.output, node.name))
    del qdq.graph.value_info[:]
