"""Products and triangular factors whose bits do not depend on who computes them, nor on how many threads.

BLAS sums in another order when it has another number of threads, LAPACK takes other steps altogether, and a weight that
lies between two levels then goes to another one. Sums of whole numbers are the same in any order as long as none is
rounded: so the rows of one operand and the columns of the other are rounded to 22 bits, of which 512 products fit a
float64, and longer sums are added up part by part. That is about the precision of float32, which is enough here.
"""

from __future__ import annotations

import numpy as np

BLOCK = 128
_EXACT = 1 << 24  # whole numbers up to here are exact in float32
_FEWEST_ROWS = 128  # that float32 is worth it for
_BITS, _TERMS = 22, 512  # 2 * 22 bits and 9 for the sum: the 53 of a float64


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b for float64 matrices [..., m, k] and [..., k, n]."""
    result = np.zeros((*a.shape[:-1], b.shape[-1]))
    for start in range(0, a.shape[-1], _TERMS):
        left, rows = _integers(a[..., start : start + _TERMS], -1)
        right, columns = _integers(b[..., start : start + _TERMS, :], -2)
        part = left @ right
        part *= rows
        part *= columns
        result += part
    return result


def add_whole_product(total: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Adds a^T b to float64 [..., k, n], exactly; a [..., rows, k], b [..., rows, n] are whole numbers in float32."""
    largest = _magnitude(a)
    together = int(_EXACT // (largest * (largest if b is a else _magnitude(b))))
    if together < _FEWEST_ROWS:  # int16
        a, b, together = a.astype(np.float64), b.astype(np.float64), a.shape[-2]
    for start in range(0, a.shape[-2], together):
        rows = slice(start, start + together)
        total += a[..., rows, :].swapaxes(-1, -2) @ b[..., rows, :]


def _magnitude(x: np.ndarray) -> float:
    """The largest, 1 at least; without a copy, as np.abs would make one."""
    return max(float(x.max(initial=1.0)), -float(x.min(initial=-1.0)))


def _integers(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers of at most 22 bits, and the powers of two by which they are to be multiplied."""
    largest = np.maximum(x.max(axis=axis, keepdims=True, initial=0), -x.min(axis=axis, keepdims=True, initial=0))
    exponent = np.maximum(np.frexp(largest)[1], _BITS - 1023)  # of which the reciprocal is finite
    whole = x * np.ldexp(1.0, _BITS - exponent)
    return np.rint(whole, out=whole), np.ldexp(1.0, exponent - _BITS)


def lower_factor(matrix: np.ndarray) -> np.ndarray:
    """L of L L^T for symmetric float64 matrices [..., k, k], in their place.

    Raises numpy.linalg.LinAlgError unless they are positive definite.
    """
    rest, k = matrix, matrix.shape[-1]
    for start in range(0, k, BLOCK):
        end = min(start + BLOCK, k)
        _factor_block(rest[..., start:end, start:end])
        if end == k:
            break
        inverse = _inverted_block(rest[..., start:end, start:end].swapaxes(-1, -2))
        panel = product(rest[..., end:, start:end], inverse)
        rest[..., end:, start:end] = panel
        for column in range(end, k, BLOCK):  # the half that is read
            rows = panel[..., column - end :, :]
            rest[..., column:, column : column + BLOCK] -= product(rows, rows[..., :BLOCK, :].swapaxes(-1, -2))
    for start in range(0, k, BLOCK):  # numpy.tril would make another matrix
        end = min(start + BLOCK, k)
        rest[..., start:end, end:] = 0
        rest[..., start:end, start:end] = np.tril(rest[..., start:end, start:end])
    return rest


def solved(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    """B (L L^T)^-1 for L [..., k, k] and B [..., m, k], block by block forwards and backwards."""
    x, k = np.array(right), lower.shape[-1]
    blocks = [slice(start, min(start + BLOCK, k)) for start in range(0, k, BLOCK)]
    inverses = [_inverted_block(lower[..., here, here].swapaxes(-1, -2)) for here in blocks]  # of L^T
    for here, inverse in zip(blocks, inverses, strict=True):
        x[..., here] -= product(x[..., : here.start], lower[..., here, : here.start].swapaxes(-1, -2))
        x[..., here] = product(x[..., here], inverse)
    for here, inverse in zip(blocks[::-1], inverses[::-1], strict=True):
        x[..., here] -= product(x[..., here.stop :], lower[..., here.stop :, here])
        x[..., here] = product(x[..., here], inverse.swapaxes(-1, -2))
    return x


def inverted_upper(upper: np.ndarray) -> np.ndarray:
    """The inverse of upper triangular matrices [..., k, k], in their place.

    Block by block: an eighth of the work of a general one.
    """
    k = upper.shape[-1]
    if k <= BLOCK:
        upper[...] = _inverted_block(upper)
        return upper
    half = k // 2
    first, last = inverted_upper(upper[..., :half, :half]), inverted_upper(upper[..., half:, half:])
    upper[..., :half, half:] = -product(first, product(upper[..., :half, half:], last))
    return upper


def _factor_block(block: np.ndarray) -> None:
    """Cholesky's factor in place of the lower half, column by column."""
    for j in range(block.shape[-1]):
        pivot = block[..., j, j]
        if not (pivot > 0).all():
            raise np.linalg.LinAlgError("the matrix is not positive definite")
        block[..., j:, j] /= np.sqrt(pivot)[..., None]
        below = block[..., j + 1 :, j]
        block[..., j + 1 :, j + 1 :] -= below[..., :, None] * below[..., None, :]


def _inverted_block(upper: np.ndarray) -> np.ndarray:
    """From the last row up: row i of the inverse is that of the identity less what the rows below make of it."""
    k = upper.shape[-1]
    result = np.zeros(upper.shape)
    for i in range(k - 1, -1, -1):
        behind = np.einsum("...j,...jk->...k", upper[..., i, i + 1 :], result[..., i + 1 :, :])
        result[..., i, :] = -behind
        result[..., i, i] += 1
        result[..., i, :] /= upper[..., i, i, None]
    return result
