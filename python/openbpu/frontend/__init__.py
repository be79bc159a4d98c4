"""ONNX files, bytes and protos to checked, static, simplified models."""

from openbpu.frontend.loading import load
from openbpu.frontend.preparation import prepare, prepare_qdq

__all__ = ["load", "prepare", "prepare_qdq"]
