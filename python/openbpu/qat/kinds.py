"""What each operator of PyTorch is to quantisation: the one table that placement and the checks read.

It mirrors `ptq/operators.py`, which says the same of ONNX operators.
"""

from __future__ import annotations

import operator
from enum import Enum
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from openbpu.qat.weighted import Weighted


class Kind(Enum):
    """How an operator takes part in quantisation."""

    WEIGHTED = "product with constant weights"
    COMPUTING = "a result with parameters of its own"
    SOFTMAX = "a result with fixed parameters"
    ARITHMETIC = "arithmetic of two tensors, or of a tensor and a number"
    CLAMP = "a clamp, which the operator before it absorbs"
    FUNCTION = "a function of one tensor, which becomes a table"
    MOVE = "no number changes"
    JOIN = "tensors side by side, which share parameters"
    RESIZE = "interpolation, on the parameters of its input"
    TEST = "integers or truth values of reals"
    FLOAT = "computed in float on the CPU"
    SHAPE = "no tensor of reals"


_MODULES: dict[Kind, tuple[type[nn.Module], ...]] = {
    Kind.WEIGHTED: (Weighted,),
    Kind.COMPUTING: (
        nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.LayerNorm, nn.BatchNorm1d,
        nn.BatchNorm2d, nn.LogSoftmax, nn.RMSNorm,
    ),
    Kind.SOFTMAX: (nn.Softmax, nn.Softmax2d),
    Kind.CLAMP: (nn.ReLU, nn.ReLU6, nn.Hardtanh),
    Kind.FUNCTION: (
        nn.CELU, nn.ELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.PReLU,
        nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold, nn.Hardshrink,
        nn.Softshrink,
    ),
    Kind.MOVE: (
        nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AlphaDropout, nn.ChannelShuffle, nn.ConstantPad1d,
        nn.ConstantPad2d, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout, nn.Flatten,
        nn.Identity, nn.MaxPool1d, nn.MaxPool2d,
        nn.PixelShuffle, nn.PixelUnshuffle, nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReplicationPad1d,
        nn.ReplicationPad2d, nn.Unflatten, nn.ZeroPad1d, nn.ZeroPad2d,
    ),
    Kind.RESIZE: (nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d),
    Kind.FLOAT: (
        nn.BatchNorm3d, nn.Bilinear, nn.Conv3d, nn.ConvTranspose3d, nn.CosineSimilarity, nn.Embedding, nn.GroupNorm,
        nn.InstanceNorm1d, nn.InstanceNorm2d, nn.LocalResponseNorm, nn.LPPool2d, nn.MaxPool3d,
        nn.AvgPool3d, nn.Softmin,
    ),
}  # fmt: skip

# Functions of torch, torch.nn.functional and operator, and methods of Tensor, by their common name. A trailing
# underscore, of a method that works in place, is taken off before.
_NAMES: dict[Kind, str] = {
    Kind.COMPUTING: """matmul bmm mm mv dot baddbmm addmm avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d
        mean sum layer_norm rms_norm batch_norm cumsum log_softmax logsumexp""",
    Kind.SOFTMAX: "softmax",
    Kind.ARITHMETIC: """add iadd sub isub rsub subtract mul imul multiply div truediv itruediv true_divide divide pow
        maximum minimum""",
    Kind.CLAMP: "relu relu6 hardtanh clamp clip clamp_min clamp_max",
    Kind.FUNCTION: """abs absolute acos asin atan ceil celu cos elu erf exp floor gelu hardsigmoid hardswish leaky_relu
        log log2 log10 logsigmoid mish neg negative prelu reciprocal round rsqrt selu sigmoid sign silu sin sinh cosh
        softplus softsign sqrt square tan tanh tanhshrink threshold hardshrink softshrink expm1 log1p""",
    Kind.MOVE: """adaptive_max_pool1d adaptive_max_pool2d alias amax chunk clone contiguous detach dropout expand
        expand_as flatten gather getitem max_pool1d max_pool2d movedim moveaxis narrow pad permute pixel_shuffle
        pixel_unshuffle reshape reshape_as select split squeeze swapaxes swapdims t tensor_split to transpose type
        type_as float tril triu unbind unflatten unsqueeze view view_as channel_shuffle flip""",
    Kind.JOIN: "cat concat concatenate stack hstack vstack",
    Kind.RESIZE: "interpolate upsample upsample_bilinear upsample_nearest",
    Kind.FLOAT: """argmax argmin bool cdist conv3d conv_transpose3d cumprod einsum embedding eq fmod ge
        grid_sample group_norm gt index_select instance_norm int le local_response_norm logical_and
        logical_not logical_or long lt masked_fill max min ne norm normalize prod remainder repeat
        repeat_interleave roll scatter sort std take_along_dim tile topk var where xor affine_grid
        outer index_put""",
    Kind.SHAPE: """getattr size dim ndimension numel nelement stride is_floating_point ones zeros full arange ones_like
        zeros_like full_like empty_like new_zeros new_ones new_full new_empty new_tensor empty linspace""",
}  # fmt: skip

_BY_NAME = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_BY_TYPE = {module: kind for kind, modules in _MODULES.items() for module in modules}
IN_PLACE = {operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul,
            operator.itruediv: operator.truediv}  # fmt: skip
_HOMES: tuple[Any, ...] = (torch, F, operator, Tensor, torch._C._nn)


def name_of(node: fx.Node, root: nn.Module) -> str:
    """The common name of what a node computes."""
    if node.op == "call_module":
        module = root.get_submodule(str(node.target))
        return module.product.kind if isinstance(module, Weighted) else type(module).__name__
    if node.op == "call_method":
        return str(node.target).rstrip("_") or str(node.target)
    name: str = getattr(node.target, "__name__", str(node.target))
    return name.strip("_")


def kind_of(node: fx.Node, root: nn.Module) -> Kind | None:
    """The kind of an operator node; None if the table does not know it."""
    if not _real(node.meta.get("value")):
        reads = any(_real(operand.meta.get("value")) for operand in node.all_input_nodes)
        return Kind.TEST if reads and _BY_NAME.get(name_of(node, root)) is not Kind.SHAPE else Kind.SHAPE
    if node.op == "call_module":
        module = root.get_submodule(str(node.target))
        return next((kind for base, kind in _BY_TYPE.items() if type(module) is base), None)
    if node.op == "call_function" and not _is_torch(node.target):
        return None
    return _BY_NAME.get(name_of(node, root))


def _is_torch(target: Any) -> bool:
    if target is getattr:
        return True
    name = getattr(target, "__name__", "")
    return any(getattr(home, name, None) is target for home in _HOMES) or getattr(target, "__module__", "").startswith(
        ("torch", "_operator")
    )


def _real(value: Any) -> bool:
    """True for a float tensor, or a tuple that has one."""
    if isinstance(value, tuple | list):
        return any(_real(part) for part in value)
    return isinstance(value, Tensor) and value.is_floating_point()
