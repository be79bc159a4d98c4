"""ONNX files, bytes and protos to checked, static, simplified models."""

from openbpu.frontend.camera import insert_inputs
from openbpu.frontend.loading import load
from openbpu.frontend.preparation import is_quantised, prepare, prepare_qdq
from openbpu.frontend.surgery import cut, remove_boundary

__all__ = ["cut", "insert_inputs", "is_quantised", "load", "prepare", "prepare_qdq", "remove_boundary"]
