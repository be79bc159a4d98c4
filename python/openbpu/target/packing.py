"""Constants in the layouts of the file (csrc/isa/formats.def).

Each function returns the bytes and the dims of its format, and raises ExecutableError for a value that does not fit.
"""

from __future__ import annotations

import numpy as np

from openbpu.target.records import RECORDS, fitting


def conv_weights(weight: np.ndarray, groups: int = 1) -> tuple[bytes, tuple[int, ...]]:
    """CONV_WEIGHTS and its dims from int8 [co, kh, kw, ci / groups]."""
    co, kh, kw, ci = weight.shape
    per_group = co // groups
    padded = np.zeros((groups, -(-per_group // 16) * 16, kh * kw, -(-ci // 4) * 4), np.int8)
    padded[:, :per_group, :, :ci] = fitting(weight, np.int8, "weights").reshape(groups, per_group, kh * kw, ci)
    blocks = padded.reshape(groups, padded.shape[1] // 16, 16, kh * kw, padded.shape[3] // 4, 4)
    return blocks.transpose(0, 1, 3, 4, 2, 5).tobytes(), (groups, per_group, kh * kw, ci)


def depthwise_weights(weight: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    """DW_WEIGHTS and its dims from int8 [c, kh, kw]."""
    c, kh, kw = weight.shape
    padded = np.zeros((-(-c // 16) * 16, kh * kw), np.int8)
    padded[:c] = fitting(weight, np.int8, "weights").reshape(c, kh * kw)
    return padded.reshape(-1, 16, kh * kw).transpose(0, 2, 1).tobytes(), (c, kh * kw)


def rq8(B: np.ndarray, m: np.ndarray, s: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    """RQ8 and its dims from per-channel B (int32), m (int16) and s (uint8)."""
    count = len(B)
    extra = (0, -count % 16)
    parts = (
        np.pad(fitting(B, np.int32, "B"), extra),
        np.pad(fitting(m, np.int16, "m"), extra, constant_values=16384),
        np.pad(fitting(s, np.uint8, "s"), extra),
    )
    return b"".join(part.tobytes() for part in parts), (count,)


def rq16(bias: np.ndarray, m: np.ndarray, sh: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    """RQ16 and its dims from bias (int64), m (int32) and sh, one entry or one per channel."""
    return _records("Rq16Entry", bias=bias, m=m, sh=sh)


def pool(m: np.ndarray, sh: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    """POOL and its dims from m and sh, one entry or one per number of taps."""
    return _records("PoolEntry", m=m, sh=sh)


def resize(index: np.ndarray, weight: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    """RESIZE and its dims from source indices [n, 2] and weights [n, 2] that sum to 2048."""
    return _records("ResizeEntry", i0=index[:, 0], i1=index[:, 1], w0=weight[:, 0], w1=weight[:, 1])


def resize16(index: np.ndarray, weight: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    """RESIZE16 and its dims from source indices [n, 2] and weights [n, 2] that sum to 2^20."""
    return _records("Resize16Entry", i0=index[:, 0], i1=index[:, 1], w0=weight[:, 0], w1=weight[:, 1])


def lut8(table: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    """LUT8 and its dims from int8 [256], index = value + 128."""
    return fitting(table, np.int8, "LUT8").tobytes(), (256,)


def ranks(first: np.ndarray, second: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    """RANKS and its dims from int16 [256] for each operand, index = value + 128."""
    return fitting(np.concatenate([first, second]), np.int16, "RANKS").tobytes(), (512,)


def ratio(table: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    """RATIO and its dims from int64 [256], index = value of the divisor + 128."""
    return fitting(table, np.int64, "RATIO").tobytes(), (256,)


def lut16(table: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    """LUT16 and its dims from int16 [2^k + 1]."""
    return fitting(table, np.int16, "LUT16").tobytes(), (len(table),)


def exp16(table: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    """EXP16 and its dims from uint16 [2^k + 1]."""
    return fitting(table, np.uint16, "EXP16").tobytes(), (len(table),)


def exp(table: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    """EXP and its dims from uint16 [256], index = distance from the maximum."""
    return fitting(table, np.uint16, "EXP").tobytes(), (256,)


def norm(b: np.ndarray, g: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    """NORM and its dims from per-channel b (int32) and g (int16)."""
    extra = (0, -len(b) % 16)
    parts = (np.pad(fitting(b, np.int32, "b"), extra), np.pad(fitting(g, np.int16, "g"), extra))
    return b"".join(part.tobytes() for part in parts), (len(b),)


def norm16(b: np.ndarray, g: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    """NORM16 and its dims from per-channel b (int64) and g (int32)."""
    extra = (0, -len(b) % 16)
    parts = (np.pad(fitting(b, np.int64, "b"), extra), np.pad(fitting(g, np.int32, "g"), extra))
    return b"".join(part.tobytes() for part in parts), (len(b),)


def csc(m: np.ndarray, b: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    """CSC and its dims from m (int16) [c, 3], b (int32), lo and hi (int16) per channel."""
    return _records("CscEntry", m=m, b=b, lo=lo, hi=hi)


def _records(name: str, **columns: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    count = len(next(iter(columns.values())))
    array = np.zeros(count, RECORDS[name])
    for field, values in columns.items():
        array[field] = fitting(values, array.dtype[field].base, f"{name}.{field}")
    return array.tobytes(), (count,)
