"""Damaged ONNX models: bytes changed, and fields of the messages changed so that the file still is protobuf."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Random = np.random.Generator
_NUMBERS = (0, 1, 2, 3, -1, -2, 7, 255, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, -(2**63), 2**63 - 1)
_INTEGERS = (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_ENUM,
             FieldDescriptor.TYPE_UINT64)  # fmt: skip


def bytes_damaged(data: bytes, random: Random) -> bytes:
    """A file with some bytes changed, cut out, repeated or cut off."""
    damaged = bytearray(data)
    for _ in range(int(random.integers(1, 4))):
        at, length = int(random.integers(0, len(damaged))), int(random.integers(1, 64))
        kind = random.integers(0, 6)
        if kind <= 1:
            damaged[at] ^= int(random.integers(1, 256))
        elif kind == 2:
            damaged[at : at + length] = random.integers(0, 256, length, np.uint8).tobytes()
        elif kind == 3:
            del damaged[at : at + length]
        elif kind == 4:
            damaged[at:at] = damaged[at : at + length]
        else:
            del damaged[max(1, at) :]
    return bytes(damaged)


def fields_damaged(model: onnx.ModelProto, random: Random) -> onnx.ModelProto:
    """A model with some fields set to other values: of the same kind elsewhere in it, extreme ones, or none."""
    damaged = onnx.ModelProto()
    damaged.CopyFrom(model)
    for _ in range(int(random.integers(1, 4))):
        messages = list(_messages(damaged))
        message = messages[int(random.integers(len(messages)))]
        fields = message.ListFields() if random.integers(4) else [(f, None) for f in message.DESCRIPTOR.fields]
        if fields:
            field = fields[int(random.integers(len(fields)))][0]
            _change(message, field, _names(damaged), random)
    return damaged


def _messages(message: Message) -> Iterator[Message]:
    """A message and all those in it."""
    yield message
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in value if _repeated(field) else (value,):
                yield from _messages(inner)


def _repeated(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def _names(model: onnx.ModelProto) -> list[str]:
    nodes = model.graph.node
    return ["", "x", *(name for node in nodes for name in (*node.input, *node.output)), *(n.op_type for n in nodes)]


def _change(message: Message, field: FieldDescriptor, names: list[str], random: Random) -> None:
    if _repeated(field):
        _change_list(getattr(message, field.name), field, names, random)
    elif field.type == FieldDescriptor.TYPE_MESSAGE or random.integers(5) == 0:
        message.ClearField(field.name)
    else:
        _set(message, field, _value(field, names, random))


def _set(message: Message, field: FieldDescriptor, value: Any) -> None:
    try:
        setattr(message, field.name, value)
    except (ValueError, TypeError):  # out of the range of the field
        message.ClearField(field.name)


def _change_list(items: Any, field: FieldDescriptor, names: list[str], random: Random) -> None:
    kind, count = random.integers(4), len(items)
    at = int(random.integers(count)) if count else 0
    if count and kind == 0:
        del items[at]
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        if count and kind == 1:
            items.add().CopyFrom(items[at])
        elif count > 1:
            items[at].CopyFrom(items[int(random.integers(count))])
        else:
            items.add()
    else:
        value = _value(field, names, random)
        try:
            if count and kind < 3:
                items[at] = value
            else:
                items.append(value)
        except (ValueError, TypeError):
            del items[:]


def _value(field: FieldDescriptor, names: list[str], random: Random) -> Any:
    if field.type in _INTEGERS:
        return _NUMBERS[int(random.integers(len(_NUMBERS)))]
    if field.type == FieldDescriptor.TYPE_STRING:
        return names[int(random.integers(len(names)))]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return random.integers(0, 256, int(random.integers(0, 40)), np.uint8).tobytes()
    return (0.0, -1.0, 1e30, float("nan"), float("inf"))[int(random.integers(5))]
