"""Runs as tasks of the process: priorities, pre-emption, time-outs, from Python."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openbpu.errors import ConfigError, ExecutableError
from openbpu.runtime import Executable, Schedule, Session
from unit import runtime_programs as programs

LONG = {"channels": 512, "repeats": 4000}  # half a second and more


@pytest.fixture(scope="module")
def long_session() -> Session:
    return Session(programs.convolution(**LONG))


def test_a_schedule_changes_no_results() -> None:
    session = Session(programs.convolution(), threads=2)
    expected = session.run(programs.image())["features"].tobytes()
    for schedule in (Schedule(), Schedule(255, 7, (1,)), Schedule(254, -1, (0, 1)), Schedule(timeout=60)):
        assert session.run(programs.image(), schedule)["features"].tobytes() == expected


def test_the_time_is_over(long_session: Session) -> None:
    start = time.perf_counter()
    with pytest.raises(ExecutableError, match="time"):
        long_session.run(programs.image(), Schedule(timeout=0.01))
    stopped = time.perf_counter() - start
    start = time.perf_counter()
    result = long_session.run(programs.image(), Schedule(timeout=1e9))["features"]
    assert stopped < time.perf_counter() - start
    assert result.tobytes() == Session(programs.convolution(channels=512)).run(programs.image())["features"].tobytes()


@pytest.mark.parametrize(
    "fields,words",
    [
        ({"priority": 256}, ["priority", "0 to 255", "256"]),
        ({"priority": True}, ["priority", "True"]),
        ({"custom_id": 2**63}, ["custom_id"]),
        ({"cores": (4,)}, ["cores", "0 to 3", "4"]),
        ({"cores": (1, 1)}, ["each core once"]),
        ({"timeout": -1}, ["timeout", "-1"]),
        ({"timeout": float("nan")}, ["timeout", "nan"]),
    ],
)
def test_wrong_schedules(fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Schedule(**fields)
    for word in words:
        assert word in str(caught.value)


_RACE = """
import sys, threading, time
from openbpu.runtime import Schedule, Session
from unit import runtime_programs as programs

long, short = Session(sys.argv[1]), Session(sys.argv[2])
image = programs.image()
start = time.perf_counter()
ends = {}

def run(session, priority):
    session.run(image, Schedule(priority))
    ends[priority] = time.perf_counter() - start

low = threading.Thread(target=run, args=(long, 5))
low.start()
time.sleep(0.02)
run(short, int(sys.argv[3]))
low.join()
print(ends[int(sys.argv[3])] / ends[5])
"""


@pytest.mark.parametrize("priority,urgent", [(253, False), (254, True), (255, True)])
def test_urgent_runs_stop_others_between_instructions(tmp_path: Path, priority: int, urgent: bool) -> None:
    """On one core, where a short run that comes a little later must wait for a long one to end, or stop it."""
    Executable(programs.convolution(**LONG)).save(tmp_path / "long.bpux")
    Executable(programs.convolution()).save(tmp_path / "short.bpux")
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", _RACE, str(tmp_path / "long.bpux"), str(tmp_path / "short.bpux"), str(priority)]
    environment = {**os.environ, "OPENBPU_CORES": "1", "PYTHONPATH": path}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert (float(result.stdout) < 0.9) == urgent, "end of the short run by end of the long one"


def test_many_threads_and_priorities() -> None:
    expected = [Session(programs.convolution()).run(programs.image(k))["features"].tobytes() for k in range(4)]
    random = np.random.default_rng(3)
    plans = [[Schedule(int(random.integers(256)), int(random.integers(9))) for _ in range(30)] for _ in range(4)]
    from concurrent.futures import ThreadPoolExecutor

    def caller(k: int) -> list[bytes]:
        session = Session(programs.convolution(), threads=2)
        return [session.run(programs.image(k), schedule)["features"].tobytes() for schedule in plans[k]]

    with ThreadPoolExecutor(4) as pool:
        for k, results in enumerate(pool.map(caller, range(4))):
            assert set(results) == {expected[k]}
