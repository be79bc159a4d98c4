"""The demonstration: a real network and real photographs down the whole road, float against int8."""

from openbpu.demo.experiment import Result, run
from openbpu.demo.sheet import write_contact_sheet

__all__ = ["Result", "run", "write_contact_sheet"]
