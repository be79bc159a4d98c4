"""The states of a prepared model. Every quantiser and every weighted layer has the same one."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What fake-quantisation does at the moment; `set_state` switches all of a model."""

    FLOAT = "float"  # nothing: the float model
    CALIBRATION = "calibration"  # observers look on, nothing is quantised
    TRAINING = "training"  # quantised; gradients flow, ranges may follow
    VALIDATION = "validation"  # quantised with fixed parameters: what is exported


QUANTISING = (State.TRAINING, State.VALIDATION)
