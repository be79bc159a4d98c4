"""What has no integer form, or is kept in float by choice: ONNX nodes as CPU operators."""

from openbpu.lower.cpu import rules, windows
from openbpu.lower.cpu.emission import run

__all__ = ["rules", "run", "windows"]
