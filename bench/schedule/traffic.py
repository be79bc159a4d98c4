"""DDR traffic of programs for a small SRAM beside that of layer-by-layer programs, and what the compiler takes.

python -m bench.schedule.traffic [--sram 1 2] [--networks mobilenet_v2 ...] > table.md
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import onnx

from bench.models.network import Network
from bench.models.networks import NETWORKS
from openbpu import perf, pipeline
from openbpu.frontend import prepare_qdq
from openbpu.ir.profile import profile
from openbpu.lower import lower
from openbpu.runtime import Executable
from openbpu.schedule import Options, schedule

_MIB = 1 << 20


def unet(size: int = 256, width: int = 32, depth: int = 4) -> onnx.ModelProto:
    """Ronneberger et al. 2015 with same padding: two 3x3 convolutions per level, transposed convolutions, skips."""
    net = Network("unet", (1, 3, size, size))

    def double(x: str, out: int) -> str:
        return net.conv(net.conv(x, out, 3), out, 3)

    def upsample(x: str, out: int) -> str:
        weight = net.random.standard_normal((net.channels[x], out, 2, 2)) * 0.05
        return net.op(
            "ConvTranspose",
            x,
            net.constant(weight.astype(np.float32)),
            channels=out,
            kernel_shape=[2, 2],
            strides=[2, 2],
        )

    x, skips = double("image", width), []
    for level in range(1, depth + 1):
        skips.append(x)
        x = double(net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), width << level)
    for level in reversed(range(depth)):
        up = upsample(x, width << level)
        joined = net.op("Concat", up, skips[level], channels=2 * (width << level), axis=1)
        x = double(joined, width << level)
    return net.finish(net.conv(x, 2, act=None))


MODELS = {
    "mobilenet_v2": NETWORKS["mobilenet_v2"],
    "efficientnet_lite0": NETWORKS["efficientnet_lite0"],
    "resnet50": NETWORKS["resnet50"],
    "yolov5s_640": NETWORKS["yolov5s_640"],
    "unet": unet,
}


def quantised(model: onnx.ModelProto) -> onnx.ModelProto:
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    samples = [np.random.default_rng(0).standard_normal(shape).astype(np.float32)]
    return pipeline.quantize(model, samples, calibration="max", refinement=())


def _row(name: str, qdq: onnx.ModelProto, sram: int) -> str:
    graph = lower(prepare_qdq(qdq))
    target = replace(profile("nash-e"), sram_bytes=sram)
    start, spent = time.perf_counter(), time.process_time()
    data = schedule(graph, target, Options())
    seconds, cpu = time.perf_counter() - start, time.process_time() - spent
    report = perf.estimate(Executable.from_bytes(data), target)
    memory = Executable.from_bytes(data).meta["memory"]
    real, naive, ideal = memory["traffic_bytes"], memory["naive_traffic_bytes"], memory["ideal_traffic_bytes"]
    over = max(memory["over_percent"], memory["sram_over_percent"])
    return (
        f"| {name} | {sram / _MIB:g} | {naive / 1e6:.2f} | {real / 1e6:.2f} | {100 * (1 - real / naive):.0f} % | "
        f"{real / ideal:.2f} | {over:.1f} % | {report.latency_us / 1e3:.2f} | {seconds:.1f} ({cpu:.1f}) |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sram", type=float, nargs="+", default=[1, 2], metavar="MIB")
    parser.add_argument("--networks", nargs="+", choices=list(MODELS), default=list(MODELS))
    arguments = parser.parse_args()
    print("| network | SRAM, MiB | by layer, MB | scheduled, MB | saved | real / ideal | over bound | ms | s (CPU) |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in arguments.networks:
        qdq = quantised(MODELS[name]())
        for size in arguments.sram:
            print(_row(name, qdq, int(size * _MIB)), flush=True)


if __name__ == "__main__":
    main()
