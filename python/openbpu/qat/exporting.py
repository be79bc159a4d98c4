"""From a trained model to the QDQ ONNX model that the compiler takes."""

from __future__ import annotations

import ast
import contextlib
import copy
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import onnx
import torch
from onnx import version_converter
from torch import Tensor, fx, nn

from openbpu import __version__
from openbpu.errors import ConfigError, ModelError
from openbpu.fake_quantisation import TRANSLATIONS, dequantize
from openbpu.files import write_file
from openbpu.qat.laws import FrozenLaw, Law
from openbpu.qat.preparing import preparation
from openbpu.qat.quantisers import FrozenSite, Site
from openbpu.qat.states import State
from openbpu.qat.switching import sites, state_of
from openbpu.qat.weighted import ConstantQuantiser, FrozenWeighted, Weighted

_OPSET = 18
_OPSET_INT16 = 21  # the first with QuantizeLinear to int16
_OPSET_RMS = 23  # the first with RMSNormalization


def export(
    model: nn.Module,
    path: str | PathLike[str] | None = None,
    *,
    example_inputs: Sequence[Tensor] | Tensor | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> onnx.ModelProto:
    """The QDQ model of a prepared model in state validation; also written to `path` if that is given.

    Shapes are those of `example_inputs`, by default those of `prepare` with batch 1. `openbpu.compile` takes the
    result. Raises ConfigError in another state, ModelError if PyTorch cannot export the model.
    """
    if state_of(model) is not State.VALIDATION:
        raise ConfigError(
            "export the state validation", where="model", seen=state_of(model).value,
            remedy="call set_state(model, 'validation')",
        )  # fmt: skip
    examples = preparation(model).examples if example_inputs is None else _tuple(example_inputs)
    alone = frozen(model, examples)
    proto = _export(alone, examples, input_names, output_names)
    _name_nodes(proto, {path: module.name for path, module in alone.named_modules() if isinstance(module, FrozenSite)})
    proto = _cleaned(proto)
    onnx.checker.check_model(proto, full_check=True)
    if path is not None:
        write_file(path, proto.SerializeToString())
    return proto


def _tuple(inputs: Sequence[Tensor] | Tensor) -> tuple[Tensor, ...]:
    return (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)


def frozen(model: nn.Module, examples: Sequence[Tensor]) -> fx.GraphModule:
    """A copy on the CPU that computes the same with constant integers and the two operators alone."""
    copied: fx.GraphModule = copy.deepcopy(model).cpu()
    constants: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda m, inputs, _, name=name: constants.__setitem__(name, inputs[0].detach()))
        for name, module in copied.named_modules()
        if isinstance(module, ConstantQuantiser)
    ]
    with torch.no_grad():
        copied(*(e.cpu() if isinstance(e, Tensor) else e for e in examples))
    for hook in hooks:
        hook.remove()
    for name, module in list(copied.named_modules()):
        replacement: nn.Module
        if isinstance(module, Site):
            replacement = FrozenSite(module)
        elif isinstance(module, Weighted):
            replacement = FrozenWeighted(module)
            for child, inner in module.named_children():
                if child != "norm":
                    replacement.add_module(child, inner)
        elif isinstance(module, Law):
            replacement = FrozenLaw()
        elif isinstance(module, nn.RMSNorm) and module.weight is None:  # else exported as ones of the input's shape
            replacement = nn.RMSNorm(module.normalized_shape, module.eps)
        elif isinstance(module, ConstantQuantiser):
            replacement = _FrozenConstant(constants[name])
        else:
            continue
        owner, _, last = name.rpartition(".")
        setattr(copied.get_submodule(owner), last, replacement)
    copied.eval()
    _only_tensors(copied)
    return copied


