"""Rules between keys: what each key alone cannot show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from openbpu.config.groups import EVERY, RENAMED, CompilerParameters, InputParameters
from openbpu.config.mistakes import Mistake, choose
from openbpu.ir.profile import PROFILES
from openbpu.preprocess import LEGAL

if TYPE_CHECKING:
    from openbpu.config.config import Config

_LISTS = (
    "input_type_rt",
    "input_type_train",
    "input_layout_train",
    "input_layout_rt",
    "input_space_and_range",
    "input_shape",
    "mean_value",
    "scale_value",
    "std_value",
)


def contradictions(config: Config) -> list[Mistake]:
    """What is wrong between the keys of a configuration."""
    return [*_model(config), *_inputs(config.input_parameters), *_calibration(config), *_compiler(config)]


def against_model(config: Config, inputs: Mapping[str, Sequence[int | None]]) -> list[Mistake]:
    """What is wrong between a configuration and the inputs of its model (None: a dynamic dimension)."""
    group, names = config.input_parameters, list(inputs)
    found = [
        Mistake("input_parameters.input_name", "the model has no such input", name, choose(name, names))
        for name in group.input_name
        if name not in inputs
    ]
    missing = [n for n in names if group.input_name and n not in group.input_name]
    if missing and len(group.input_name) < len(names):  # else one of them is misspelt
        found.append(
            Mistake(
                "input_parameters.input_name",
                f"the model has {len(names)} inputs",
                "; ".join(group.input_name),
                f"name {', '.join(missing)} too, with ';' between",
            )
        )
    if not group.input_name and len(inputs) > 1:
        found.append(
            Mistake(
                "input_parameters.input_name",
                f"required, for the model has {len(inputs)} inputs",
                "none",
                f"write {';'.join(names)}",
            )
        )
    if (folders := config.calibration_parameters.cal_data_dir) and len(folders) != len(inputs):
        found.append(
            Mistake(
                "calibration_parameters.cal_data_dir",
                f"one folder per input, of which the model has {len(inputs)}",
                f"{len(folders)} folders",
                "separate the folders with ';', in the order of input_name",
            )
        )
    found.extend(
        Mistake("compiler_parameters.input_source", "the model has no such input", name, choose(name, names))
        for name in config.compiler_parameters.input_source
        if name != EVERY and name not in inputs
    )
    if found:
        return found
    shapes = {n: shape for n, shape in zip(group.input_name or names, group.input_shape, strict=False) if shape}
    for name, shape in shapes.items():
        dims = inputs[name]
        if len(dims) != len(shape):
            found.append(
                Mistake(
                    "input_parameters.input_shape",
                    f"input {name} has {len(dims)} dimensions",
                    _text(shape),
                    f"write {_text(dims)}",
                )
            )
        elif any(d is not None and d != s for d, s in zip(dims, shape, strict=True)):
            found.append(
                Mistake(
                    "input_parameters.input_shape",
                    f"input {name} is {_text(dims)} in the model",
                    _text(shape),
                    "only dynamic dimensions (?) can be fixed",
                )
            )
    for name, dims in inputs.items():
        if name not in shapes and any(d is None for d in dims[1:]):
            found.append(
                Mistake(
                    "input_parameters.input_shape",
                    f"required, for input {name} has dynamic dimensions",
                    _text(dims),
                    "write for example 1x3x224x224",
                )
            )
    if not found:
        final = [shapes.get(n, tuple(d or 1 for d in inputs[n])) for n in group.input_name or names]
        found.extend(_geometry(group, final))
    return found


def _model(config: Config) -> Iterator[Mistake]:
    group, key = config.model_parameters, "model_parameters"
    if group.caffe_model or group.prototxt:
        if group.onnx_model:
            yield Mistake(
                f"{key}.caffe_model", "a model is ONNX or Caffe, not both", "both", "remove caffe_model and prototxt"
            )
        else:
            yield Mistake(
                f"{key}.caffe_model",
                "models are read as ONNX",
                "a Caffe model",
                "convert it to ONNX, and name that as onnx_model",
            )
    elif group.onnx_model is None:
        yield Mistake(f"{key}.onnx_model", "this key is required", "", "name the float ONNX file")
    elif group.onnx_model.suffix.lower() != ".onnx":
        yield Mistake(f"{key}.onnx_model", "an .onnx file", group.onnx_model.name, "export the model as ONNX")


def _inputs(group: InputParameters) -> Iterator[Mistake]:
    key = "input_parameters"
    count = len(group.input_name) or len(group.input_type_rt)
    twice = len(set(group.input_name)) < len(group.input_name)
    if twice:
        yield Mistake(
            f"{key}.input_name", "every input stands once", "; ".join(group.input_name), "remove the second one"
        )
    lists = {name: _length(getattr(group, name), count) for name in _LISTS}
    uneven = [name for name, length in lists.items() if length not in (0, count)]
    if uneven and not twice:
        named = f"input_name names {count}" if group.input_name else f"input_type_rt has {count}"
        yield Mistake(
            f"{key}.{uneven[0]}",
            f"one value per input, and {named}",
            ", ".join(f"{lists[name]} in {name}" for name in uneven),
            "separate the values of inputs with ';'",
        )
    if group.separate_batch and group.separate_name:
        yield Mistake(f"{key}.separate_name", "not together with separate_batch", "both", "remove one of them")
    for name in group.separate_name:
        if group.input_name and name not in group.input_name:
            yield Mistake(f"{key}.separate_name", "an input of input_name", name, choose(name, group.input_name))
    if group.scale_value and group.std_value:
        yield Mistake(
            f"{key}.std_value", "scale_value or std_value, not both", "both", "remove one: scale_value = 1 / std_value"
        )
    for name in ("scale_value", "std_value"):
        if (low := min((v for values in getattr(group, name) for v in values), default=1.0)) <= 0:
            yield Mistake(
                f"{key}.{name}",
                "numbers above 0",
                f"{low:g}",
                "write the standard deviations" if name == "std_value" else "write 1 / std_value",
            )
    if not uneven:
        yield from _types(group)
        if group.input_shape:
            yield from _geometry(group, group.input_shape)


def _plain_type(name: str) -> str:
    return RENAMED.get(name, (name, ""))[0]


def _length(values: Sequence[object], count: int) -> int:
    """Values in a list; a ';' at the end adds one only if it is wanted."""
    return len(values) - (len(values) == count + 1 and values[-1] in ((), ""))


def _types(group: InputParameters) -> Iterator[Mistake]:
    key = "input_parameters"
    for i, (runtime, trained) in enumerate(zip(group.input_type_rt, group.input_type_train, strict=False)):
        at = f" (input {i + 1})" if len(group.input_type_rt) > 1 else ""
        if runtime == "yuv_bt601_video":
            yield Mistake(
                f"{key}.input_type_rt",
                f"video range arrives as nv12{at}",
                runtime,
                "write nv12, and bt601_video as input_space_and_range",
            )
            continue
        if _plain_type(runtime) not in LEGAL[trained]:
            yield Mistake(
                f"{key}.input_type_rt",
                f"input_type_train {trained} goes with {', '.join(LEGAL[trained])}{at}",
                runtime,
                "change one of both",
            )
            continue
        layout = group.input_layout_train[i] if group.input_layout_train else ""
        if trained != "featuremap" and not layout:
            yield Mistake(
                f"{key}.input_layout_train",
                f"required for images{at}",
                "none",
                "write NCHW (PyTorch) or NHWC (TensorFlow)",
            )
        space = group.input_space_and_range[i] if group.input_space_and_range else ""
        if space == "bt601_video" and not (runtime == "nv12" and trained in ("rgb", "bgr")):
            yield Mistake(
                f"{key}.input_space_and_range",
                f"bt601_video goes with nv12 and rgb or bgr training{at}",
                f"{runtime}, trained with {trained}",
                "write regular",
            )
        for name in ("mean_value", "scale_value", "std_value"):
            values = getattr(group, name)
            if values and values[i] and trained == "featuremap":
                yield Mistake(
                    f"{key}.{name}",
                    f"not for featuremap{at}",
                    _numbers(values[i]),
                    "leave it out: samples and inputs come normalised",
                )
            channels = 1 if trained == "gray" else 3
            if values and trained != "featuremap" and len(values[i]) not in (0, 1, channels):
                yield Mistake(
                    f"{key}.{name}",
                    f"{'1 number' if channels == 1 else '1 or 3 numbers'} for {trained}{at}",
                    _numbers(values[i]),
                    "write one number per channel, with spaces between",
                )


def _geometry(group: InputParameters, shapes: Sequence[Sequence[int]]) -> Iterator[Mistake]:
    """What shapes must be for the types and the batch."""
    key = "input_parameters"
    for i, (shape, trained) in enumerate(zip(shapes, group.input_type_train, strict=False)):
        if not shape:
            continue
        if group.input_batch and shape[0] != 1:
            yield Mistake(
                f"{key}.input_batch",
                "shapes begin with 1 where input_batch is given",
                _text(shape),
                "write the batch in input_shape alone, or 1 there",
            )
        if trained == "featuremap" or _plain_type(group.input_type_rt[i]) not in LEGAL[trained]:
            continue
        layout = (group.input_layout_train[i] if group.input_layout_train else "") or "NCHW"
        if len(shape) != 4:
            yield Mistake(
                f"{key}.input_type_train",
                f"{trained} has 4 dimensions, {layout}",
                _text(shape),
                "use featuremap for what is no image",
            )
            continue
        size = dict(zip(layout, shape, strict=True))
        wanted = 1 if trained == "gray" else 3
        if size["C"] != wanted:
            yield _channels(f"{trained} in {layout}", wanted, size["C"], shape, layout)
        elif _plain_type(group.input_type_rt[i]) == "nv12" and (size["H"] % 2 or size["W"] % 2):
            yield Mistake(
                f"{key}.input_type_rt",
                f"{group.input_type_rt[i]} needs even height and width",
                _text(shape),
                "export the model with an even size",
            )


def _channels(what: str, wanted: int, found: int, shape: Sequence[int], layout: str) -> Mistake:
    other = "NHWC" if layout == "NCHW" else "NCHW"
    fits = dict(zip(other, shape, strict=True))["C"] == wanted
    types = {1: "write gray", 3: "write rgb or bgr"}
    return Mistake(
        f"input_parameters.{'input_layout_train' if fits else 'input_type_train'}",
        f"{what} has {wanted} channel{'s' * (wanted > 1)}",
        f"{found} in {_text(shape)}",
        f"write {other}" if fits else types.get(found, "use featuremap for what is no image"),
    )


def _calibration(config: Config) -> Iterator[Mistake]:
    group, key = config.calibration_parameters, "calibration_parameters"
    if both := sorted(set(group.run_on_cpu) & set(group.run_on_bpu)):
        yield Mistake(
            f"{key}.run_on_cpu",
            "a node runs in one place",
            f"{', '.join(both)} in run_on_bpu too",
            "remove it from one of both",
        )
    if {"set_model_output_int8", "set_model_output_int16"} <= set(group.optimization):
        yield Mistake(
            f"{key}.optimization",
            "outputs have one type",
            "; ".join(group.optimization),
            "keep set_model_output_int8 or set_model_output_int16",
        )
    inputs = config.input_parameters
    count = len(inputs.input_name) or len(inputs.input_type_rt)
    if group.cal_data_dir and len(group.cal_data_dir) != count:
        yield Mistake(
            f"{key}.cal_data_dir",
            f"one folder per input, of which there are {count}",
            f"{len(group.cal_data_dir)} folders",
            "separate the folders with ';', in the order of input_name",
        )


def _compiler(config: Config) -> Iterator[Mistake]:
    group, key = config.compiler_parameters, "compiler_parameters"
    march = config.model_parameters.target
    if group.compile_mode == "balance" and group.balance_factor is None:
        yield Mistake(
            f"{key}.balance_factor",
            "required for compile_mode balance",
            "",
            "write 0 (least DDR traffic) to 100 (fewest cycles)",
        )
    cores = PROFILES[march].cores if march in PROFILES else 0  # 0: a file, which is read later
    others = ", ".join(name for name, one in PROFILES.items() if one.cores > max(cores, 1))
    if cores and group.core_num > cores:
        few = "one core" if cores == 1 else f"{cores} cores"
        less = "1" if cores == 1 else f"1 to {cores}"
        remedy = f"write {less}, or choose {others} as march" if others else f"write {less}"
        yield Mistake(f"{key}.core_num", f"{march} has {few}", str(group.core_num), remedy)
    if cores == 1 and group.max_l2m_size:
        yield Mistake(
            f"{key}.max_l2m_size",
            f"{march} has no shared memory",
            str(group.max_l2m_size),
            f"write 0, or choose {others} as march",
        )
    yield from _sources(group, config.input_parameters)


def _sources(group: CompilerParameters, inputs: InputParameters) -> Iterator[Mistake]:
    key = "compiler_parameters.input_source"
    for name in group.input_source:
        if name != EVERY and inputs.input_name and name not in inputs.input_name:
            yield Mistake(key, "an input of input_name", name, choose(name, inputs.input_name))
    names = inputs.input_name or (next(iter(group.input_source), EVERY),)
    sources = [group.input_source.get(name, group.input_source.get(EVERY, "")) for name in names]
    for source, runtime in zip(sources, inputs.input_type_rt, strict=False):
        if source in ("pyramid", "resizer") and _plain_type(runtime) not in ("nv12", "gray"):
            yield Mistake(key, f"{source} gives nv12 or gray", f"input_type_rt {runtime}", "write ddr")


def _text(shape: Sequence[int | None]) -> str:
    return "x".join("?" if d is None else str(d) for d in shape)


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{v:g}" for v in values)
