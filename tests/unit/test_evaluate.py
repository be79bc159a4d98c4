"""Evaluation: figures against plain numpy, intervals, folders and loaders, executors, and what users get wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import float_networks as nets
import numpy as np
import pytest
from PIL import Image

import needs
import openbpu
from openbpu.debugger import Debugger
from openbpu.errors import ConfigError, ExecutorError, MetricError, ModelError, OpenBpuError, SampleError
from openbpu.evaluation import LabelledFolder
from openbpu.evaluation.intervals import bootstrap, wilson
from openbpu.evaluation.runners import Runnable
from openbpu.preprocess import Recipe
from openbpu.preprocess.geometry import Resize
from openbpu.tasks import spread

SHAPE = (1, 3, 32, 32)


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """A classifier of ten classes, float, quantised and compiled."""
    model = nets.residual()
    qdq = openbpu.quantize(model, nets.samples(4), refinement=("bias",))
    return {"float": model, "qdq": qdq, "bpux": openbpu.compile(qdq)}


@pytest.fixture(scope="module")
def pairs(models: dict[str, Any]) -> list[tuple[np.ndarray, int]]:
    """Samples whose labels the float model knows, but for every fourth."""
    samples = nets.samples(40, seed=11)
    logits = nets.run(models["float"], *samples)[0].reshape(40, 10)
    return [
        (x, int(row.argmax() if k % 4 else row.argmin()))
        for k, (x, row) in enumerate(zip(samples, logits, strict=True))
    ]


def test_the_figures_are_those_of_numpy(models: dict[str, Any], pairs: list[tuple[np.ndarray, int]]) -> None:
    report = openbpu.evaluate(models, pairs)
    labels = np.array([label for _, label in pairs])
    session = openbpu.Session(models["bpux"])
    logits = {
        "float": nets.run(models["float"], *(x for x, _ in pairs))[0].reshape(-1, 10),
        "qdq": nets.run(models["qdq"], *(x for x, _ in pairs))[0].reshape(-1, 10),
        "bpux": np.concatenate([session.run(x)["y"].reshape(1, 10) for x, _ in pairs]),
    }
    assert [row.model for row in report.rows] == ["float", "qdq", "bpux"] and report.samples == 40
    assert [row.kind for row in report.rows] == ["float", "QDQ", "executable"]
    for row in report.rows:
        hits = logits[row.model].argmax(1) == labels
        assert row.value == pytest.approx(hits.mean())
        assert row.interval == pytest.approx(wilson(int(hits.sum()), 40, 0.95))
        if row.model != "float":
            assert row.agreement == np.mean(logits[row.model].argmax(1) == logits["float"].argmax(1))
            a, b = (logits[k].astype(np.float64).ravel() for k in ("float", row.model))
            # The float network runs with other optimisations here
            assert row.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
            low, high = row.difference_interval or (1, 0)
            assert low <= (row.difference or 0) <= high
    assert report.rows[0].value == 0.75 and report.rows[0].difference is None


def test_top5_contains_top1(models: dict[str, Any], pairs: list[tuple[np.ndarray, int]]) -> None:
    first, five = (openbpu.evaluate(models, pairs[:8], metric=m).rows[0].value for m in ("top1", "top5"))
    assert 0.75 == first <= five


def test_samples_without_labels_are_compared_with_the_first_model(models: dict[str, Any]) -> None:
    report = openbpu.evaluate(models, nets.samples(6))
    assert report.rows[0].value == 1 and report.rows[1].value == report.rows[1].agreement


def test_the_interval_of_wilson() -> None:
    """Values of Brown, Cai and DasGupta, Interval Estimation for a Binomial Proportion (2001), equation (4)."""
    assert wilson(0, 10, 0.95) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(81, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=1e-4)


def test_the_bootstrap_is_paired_and_covers() -> None:
    random = np.random.default_rng(1)
    x = random.standard_normal(400)
    (one, none), (two, difference) = bootstrap([lambda k: x[k].mean(), lambda k: x[k].mean() + 0.5], 400, 0.9, 400)
    expected = 1.645 * x.std() / 20
    assert one[1] - one[0] == pytest.approx(2 * expected, rel=0.2)
    assert none == (0, 0) and difference == pytest.approx((0.5, 0.5)) and two[0] == pytest.approx(one[0] + 0.5)


def _closeness(outputs: Sequence[dict[str, np.ndarray]], references: Sequence[Any]) -> float:
    return -float(np.mean([abs(o["y"].ravel()[r] - 1) for o, r in zip(outputs, references, strict=True)]))


def test_a_function_and_executors(models: dict[str, Any], pairs: list[tuple[np.ndarray, int]]) -> None:
    def loader() -> Iterator[tuple[np.ndarray, int]]:
        yield from pairs[:20]

    alone = openbpu.evaluate(models, loader(), metric=_closeness, resamples=20)
    assert alone.methods["interval"] == "bootstrap" and alone.rows[1].interval is not None
    with ThreadPoolExecutor(3) as pool:
        together = openbpu.evaluate(models, loader(), metric=_closeness, resamples=20, executor=pool)
    for a, b in zip(alone.rows, together.rows, strict=True):
        assert (a.value, a.interval, a.difference_interval, a.cosine) == (
            *(b.value, b.interval, b.difference_interval, b.cosine),
        )


def test_a_cluster_of_dask(models: dict[str, Any], pairs: list[tuple[np.ndarray, int]]) -> None:
    """The example of docs/evaluation.md: an evaluation and a search as tasks of a cluster."""
    distributed = needs.module("distributed", "pip install distributed")
    alone = openbpu.evaluate(models, pairs)
    local = distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None)
    with local as cluster, distributed.Client(cluster) as client:
        report = openbpu.evaluate(models, pairs, executor=client.get_executor())
        found = openbpu.search(
            models["float"],
            nets.samples(4),
            metric="sqnr",
            target=48,
            refinement=("bias",),
            rounds=3,
            executor=client.get_executor(),
        )
    assert [(r.value, r.cosine) for r in report.rows] == [(r.value, r.cosine) for r in alone.rows]
    assert len(found.trials) == 3 and found.reached


class _Refuses(ThreadPoolExecutor):
    def submit(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no worker is left\nof eight")


def test_an_executor_that_fails_is_named(models: dict[str, Any], pairs: list[tuple[np.ndarray, int]]) -> None:
    ended = ThreadPoolExecutor(1)
    ended.shutdown()
    for executor, text in ((_Refuses(), "executor _Refuses: .*RuntimeError: no worker is left"), (ended, "shutdown")):
        with pytest.raises(ExecutorError, match=text):
            openbpu.evaluate(models, pairs, executor=executor)
        with pytest.raises(ExecutorError, match=text):
            openbpu.search(models["float"], nets.samples(2), metric="sqnr", target=46, executor=executor)


def test_a_worker_that_dies_is_said(models: dict[str, Any], pairs: list[tuple[np.ndarray, int]]) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(os._exit, 9)
        with pytest.raises(ExecutorError, match="BrokenProcessPool"):
            openbpu.evaluate(models, pairs, executor=pool)


def test_a_pool_ends_although_its_worker_died_before_it_read() -> None:
    """What is on its way to the worker is more than a pipe holds; Python before 3.11.5 would wait for ever."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(os._exit, 9)
        with pytest.raises(ExecutorError, match="BrokenProcessPool"):
            list(spread(pool, len, [(bytes(100_000),)] * 40))


