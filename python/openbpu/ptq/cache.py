"""Statistics that survive an interruption: what was gathered over the first samples, kept in a folder and checked.

An entry belongs to a model, a stage and its options (they are in its name) and to the samples it has seen (their digest
is inside). It is used only if its checksum holds and the samples of this run begin with the same bytes; then the work
goes on behind them. Anything else is gathered anew.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import onnx

from openbpu import __version__
from openbpu.errors import ConfigError, ModelWarning, OpenBpuError
from openbpu.files import write_file
from openbpu.ptq.samples import Feed

_EVERY = 4  # samples between two writes
_CHECKSUM = 32  # bytes of SHA-256 in front of an entry

State = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Entry:
    done: int  # samples seen
    digest: str  # of their bytes
    state: State


class StatisticsCache:
    """Entries in `folder`; without one nothing is kept. Raises ConfigError if `folder` is a file."""

    def __init__(self, folder: str | PathLike[str] | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None and self.folder.exists() and not self.folder.is_dir():
            raise ConfigError("the cache is a folder", where="cache", seen=f"the file {self.folder}")

    def fold(
        self,
        stage: str,
        model: onnx.ModelProto,
        options: object,
        samples: Iterable[Feed],
        state: State,
        step: Callable[[Feed], None],
        seen: Callable[[int], None],
    ) -> None:
        """Calls `step` for each sample, which changes the arrays of `state` in place; skips what an entry has done.

        `options` is all that the result depends on besides model and samples; `seen` is told the number of samples.
        """
        path = self._path(stage, model, options)
        entry = self._load(path, state)
        if entry is None or not self._go_on(path, entry, samples, state, step, seen):
            self._go_on(path, None, samples, state, step, seen)

    def _go_on(
        self,
        path: Path | None,
        entry: _Entry | None,
        samples: Iterable[Feed],
        state: State,
        step: Callable[[Feed], None],
        seen: Callable[[int], None],
    ) -> bool:
        """False, with nothing changed, if the samples are not those of the entry."""
        digest, skipped, done = hashlib.sha256(), entry.done if entry else 0, 0
        for done, feed in enumerate(samples, 1):
            if path is not None:
                _update(digest, feed)
            if done > skipped:
                step(feed)
                if path is not None and done % _EVERY == 0:
                    self._save(path, _Entry(done, digest.hexdigest(), state))
            elif done == skipped and entry is not None:
                if digest.hexdigest() != entry.digest:
                    return False
                for name, array in entry.state.items():
                    state[name][...] = array
            seen(done)
        if done < skipped:
            return False
        if path is not None and done % _EVERY and done > skipped:
            self._save(path, _Entry(done, digest.hexdigest(), state))
        return True

    def _path(self, stage: str, model: onnx.ModelProto, options: object) -> Path | None:
        if self.folder is None:
            return None
        key = hashlib.sha256(model.SerializeToString(deterministic=True))
        key.update(json.dumps([__version__, stage, options], sort_keys=True).encode())
        return self.folder / f"{stage}-{key.hexdigest()[:32]}.statistics"

    @staticmethod
    def _load(path: Path | None, state: State) -> _Entry | None:
        """The entry; None if there is none, or none that is whole and has the arrays of `state`."""
        try:
            data = path.read_bytes() if path is not None else b""
            if len(data) <= _CHECKSUM or hashlib.sha256(data[_CHECKSUM:]).digest() != data[:_CHECKSUM]:
                return None
            with np.load(io.BytesIO(data[_CHECKSUM:]), allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in arrays.files}
            done, digest = json.loads(bytes(found.pop("/seen")))
        except (OSError, ValueError, KeyError, EOFError):
            return None
        fits = found.keys() == state.keys() and all(
            found[name].shape == array.shape and found[name].dtype == array.dtype for name, array in state.items()
        )
        return _Entry(int(done), str(digest), found) if fits else None

    def _save(self, path: Path, entry: _Entry) -> None:
        buffer = io.BytesIO()
        seen = np.frombuffer(json.dumps([entry.done, entry.digest]).encode(), np.uint8)
        np.savez(buffer, **entry.state, **{"/seen": seen})  # type: ignore[arg-type]
        data = buffer.getvalue()
        try:
            write_file(path, hashlib.sha256(data).digest() + data)
        except OpenBpuError as error:
            warnings.warn(f"calibration goes on without its cache: {error}", ModelWarning, stacklevel=2)
            self.folder = None


def _update(digest: hashlib._Hash, feed: Feed) -> None:
    for name, array in feed.items():
        digest.update(f"{name} {array.dtype} {array.shape};".encode())
        digest.update(array.tobytes())
