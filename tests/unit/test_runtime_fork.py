"""Sessions in the child of a fork and at the end of the interpreter: the same bytes or a clear error, never a hang."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from unit import runtime_programs as programs

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")

_BEGIN = """
import os, signal, sys, threading, time
import numpy as np
from openbpu.errors import ExecutableError
from openbpu.hbm_runtime import HB_HBMRuntime
from openbpu.runtime import Schedule, Session

signal.alarm(60)
IMAGE = np.random.default_rng(0).standard_normal((1, 3, 20, 24)).astype(np.float32)

def fork(body):
    # The exit code of body() in a child; 99 for an exception there.
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(30)
    try:
        os._exit(body() or 0)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(99)
"""


def _python(tmp_path: Path, code: str) -> None:
    """Runs the code in a folder with net.bpux, a short run, and long.bpux, one of seconds."""
    (tmp_path / "net.bpux").write_bytes(programs.convolution())
    (tmp_path / "long.bpux").write_bytes(programs.convolution(channels=256, repeats=4000))
    command = [sys.executable, "-c", _BEGIN + textwrap.dedent(code)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_idle_session_works_in_the_child(tmp_path: Path) -> None:
    _python(
        tmp_path,
        """
        session = Session("net.bpux", threads=2)
        runtime = HB_HBMRuntime("net.bpux")
        before = session.run(IMAGE)["features"].tobytes()
        assert session.run(IMAGE, Schedule(priority=3))["features"].tobytes() == before

        def child():
            assert session.run(IMAGE)["features"].tobytes() == before
            assert session.run(IMAGE, Schedule(priority=255))["features"].tobytes() == before
            assert runtime.run(IMAGE)["net"]["features"].tobytes() == before

        assert fork(child) == 0
        assert fork(lambda: fork(child)) == 0, "and in a child of it"
        assert session.run(IMAGE, Schedule())["features"].tobytes() == before
        """,
    )


@pytest.mark.parametrize("schedule", ["None", "Schedule(priority=7)"])
def test_a_session_that_was_in_a_run_says_so_in_the_child(tmp_path: Path, schedule: str) -> None:
    _python(
        tmp_path,
        f"""
        session, idle = Session("long.bpux", isa="scalar"), Session("net.bpux")
        runner = threading.Thread(target=session.run, args=(IMAGE, {schedule}), daemon=True)
        runner.start()
        time.sleep(0.3)
        assert runner.is_alive()

        def child():
            for schedule in (None, Schedule()):
                try:
                    session.run(IMAGE, schedule)
                except ExecutableError as error:
                    assert "forked" in str(error) and "new session" in str(error), error
                else:
                    return 1
                idle.run(IMAGE, schedule)
                Session("net.bpux", threads=2).run(IMAGE, schedule)
            for look in (session.explain, lambda: session.macs):
                try:
                    look()
                except ExecutableError as error:
                    assert "forked" in str(error), error
                else:
                    return 2

        assert fork(child) == 0
        os._exit(0)  # the run takes minutes
        """,
    )


@pytest.mark.parametrize("schedule", ["None", "Schedule(priority=7)"])
def test_the_interpreter_ends_while_a_run_is_on(tmp_path: Path, schedule: str) -> None:
    _python(
        tmp_path,
        f"""
        session = Session("long.bpux")
        def run():
            while True:
                session.run(IMAGE, {schedule})
        for _ in range(3):
            threading.Thread(target=run, daemon=True).start()
        time.sleep(0.3)
        """,
    )