def test_what_a_model_raises_passes_through_an_executor(models: dict[str, Any]) -> None:
    broken = Runnable("float", b"no model")
    with ThreadPoolExecutor(1) as pool, pytest.raises(ModelError, match="ONNX Runtime"):
        list(broken.run([{}], pool))


def test_folders(tmp_path: Path, models: dict[str, Any], pairs: list[tuple[np.ndarray, int]]) -> None:
    table = ["file,label"]
    for k, (x, label) in enumerate(pairs[:6]):
        np.save(tmp_path / f"{k}.npy", x)
        table.append(f"{k}.npy,{label}")
        (tmp_path / "classes" / str(label)).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "classes" / str(label) / f"{k}.npy", x)
    (tmp_path / "labels.csv").write_text("\n".join(table))
    by_table = openbpu.evaluate(models, tmp_path, labels=tmp_path / "labels.csv")
    assert by_table.samples == 6 and by_table.rows[0].value == pytest.approx(4 / 6)
    by_class = openbpu.evaluate([models["float"]], tmp_path / "classes")
    assert by_class.rows[0].value == pytest.approx(4 / 6)
    (tmp_path / "named" / "cat").mkdir(parents=True)
    (tmp_path / "named" / "dog").mkdir()
    np.save(tmp_path / "named" / "dog" / "a.npy", pairs[0][0])
    assert [label for _, label in LabelledFolder(tmp_path / "named")] == [1]


def test_photographs_go_through_the_recorded_recipe(tmp_path: Path) -> None:
    model = nets.residual()
    recipe = Recipe((Resize(32, 32),), mean=(127.5,) * 3, scale=(1 / 127.5,) * 3)
    random = np.random.default_rng(2)
    for k in range(4):
        (tmp_path / str(k)).mkdir()
        Image.fromarray(random.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / str(k) / "a.png")
    files = sorted(tmp_path.rglob("*.png"))
    qdq = openbpu.quantize(model, files, preprocess=recipe, refinement=())
    report = openbpu.evaluate({"float": model, "qdq": qdq, "bpux": openbpu.compile(qdq)}, tmp_path)
    wanted = nets.run(model, *(recipe.apply(path) for path in files))[0].reshape(4, 10).argmax(1)
    assert report.rows[0].value == np.mean(wanted == np.arange(4))
    alone = openbpu.evaluate([openbpu.compile(qdq)], tmp_path)
    assert alone.rows[0].value == report.rows[2].value
    arrays = [recipe.apply(path) for path in files]
    assert Debugger(model, qdq, files).sensitivity() == Debugger(model, qdq, arrays).sensitivity()


def _fails(outputs: Sequence[Any], references: Sequence[Any]) -> float:
    return float(np.linalg.inv(np.zeros((2, 3)))[0, 0])


