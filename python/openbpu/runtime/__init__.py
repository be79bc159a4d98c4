"""Executables and sessions: runs compiled programs; imports numpy and the native module only.

Deployed programs start with this import, so it loads nothing that only some calls need; those calls import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openbpu.runtime.executable import Executable, Port
from openbpu.runtime.session import Schedule, Session

if TYPE_CHECKING:
    from openbpu.runtime.profile import Explanation, Profile

__all__ = ["Executable", "Explanation", "Port", "Profile", "Schedule", "Session"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'openbpu.runtime' has no attribute {name!r}")
    from openbpu.runtime import profile

    return getattr(profile, name)
