"""Placed work to executable bytes: records, packings, and the one way in which Python makes a program."""

from openbpu.target.builder import CpuTensor, ProgramBuilder, Ref

__all__ = ["CpuTensor", "ProgramBuilder", "Ref"]
