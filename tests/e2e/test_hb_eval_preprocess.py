"""hb_eval_preprocess: raw files as the recipe of the family makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from e2e.vendor_commands import Commands, write_photographs
from openbpu.preprocess import recipe


@pytest.fixture
def hb(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Commands:
    write_photographs(tmp_path / "photographs", tmp_path / "val.txt")
    monkeypatch.chdir(tmp_path)
    return Commands(monkeypatch, capfd)


def test_one_file_per_photograph(hb: Commands, tmp_path: Path) -> None:
    code, out, error = hb("hb_eval_preprocess -m resnet18 -i photographs -o bins")
    assert code == 0, error
    assert "wrote 3 files into bins" in out
    found = np.fromfile(tmp_path / "bins" / "1.bin", np.float32).reshape(1, 3, 224, 224)
    np.testing.assert_array_equal(found, recipe("resnet18").apply(tmp_path / "photographs" / "1.png"))


def test_camera_types_have_a_file_per_port(hb: Commands, tmp_path: Path) -> None:
    assert hb("hb_eval_preprocess -m mobilenetv1 -i photographs -o bins -t nv12")[0] == 0
    sizes = {p.name: p.stat().st_size for p in (tmp_path / "bins").iterdir()}
    assert sizes["0_y.bin"] == 224 * 224
    assert sizes["0_uv.bin"] == 224 * 112
    assert hb("hb_eval_preprocess -m mobilenetv1 -i photographs -o bgr -t bgr")[0] == 0
    bgr = np.fromfile(tmp_path / "bgr" / "0.bin", np.int8).reshape(224, 224, 3)
    pixels = recipe("mobilenetv1").pixels(tmp_path / "photographs" / "0.png")
    np.testing.assert_array_equal(bgr.astype(int) + 128, pixels)


def test_labels_choose_the_photographs(hb: Commands, tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("2.png 7\n\n0.png 4 more\n")
    assert hb("hb_eval_preprocess -m googlenet -i photographs -o bins -v val.txt")[0] == 0
    assert (tmp_path / "bins" / "val.txt").read_text() == "2.bin 7\n0.bin 4 more\n"
    assert {p.name for p in (tmp_path / "bins").iterdir()} == {"0.bin", "2.bin", "val.txt"}


_WRONG = {
    "-m resnet19 -i photographs -o bins": "no such model family; got 'resnet19'. Did you mean resnet18?",
    "-m resnet18 -i nowhere -o bins": "nowhere: the folder of images must exist",
    "-m resnet18 -i . -o bins": "the folder must hold images",
    "-m resnet18 -i photographs -o bins -v none.txt": "the file of labels must be readable text",
    "-m resnet18 -i photographs -o bins -v bad.txt": "bad.txt, line 1: names an image of the folder; got ../1.png",
    "-m resnet18 -i photographs -o val.txt": "val.txt",
    "-m resnet18 -i photographs -o bins -t gray": "takes",
}


@pytest.mark.parametrize("arguments", _WRONG)
def test_what_is_wrong_is_said(arguments: str, hb: Commands, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("../1.png 1\n")
    code, _, error = hb(f"hb_eval_preprocess {arguments}")
    assert code == 1
    assert _WRONG[arguments] in error
    assert not (tmp_path / "bins").exists()


def test_photographs_of_equal_names_are_refused(hb: Commands, tmp_path: Path) -> None:
    (tmp_path / "photographs" / "1.jpg").write_bytes((tmp_path / "photographs" / "1.png").read_bytes())
    code, _, error = hb("hb_eval_preprocess -m resnet18 -i photographs -o bins")
    assert code == 1
    assert "names that differ before their endings; got 1" in error