def _leaves(outputs: Sequence[Any], references: Sequence[Any]) -> float:
    raise SystemExit(0)


def _broken_loader() -> Iterator[np.ndarray]:
    yield nets.samples(1)[0]
    raise ConnectionError("the disk is gone")


@pytest.mark.parametrize(
    ("samples", "options", "kind", "text"),
    [
        ([], {}, SampleError, "at least one"),
        ([np.zeros((1, 3, 8, 8), np.float32)], {}, SampleError, r"must have shape \(1, 3, 32, 32\)"),
        ([np.full(SHAPE, np.nan, np.float32)], {}, SampleError, "finite"),
        ([(nets.samples(1)[0], "cat")], {}, SampleError, "whole number.*str cat"),
        ([(nets.samples(1)[0], 10)], {}, SampleError, "0 to 9"),
        (nets.samples(2), {"labels": [1]}, SampleError, "one label per sample.*only 1"),
        (nets.samples(1), {"labels": [1, 2]}, SampleError, "one label per sample.*2 for 1"),
        (nets.samples(1), {"metric": _fails}, MetricError, "LinAlgError.*test_evaluate.py, line"),
        (nets.samples(1), {"metric": _leaves}, MetricError, "SystemExit.*test_evaluate.py, line"),
        (nets.samples(1), {"metric": lambda o, r: float("inf")}, MetricError, "finite number"),
        (nets.samples(1), {"metric": "f1"}, ConfigError, "module:function"),
        (nets.samples(1), {"confidence": 95}, ConfigError, "between 0 and 1"),
        (_broken_loader(), {}, SampleError, "ConnectionError: the disk is gone.*test_evaluate.py"),
        (np.zeros(SHAPE, np.float32), {}, SampleError, "iterable of pairs"),
        ("/no/such/folder", {}, SampleError, "must exist"),
    ],
)
def test_what_users_get_wrong(
    models: dict[str, Any], samples: Any, options: dict[str, Any], kind: type[OpenBpuError], text: str
) -> None:
    with pytest.raises(kind, match=text):
        openbpu.evaluate({"float": models["float"]}, samples, **options)


def test_folders_and_tables_that_do_not_fit(tmp_path: Path) -> None:
    folder, table = tmp_path / "samples", tmp_path / "labels.csv"
    folder.mkdir()
    with pytest.raises(SampleError, match="one folder per class"):
        LabelledFolder(folder)
    (folder / "0").mkdir()
    with pytest.raises(SampleError, match=r"must hold .* files or images"):
        LabelledFolder(folder)
    for text, error in (
        ("", "header with file and label"),
        ("name,class\na,1\n", "header with file and label"),
        ("file,label\na.npy,cat\n", "line 2.*number of a class; got cat"),
        ("file,label\nb.npy,1\n", "every sample needs a label; got none for a.npy"),
    ):
        np.save(folder / "a.npy", np.zeros(2))
        table.write_text(text)
        with pytest.raises(SampleError, match=error):
            LabelledFolder(folder, table)
    with pytest.raises(SampleError, match="CSV file"):
        LabelledFolder(folder, tmp_path / "none.csv")
    table.write_text("file,label\na.npy,1\n")
    (folder / "a.npy").write_bytes(b"nothing")
    with pytest.raises(SampleError, match="without pickled objects"):
        list(LabelledFolder(folder, table))


def test_models_that_cannot_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one model"):
        openbpu.evaluate([], nets.samples(1))
    with pytest.raises(ConfigError, match="a list or dict"):
        openbpu.evaluate("net.onnx", nets.samples(1))
    with pytest.raises(ModelError):
        openbpu.evaluate([tmp_path / "none.onnx"], nets.samples(1))
    with pytest.raises(ConfigError, match="name of its own"):
        openbpu.evaluate([tmp_path / "a.onnx"] * 2, nets.samples(1))
    with pytest.raises(ConfigError, match="one score per class"):
        openbpu.evaluate({"unet": nets.unet()}, nets.samples(1))


def test_a_metric_that_takes_no_resample_has_no_interval(models: dict[str, Any]) -> None:
    def once(outputs: Sequence[Any], references: Sequence[Any]) -> float:
        if len({id(o) for o in outputs}) < len(outputs):
            raise ValueError("a sample twice")
        return 1.0

    report = openbpu.evaluate({"float": models["float"]}, nets.samples(3), metric=once)
    assert report.rows[0].interval is None and "a sample twice" in report.no_intervals and "no bootstrap" in report.note


def test_the_result_for_programs_and_people(tmp_path: Path, models: dict[str, Any]) -> None:
    report = openbpu.evaluate(models, nets.samples(3))
    report.save(tmp_path / "e.json")
    data = json.loads((tmp_path / "e.json").read_text())
    assert [row["model"] for row in data["rows"]] == list(models) and data["methods"]["interval"] == "Wilson"
    assert "paired bootstrap" in str(report) and "agrees" in str(report)
    (tmp_path / "file").write_text("")
    with pytest.raises(OpenBpuError, match="writable"):
        report.save(tmp_path / "file" / "e.json")
