"""CSC beside OpenCV: nanoseconds per pixel, one thread, least of many runs, from nv12 to what a network takes.

    python -m bench.kernels.colour          # needs opencv-python-headless for its column

CSC gives normalised int8; OpenCV's cvtColor gives RGB bytes, which still have to be normalised and quantised.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import openbpu
from openbpu import _native
from openbpu.preprocess import InputSpec
from openbpu.runtime import Session

SIZES = ((224, 224), (640, 640), (1080, 1920))
RUNS = 60


def network(height: int, width: int) -> onnx.ModelProto:
    """Quantises its input, and nothing else."""
    shape = [1, 3, height, width]
    constants = [numpy_helper.from_array(np.float32(0.0186), "s"), numpy_helper.from_array(np.uint8(114), "z")]
    node = helper.make_node("QuantizeLinear", ["image", "s", "z"], ["q"])
    ports = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    graph = helper.make_graph([node], "colour", [ports], [helper.make_tensor_value_info("q", TensorProto.UINT8, shape)])
    graph.initializer.extend(constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def least(call: Callable[[], object]) -> float:
    """Nanoseconds of the fastest of RUNS calls."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return float(min(times))


def conversion(session: Session, frame: dict[str, np.ndarray]) -> float:
    """Nanoseconds of the CSC instruction in the fastest of RUNS runs."""
    return min(
        next(step.nanoseconds for step in session.profile(frame, runs=1).steps if step.op == "CSC") for _ in range(RUNS)
    )


def opencv(frame: dict[str, np.ndarray]) -> float:
    """Nanoseconds of cvtColorTwoPlane on one thread; NaN if OpenCV is not installed."""
    try:
        import cv2
    except ImportError:
        return float("nan")
    cv2.setNumThreads(1)
    luma, chroma = frame["image_y"][0, ..., 0], frame["image_uv"][0]
    return least(lambda: cv2.cvtColorTwoPlane(luma, chroma, cv2.COLOR_YUV2RGB_NV12))


def main() -> None:
    rng = np.random.default_rng(0)
    for height, width in SIZES:
        shape = (1, 3, height, width)
        cells = []
        for kind, layout in (("nv12", ""), ("rgb", "NHWC"), ("rgb", "NCHW")):
            spec = InputSpec(kind, "rgb", layout_rt=layout, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
            executable = openbpu.compile(network(height, width), inputs={"image": spec})
            frame = {
                p.name: rng.integers(-128, 128, p.shape).astype(np.int8).view(p.dtype)
                for p in spec.ports("image", shape)
            }
            for isa in _native.available_isas():
                if isa in ("avx512vnni", "avx2", "neon", "scalar"):
                    each = conversion(Session(executable, isa=isa), frame) / height / width
                    cells.append(f"{kind} {layout} {isa} {each:.3f}")
            if kind == "nv12":
                cells.append(f"OpenCV {opencv(frame) / height / width:.3f}")
        print(f"{height}x{width}: {', '.join(cells)} ns/pixel")


if __name__ == "__main__":
    main()
