"""Models from files, bytes and protos; what a bad file gets."""

from __future__ import annotations

from pathlib import Path

import float_networks as nets
import numpy as np
import onnx
import pytest
from onnx import helper

from openbpu import frontend
from openbpu.errors import ModelError
from openbpu.frontend import loading


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return nets.residual()


def test_path_string_bytes_and_proto_give_the_same_model(tmp_path: Path, model: onnx.ModelProto) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), model):
        assert frontend.load(source).graph == model.graph


def test_a_proto_is_copied(model: onnx.ModelProto) -> None:
    before = model.SerializeToString(deterministic=True)
    frontend.prepare(frontend.load(model))
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(64), bytes(64)], ids=["empty", "text", "png", "zeros"]
)
def test_files_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "photo.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"photo\.onnx"):
        frontend.load(tmp_path / "photo.onnx")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx.*No such file"):
        frontend.load(tmp_path / "gone.onnx")
    with pytest.raises(ModelError, match="folder"):
        (tmp_path / "folder").mkdir()
        frontend.load(tmp_path / "folder")
    with pytest.raises(ModelError, match="int"):
        frontend.load(3)  # type: ignore[arg-type]


def test_truncated_models_never_crash(model: onnx.ModelProto) -> None:
    data = model.SerializeToString()
    refused = 0
    for length in range(0, len(data), 37):
        try:
            frontend.prepare(frontend.load(data[:length]))
        except ModelError:
            refused += 1
    assert refused == len(range(0, len(data), 37))


def test_flipped_bits_never_crash(model: onnx.ModelProto) -> None:
    data = model.SerializeToString()
    refused = 0
    with np.errstate(all="ignore"):
        for position in range(0, len(data), 61):
            damaged = bytearray(data)
            damaged[position] ^= 1 << position % 8
            try:
                frontend.prepare(frontend.load(bytes(damaged)))
            except ModelError:
                refused += 1
    assert refused > 10  # most flips hit weights and are harmless


def test_external_data(tmp_path: Path, model: onnx.ModelProto) -> None:
    path, data = tmp_path / "net.onnx", tmp_path / "net.bin"
    copy = onnx.ModelProto.FromString(model.SerializeToString())  # onnx.save moves the data out of what it is given
    onnx.save(copy, path, save_as_external_data=True, location="net.bin", size_threshold=0)
    x = nets.samples(1)[0]
    np.testing.assert_array_equal(nets.run(frontend.load(path), x)[0], nets.run(model, x)[0])
    with pytest.raises(ModelError, match="loaded from its path"):
        frontend.load(path.read_bytes())
    content = data.read_bytes()
    data.write_bytes(content[:10])
    with pytest.raises(ModelError, match=r"net\.onnx: external data must be readable"):
        frontend.load(path)
    data.unlink()
    with pytest.raises(ModelError, match=r"external data of tensor c0 .*net\.bin"):
        frontend.load(path)


def test_nodes_in_the_wrong_order_are_sorted(model: onnx.ModelProto) -> None:
    """Converters that append Cast nodes at the end leave such files."""
    mixed = onnx.ModelProto()
    mixed.CopyFrom(model)
    nodes = list(model.graph.node)
    del mixed.graph.node[:]
    mixed.graph.node.extend(nodes[::-1])
    x = nets.samples(1)[0]
    np.testing.assert_array_equal(nets.run(frontend.load(mixed), x)[0], nets.run(model, x)[0])


def test_cycles_and_unknown_tensors_are_refused() -> None:
    for inputs in (("x", "b"), ("x", "nobody")):
        nodes = [helper.make_node("Add", list(inputs), ["a"]), helper.make_node("Relu", ["a"], ["b"])]
        info = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in ("x", "b")]
        with pytest.raises(ModelError):
            frontend.load(helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:])))


def test_more_weights_than_a_message_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """External data beyond protobuf's limit: loading and preparing never serialise the weights."""
    path, weights = tmp_path / "large.onnx", np.ones((100, 100), np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "large",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 100))],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1, 100))],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, save_as_external_data=True, size_threshold=0, location="large.data")
    monkeypatch.setattr(loading, "LARGEST_MESSAGE", 4096)
    serialise = onnx.ModelProto.SerializeToString

    def limited(self: onnx.ModelProto, **options: object) -> bytes:
        data = serialise(self, **options)
        assert len(data) < weights.nbytes, "the weights were serialised"
        return data

    monkeypatch.setattr(onnx.ModelProto, "SerializeToString", limited)
    loaded = frontend.prepare_qdq(frontend.load(path))
    assert len(loaded.graph.initializer[0].raw_data) == weights.nbytes
    assert [d.dim_value for d in loaded.graph.output[0].type.tensor_type.shape.dim] == [1, 100]
