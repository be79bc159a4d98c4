"""The whole road, stage by stage: start reading here.

float ONNX -> frontend -> clean float ONNX -> ptq (samples) -> QDQ ONNX
QDQ ONNX (ours or another tool's) -> lower -> integer graph -> schedule -> instructions -> executable

What the BPU cannot do, and what is named in `run_on_cpu`, stays float and runs on the CPU, in the same executable.
"""

from __future__ import annotations

import json
import math
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from openbpu import __version__, frontend, lower, perf, ptq, schedule
from openbpu.analyze import AccuracyReport, PlacementReport
from openbpu.analyze.accuracy import measure
from openbpu.analyze.studies import affordable
from openbpu.artefacts.differences import diff as diff
from openbpu.artefacts.verify import verify as verify
from openbpu.assignment import NODE_TYPES as NODE_TYPES
from openbpu.assignment import drafted, liftable, listed, named, node_kinds
from openbpu.errors import ConfigError, ModelError, ModelWarning
from openbpu.evaluation.whole import evaluate as evaluate
from openbpu.ir.profile import profile
from openbpu.perf import PerfReport
from openbpu.preprocess import InputSpec, Recipe
from openbpu.preprocess.attach import recipes_of, specs_of, stream
from openbpu.preprocess.recipe import KEY as RECIPE_RECORD
from openbpu.preprocess.recipe import record, recorded_in
from openbpu.programs import Aim, Cache, chosen
from openbpu.ptq.samples import SampleStream
from openbpu.runtime import Executable
from openbpu.target.linking import join
from openbpu.tuning import Goal, Judge, Price, SearchResult, measured_samples, weights_of
from openbpu.tuning import search as _search

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import onnx

    from openbpu.evaluation.metrics import MetricFunction
    from openbpu.ir.graph import Graph

Sample = np.ndarray | Mapping[str, np.ndarray]
Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all (0: unknown)
_TARGET = 0.99  # cosine of a search that is given nothing else
_CPU_RECORD = "openbpu.run_on_cpu"  # metadata of a QDQ model: nodes that its maker wants on the CPU
CONFIG_RECORD = "openbpu.config"  # what a configuration said; the executable keeps it
MEASURED = 32  # samples of the calibration on which the accuracy is measured
REFINEMENTS, MORE_REFINEMENTS = ptq.REFINEMENTS, ptq.MORE_REFINEMENTS