def _only_tensors(model: fx.GraphModule) -> None:
    """Makes the outputs a tuple of tensors, each by itself: ONNX knows nothing else."""
    (output,) = (node for node in model.graph.nodes if node.op == "output")
    tensors = [leaf for leaf in torch.utils._pytree.tree_leaves(output.args[0]) if isinstance(leaf, fx.Node)]
    output.args = (tuple(tensors),)
    model.graph.set_codegen(fx.graph.CodeGen())
    model.recompile()


class _FrozenConstant(nn.Module):
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        scale = (value.abs().amax() / 127).clamp(min=2.0**-64)
        self.register_buffer("scale", scale)
        self.register_buffer("integers", (value / scale).round().clamp(-127, 127).to(torch.int8))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int8))

    def forward(self, _: Tensor) -> Tensor:
        result: Tensor = dequantize(self.integers, self.scale, self.zero_point, -1)
        return result


def _export(
    model: fx.GraphModule,
    examples: Sequence[Any],
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
) -> onnx.ModelProto:
    try:
        with _quiet():
            program = torch.onnx.export(
                model,
                tuple(examples),
                dynamo=True,
                custom_translation_table=TRANSLATIONS,
                input_names=input_names,
                output_names=output_names,
                opset_version=_OPSET_RMS if any(isinstance(m, nn.RMSNorm) for m in model.modules()) else _OPSET,
                optimize=True,
                verbose=False,
            )
        proto: onnx.ModelProto = program.model_proto
        return proto
    except Exception as error:  # the exporter raises errors of many kinds
        raise ModelError(
            "PyTorch must be able to export the model",
            where="openbpu.qat.export",
            seen=_first_cause(error),
            remedy="see the cause above; what torch.onnx does not know can be computed outside the model",
        ) from error


def _first_cause(error: BaseException) -> str:
    """The first line of the innermost error, without colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress and warnings."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _name_nodes(proto: onnx.ModelProto, sites_by_path: Mapping[str, str]) -> None:
    """Names nodes by module and operator; those of a site by the site: `tensors_of_sites` finds them so."""
    taken: set[str] = set()
    for node in proto.graph.node:
        scopes = next((p.value for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"), "[]")
        path = next((scope for scope in reversed(ast.literal_eval(scopes)[:-1]) if scope), "")
        label = sites_by_path.get(path)
        if label is None:
            label = path or node.name.removeprefix("node_")
            label += "/constant" if node.op_type == "DequantizeLinear" else ""
        name = f"{label}/{node.op_type}"
        node.name, count = name, 1
        while node.name in taken:
            count += 1
            node.name = f"{name}_{count}"
        taken.add(node.name)


def _cleaned(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model without what the exporter tells of the source code, in the lowest opset that has its types."""
    wide = any(t.data_type == onnx.TensorProto.INT16 for t in proto.graph.initializer)
    if wide and proto.opset_import[0].version < _OPSET_INT16:
        proto = version_converter.convert_version(proto, _OPSET_INT16)
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for info in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del info.metadata_props[:]
        info.doc_string = ""
    del proto.metadata_props[:], proto.graph.metadata_props[:]
    proto.graph.doc_string = ""
    proto.producer_name, proto.producer_version = "openbpu.qat", __version__
    proto.metadata_props.add(key="openbpu.version", value=__version__)
    return proto


def tensors_of_sites(proto: onnx.ModelProto, model: nn.Module) -> dict[str, str]:
    """Name of site -> tensor of the exported model that holds what the site gives.

    Of sites that compute the same the exporter keeps one. Raises ModelError if the two do not fit together.
    """
    scales = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    nodes = {node.name.removesuffix("/DequantizeLinear"): node for node in proto.graph.node}
    found = {name: nodes[name] for name in sites(model) if name in nodes}
    fitting = [
        scales[node.input[1]] == np.float32(sites(model)[name].quantiser.positive_scale().detach())
        for name, node in found.items()
    ]
    if (sites(model) and not found) or not all(fitting):
        seen = "other scales" if found else "other layers"
        raise ModelError("the exported model must be that of the trained one", where="qdq", seen=seen)
    return {name: node.output[0] for name, node in found.items()}
