"""Writing files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from openbpu.errors import OpenBpuError


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `data` to a temporary name beside `path`, then renames it: readers see the old file or the new one.

    Missing parent folders are made. Raises OpenBpuError naming the path if it can't be written; nothing is left behind.
    """
    target = Path(path)
    temporary = ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(21, "is a folder")
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(target)
    except OSError as error:
        _remove(temporary)
        raise OpenBpuError(
            "the output file must be writable", where=str(target), seen=error.strerror, remedy="choose another path"
        ) from error
    except BaseException:
        _remove(temporary)
        raise


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises the OpenBpuError that `write_file` would raise, before the work: changes nothing."""
    target = Path(path)
    folder = next(p for p in (target.parent, *target.parent.parents) if p.exists() or p == p.parent)
    seen = ""
    if target.is_dir():
        seen = "is a folder"
    elif not folder.is_dir():
        seen = f"{folder} is a file"
    elif not os.access(folder, os.W_OK | os.X_OK):
        seen = f"{folder} is read-only"
    if seen:
        raise OpenBpuError(
            "the output file must be writable", where=str(target), seen=seen, remedy="choose another path"
        )


def _remove(temporary: str) -> None:
    if temporary:
        Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
