"""What the networks of end_to_end.py look at: photographs, lines of text, sentences, sounds; all from pip packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from bench.accuracy import minilm
from bench.accuracy.text import half
from PIL import Image, ImageDraw, ImageFont

from openbpu import zoo

Feed = dict[str, np.ndarray]
Inputs = Callable[[int, int], Iterator[Feed]]  # count, seed


def photographs(name: str, size: tuple[int, int], scale: tuple[float, float], text: bool = False) -> Inputs:
    """Crops of photographs, BGR [1, 3, height, width], (x - shift) * factor; with `text` lines of it on them."""

    def make(count: int, seed: int) -> Iterator[Feed]:
        random = np.random.default_rng(seed)
        images = list(zoo.photographs().values())
        for index in range(count):
            crop = _crop(images[index % len(images)], size, random)
            if text:
                _write_on(crop, random, half(seed))
            yield {name: _pixels(crop, scale)}

    return make


def text_lines(name: str, size: tuple[int, int], scale: tuple[float, float]) -> Inputs:
    """Rendered lines of text, BGR [1, 3, height, width], padded with zeros on the right."""

    def make(count: int, seed: int) -> Iterator[Feed]:
        random = np.random.default_rng(seed)
        for _ in range(count):
            line = _line(random, size[0], half(seed))
            width = min(size[1], max(16, line.width * size[0] // line.height))
            array = np.zeros((1, 3, *size), np.float32)
            array[..., :width] = _pixels(line.resize((width, size[0])), scale)
            yield {name: array}

    return make


def sentences(vocabulary: dict[str, int], length: int) -> Inputs:
    """The sentences of text.py as word pieces."""

    def make(count: int, seed: int) -> Iterator[Feed]:
        random = np.random.default_rng(seed)
        for sentence in random.permutation(half(seed))[:count]:
            yield minilm.word_pieces(sentence, vocabulary, length)

    return make


def sounds(model: onnx.ModelProto, name: str, state: str, new_state: str) -> Inputs:
    """Windows of a voice-like sound with pauses, each with the state that the float model is in."""
    from bench.accuracy.end_to_end import float_session

    session = float_session(model)
    shapes = {info.name: [d.dim_value for d in info.type.tensor_type.shape.dim] for info in model.graph.input}
    outputs = [info.name for info in model.graph.output]

    def make(count: int, seed: int) -> Iterator[Feed]:
        random = np.random.default_rng(seed)
        length, context = shapes[name][-1] - 64, np.zeros(64, np.float32)
        held = np.zeros(shapes[state], np.float32)
        wave = _voice(random, 4 * count * length)
        for index in range(4 * count):
            window = wave[index * length : (index + 1) * length]
            feed = {name: np.concatenate([context, window])[None].astype(np.float32), state: held}
            if index % 4 == 3:
                yield feed
            results = dict(zip(outputs, session.run(outputs, feed), strict=True))
            held, context = results[new_state], window[-64:]

    return make


# ---- images


def _crop(image: Image.Image, size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    share = random.uniform(0.5, 1)
    width, height = (int(extent * share) for extent in image.size)
    left, top = (int(random.integers(0, e - c + 1)) for e, c in zip(image.size, (width, height), strict=True))
    return image.resize((size[1], size[0]), box=(left, top, left + width, top + height))


def _pixels(image: Image.Image, scale: tuple[float, float]) -> np.ndarray:
    bgr = np.asarray(image.convert("RGB"), np.float32)[..., ::-1]
    return np.ascontiguousarray(((bgr - scale[0]) * scale[1]).transpose(2, 0, 1)[None])


def _write_on(image: Image.Image, random: np.random.Generator, text: Sequence[str]) -> None:
    for _ in range(int(random.integers(2, 6))):
        line = _line(random, int(random.integers(16, 48)), text)
        left, top = (int(random.integers(0, max(1, extent - 40))) for extent in image.size)
        image.paste(line, (left, top))


def _line(random: np.random.Generator, height: int, sentences: Sequence[str]) -> Image.Image:
    words = str(random.choice(sentences)).split()
    first = int(random.integers(0, len(words)))
    text = " ".join(words[first : first + int(random.integers(1, 5))])[:32]
    font = ImageFont.truetype(str(random.choice(_fonts())), int(height * random.uniform(0.6, 0.8)))
    dark, light = (tuple(int(v) for v in random.integers(low, low + 90, 3)) for low in (0, 165))
    line = Image.new("RGB", (max(8, int(font.getlength(text)) + 8), height), light)
    ImageDraw.Draw(line).text((4, height // 2), text, dark, font, anchor="lm")
    return line


@cache
def _fonts() -> list[Path]:
    import matplotlib

    return sorted((Path(matplotlib.__file__).parent / "mpl-data/fonts/ttf").glob("DejaVuS*.ttf"))


# ---- sound


def _voice(random: np.random.Generator, count: int, rate: int = 16000) -> np.ndarray:
    """Vowels: harmonics of a gliding pitch under formants, syllable by syllable, with pauses and noise."""
    time = np.arange(count) / rate
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * time) + random.uniform(-20, 60)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    syllables = np.maximum(0, np.sin(2 * np.pi * 3.1 * time + random.uniform(0, 6))) * (
        np.sin(2 * np.pi * 0.35 * time) > -0.3
    )
    wave = np.zeros(count)
    for harmonic in range(1, 30):
        formants = sum(
            np.exp(-(((harmonic * pitch - centre * (1 + 0.2 * np.sin(2 * np.pi * 1.3 * time))) / 180) ** 2))
            for centre in (600, 1300, 2600)
        )
        wave += formants / harmonic**0.5 * np.sin(harmonic * phase)
    return 0.12 * wave * syllables + 0.003 * random.standard_normal(count)