def quantize(
    model: str | PathLike[str] | bytes | onnx.ModelProto,
    samples: Iterable[Sample],
    *,
    calibration: str = "auto",
    symmetric: bool = False,
    per_channel: bool = False,
    percentile: float = ptq.PERCENTILE,
    bins: int = ptq.BINS,
    refinement: Collection[str] = ptq.REFINEMENTS,
    cache: str | PathLike[str] | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    run_on_cpu: Collection[str] = (),
    run_on_bpu: Collection[str] = (),
    node_types: Mapping[str, str] | None = None,
    all_nodes_type: str = "int8",
    preprocess: Recipe | str | Mapping[str, Recipe | str] | None = None,
    progress: Progress | None = None,
) -> onnx.ModelProto:
    """Quantises a float model to int8 by post-training quantisation; returns a standard QDQ ONNX model.

    `samples` yields an array for a model with one input, or a dict {input name: array}; it is read as a stream.
    `calibration` is "max", "percentile", "kl", "mse" or "auto": of all these per tensor what leaves the least error in
    the outputs of the model. `percentile` is the share of the values, 0.5 to 1, that does not clip; `bins` the number
    of bins of each histogram. `symmetric` forces all zero points to 0. `per_channel` gives all channels the same range
    wherever factors can be folded into weights (docs/quantisation.md). `refinement` names the steps that lower the
    error, of `ptq.REFINEMENTS`: "wide-sums", "wide-tails", "equalisation", "smoothing", "scales", "weights",
    "regression", "rounding", "bias", or of `ptq.MORE_REFINEMENTS`: "analytic-bias", "reconstruction" (it needs PyTorch
    and minutes); each is taken where it measures better, () takes none and is quick. `cache` is a folder for the
    statistics of the calibration: an interrupted one goes on, a finished one is not repeated for the same model and
    samples.
    `input_shapes` fixes dynamic dimensions; a dynamic batch alone becomes 1. Nodes that have no form on the BPU stay
    float, so do those named in `run_on_cpu`; one named in `run_on_bpu` must get there. `node_types` gives a node, by
    its name, or all nodes of an operator type activations of type "int8", "int16" or "float" (which is the CPU); a name
    counts more than an operator type, and that more than `all_nodes_type`. `preprocess` is the recipe of the image
    input, or of each by name (docs/preprocessing.md): `samples` may then be a folder of photographs, or yield them;
    what does not look like the recipe is said (SampleWarning), and the recipe is recorded in the model. Raises
    ModelError, SampleError, ConfigError, or UnsupportedError for a node that has no place at all.
    """
    clean = frontend.prepare(frontend.load(model), input_shapes)
    recipes = recipes_of(preprocess, {name: tuple(shape) for name, shape in _input_shapes(clean).items()})
    types = node_kinds(clean, node_types or {}, all_nodes_type)
    floats = {name for name, kind in types.items() if kind == "float"} - set(run_on_bpu)
    forced = named(floats | set(listed("run_on_cpu", run_on_cpu)), run_on_bpu, clean)
    int16 = {name for name, kind in types.items() if kind == "int16"} - forced
    stay_float = drafted(clean, forced, run_on_bpu, int16)[0]  # the compiled draft is not kept
    qdq = ptq.quantize(
        clean,
        stream(samples, recipes),
        calibration=calibration,
        symmetric=symmetric,
        per_channel=per_channel,
        percentile=percentile,
        bins=bins,
        refinement=refinement,
        cache=cache,
        run_on_cpu=stay_float,
        run_on_bpu=run_on_bpu,
        int16=int16,
        int8={n.name for n in clean.graph.node if {n.name, n.op_type} & {*(node_types or {})}},
        progress=progress,
    )
    if forced:
        qdq.metadata_props.add(key=_CPU_RECORD, value=json.dumps(sorted(forced)))
    if recipes:
        qdq.metadata_props.add(key=RECIPE_RECORD, value=record(recipes))
    return qdq


def compile(
    model: str | PathLike[str] | bytes | onnx.ModelProto,
    *,
    march: str = "nash-e",
    inputs: Mapping[str, InputSpec | str] | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    run_on_cpu: Collection[str] = (),
    run_on_bpu: Collection[str] = (),
    optimize_level: str = "O2",
    compile_mode: str = "latency",
    balance_factor: int | None = None,
    max_time_per_fc: int = 0,
    core_num: int = 1,
    cache_mode: str = "disable",
    cache_path: str | PathLike[str] = "",
) -> Executable:
    """Compiles a QDQ model, of this or another tool, to an executable for the target profile `march`.

    `inputs` says how images arrive at run time, by input name (docs/preprocessing.md): their conversion and
    normalisation become part of the program, which has other ports then; the name of a type, such as "nv12", is enough
    if the model records its recipe. What is not quantised, has no form on the BPU, or is named in `run_on_cpu` runs on
    the CPU in float; `check` says where each node goes and why. The options from `optimize_level` on choose among
    programs that give the same bytes (docs/scheduling.md). The same model and options give the same program. Raises
    ModelError for a damaged model, UnsupportedError naming a node that has no place, or none on the BPU though
    `run_on_bpu` names it, ConfigError for an unknown march or node; warns (ModelWarning) if no part of the model is
    quantised, or if `inputs` contradict the recipe.
    """
    target = profile(march)
    options = schedule.Options(optimize_level, max_time_per_fc, core_num)
    options.check(target)
    aim, cache = Aim(compile_mode, balance_factor), Cache(cache_mode, str(cache_path))
    ready = _ready(frontend.load(model), input_shapes)
    recipes = recorded_in(ready)
    specs, differences = specs_of(inputs, recipes)
    for difference in differences:
        warnings.warn(difference, ModelWarning, stacklevel=2)
    frontend.insert_inputs(ready, specs)
    graph = _lowered(ready, run_on_cpu, run_on_bpu)
    if configuration := metadata_of(ready, CONFIG_RECORD):
        graph.notes["configuration"] = configuration
    if specs:
        graph.notes["inputs"] = {name: spec.to_dict() for name, spec in specs.items()}
    if recipes:
        graph.notes["preprocess"] = json.loads(record(recipes))
    if graph.ops and not any(decision.where == "BPU" for decision in graph.decisions):
        warnings.warn(
            "nothing of this model runs on the BPU: all of it stays float. Quantise it first with "
            "openbpu.quantize(model, samples) or `openbpu quantize`, or see `openbpu check`",
            ModelWarning,
            stacklevel=2,
        )
    settings = {"march": target.to_dict(), "options": options, "aim": aim, "notes": graph.notes, "openbpu": __version__}
    settings |= {"run_on_cpu": sorted(run_on_cpu), "run_on_bpu": sorted(run_on_bpu)}
    model_bytes = ready.SerializeToString(deterministic=True)
    return cache.get(model_bytes, settings, lambda: chosen(graph, target, options, aim))


