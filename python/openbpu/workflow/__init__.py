"""Builds after a configuration, as users of the vendor's toolchain know them: stages, artefacts, tables."""

from openbpu.workflow.artefacts import Folder, stage_of
from openbpu.workflow.build import NODE_HEAD, OUTPUT_HEAD, OUTPUT_TITLE, Result, build
from openbpu.workflow.stages import SKIPPABLE, StageError

__all__ = [
    "NODE_HEAD",
    "OUTPUT_HEAD",
    "OUTPUT_TITLE",
    "SKIPPABLE",
    "Folder",
    "Result",
    "StageError",
    "build",
    "stage_of",
]
