"""Do the samples look like what the recipe says? Range, layout and order of channels, judged by their statistics."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from openbpu.errors import SampleWarning
from openbpu.preprocess.recipe import Recipe

Array = np.ndarray[Any, np.dtype[Any]]
_MOST_VALUES = 4096  # of a channel and sample
_LEAST_IMAGES = 16  # below that, nothing is said about averages
_STANDARD_ERRORS = 3.0
_LEVELS = 5.0  # of 255: a difference of averages that counts
_OTHERS: dict[str, tuple[Any, Any]] = {
    "pixels 0..255 as they are": (0.0, 1.0),
    "pixels / 255": (0.0, 1 / 255),
    "(pixel - 127.5) / 127.5": (127.5, 1 / 127.5),
    "(pixel - 127) / 128": (127.0, 1 / 128),
    "(pixel - 128) / 128": (128.0, 1 / 128),
    "ImageNet's mean and deviation, RGB": ((123.675, 116.28, 103.53), (1 / 58.395, 1 / 57.12, 1 / 57.375)),
    "ImageNet's mean and deviation, BGR": ((103.53, 116.28, 123.675), (1 / 57.375, 1 / 57.12, 1 / 58.395)),
}


class Watch:
    """Statistics of one image input, channel by channel."""

    def __init__(self, name: str, recipe: Recipe) -> None:
        self.name, self.recipe = name, recipe
        self.low, self.high = np.full(recipe.channels, np.inf), np.full(recipe.channels, -np.inf)
        self.means: list[Array] = []
        self.values: list[Array] = []  # a few of each sample, [channels, n]

    def see(self, value: Any) -> str:
        """Adds one sample; what is wrong with its layout, or ""."""
        try:
            array = np.asarray(value)
        except ValueError:
            return ""  # the reader of samples says what is wrong with it
        if array.ndim != 4 or array.dtype.kind not in "fiu":
            return ""
        axis, other = (1, 3) if self.recipe.layout == "NCHW" else (3, 1)
        if array.shape[axis] != self.recipe.channels:
            if array.shape[other] == self.recipe.channels:
                return f"shape {array.shape} is not {self.recipe.layout}, which the recipe says: transpose the samples"
            return ""
        channels = np.moveaxis(array, axis, 0).reshape(self.recipe.channels, -1)
        if not channels.size or (array.dtype.kind == "f" and not np.isfinite(channels).all()):
            return ""
        self.low, self.high = np.minimum(self.low, channels.min(1)), np.maximum(self.high, channels.max(1))
        self.means.append(channels.mean(1, dtype=np.float64))
        if len(self.values) < _LEAST_IMAGES:
            step = -(-channels.shape[1] // _MOST_VALUES)
            self.values.append(channels[:, ::step].astype(np.float64))
        return ""

    def findings(self) -> list[str]:
        """What does not fit the recipe, in sentences with numbers."""
        if not self.means:
            return []
        said = self._range()
        if said:
            return [said]
        order = self._order()
        return [order] if order else []

    def _range(self) -> str:
        low, high = self.recipe.bounds
        slack = (high - low) / 255
        inside = (self.low >= low - slack).all() and (self.high <= high + slack).all()
        spread = (self.high - self.low).max() / (high - low).max()
        seen = f"the samples lie in {_ranges(self.low, self.high)}, the recipe gives {_ranges(low, high)}"
        looks = "" if self._whole(self.recipe.means, self.recipe.scales) else self._looks_like()
        if looks:
            return f"{seen}; they look like {looks}"
        if not inside:
            return seen
        return f"{seen}: less than a sixteenth of the range" if spread < 1 / 16 else ""

    def _whole(self, mean: Any, scale: Any) -> bool:
        """Whether this normalisation made the values of whole numbers 0..255, several of them."""
        values = np.concatenate(self.values, 1)
        if np.size(mean) not in (1, len(values)):
            return False
        pixels = values / np.reshape(scale, (-1, 1)) + np.reshape(mean, (-1, 1))
        if pixels.min() < -0.5 or pixels.max() > 255.5 or pixels.max() - pixels.min() < 8:
            return False
        return bool((np.abs(pixels - np.round(pixels)) < 0.02).mean() > 0.98)

    def _looks_like(self) -> str:
        """Another normalisation under which the values are whole numbers 0..255."""
        recipe = self.recipe
        mean, scale = np.array(recipe.means), np.array(recipe.scales)
        own = {
            "the recipe with its channels in reverse order": (mean[::-1], scale[::-1]),
            "inputs that were normalised twice": (mean + mean / scale, scale * scale),
        }
        return next((name for name, other in (*_OTHERS.items(), *own.items()) if self._whole(*other)), "")

    def _order(self) -> str:
        """Photographs are redder than blue: in a hundred of ImageNet by 20 levels of 255."""
        if self.recipe.colour not in ("rgb", "bgr") or len(self.means) < _LEAST_IMAGES:
            return ""
        pixels = np.array(self.means) / self.recipe.scales + self.recipe.means
        red, blue = (0, 2) if self.recipe.colour == "rgb" else (2, 0)
        difference = pixels[:, blue] - pixels[:, red]
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        if difference.mean() <= max(_LEVELS, _STANDARD_ERRORS * error):
            return ""
        return (
            f"channel {red}, red in the recipe, is {pixels[:, red].mean():.1f} of 255 on average and channel {blue}, "
            f"blue, {pixels[:, blue].mean():.1f} over {len(pixels)} samples; photographs are redder than blue: "
            f"are the samples {'BGR' if self.recipe.colour == 'rgb' else 'RGB'}?"
        )


class Watched:
    """Samples that are looked at as they pass for the first time; warns (SampleWarning) at the end of that pass."""

    def __init__(self, samples: Iterable[Any], recipes: Mapping[str, Recipe]) -> None:
        self._samples = samples
        self._watches: dict[str, Watch] | None = {name: Watch(name, recipe) for name, recipe in recipes.items()}
        self._layouts: set[str] = set()
        iterator = iter(samples)
        self._once = iterator if iterator is samples else None

    def __iter__(self) -> Iterator[Any]:
        if self._once is not None:
            return self
        return iter(self._samples) if self._watches is None else self._first(iter(self._samples))

    def __next__(self) -> Any:
        assert self._once is not None
        try:
            sample = next(self._once)
        except StopIteration:
            self._finish()
            raise
        self._see(sample)
        return sample

    def _first(self, iterator: Iterator[Any]) -> Iterator[Any]:
        for sample in iterator:
            self._see(sample)
            yield sample
        self._finish()

    def _see(self, sample: Any) -> None:
        if self._watches is None:
            return
        for name, watch in self._watches.items():
            value = sample.get(name) if isinstance(sample, Mapping) else sample if len(self._watches) == 1 else None
            wrong = "" if value is None else watch.see(value)
            if wrong and name not in self._layouts:
                self._layouts.add(name)
                _warn(name, wrong)

    def _finish(self) -> None:
        watches, self._watches = self._watches, None
        for name, watch in (watches or {}).items():
            for finding in watch.findings():
                _warn(name, finding)


def look(samples: Iterable[Any], recipes: Mapping[str, Recipe]) -> list[str]:
    """What of the samples, read once, does not fit the recipes: sentences that name the input."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SampleWarning)
        for _ in Watched(samples, recipes):
            pass
    return [str(warning.message) for warning in caught if issubclass(warning.category, SampleWarning)]


def _warn(name: str, text: str) -> None:
    warnings.warn(f"input '{name}': {text}", SampleWarning, stacklevel=4)


def _ranges(low: Array, high: Array) -> str:
    parts = [f"{a:.4g} .. {b:.4g}" for a, b in zip(low, high, strict=True)]
    return parts[0] if len(set(parts)) == 1 else f"[{'; '.join(parts)}]"