def build(
    model: str | PathLike[str] | bytes | onnx.ModelProto,
    samples: Iterable[Sample],
    *,
    march: str = "nash-e",
    calibration: str = "auto",
    symmetric: bool = False,
    per_channel: bool = False,
    percentile: float = ptq.PERCENTILE,
    bins: int = ptq.BINS,
    refinement: Collection[str] = ptq.REFINEMENTS,
    cache: str | PathLike[str] | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    run_on_cpu: Collection[str] = (),
    run_on_bpu: Collection[str] = (),
    node_types: Mapping[str, str] | None = None,
    all_nodes_type: str = "int8",
    preprocess: Recipe | str | Mapping[str, Recipe | str] | None = None,
    inputs: Mapping[str, InputSpec | str] | None = None,
    on_accuracy: Callable[[AccuracyReport], object] | None = None,
    sensitivity: int = 0,
    progress: Progress | None = None,
) -> Executable:
    """Quantises and compiles: `compile(quantize(model, samples, ...), march=march, inputs=inputs)`.

    Between the two `on_accuracy`, if given, gets the report of `accuracy` on the first 32 samples: `print` shows its
    summary, a function that raises ends the build. `sensitivity` is that of `accuracy`.
    """
    profile(march)  # a wrong march is said before the long work
    clean = frontend.prepare(frontend.load(model), input_shapes)
    recipes = recipes_of(preprocess, {name: tuple(shape) for name, shape in _input_shapes(clean).items()})
    feeds = SampleStream(stream(samples, recipes), clean)  # read twice
    qdq = quantize(
        clean,
        feeds,
        calibration=calibration,
        symmetric=symmetric,
        per_channel=per_channel,
        percentile=percentile,
        bins=bins,
        refinement=refinement,
        cache=cache,
        run_on_cpu=run_on_cpu,
        run_on_bpu=run_on_bpu,
        node_types=node_types,
        all_nodes_type=all_nodes_type,
        preprocess=preprocess,
        progress=progress,
    )
    if on_accuracy is not None:
        report = accuracy(clean, qdq, islice(feeds, MEASURED), sensitivity=sensitivity, progress=progress)
        on_accuracy(report)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)  # quantising has said it
        return compile(qdq, march=march, inputs=inputs)


