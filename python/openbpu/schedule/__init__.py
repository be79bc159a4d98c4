"""Integer graph to placed work: views, lifetimes, addresses and waits, emitted through target/."""

from openbpu.schedule.options import Options
from openbpu.schedule.order import frugal
from openbpu.schedule.scheduler import Draft, Scheduler, schedule
from openbpu.schedule.stripes import PaddingError

__all__ = ["Draft", "Options", "PaddingError", "Scheduler", "frugal", "schedule"]
