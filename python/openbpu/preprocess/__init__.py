"""Preprocessing: what turns a photograph or a camera frame into the input of a network."""

from openbpu.preprocess.camera import LEGAL, InputSpec, PortSpec

__all__ = ["LEGAL", "InputSpec", "PortSpec"]
