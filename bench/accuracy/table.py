"""What each way of quantising loses, ours beside its peers: same model, same samples, one table per network.

    python -m bench.accuracy.table --data PHOTOGRAPHS [--labels labels.csv] --wheels WHEELS --resnet20 resnet20.onnx
        [--networks ppocr_cls ...] [--python PYTHON ...] [--method NAME ...] [--results rows.json [--resume]]
        [--page docs/quantisation.md]

EfficientNet-Lite0: of the photographs every seventh in name order calibrates (the first 100 of those), all others
evaluate. The other networks are those of end_to_end.py, with the wheels that it names, and what trained.py trains.
Peers that cannot live beside this project's packages are found with --python: interpreters of other environments (pip
install nncf onnx; esp-ppq; aimet-onnx). Each method has a process of its own. SQNR, cosine and agreement of the arg-max
compare with the float model, of several outputs the worst; of MiniLM the embeddings of sentences are compared; top-1
needs --labels. QDQ models, ours too, run in ONNX Runtime with its optimisations off, which is within one step per
operator of the compiled model. Without --method the default runs beside all peers; with it what it names, further
settings of ours too: "searched" is the search for mixed precision, measured on the calibration samples only. --results
keeps all rows in a file: a row replaces that of the same method, the others stay as long as the samples are the same;
with --resume what has a row there is not measured again. --page writes the tables, of that file or of this run,
between the marks of that page.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from bench.accuracy import peers, rows, trained
from bench.accuracy.end_to_end import SUBJECTS, View
from bench.accuracy.inputs import Feed
from bench.accuracy.pretrained import Wheels
from bench.accuracy.rows import HEAD, SEARCHED, Entry, Results, Row, verdict
from bench.machine import processor, usable_processors
from PIL import Image

from openbpu import frontend, pipeline, zoo

OURS: dict[str, dict[str, object]] = {
    rows.OURS: {},
    "openbpu, reconstruction": {"refinement": (*pipeline.REFINEMENTS, "reconstruction")},
    "openbpu, symmetric": {"symmetric": True},
    "openbpu, per channel": {"per_channel": True},
    "openbpu, no equalisation, no scales": {"refinement": ("weights", "rounding", "bias")},
    "openbpu, rounding and bias, extremes": {"refinement": ("rounding", "bias"), "calibration": "max"},
    "openbpu, bias only, extremes": {"refinement": ("bias",), "calibration": "max"},
    "openbpu, analytic bias, extremes": {"refinement": ("analytic-bias",), "calibration": "max"},
    **{f"openbpu, unrefined, {c}": {"refinement": (), "calibration": c} for c in pipeline.ptq.CALIBRATIONS},
    "openbpu, int16 activations": {"all_nodes_type": "int16"},
}
_RECOVERED = 0.9  # of the noise that int16 throughout takes away: what the search is asked for
_ROUNDS = 6  # models that it may quantise
_PEERS = Path(peers.__file__)


@dataclass(frozen=True)
class Plan:
    """How many samples calibrate and evaluate one of the networks of end_to_end.py, and of what kind it is."""

    calibrate: int
    evaluate: int
    classes: bool = False  # the arg-max of its outputs means something
    transformer: bool = False


NETWORKS = {
    "ppocr_cls": Plan(64, 300, classes=True),
    "mobilenet_v3": Plan(64, 100, classes=True),
    "ppocr_rec": Plan(32, 200, classes=True),
    "minilm": Plan(16, 24, transformer=True),
    "yolox": Plan(16, 24),
    "ppocr_det": Plan(16, 24),
    "deit_tiny": Plan(16, 24, classes=True, transformer=True),
    "detector": Plan(16, 24),
}


@dataclass(frozen=True)
class Network:
    """A clean float model, its inputs, and class indices for top-1 if there are any."""

    title: str
    model: onnx.ModelProto
    calibration: Callable[[], Iterator[Feed]]
    evaluation: Callable[[], Iterator[Feed]]
    labels: np.ndarray | None = None
    view: View | None = None  # what of an output is compared
    whole: bool = False  # has a table of its own on the page
    classes: bool = True  # the arg-max of an output means something
    transformer: bool = False


def lite0(data: Path, labels: Path | None, calibrate: int, evaluate: int) -> Network:
    files = sorted(p for p in data.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    chosen = files[::7][:100]
    others = sorted({*files} - {*chosen})
    others = others[:: max(1, len(others) // evaluate)][:evaluate]

    def inputs(paths: list[Path]) -> Callable[[], Iterator[Feed]]:
        def read() -> Iterator[Feed]:
            for path in paths:
                with Image.open(path) as image:
                    yield {"image": zoo.imagenet_input(image)}

        return read

    model = frontend.prepare(frontend.load(zoo.efficientnet_lite0()))
    classes = read_labels(labels, others) if labels else None
    return Network("EfficientNet-Lite0", model, inputs(chosen[:calibrate]), inputs(others), classes, whole=True)


def read_labels(path: Path, files: list[Path]) -> np.ndarray:
    """Class indices of the files; the first column of a row is the file name, the first integer behind it the class."""
    with path.open(newline="") as lines:
        rows = {row[0]: row[1:] for row in csv.reader(lines) if row}
    return np.array([int(next(cell for cell in rows[file.name] if cell.strip().isdecimal())) for file in files])


def packed(name: str, wheels: Path | None, calibrate: int | None = None, evaluate: int | None = None) -> Network:
    """One of the networks of end_to_end.py, with the samples of its plan or other numbers of them."""
    plan = NETWORKS[name]
    calibrate, evaluate = calibrate or plan.calibrate, evaluate or plan.evaluate
    title, make, needs_wheels = SUBJECTS[name]
    assert wheels or not needs_wheels, f"{name}: --wheels"
    model, inputs, *views = make(Wheels(wheels) if needs_wheels and wheels else None)
    clean = frontend.prepare(frontend.load(model))
    return Network(
        title, clean, lambda: inputs(calibrate, 1), lambda: inputs(evaluate, 2),
        view=views[0] if views else None, classes=plan.classes, transformer=plan.transformer,
    )  # fmt: skip


def resnet20(path: Path, calibrate: int, evaluate: int) -> Network:
    """What trained.py wrote."""
    clean = frontend.prepare(frontend.load(path))
    title = "ResNet-20 (Fashion-MNIST)"
    return Network(title, clean, lambda: trained.feeds(calibrate, 1), lambda: trained.feeds(evaluate, 2), whole=True)


# ---- one method on one network


def judged(method: str, reference: dict[str, np.ndarray], folder: Path, network: Network) -> Row:
    """The row of what a method left in the folder."""
    labels = network.labels
    facts = json.loads((folder / "result.json").read_text())
    with np.load(folder / "outputs.npz") as found:
        outputs = {name: viewed(found[name], folder, network.view).astype(np.float64) for name in reference}
    sqnr, cosine, agreement, top1 = [], [], np.nan, np.nan
    for name, want in reference.items():
        got = outputs[name].reshape(want.shape)
        noise = float(np.sum((want - got) ** 2))
        sqnr.append(10 * np.log10(np.sum(want**2) / noise) if noise else np.inf)
        cosine.append(float(np.sum(want * got) / max(np.linalg.norm(want) * np.linalg.norm(got), 1e-30)))
        if network.classes and want.shape[-1] > 1 and len(reference) == 1:
            classes = got.reshape(-1, want.shape[-1]).argmax(1)
            agreement = 100 * float(np.mean(want.reshape(-1, want.shape[-1]).argmax(1) == classes))
            top1 = np.nan if labels is None else 100 * float(np.mean(classes == labels))
    return Row(method, min(sqnr), min(cosine), agreement, top1, facts["wall"], facts["cpu"], facts["peak"],
               note=facts.get("note", ""))  # fmt: skip


def viewed(results: Sequence[np.ndarray], folder: Path, view: View | None) -> np.ndarray:
    """The stacked results of the evaluation samples, or what `view` makes of each."""
    if view is None:
        return np.stack(list(results))
    return np.stack([view(y, feed) for y, feed in zip(results, peers.feeds(folder, "evaluation"), strict=True)])


def run(method: str, command: list[str], folder: Path, reference: dict[str, np.ndarray], network: Network) -> Row:
    for name in ("outputs.npz", "result.json"):
        (folder / name).unlink(missing_ok=True)
    done = subprocess.run([*command, method, str(folder)], capture_output=True, text=True, env=os.environ)
    if done.returncode or not (folder / "result.json").exists():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return Row(method, failure=(lines or ["no message"])[-1][:100].replace("|", "/"))
    return judged(method, reference, folder, network)


def ours(method: str, folder: Path) -> None:
    """Called in a process of its own: what peers.main is for the peers."""
    model = onnx.load(folder / "model.onnx")
    notes: list[str] = []

    def searched(_: Path) -> peers.Run:
        feeds = list(peers.feeds(folder, "calibration"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pipeline.search(model, feeds, metric="recovery", target=_RECOVERED, rounds=_ROUNDS)
        best, first = found.best, found.trials[0]
        shares = f"{best.nodes} nodes, {100 * (best.int16_macs + best.float_macs):.1f} % of the MACs"
        notes.append(f"({shares}, {best.estimated_us:.0f} us estimated, {first.estimated_us:.0f} in int8)")
        return peers.qdq_runner(found.model)

    def quantised(_: Path) -> peers.Run:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return peers.qdq_runner(pipeline.quantize(model, peers.feeds(folder, "calibration"), **OURS[method]))  # type: ignore[arg-type]

    peers.measure(quantised if method in OURS else searched, folder)
    if notes:
        path = folder / "result.json"
        facts = json.loads(path.read_text())
        path.write_text(json.dumps(facts | {"note": ", ".join(filter(None, [facts["note"], *notes]))}))


# ---- all of it


def compare(
    network: Network, methods: dict[str, list[str]], folder: Path, results: Results, resume: bool = False
) -> None:
    """Adds the rows of one network; `methods`: name -> command. `resume`: rows that are there stay as they are."""
    onnx.save(network.model, folder / "model.onnx")
    digest, counts = hashlib.sha256(), []
    for kind, feeds in (("calibration", network.calibration()), ("evaluation", network.evaluation())):
        counts.append(0)
        for index, feed in enumerate(feeds):
            np.savez(folder / f"{kind}-{index:05}.npz", **feed)  # type: ignore[arg-type]
            for array in feed.values():
                digest.update(array.tobytes())
            counts[-1] = index + 1
    results.start(network.title, Entry(digest.hexdigest(), (counts[0], counts[1]), network.whole))
    wanted = dict(methods)
    for method in results.entries[network.title].rows if resume else ():
        wanted.pop(method, None)
    if not network.transformer:
        wanted.pop(peers.TRANSFORMER, None)
    running = peers.qdq_runner(network.model)
    names = [o.name for o in network.model.graph.output]
    outputs = [running(feed) for feed in peers.feeds(folder, "evaluation")]
    reference = {
        name: viewed([output[k] for output in outputs], folder, network.view).astype(np.float64)
        for k, name in enumerate(names)
        if outputs[0][k].dtype.kind == "f" and len({output[k].shape for output in outputs}) == 1
    }
    for method, command in wanted.items():
        row = run(method, command, folder, reference, network)
        results.add(network.title, row)
        print(row.line(), flush=True)


def _meant(given: str, name: str, known: Container[str]) -> bool:
    return given == name if given in known else given in name


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        ours(sys.argv[2], Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of photographs, for EfficientNet-Lite0")
    parser.add_argument("--labels", type=Path, help="CSV of file name and class index")
    parser.add_argument("--wheels", type=Path, help="folder of wheels, for the other networks")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS, help="of end_to_end.py")
    parser.add_argument("--resnet20", type=Path, help="what trained.py wrote")
    parser.add_argument("--python", action="append", default=[], help="interpreter with further peers; repeatable")
    parser.add_argument("--method", dest="methods", action="append", help="one of them, or all with this in their name")
    parser.add_argument("--calibrate", type=int, default=100, help="images that calibrate Lite0 and ResNet-20")
    parser.add_argument("--evaluate", type=int, default=10**6, help="photographs that evaluate, at most")
    parser.add_argument("--results", type=Path, help="file of rows: this run adds its own, and the page has all")
    parser.add_argument("--resume", action="store_true", help="measure only what has no row in the file yet")
    parser.add_argument("--page", type=Path, help="page that the tables are written into")
    arguments = parser.parse_args()
    methods = {method: [sys.executable, "-m", "bench.accuracy.table", "--worker"] for method in (*OURS, SEARCHED)}
    for python in (sys.executable, *arguments.python):
        listed = subprocess.run([python, str(_PEERS), "--list"], capture_output=True, text=True, check=True).stdout
        methods |= {name: [python, str(_PEERS)] for name in json.loads(listed) if name not in methods}
    methods_in_order = list(methods)
    theirs = [name for name in methods if not ("openbpu" in name or name in peers.ON_REQUEST)]
    asked = arguments.methods or [rows.OURS, *theirs]
    methods = {name: c for name, c in methods.items() if any(_meant(m, name, methods) for m in asked)}
    makers: list[Callable[[], Network]] = []
    if arguments.data:
        makers.append(lambda: lite0(arguments.data, arguments.labels, arguments.calibrate, arguments.evaluate))
    if arguments.resnet20:
        makers.append(lambda: resnet20(arguments.resnet20, arguments.calibrate, 500))
    for name in arguments.networks if arguments.wheels else ():
        makers.append(lambda name=name: packed(name, arguments.wheels))  # type: ignore[misc]
    results = Results(arguments.results)
    for make in makers:
        network = make()
        with tempfile.TemporaryDirectory(prefix="openbpu-table-") as folder:
            print(f"\n{network.title}\n{HEAD}", flush=True)
            compare(network, methods, Path(folder), results, arguments.resume)
        print(verdict(results.entries[network.title]), flush=True)
        if arguments.page:
            machine = f"{processor()}, {usable_processors()} processors shared with other work"
            rows.write(arguments.page, f"Measured on {machine}.\n\n{results.text(methods_in_order)}")


if __name__ == "__main__":
    main()
