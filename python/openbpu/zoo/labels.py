"""Class names of ImageNet-1k."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def imagenet_labels() -> tuple[str, ...]:
    """The 1000 class names in index order."""
    return tuple((files("openbpu.zoo") / "imagenet_labels.txt").read_text(encoding="utf-8").splitlines())
