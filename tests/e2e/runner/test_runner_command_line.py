"""The command line of bpux-run: its names, options and page; one error line for a bad one."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

import needs
import openbpu
from e2e.runner.calls import Runner


def test_the_binary_is_static(runner: Path) -> None:
    data = (runner / "bpux-run").read_bytes()
    assert data[:5] == b"\x7fELF\x02"
    table, size, count = (struct.unpack_from(f"<{f}", data, at)[0] for f, at in (("Q", 32), ("H", 54), ("H", 56)))
    kinds = [struct.unpack_from("<I", data, table + k * size)[0] for k in range(count)]
    assert 1 in kinds and 3 not in kinds, "segments: some to load, no dynamic loader asked for"


def test_the_alias_behaves_the_same(runner: Path, folder: Path, run: Runner) -> None:
    alias = Runner(runner / "hrt_model_exec", folder)
    arguments = ("model_info", "--model_file=net.bpux")
    assert alias.ok(*arguments) == run.ok(*arguments)
    assert alias.error("perf").startswith("hrt_model_exec: error: --model_file")
    assert alias.ok("--help").replace("hrt_model_exec", "bpux-run") == run.ok("--help") == run.ok() == run.ok("help")


def test_the_wheel_brings_both_names(folder: Path) -> None:
    try:
        files = importlib.metadata.files("openbpu") or []
    except importlib.metadata.PackageNotFoundError:
        needs.missing("openbpu is not installed")
    for name in ("bpux-run", "hrt_model_exec"):
        (path,) = (Path(str(file.locate())) for file in files if file.name == name)
        Runner(path, folder).ok("model_info", "--model_file=net.bpux")


def test_version(run: Runner) -> None:
    assert run.ok("--version").startswith(f"openbpu {openbpu.__version__}, instruction set 1")


def test_results_that_cannot_be_printed(run: Runner) -> None:
    for arguments in (["--help"], ["model_info", "--model_file=net.bpux"]):
        with Path("/dev/full").open("w") as full:
            result = subprocess.run(
                [str(run.binary), *arguments],
                cwd=run.folder,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert (result.returncode, "standard output: cannot be written" in result.stderr) == (1, True), result.stderr


# ---- options


@pytest.mark.parametrize(
    "arguments",
    [
        "infer --model_file=net.bpux --input_file=x.npy --enable_dump --dump_path={}",
        "infer --model_file net.bpux --input_file x.npy --enable_dump true --dump_path {}",
        "-model_file=net.bpux -input_file=x.npy infer -enable_dump=1 -dump_path {}",
        "--model-file net.bpux --enable-dump infer --input-file=x.npy --dump-path={}",
        "infer --noenable_dump --model_file=net.bpux --input_file=x.npy --dump_path={} --enable_dump",
    ],
)
def test_options_are_written_in_many_ways(run: Runner, tmp_path: Path, arguments: str) -> None:
    run.ok(*arguments.format(tmp_path).split())
    assert [file.name for file in tmp_path.iterdir()] == ["model_infer_output_0_logits.bin"]


@pytest.mark.parametrize("switch", ["--noenable_dump", "--enable_dump=false", "--enable_dump 0", ""])
def test_switches_that_are_off(run: Runner, tmp_path: Path, switch: str) -> None:
    run.ok("infer", "--model_file=net.bpux", "--input_file=x.npy", *switch.split(), f"--dump_path={tmp_path}")
    assert not list(tmp_path.iterdir())


def test_options_without_meaning_are_said_to_have_no_effect(run: Runner) -> None:
    result = run.call("model_info", "--model_file=net.bpux", "--log_level", "2", "--roi_infer", "--thread_num=4")
    assert result.returncode == 0
    notes = result.stderr.splitlines()
    assert len(notes) == 3 and all(" has no effect" in note for note in notes)
    assert notes[2] == "bpux-run: note: --thread_num has no effect with model_info"


_X = "--model_file=net.bpux --input_file=x.npy"


@pytest.mark.parametrize(
    "arguments,words",
    [
        ("inferr --model_file=net.bpux", ["inferr", "did you mean infer?"]),
        ("perf --modelfile=net.bpux", ["--modelfile", "did you mean --model_file?"]),
        ("perf --frames=3", ["did you mean --frame_count?"]),
        ("perf --xyzzy", ["--xyzzy", "--help"]),
        ("perf extra --model_file=net.bpux", ["extra", "perf"]),
        ("perf --model_file", ["--model_file", "needs a value"]),
        ("perf", ["--model_file", "needed"]),
        ("perf --model_file=net.bpux --thread_num=0", ["--thread_num", "1 to 32", "0"]),
        ("perf --model_file=net.bpux --thread_num=33", ["--thread_num", "33"]),
        ("perf --model_file=net.bpux --thread_num=two", ["--thread_num", "two"]),
        ("perf --model_file=net.bpux --frame_count=99999999999999999999", ["--frame_count"]),
        ("perf --model_file=net.bpux --enable_warmup=maybe", ["--enable_warmup", "true or false", "maybe"]),
        ("perf --model_file=net.bpux --core_id=5", ["--core_id", "5"]),
        ("perf --model_file=net.bpux --core_id=1,1", ["--core_id", "1,1"]),
        ("perf --model_file=net.bpux --core_id=0,1", ["--core_id", "0,1"]),
        ("perf --model_file=net.bpux --task_priority=256", ["--task_priority", "0 to 255", "256"]),
        (f"infer {_X} --dump_intermediate=4", ["--dump_intermediate", "0 to 3"]),
        ("perf --model_file=net.bpux --isa=sse9", ["sse9", "scalar"]),
        ("perf --model_file=missing.bpux", ["missing.bpux", "No such file"]),
        ("perf --model_file=.", ["error: .: cannot be read"]),
        ("perf --model_file=x.npy", ["x.npy", "magic"]),
        ("perf --model_file=broken.bpux", ["broken.bpux", "file_size"]),
        ("perf --model_file=net.bpux,second.bpux", ["--model_name", "small (net.bpux)", "copies (second.bpux)"]),
        ("perf --model_file=net.bpux,net.bpux --model_name=small", ["--model_name", "several"]),
        ("perf --model_file=net.bpux --model_name=smallx", ["smallx", "did you mean small?"]),
        ("infer --model_file=net.bpux", ["--input_file", "needed"]),
        ("infer --model_file=net.bpux --input_file=x.npy,x.npy", ["--input_file", "1", "got 2"]),
        ("infer --model_file=net.bpux --input_file=missing.npy", ["input image", "missing.npy", "No such file"]),
        (
            "infer --model_file=net.bpux --input_file=cat.jpg",
            ["cat.jpg", "decoded", "numpy.save", "float32, 1x3x32x32"],
        ),
        ("infer --model_file=net.bpux --input_file=x.dat", ["x.dat", ".npy, .bin or .txt"]),
        (f"infer {_X} --input_valid_shape=1,3,64,64", ["1x3x32x32", "1x3x64x64", "Compile"]),
        (f"infer {_X} --input_valid_shape=1,3,64", ["4 dimensions", "1,3,64"]),
        (f"infer {_X} --input_valid_shape=1,3,x,64", ["whole numbers"]),
        (f"infer {_X} --input_valid_shape=1,3,32,32;1", ["one list per input", "got 2"]),
        (f"infer {_X} --input_stride=12288,4096,128,4", ["--input_stride", ".bin"]),
        ("infer --model_file=net.bpux --input_file=x.bin --input_stride=12288,4096,64,4", ["stride 2", "128", "64"]),
        ("infer --model_file=net.bpux --input_file=x.bin --input_stride=24576,8192,256,4", ["input_stride", "12288"]),
        ("infer --model_file=net.bpux --input_file=padded.bin", ["padded.bin", "12288"]),
        (f"infer {_X} --enable_dump --dump_format=jpg", ["--dump_format", "jpg"]),
        (f"infer {_X} --enable_dump --dump_format=txt --dump_txt_axis=3", ["logits", "2 dimensions", "3"]),
        (f"infer {_X} --enable_dump --dump_path=x.npy", ["x.npy", "folder"]),
        (f"infer {_X} --enable_dump --dump_path=x.npy/deeper", ["x.npy/deeper"]),
        ("perf --model_file=net.bpux --profile_path=x.npy", ["x.npy", "folder"]),
        ("perf --model_file=trap.bpux", ["trap 7"]),
    ],
)
def test_bad_command_lines_and_files(run: Runner, arguments: str, words: list[str]) -> None:
    (run.folder / "cat.jpg").write_bytes(b"\xff\xd8\xff")
    (run.folder / "x.dat").write_bytes(b"")
    message = run.error(*arguments.split())
    for word in words:
        assert word in message, message


# ---- the page


def _page() -> str:
    return (Path(__file__).parents[3] / "docs" / "runner.md").read_text()


def test_the_examples_of_the_page_work(runner: Path, folder: Path, tmp_path: Path) -> None:
    for name in ("net.bpux", "x.npy", "x.bin", "x.txt", "padded.bin"):
        shutil.copy(folder / name, tmp_path)
    shutil.copy(folder / "renamed.bpux", tmp_path / "second.bpux")
    lines = [
        line for block in re.findall(r"```sh example\n(.*?)```", _page(), re.DOTALL) for line in block.splitlines()
    ]
    assert len(lines) > 20
    for line in lines:
        program, *arguments = line.split()
        Runner(runner / program, tmp_path).ok(*arguments)


def test_the_page_tells_every_option_with_an_example(run: Runner) -> None:
    options = re.findall(r"^  --(\w+)", run.ok("--help"), re.MULTILINE)
    assert len(options) > 25
    examples = "\n".join(re.findall(r"```sh example\n(.*?)```", _page(), re.DOTALL)) + "--perf_time=5"
    effective = run.ok("--help").split("accepted without effect")[0]
    for option in options:
        assert f"`{option}`" in _page(), option
        if f"--{option} " in effective:
            assert f"--{option}" in examples, option
