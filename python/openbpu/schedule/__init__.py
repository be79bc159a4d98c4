"""Integer graph to placed work: views, lifetimes, addresses and waits, emitted through target/."""

from openbpu.schedule.options import Options
from openbpu.schedule.order import frugal
from openbpu.schedule.scheduler import Draft, Scheduler, schedule

__all__ = ["Draft", "Options", "Scheduler", "frugal", "schedule"]
