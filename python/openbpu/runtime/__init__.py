"""Executables and sessions: runs compiled programs; imports numpy and the native module only."""

from openbpu.runtime.executable import Executable, Port
from openbpu.runtime.profile import Explanation, Profile
from openbpu.runtime.session import Session

__all__ = ["Executable", "Explanation", "Port", "Profile", "Session"]
