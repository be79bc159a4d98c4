"""The five groups of keys."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, field_validator

from openbpu.config.fields import (
    FilePath,
    Group,
    Names,
    Numbers,
    Shapes,
    key,
    resolved,
    split_names,
    split_per_input,
    split_with_gaps,
    text_or_list,
)
from openbpu.config.mistakes import choose, wrong
from openbpu.config.quant_config import QTYPES, QuantConfig
from openbpu.errors import nearest
from openbpu.ir.profile import PROFILES

# Marches of older generations, and the profile of their class that stands in for them.
OLDER_MARCHES = {"bernoulli2": "nash-b-lite", "bayes-e": "nash-b-lite", "bayes": "nash-m"}

Removable = Literal["Quantize", "Dequantize", "Transpose", "Reshape", "Cast", "Softmax", "FilterCopy", "RlePostProcess"]
RunTimeType = Literal[
    "nv12", "yuv444", "rgb", "bgr", "gray", "featuremap",
    "yuv444_128", "yuv_bt601_full", "yuv_bt601_video", "yuv420sp_bt601_video",
]  # fmt: skip
TrainingType = Literal["rgb", "bgr", "gray", "yuv444", "featuremap"]
Layout = Literal["NCHW", "NHWC"]
Source = Literal["pyramid", "ddr", "resizer"]

# Older names of run-time types: what they are, and their space and range.
RENAMED = {"yuv_bt601_full": ("yuv444", "regular"), "yuv420sp_bt601_video": ("nv12", "bt601_video")}


class NodeInfo(Group):
    """Where one node runs and in which type; wins over everything else."""

    ON: Literal["BPU", "CPU"] | None = key(None, "where the node runs")
    OutputType: Literal[QTYPES] | None = key(None, "type of its result")  # type: ignore[valid-type]
    InputType: Literal[QTYPES] | None = key(None, "type of all its operands")  # type: ignore[valid-type]
    InputType0: Literal[QTYPES] | None = key(None, "type of its first operand")  # type: ignore[valid-type]
    InputType1: Literal[QTYPES] | None = key(None, "type of its second operand")  # type: ignore[valid-type]
    InputType2: Literal[QTYPES] | None = key(None, "type of its third operand")  # type: ignore[valid-type]

    @property
    def types(self) -> tuple[str, ...]:
        """Every type that is asked for."""
        found = (self.OutputType, self.InputType, self.InputType0, self.InputType1, self.InputType2)
        return tuple(str(t) for t in found if t)


def _node_info(value: Any) -> Any:
    """The dict form of 'Conv_0:int16;Conv_1:int8'."""
    if not isinstance(value, str):
        return value
    found = {}
    for item in filter(None, (part.strip() for part in value.split(";"))):
        name, colon, kind = item.rpartition(":")
        if not colon or not name:
            raise wrong(f"NODE:TYPE with ';' between nodes; '{item}' is not", "write Conv_0:int16;Conv_1:int16")
        found[name] = {"OutputType": kind}
    return found


def _march(value: Any) -> Any:
    """A profile or an older name as it is, a file relative to the configuration."""
    if isinstance(value, str) and value.endswith(".toml"):
        return str(resolved(value))
    if not isinstance(value, str) or (value not in PROFILES and value not in OLDER_MARCHES):
        raise wrong("not an allowed value", choose(str(value), PROFILES))
    return value


class ModelParameters(Group):
    """The model, where its files go, and which nodes are taken off or placed by hand."""

    onnx_model: FilePath | None = key(None, "float ONNX file, or a QDQ model with calibration_type load")
    caffe_model: FilePath | None = key(None, "Caffe weights: not read here")
    prototxt: FilePath | None = key(None, "Caffe network: not read here")
    march: Annotated[str, BeforeValidator(_march)] = key(
        ...,
        "target profile, or the path of a .toml file with one of your own",
        values=f"{', '.join(PROFILES)}, *.toml",
        remedy=f"choose a target: {', '.join(PROFILES)}",
    )
    working_dir: FilePath = key(
        "./model_output", "folder of all files that are written; made if missing", validate_default=True
    )
    output_model_file_prefix: str = key("model", "beginning of the names of these files")
    output_nodes: Names = key((), "cut the model behind these nodes or tensors")
    remove_node_type: Annotated[tuple[Removable, ...], split_names, text_or_list] = key(
        (), "take nodes of these types off inputs and outputs, again and again"
    )
    remove_node_name: Names = key((), "take these boundary nodes off; wins over remove_node_type")
    node_info: Annotated[dict[str, NodeInfo], BeforeValidator(_node_info)] = key(
        {}, "per node: ON (BPU, CPU), InputType, InputType0 ..., OutputType; highest priority", also="string"
    )
    debug_mode: Annotated[tuple[Literal["dump_calibration_data"], ...], split_names, text_or_list] = key(
        (), "dump_calibration_data: save the calibration samples as they were fed"
    )
    layer_out_dump: bool = key(False, "every quantised tensor becomes an output of the program")
    enable_vpu: bool = key(True, "allow vector units", recorded="the virtual BPU has one kind of vector unit")
    enable_spu: bool = key(True, "allow scalar units", recorded="the virtual BPU has no scalar unit")
    log_level: str = key("", "console level", deprecated="the option -v of hb_compile; the log file holds everything")
    set_node_data_type: str = key("", "types of nodes", deprecated="node_info, or quant_config")

    @field_validator("output_model_file_prefix")
    @classmethod
    def _a_name(cls, value: str) -> str:
        if "/" in value or "\\" in value or value in (".", "..") or "\0" in value or len(value) > 128:
            raise wrong("a file name of at most 128 characters, without folders", "give the folder as working_dir")
        return value

    @property
    def target(self) -> str:
        """The profile: that of an older march is the one of its class."""
        return OLDER_MARCHES.get(self.march, self.march)


class InputParameters(Group):
    """What the camera gives at run time, what the network was trained with, and the normalisation between."""

    input_name: Names = key((), "inputs in the order of all other lists; required if there are several")
    input_type_rt: Annotated[tuple[RunTimeType, ...], split_per_input, text_or_list] = key(
        ..., "what arrives at run time, per input", remedy="write nv12 for a camera, featuremap for what is no image"
    )
    input_type_train: Annotated[tuple[TrainingType, ...], split_per_input, text_or_list] = key(
        ...,
        "what the network was trained with, per input",
        remedy="write rgb or bgr for images, featuremap for other inputs",
    )
    input_layout_train: Annotated[tuple[Literal["", Layout], ...], split_with_gaps, text_or_list] = key(
        (), "NCHW or NHWC, required for images"
    )
    input_layout_rt: Annotated[tuple[Literal["", Layout], ...], split_with_gaps, text_or_list] = key(
        (),
        "layout at run time",
        deprecated="nothing: rgb, bgr and yuv444 arrive NHWC, gray and featuremap as trained",
    )
    input_space_and_range: Annotated[
        tuple[Literal["", "regular", "bt601_video"], ...], split_with_gaps, text_or_list
    ] = key((), "regular: [0, 255]; bt601_video: [16, 235], for nv12 and rgb or bgr training")
    input_shape: Shapes = key((), "1x3x224x224 per input; required for dynamic inputs")
    input_batch: int | None = key(None, "batch of all inputs; their shapes begin with 1", ge=1, le=4096)
    separate_batch: bool = key(False, "one input per image of the batch")
    separate_name: Names = key((), "the same for these inputs alone")
    mean_value: Numbers = key(
        (), "subtracted, per channel", remedy="write 123.68 116.78 103.94, and ';' between inputs"
    )
    scale_value: Numbers = key((), "multiplied after that, per channel; not with std_value")
    std_value: Numbers = key((), "divided by after that, per channel; not with scale_value")
    norm_type: Names = key((), "kind of normalisation", deprecated="mean_value, scale_value and std_value themselves")


_OPTIMIZATIONS = (
    "set_model_output_int8",
    "set_model_output_int16",
    "set_all_nodes_int16",
    "run_fast",
    "bias_correction",
    "asymmetric",
)
SET_NODE = re.compile(r"^set_(.+)_(input|output)_(int8|int16)$")


class CalibrationParameters(Group, extra="allow"):
    """Samples, and how ranges are chosen."""

    cal_data_dir: Annotated[tuple[FilePath, ...], split_names, text_or_list] = key(
        (), "one folder of .npy files per input; without it the ranges come from made-up data"
    )
    calibration_type: Literal["default", "kl", "max", "mse", "percentile", "skip", "load", "mix"] = key(
        "default", "how ranges are chosen; default: per tensor, by measured error"
    )
    per_channel: bool = key(False, "activations per channel too")
    max_percentile: float | None = key(
        None, "share of values that max keeps", ge=0.5, le=1.0, remedy="write a share, 0.9999 for 99.99 %"
    )
    run_on_cpu: Names = key((), "nodes that stay float")
    run_on_bpu: Names = key((), "nodes that must run on the BPU")
    optimization: Names = key((), f"{', '.join(_OPTIMIZATIONS)}, set_NAME_input_int16 ...")
    quant_config: QuantConfig | None = key(None, "JSON file, or the same keys here", also="string")
    preprocess_on: bool = key(False, "read images", deprecated="nothing: samples are .npy, as for training")
    cal_data_type: Names = key((), "type of the samples", deprecated="nothing: .npy files say it themselves")

    @field_validator("optimization")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            if item not in _OPTIMIZATIONS and not SET_NODE.match(item):
                raise wrong(f"'{item}' is no optimization", choose(item, [*_OPTIMIZATIONS, "set_NAME_input_int16"]))
        return value

    @property
    def quant(self) -> QuantConfig:
        """quant_config, or what it defaults to."""
        return self.quant_config or QuantConfig.model_validate({})

    @property
    def unknown(self) -> tuple[str, ...]:
        """Keys that mean nothing to us; those that are misspelt are mistakes."""
        return tuple(self.model_extra or ())

    def misspelt(self) -> dict[str, str]:
        """Unknown keys, and the key that each is like."""
        found = {name: nearest(name, type(self).model_fields) for name in self.unknown}
        return {name: near for name, near in found.items() if near}


def _level(value: Any) -> Any:
    if str(value) == "O3":
        raise wrong("O0, O1 or O2", "write O2, which is the highest level")
    return value


EVERY = "*"  # in input_source: all inputs


def _sources(value: Any) -> Any:
    """One source for all inputs, or one per input."""
    return {EVERY: value} if isinstance(value, str) else value


class CompilerParameters(Group):
    """How the program is scheduled."""

    compile_mode: Literal["latency", "bandwidth", "balance"] = key(
        "latency", "fewest cycles, least DDR traffic, or between"
    )
    balance_factor: int | None = key(
        None, "0: least DDR traffic, 100: fewest cycles; required for balance", ge=0, le=100
    )
    optimize_level: Annotated[Literal["O0", "O1", "O2"], BeforeValidator(_level)] = key("O2", "effort of the compiler")
    core_num: int = key(1, "cores for one inference", ge=1, le=4)
    max_time_per_fc: int = key(0, "longest function call in us: 0, or 1000 to 10000000")
    jobs: int = key(
        16, "workers of the compiler", ge=1, recorded="one worker compiles, so that the same inputs give the same bytes"
    )
    advice: float = key(0.0, "list operators that take this many us longer than they need", ge=0)
    debug: bool = key(True, "keep what a report per layer needs")
    input_source: Annotated[dict[str, Source], BeforeValidator(_sources)] = key(
        {}, "per input: pyramid, ddr or resizer", also="string"
    )
    cache_mode: Literal["disable", "enable", "force_overwrite"] = key(
        "disable", "reuse what an earlier build measured of the same model and samples"
    )
    cache_path: FilePath | None = key(None, "folder of the cache; default: cache in working_dir")
    max_l2m_size: Annotated[int | None, BeforeValidator(lambda v: None if v in ("None", "auto") else v)] = key(
        0,
        "bytes of shared memory: 0 to 25165824, None for all",
        also="string",
        ge=0,
        le=25165824,
        recorded="cores that work as one have the memory of the profile together",
    )
    ability_entry: str = key("", "capabilities of a chip", recorded="the profile of the march says what there is")
    extra_params: dict[str, Any] = key(
        {}, "further options of the vendor's compiler", recorded="inputs and outputs are never padded"
    )
    hbdk3_compatible_mode: bool = key(
        False, "numbers of an older compiler", deprecated="nothing: there is one law of numbers"
    )

    @field_validator("max_time_per_fc")
    @classmethod
    def _zero_or_long(cls, value: int) -> int:
        if value and not 1000 <= value <= 10_000_000:
            raise wrong(
                "0, or a whole number from 1000 to 10000000 (microseconds)", "write 0 for no bound, or 1000 or more"
            )
        return value


class CustomOp(Group):
    """Operators of the user's own: there is no such mechanism; what has no integer form runs on the CPU."""

    op_register_files: Names = key((), "Python files", recorded="operators without an integer form run on the CPU")
    custom_op_method: str = key("", "register", recorded="operators without an integer form run on the CPU")
    custom_op_dir: FilePath | None = key(
        None, "folder of these files", recorded="operators without an integer form run on the CPU"
    )
