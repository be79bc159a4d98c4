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


def test_importing_loads_little_beyond_numpy() -> None:
    """What is loaded decides what an import costs, and unlike time it is the same on all machines."""
    code = (
        "import json, sys, numpy; old = set(sys.modules); import openbpu.runtime; "
        "print(json.dumps([*set(sys.modules) - old]))"
    )
    added = {name.partition(".")[0] for name in json.loads(_python(code))} - {"openbpu"}
    assert added <= set(sys.stdlib_module_names), "no library beside numpy"
    assert len(added) < 10, added


def test_public_names_are_lazy() -> None:
    out = _python(
        "import sys, openbpu\n"
        "assert 'numpy' not in sys.modules\n"
        "session = openbpu.Session\n"
        "assert 'onnx' not in sys.modules and 'openbpu.runtime' in sys.modules\n"
        "print(session.__name__)"
    )
    assert out.strip() == "Session"