def check(
    model: str | PathLike[str] | bytes | onnx.ModelProto,
    *,
    march: str = "nash-e",
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    run_on_cpu: Collection[str] = (),
    run_on_bpu: Collection[str] = (),
) -> PlacementReport:
    """Where each node of a float or quantised model would run, why, and what would move it to the BPU.

    A float model is quantised with made-up ranges for this: no samples are needed, and nothing is compiled. Raises
    what `quantize` and `compile` raise.
    """
    profile(march)
    loaded = frontend.load(model)
    name = loaded.graph.name
    if frontend.is_quantised(loaded):
        graph = _lowered(frontend.prepare_qdq(loaded, input_shapes), run_on_cpu, run_on_bpu)
        return PlacementReport(name, march, tuple(graph.decisions))
    clean = frontend.prepare(loaded, input_shapes)
    _, graph = drafted(clean, named(run_on_cpu, run_on_bpu, clean), run_on_bpu)
    own = {node.name for node in clean.graph.node}
    return PlacementReport(name, march, tuple(d for d in graph.decisions if d.node in own))


def estimate(
    model: str | PathLike[str] | bytes | onnx.ModelProto | Executable,
    *,
    march: str | None = None,
    entry: str = "",
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    run_on_cpu: Collection[str] = (),
    run_on_bpu: Collection[str] = (),
    remove_node_type: Collection[str] = (),
    optimize_level: str = "O2",
    core_num: int = 1,
) -> PerfReport:
    """What one inference would take on the virtual BPU `march`: time, DDR traffic, use of its units, layer by layer.

    `model` is an executable or the path of one (ending in .bpux), whose default is the profile that it was compiled
    for (`entry` names one of several models), or a model, for "nash-e". A float model is quantised with made-up ranges
    for this: no samples are needed; `remove_node_type` takes nodes off the boundary of the quantised model first, as
    `remove_boundary_nodes` does; `optimize_level` and `core_num` are those of `compile`. Times are an estimate, DDR
    bytes are exact. Raises what `compile` raises.
    """
    if isinstance(model, str | PathLike) and str(model).endswith(".bpux"):
        model = Executable.load(model)
    if isinstance(model, Executable):
        if input_shapes or run_on_cpu or run_on_bpu or remove_node_type or (optimize_level, core_num) != ("O2", 1):
            rule = "shapes, places, boundary nodes, level and cores belong to a model; an executable is compiled"
            raise ConfigError(rule, where="estimate", seen="an executable", remedy="give the ONNX model instead")
        return perf.estimate(model, march, entry)
    target = profile(march or "nash-e")
    options = schedule.Options(optimize_level, 0, core_num)
    options.check(target)
    loaded = frontend.load(model)
    if not frontend.is_quantised(loaded):
        clean = frontend.prepare(loaded, input_shapes)
        forced = named(run_on_cpu, run_on_bpu, clean)
        stay_float, _ = drafted(clean, forced, run_on_bpu)
        loaded = ptq.draft(clean, stay_float, run_on_bpu)
    if remove_node_type:
        loaded = frontend.remove_boundary(loaded, remove_node_type, ())
    graph = _lowered(_ready(loaded, input_shapes), run_on_cpu, run_on_bpu)
    return perf.estimate(chosen(graph, target, options, Aim()), target)


def accuracy(
    model: str | PathLike[str] | bytes | onnx.ModelProto,
    qdq: str | PathLike[str] | bytes | onnx.ModelProto,
    samples: Iterable[Sample],
    *,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    sensitivity: int = 0,
    progress: Progress | None = None,
) -> AccuracyReport:
    """How far the QDQ model that `quantize` made is from its float model: outputs, every layer, causes and remedies.

    `samples` is read once, as a stream; other samples than those of the calibration tell more. On the first
    `sensitivity` of them, fewer of large models, every node is quantised alone too. Both models run in ONNX Runtime,
    whose operators the executable follows within one step. Raises ModelError, SampleError.
    """
    clean, quantised = frontend.prepare(frontend.load(model), input_shapes), frontend.load(qdq)
    return measure(clean, quantised, stream(samples, recorded_in(quantised)), progress, affordable(clean, sensitivity))


