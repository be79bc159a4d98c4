"""Quantisation-aware training on plain PyTorch: what is trained is what runs.

    model = qat.prepare(net, example, qat.Config())
    qat.calibrate(model, samples, state="training")
    ...                                             # the training loop of the float model
    qat.set_state(model, "validation")
    executable = openbpu.compile(qat.export(model))
    print(qat.verify(model, executable, samples))

It imports torch, as `openbpu.ptq.reconstruction` does: `pip install 'openbpu[qat]'`.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("openbpu.qat needs PyTorch: pip install 'openbpu[qat]'") from error

from openbpu.qat.config import Config, ModuleName, ModuleType, Sensitivity, Settings
from openbpu.qat.debugging import (
    Finding,
    Loss,
    Similarity,
    Statistics,
    compare_weights,
    findings,
    sensitivity,
    similarity,
    statistics,
)
from openbpu.qat.exporting import export
from openbpu.qat.loading import load_ranges
from openbpu.qat.preparing import Preparation, Row, preparation, prepare
from openbpu.qat.report import accuracy, report
from openbpu.qat.states import State
from openbpu.qat.switching import calibrate, reset_ranges, set_batch_norm, set_state, state_of
from openbpu.qat.verification import Comparison, Difference, Verification, verify

__all__ = [
    "Comparison",
    "Config",
    "Difference",
    "Finding",
    "Loss",
    "ModuleName",
    "ModuleType",
    "Preparation",
    "Row",
    "Sensitivity",
    "Settings",
    "Similarity",
    "State",
    "Statistics",
    "Verification",
    "accuracy",
    "calibrate",
    "compare_weights",
    "export",
    "findings",
    "load_ranges",
    "preparation",
    "prepare",
    "report",
    "reset_ranges",
    "sensitivity",
    "set_batch_norm",
    "set_state",
    "similarity",
    "state_of",
    "statistics",
    "verify",
]
