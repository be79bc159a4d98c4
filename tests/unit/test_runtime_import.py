"""The runtime stands alone: numpy and the native module, quickly."""

from __future__ import annotations

import json
import subprocess
import sys


def _python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_runtime_loads_no_compiler() -> None:
    loaded = set(json.loads(_python("import json, sys, openbpu.runtime; print(json.dumps(sorted(sys.modules)))")))
    forbidden = {"onnx", "onnxruntime", "onnxscript", "onnx_ir", "google", "click", "rich", "yaml", "torch", "PIL"}
    assert not loaded & forbidden
    ours = {name for name in loaded if name.startswith("openbpu")}
    assert ours == {
        "openbpu",
        "openbpu._native",
        "openbpu.errors",
        "openbpu.runtime",
        "openbpu.runtime.executable",
        "openbpu.runtime.session",
    }


def test_importing_costs_little_beyond_numpy() -> None:
    """Goal: 10 ms; the bound is loose because machines are shared."""
    code = "import time, numpy\nstart = time.perf_counter(); import openbpu.runtime; print(time.perf_counter() - start)"
    assert min(float(_python(code)) for _ in range(5)) < 0.05


def test_public_names_are_lazy() -> None:
    out = _python(
        "import sys, openbpu\n"
        "assert 'numpy' not in sys.modules\n"
        "session = openbpu.Session\n"
        "assert 'onnx' not in sys.modules and 'openbpu.runtime' in sys.modules\n"
        "print(session.__name__)"
    )
    assert out.strip() == "Session"
