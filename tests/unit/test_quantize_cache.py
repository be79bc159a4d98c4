"""The cache of statistics: the same model with it, work that goes on, damage that is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import float_networks as nets
import numpy as np
import onnx
import pytest

from openbpu import frontend, ptq
from openbpu.errors import ConfigError, ModelWarning

COUNT = 10


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return frontend.prepare(nets.residual())


class Counted:
    """Stages and how often a sample went through the network, told by the progress of the quantiser."""

    def __init__(self) -> None:
        self.ran = 0

    def __call__(self, array: np.ndarray, *args: object, **options: object) -> object:
        self.ran += 1
        return self.histogram(array, *args, **options)

    histogram = staticmethod(np.histogram)


def quantised(model: onnx.ModelProto, samples: object, cache: Path | None = None, **options: object) -> bytes:
    qdq = ptq.quantize(model, samples, cache=cache, calibration="max", refinement=(), **options)  # type: ignore[arg-type]
    return qdq.SerializeToString(deterministic=True)


@pytest.fixture
def histograms(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(np, "histogram", counted)
    return counted


def test_a_second_calibration_gathers_nothing(model: onnx.ModelProto, tmp_path: Path, histograms: Counted) -> None:
    samples = nets.samples(COUNT)
    want = quantised(model, samples)
    once = histograms.ran
    assert quantised(model, samples, tmp_path) == want and histograms.ran == 2 * once
    assert quantised(model, iter(samples), tmp_path) == want and histograms.ran == 2 * once
    full = ptq.quantize(model, samples, cache=tmp_path).SerializeToString(deterministic=True)
    assert full == ptq.quantize(model, samples).SerializeToString(deterministic=True)


def test_an_interrupted_calibration_goes_on(model: onnx.ModelProto, tmp_path: Path, histograms: Counted) -> None:
    samples = nets.samples(COUNT)
    want, once = quantised(model, samples), histograms.ran

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "calibrate: histograms" and done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantised(model, samples, tmp_path, progress=stop)
    before = histograms.ran
    assert quantised(model, samples, tmp_path) == want
    assert histograms.ran - before == once * 2 // COUNT  # two of ten samples were left
    assert not [p for p in tmp_path.iterdir() if p.suffix != ".statistics"]


def test_more_samples_go_on_and_others_do_not(model: onnx.ModelProto, tmp_path: Path) -> None:
    samples, others = nets.samples(COUNT), nets.samples(COUNT, seed=9)
    quantised(model, samples[:6], tmp_path)
    for given in (samples, others, samples[:3], [*samples[:5], *others]):
        assert quantised(model, given, tmp_path) == quantised(model, given)
    other = frontend.prepare(nets.squeeze_excite())
    assert quantised(other, samples, tmp_path) == quantised(other, samples)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_damaged_entries_are_gathered_anew(model: onnx.ModelProto, tmp_path: Path, damage: str) -> None:
    samples = nets.samples(COUNT)
    want = quantised(model, samples, tmp_path)
    entries = sorted(tmp_path.iterdir())
    whole = [entry.read_bytes() for entry in entries]
    for entry, data in zip(entries, whole, strict=True):
        bad = bytearray(data)
        bad[len(bad) // 2] ^= 64
        entry.write_bytes({"cut": data[:-7], "flipped": bytes(bad), "empty": b"", "foreign": b"x" * 99}[damage])
    assert quantised(model, samples, tmp_path) == want
    assert [entry.read_bytes() for entry in entries] == whole


def test_a_folder_that_cannot_be_written_costs_only_the_cache(model: onnx.ModelProto, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    samples = nets.samples(COUNT)
    with pytest.warns(ModelWarning, match="without its cache"):
        assert quantised(model, samples, blocked / "inside") == quantised(model, samples)
    with pytest.raises(ConfigError, match="cache"):
        quantised(model, samples, blocked)


def test_wrong_samples_are_still_seen(model: onnx.ModelProto, tmp_path: Path) -> None:
    samples = nets.samples(COUNT)
    quantised(model, samples, tmp_path)

    def bad() -> Iterator[np.ndarray]:
        yield from samples[:4]
        yield np.full_like(samples[0], np.nan)

    with pytest.raises(ValueError, match="sample 4"):
        quantised(model, bad(), tmp_path)
