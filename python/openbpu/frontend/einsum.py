"""Einsum of one or two tensors as transpositions around a matrix product, an element-wise product or a sum."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from openbpu.frontend.writing import NodeWriter


def write_einsum(
    write: NodeWriter,
    equation: str,
    names: Sequence[str],
    shapes: Sequence[Sequence[int]],
    constants: Sequence[np.ndarray | None],
    output: str,
) -> bool:
    """Writes the nodes; False, and nothing is written, for ellipses, repeated labels and more than two operands."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if "." in equation or len(terms) != len(names) or len(names) > 2 or not terms[0]:
        return False
    if any(len(set(term)) != len(term) or len(term) != len(s) for term, s in zip(terms, shapes, strict=True)):
        return False
    joined = "".join(terms)
    if not arrow:
        result = "".join(sorted(label for label in set(joined) if joined.count(label) == 1))
    if len(set(result)) != len(result) or not set(result) <= set(joined):
        return False
    sizes = {
        label: extent for term, s in zip(terms, shapes, strict=True) for label, extent in zip(term, s, strict=True)
    }
    operands = [_Operand(write, *each) for each in zip(names, terms, constants, strict=True)]
    for operand, others in zip(operands, (terms[1:], terms[:1]), strict=False):
        operand.sum_over("".join(label for label in operand.labels if label not in result + "".join(others)))
    if len(operands) == 1:
        operands[0].ordered(result, output)
        return True
    if constants[0] is not None:
        operands.reverse()
    a, b = operands
    shared = [label for label in a.labels if label in b.labels]
    batch = "".join(label for label in shared if label in result)
    inner = "".join(label for label in shared if label not in result)
    rows = "".join(label for label in a.labels if label not in shared)
    columns = "".join(label for label in b.labels if label not in shared)

    def extents(*labels: str) -> list[int]:
        return [prod(sizes[label] for label in group) for group in labels]

    def each(labels: str) -> list[int]:
        return [sizes[label] for label in labels]

    if inner:
        lead = [batch] if batch else []
        left_matrix = a.shaped(batch + rows + inner, extents(*lead, rows, inner))
        right_matrix = b.shaped(batch + inner + columns, extents(*lead, inner, columns))
        product = write.op("MatMul", left_matrix, right_matrix)
    else:
        wide = a.shaped(batch + rows, [*each(batch + rows), *[1] * len(columns)])
        long = b.shaped(batch + columns, [*each(batch), *[1] * len(rows), *each(columns)])
        product = write.op("Mul", wide, long)
    labels = batch + rows + columns
    _Operand(write, write.shaped(product, each(labels)), labels).ordered(result, output)
    return True


class _Operand:
    """A tensor with one label per dimension; a constant is rearranged at once."""

    def __init__(self, write: NodeWriter, name: str, labels: str, array: np.ndarray | None = None) -> None:
        self.write, self.name, self.labels, self.array = write, name, labels, array

    def sum_over(self, labels: str) -> None:
        if not labels:
            return
        axes = [self.labels.index(label) for label in labels]
        if self.array is not None:
            self.array = np.asarray(self.array.sum(axis=tuple(axes)))
        else:
            self.name = self.write.op("ReduceSum", self.name, self.write.constant(np.array(axes, np.int64)), keepdims=0)
        self.labels = "".join(label for label in self.labels if label not in labels)

    def ordered(self, labels: str, output: str) -> None:
        """Writes the tensor with its dimensions in this order to `output`."""
        if not labels:
            self.write.op("Identity", self.name, output=output)
            return
        self.write.op("Transpose", self.name, output=output, perm=self._perm(labels))

    def shaped(self, labels: str, shape: Sequence[int]) -> str:
        """The tensor with its dimensions in this order, under another shape."""
        perm = self._perm(labels)
        if self.array is not None:
            return self.write.constant(self.array.transpose(perm).reshape(shape))
        name = self.name if perm == sorted(perm) else self.write.op("Transpose", self.name, perm=perm)
        return self.write.shaped(name, shape)

    def _perm(self, labels: str) -> list[int]:
        return [self.labels.index(label) for label in labels]
