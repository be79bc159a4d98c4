"""Makes a loaded model static, shape-inferred, named and, if it is a float model, simple."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from math import prod

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript import optimizer, rewriter
from onnxscript.rewriter.rules.common import (
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_batchnorm_into_gemm_rule,
    fuse_pad_into_conv_rule,
    matmul_add_to_gemm_rule,
    normalize_pad_format_conv_rule,
)

from openbpu.errors import ModelError
from openbpu.frontend.batch_norm import use_batch_statistics
from openbpu.frontend.constants import bound_masks, fold_uniform
from openbpu.frontend.decomposition import decompose, decompose_quantised
from openbpu.frontend.evaluation import LARGEST_WEIGHT, should_fold
from openbpu.frontend.folding import fold_arithmetic
from openbpu.frontend.fourier import has_transforms, write_out
from openbpu.frontend.inlining import inlined
from openbpu.frontend.loops import unroll_loops
from openbpu.frontend.normalisation import fuse_normalisations
from openbpu.frontend.recurrent import unroll
from openbpu.ir.onnx_graph import STANDARD, compact, infer_shapes, opset_of

_OPSET = 17  # of clean float models; newer ones stay as they are
_IR_VERSION = 4  # older ones must list initialisers as inputs
_RULES = [
    normalize_pad_format_conv_rule,
    fuse_pad_into_conv_rule,
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_batchnorm_into_gemm_rule,
    matmul_add_to_gemm_rule,
]
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_REGIONS = "coordinate_transformation_mode"  # of RoiAlign
_REDUCED = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_QUANTISED = re.compile(
    "^(QLinear.*|QGemm|QuantizeLinear|DequantizeLinear|ConvInteger|MatMulInteger|DynamicQuantize.*)$"
)


def prepare(
    model: onnx.ModelProto, input_shapes: Mapping[str, tuple[int, ...]] | None = None, steps: bool = True
) -> onnx.ModelProto:
    """A clean float model: opset 17 or newer, static shapes, BatchNormalization and constants folded, nodes named.

    A dynamic batch becomes 1; other dynamic dimensions are fixed by `input_shapes` or refused. float16 weights become
    float32; functions, and operators that only a function defines, become their nodes, and with `steps` so do short
    recurrent layers and some normalisations, which as a whole are quicker, but never in integers. The outputs are those
    of the given model up to float rounding. Changes `model`. Raises ModelError.
    """
    _fix_constants(model)
    _fix_shapes(model, input_shapes or {})
    model = inlined(model)
    _widen_floats(model.graph)
    _keep_old_regions(model)
    use_batch_statistics(model)
    model = _upgraded(model)
    model = _inferred(model)
    model = _without_transforms(_simplified(model))
    while unroll_loops(model):
        model = _simplified(_inferred(model))
    if steps:
        unroll(model)
    decompose(model, integers=steps)
    fuse_normalisations(model)
    fold_arithmetic(model)
    bound_masks(model)
    model = _without_dead_code(model)
    _name_nodes(model)
    model = _inferred(model)
    fold_uniform(model)
    return compact(model)


def prepare_qdq(model: onnx.ModelProto, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> onnx.ModelProto:
    """A quantised model with static shapes and named nodes; Q and DQ nodes stay as they are, and what lies between them
    but for einsum and normalisations over images, which become products and rows.

    Changes `model`. Raises ModelError.
    """
    _fix_constants(model)
    _fix_shapes(model, input_shapes or {})
    model = inlined(model)
    _widen_floats(model.graph)
    _keep_old_regions(model)
    model = _inferred(_without_transforms(model))
    while unroll_loops(model):
        model = _inferred(model)
    decompose_quantised(model)
    _name_nodes(model)
    return _inferred(model)


def is_quantised(model: onnx.ModelProto) -> bool:
    """True if a part of the model is: it has quantised operators, or Q/DQ nodes."""
    functions = (node for function in model.functions for node in function.node)
    return any(_QUANTISED.search(node.op_type) for node in (*model.graph.node, *functions))


# ---- inputs


def _fix_constants(model: onnx.ModelProto) -> None:
    """An initialiser that is listed as an input too, as old exporters do, is a constant and no input."""
    constants = {t.name for t in model.graph.initializer}
    kept = [i for i in model.graph.input if i.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)


def _fix_shapes(model: onnx.ModelProto, wanted: Mapping[str, tuple[int, ...]]) -> None:
    inputs = {i.name: i for i in model.graph.input}
    for name in wanted:
        if name not in inputs:
            raise ModelError(
                "input_shapes names an input of the model", where=name, remedy=f"the inputs are {', '.join(inputs)}"
            )
    for name, info in inputs.items():
        tensor = info.type.tensor_type
        if not info.type.HasField("tensor_type") or not tensor.HasField("shape"):
            if name not in wanted:
                raise ModelError("an input needs a shape", where=f"input {name}", remedy=_shape_remedy(name))
            tensor.shape.SetInParent()
            tensor.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in wanted[name])
        _fix_input(name, list(tensor.shape.dim), wanted.get(name))


def _fix_input(name: str, dims: list[onnx.TensorShapeProto.Dimension], wanted: tuple[int, ...] | None) -> None:
    if wanted is not None and len(wanted) != len(dims):
        raise ModelError(
            f"the shape of this input has {len(dims)} dimensions", where=f"input {name}", seen=f"input_shapes {wanted}"
        )
    for axis, dim in enumerate(dims):
        fixed = dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        if wanted is not None:
            if fixed is not None and fixed != wanted[axis]:
                raise ModelError(
                    f"dimension {axis} is {fixed} in the model",
                    where=f"input {name}",
                    seen=f"input_shapes {wanted}",
                    remedy="only dynamic dimensions can be fixed",
                )
            dim.dim_value = wanted[axis]
        elif fixed is None and axis == 0:
            dim.dim_value = 1
    dynamic = [f"{axis} ({dim.dim_param or 'unnamed'})" for axis, dim in enumerate(dims) if dim.dim_value < 1]
    if dynamic:
        raise ModelError(
            "only the batch may be dynamic",
            where=f"input {name}",
            seen=f"dynamic dimensions {', '.join(dynamic)}",
            remedy=_shape_remedy(name),
        )


def _shape_remedy(name: str) -> str:
    return f"fix it with input_shapes={{{name!r}: (1, 3, 224, 224)}} or --input-shape {name}:1x3x224x224"


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fresh shape inference: what the file says of inner shapes may still be dynamic."""
    del model.graph.value_info[:]
    inputs = {info.name for info in model.graph.input}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for output in model.graph.output:
        if output.name in constants:  # inference says nothing of it
            tensor = constants[output.name]
            output.CopyFrom(helper.make_tensor_value_info(output.name, tensor.data_type, tensor.dims))
        elif output.name not in inputs:
            output.type.tensor_type.ClearField("shape")
    try:
        return infer_shapes(model, strict=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise ModelError(
            "shapes and types must fit together", where=model.graph.name, seen=_first_line(error)
        ) from error


def _without_transforms(model: onnx.ModelProto) -> onnx.ModelProto:
    if has_transforms(model):
        model = _inferred(model)
        write_out(model)
    return model


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


# ---- float models


def _upgraded(model: onnx.ModelProto) -> onnx.ModelProto:
    version = opset_of(model)
    if version >= _OPSET or not version:
        return model
    model.ir_version = max(model.ir_version, _IR_VERSION)
    if version < 7:
        _spread_slopes(model)
    try:
        return onnx.version_converter.convert_version(model, _OPSET)
    except (RuntimeError, ValueError, onnx.version_converter.ConvertError) as error:
        if version >= 13:
            return model
        raise ModelError(
            f"the model must be of opset 13 or newer, or convertible to {_OPSET}",
            where=model.graph.name,
            seen=f"opset {version}: {_first_line(error)}",
            remedy="export the model again with a newer opset",
        ) from error


def _keep_old_regions(model: onnx.ModelProto) -> None:
    """RoiAlign as it was before opset 16, which later ones have to say: onnx's converter lets the new default stand."""
    if opset_of(model) >= 16:
        return
    for node in model.graph.node:
        named = {attribute.name for attribute in node.attribute}
        if node.op_type == "RoiAlign" and node.domain in STANDARD and _REGIONS not in named:
            node.attribute.append(onnx.helper.make_attribute(_REGIONS, "output_half_pixel"))


def _spread_slopes(model: onnx.ModelProto) -> None:
    """Slopes of PRelu, which were one per channel before opset 7, with the shape to which they broadcast since then."""
    ranks = {i.name: len(i.type.tensor_type.shape.dim) for i in infer_shapes(model).graph.value_info}
    ranks |= {i.name: len(i.type.tensor_type.shape.dim) for i in model.graph.input}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        slope = constants.get(node.input[1]) if node.op_type == "PRelu" else None
        if slope is not None and len(slope.dims) == 1:
            slope.dims.extend([1] * (ranks.get(node.input[0], 2) - 2))


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """Constant folding, dead code, batch normalisation into its convolution, padding into its convolution."""

    def simplify(graph: ir.Model) -> ir.Model:
        optimizer.optimize_ir(graph, should_fold=should_fold, output_size_limit=LARGEST_WEIGHT)
        graph = rewriter.rewrite(graph, pattern_rewrite_rules=_RULES)
        optimizer.optimize_ir(graph, should_fold=should_fold, output_size_limit=LARGEST_WEIGHT)
        return graph

    given = list(model.graph.node)
    _reshape_flattened(model.graph)
    _pass_single_operands(model.graph)
    chatty = logging.getLogger("onnxscript"), logging.getLogger("onnx_ir")
    levels = [logger.level for logger in chatty]
    for logger in chatty:
        logger.setLevel(logging.ERROR)
    try:
        simple = _changed(model, simplify)
    except Exception as error:  # the passes raise what they please on models that break their assumptions
        raise ModelError("the model cannot be simplified", where=model.graph.name, seen=_first_line(error)) from error
    finally:
        for logger, level in zip(chatty, levels, strict=True):
            logger.setLevel(level)
    _restore_names(simple, given)
    return simple


def _pass_single_operands(graph: onnx.GraphProto) -> None:
    """Max, Min, Sum and Mean of one tensor as Identity: onnxscript's rules for them expect two."""
    for node in graph.node:
        if node.op_type in ("Max", "Min", "Sum", "Mean") and node.domain in STANDARD and len(node.input) == 1:
            node.op_type = "Identity"


def _reshape_flattened(graph: onnx.GraphProto) -> None:
    """Flatten as Reshape: onnxscript's rule for it loses the shape of one if two of them read the same tensor."""
    infos = (*graph.input, *graph.value_info, *graph.output)
    known = [(i.name, i.type.tensor_type) for i in infos if i.type.tensor_type.HasField("shape")]
    shapes = {name: [d.dim_value for d in tensor.shape.dim] for name, tensor in known}
    for node in graph.node:
        shape = shapes.get(node.input[0]) if node.op_type == "Flatten" and node.domain in STANDARD else None
        if shape is None or min(shape, default=1) < 1:
            continue
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        axis = axis + len(shape) if axis < 0 else axis
        extents = np.array([prod(shape[:axis]), prod(shape[axis:])], np.int64)
        graph.initializer.append(numpy_helper.from_array(extents, f"{node.output[0]}/flat"))
        node.op_type = "Reshape"
        node.input.append(f"{node.output[0]}/flat")
        del node.attribute[:]


def _restore_names(model: onnx.ModelProto, given: list[onnx.NodeProto]) -> None:
    """Nodes that a rule made take the name of the given node that they stand for; the rules keep tensor names only.

    That is the nearest product at or before the node with that output, for batch normalisation and bias follow it, or
    else the node with that output.
    """
    names = {node.name for node in given if node.name}
    producers = {output: node for node in given if node.op_type != "Constant" for output in node.output}
    for node in model.graph.node:
        if node.name in names:
            continue
        replaced = source = producers.get(node.output[0])
        while source is not None and source.op_type not in _PRODUCTS and node.op_type in _PRODUCTS:
            source = next((producers[name] for name in source.input if name in producers), None)
        source = source or replaced
        node.name = source.name if source else ""


def _without_dead_code(model: onnx.ModelProto) -> onnx.ModelProto:
    def clean(graph: ir.Model) -> ir.Model:
        RemoveUnusedNodesPass()(graph)
        return graph

    return _changed(model, clean)


def _changed(model: onnx.ModelProto, change: Callable[[ir.Model], ir.Model]) -> onnx.ModelProto:
    """The model after passes of onnx-ir, which would rename inputs that are outputs too: those sit out."""
    inputs = {info.name: info for info in model.graph.input}
    outputs = list(model.graph.output)
    computed = [info for info in outputs if info.name not in inputs]
    if not computed:
        return model
    del model.graph.output[:]
    model.graph.output.extend(computed)
    result = ir.to_proto(change(ir.from_proto(model)))
    for index, info in enumerate(outputs):
        if info.name in inputs:
            result.graph.output.insert(index, inputs[info.name])
    return result


def _widen_floats(graph: onnx.GraphProto) -> None:
    """float16 and bfloat16 models are float32 models with smaller files."""

    def widened(tensor: TensorProto) -> TensorProto:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        return numpy_helper.from_array(array, tensor.name)

    for tensor in graph.initializer:
        if tensor.data_type in _REDUCED:
            tensor.CopyFrom(widened(tensor))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _widen_floats(attribute.g)
            if attribute.HasField("t") and attribute.t.data_type in _REDUCED:
                attribute.t.CopyFrom(widened(attribute.t))
            if attribute.name in ("to", "dtype") and attribute.i in _REDUCED:
                attribute.i = TensorProto.FLOAT
    for info in [*graph.input, *graph.output]:
        if info.type.tensor_type.elem_type in _REDUCED:
            info.type.tensor_type.elem_type = TensorProto.FLOAT


def _name_nodes(model: onnx.ModelProto) -> None:
    """Every node gets a unique name: reports, errors and source maps refer to it."""
    taken: set[str] = set()
    for node in model.graph.node:
        name = node.name or f"{node.op_type}/{next((o for o in node.output if o), '')}"
        unique, count = name, 1
        while unique in taken:
            unique, count = f"{name}_{count}", count + 1
        node.name = unique
        taken.add(unique)