def search(
    model: str | PathLike[str] | bytes | onnx.ModelProto,
    samples: Iterable[Sample],
    *,
    metric: str | MetricFunction = "cosine",
    target: float | None = None,
    evaluation: Iterable[Sample] | None = None,
    labels: Sequence[Any] | None = None,
    march: str = "nash-e",
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    run_on_cpu: Collection[str] = (),
    run_on_bpu: Collection[str] = (),
    node_types: Mapping[str, str] | None = None,
    all_nodes_type: str = "int8",
    preprocess: Recipe | str | Mapping[str, Recipe | str] | None = None,
    rounds: int = 8,
    cost: str = "balanced",
    max_macs: float = 1.0,
    cache: str | PathLike[str] | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> SearchResult:
    """Quantises to int8 and lifts the fewest and cheapest nodes to int16 until the executable reaches the target.

    `metric` is "cosine" or "sqnr" (dB) of the worst output against the float model, "recovery" (the share of its noise
    that is gone, of what goes with all nodes in int16), or a function `metric(outputs, references)`, higher is better,
    of two lists in the order of the samples: dicts {output: array}, and `labels` or, without, the float model's
    outputs. It is measured on the executable over `evaluation`, by default the first 32 of the calibration `samples`. A
    node without an int16 form is lifted to float on the CPU. Nodes whose type `node_types` or `run_on_cpu` gives keep
    it. `cost` says what is cheap: "time" on the target, "macs", "nodes", or "balanced" between these. No more than the
    share `max_macs` of the multiply-accumulates is lifted, that is, reads int16. Without a `target` the best mixture
    within `max_macs` is looked for, or, if that is 1, a cosine of 0.99. At most `rounds` models are quantised;
    `options` are those of `quantize`. With an `executor` (of concurrent.futures, or what behaves so) the runs are its
    tasks. The result says whether the target was reached. Raises what `quantize` raises, MetricError and ExecutorError.
    """
    target_profile, weights = profile(march), weights_of(cost)  # what is wrong is said before the long work
    if not 0 <= max_macs <= 1:
        raise ConfigError("a share of the multiply-accumulates lies from 0 to 1", where="max_macs", seen=max_macs)
    goal = Goal.of(metric, _TARGET if target is None and max_macs == 1 and metric == "cosine" else target)
    if goal.target == math.inf and max_macs == 1:
        raise ConfigError("a target, or max_macs below 1", where=f"search for {goal.name}", seen="neither")
    if rounds < 1:
        raise ConfigError("at least one model is tried", where="rounds", seen=rounds)
    clean = frontend.prepare(frontend.load(model), input_shapes)
    recipes = recipes_of(preprocess, {name: tuple(shape) for name, shape in _input_shapes(clean).items()})
    calibration = SampleStream(stream(samples, recipes), clean)
    test = calibration if evaluation is None else SampleStream(stream(evaluation, recipes), clean, calibrates=False)
    feeds = measured_samples(clean, test, bounded=evaluation is None)
    if labels is not None and len(labels) != len(feeds):
        raise ConfigError("one label per evaluation sample", where="labels", seen=f"{len(labels)} of {len(feeds)}")
    judge = Judge(clean, feeds, labels, goal, executor)
    given = dict(node_types or {})

    def attempt(lifted: dict[str, str]) -> tuple[onnx.ModelProto, Executable]:
        qdq = quantize(
            clean,
            calibration,
            cache=cache or folder,
            preprocess=preprocess,
            run_on_cpu=run_on_cpu,
            run_on_bpu=run_on_bpu,
            node_types={**given, **lifted},
            all_nodes_type=all_nodes_type,
            progress=progress,
            **options,
        )
        return qdq, compile(qdq, march=march)

    types = node_kinds(clean, given, all_nodes_type)
    on_cpu = set(listed("run_on_cpu", run_on_cpu))

    def drafted_time(lifted: dict[str, str]) -> float:
        kinds = node_kinds(clean, {**given, **lifted}, all_nodes_type)
        floats = {n for n, kind in kinds.items() if kind == "float"} - set(run_on_bpu)
        forced = named(floats | on_cpu, run_on_bpu, clean)
        _, graph = drafted(clean, forced, run_on_bpu, {n for n, kind in kinds.items() if kind == "int16"} - forced)
        executable = chosen(graph, target_profile, schedule.Options("O2", 0, 1), Aim())
        return perf.estimate(executable, target_profile).latency_us

    wider = liftable(clean, types, on_cpu, run_on_bpu)
    with tempfile.TemporaryDirectory(prefix="openbpu-search-") as folder:  # what calibration measured, once for all
        price = Price(perf.estimate, drafted_time)
        return _search(
            clean,
            attempt,
            judge,
            price,
            liftable=wider,
            decided=ptq.decided_nodes,
            rounds=rounds,
            weights=weights,
            budget=max_macs,
            progress=progress,
        )


def remove_boundary_nodes(
    model: str | PathLike[str] | bytes | onnx.ModelProto,
    *,
    types: Collection[str] = (),
    names: Collection[str] = (),
    output_nodes: Collection[str] = (),
) -> onnx.ModelProto:
    """The model cut behind the nodes or tensors `output_nodes`, then without boundary nodes of `types` or `names`.

    Types are Quantize, Dequantize, Transpose, Reshape, Cast and Softmax; they are taken off at the inputs and outputs
    again and again until none is left there. `names` go wherever they stand at a boundary. Raises ConfigError for an
    unknown type or name and ModelError if a node is not at a boundary.
    """
    loaded = frontend.load(model)
    if output_nodes:
        loaded = frontend.cut(loaded, output_nodes)
    return frontend.remove_boundary(loaded, types, names)


def _input_shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    return {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input}


def _ready(model: onnx.ModelProto, input_shapes: Mapping[str, tuple[int, ...]] | None) -> onnx.ModelProto:
    if frontend.is_quantised(model):
        return frontend.prepare_qdq(model, input_shapes)
    return frontend.prepare(model, input_shapes, steps=False)


def _lowered(model: onnx.ModelProto, run_on_cpu: Collection[str], run_on_bpu: Collection[str]) -> Graph:
    asked = {str(name) for name in metadata_of(model, _CPU_RECORD) or ()} - set(run_on_bpu)
    apart = {str(name) for name in metadata_of(model, ptq.FLOAT_RECORD) or ()} - set(run_on_bpu)
    return lower.lower(model, asked | named(run_on_cpu, run_on_bpu, model), run_on_bpu, apart)


def metadata_of(model: onnx.ModelProto, key: str) -> Any:
    """What a maker of the model left in its metadata as JSON; None if nothing, ModelError if it is none."""
    text = next((p.value for p in model.metadata_props if p.key == key), "null")
    try:
        return json.loads(text)
    except ValueError as error:
        raise ModelError("must hold JSON", where=f"metadata {key} of the model", seen=error) from error


def link(executables: Mapping[str, Executable] | Iterable[tuple[str, Executable]]) -> Executable:
    """One executable that holds the models of several, by name; equal constants are stored once.

    The models of an executable that holds several already keep their names. `Session(linked, entry=name)` runs one, and
    hbDNN lists them by name. The same executables in the same order give the same bytes. Raises ConfigError if a name
    stands twice, or if they were compiled for different machines.
    """
    pairs = list(executables.items() if isinstance(executables, Mapping) else executables)
    marches = {str(e.metadata(name)["march"]) for _, e in pairs for name in e.entries if "march" in e.metadata(name)}
    if len(marches) > 1:
        rule = "the models of a file are compiled for one machine"
        raise ConfigError(rule, where="link", seen=", ".join(sorted(marches)), remedy="compile them for one march")
    return Executable.from_bytes(join([(name, executable.to_bytes()) for name, executable in pairs]))


def load(path: str | PathLike[str]) -> Executable:
    """Reads and verifies a .bpux file; ExecutableError says what is wrong with a bad one."""
    return Executable.load(path)
