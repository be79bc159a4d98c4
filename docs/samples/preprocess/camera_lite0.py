"""EfficientNet-Lite0 on photographs, once as RGB and once as the nv12 frames of a camera.

The network is calibrated on random crops through its recipe, compiled twice, and run on the same photographs. Two
cosines of the logits are shown: against those of the photograph before it became nv12, in which four pixels share their
colour, and against those of the same nv12 pixels, converted on the host.

    python docs/samples/preprocess/camera_lite0.py [--crops 24] [--save net.bpux]
"""

from __future__ import annotations

import argparse

import numpy as np

import openbpu
from openbpu import zoo
from openbpu.preprocess import recipe
from openbpu.preprocess.colour import nv12_to_rgb
from openbpu.runtime import Session
from openbpu.zoo.images import crops


def similar(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of two vectors."""
    x, y = (v.astype(np.float64).ravel() for v in (a, b))
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, default=24, help="calibration crops")
    parser.add_argument("--save", help="write the executable that takes nv12")
    options = parser.parse_args()

    lite0 = recipe("efficientnet_lite0")
    qdq = openbpu.quantize(zoo.efficientnet_lite0(), crops(options.crops), preprocess=lite0)
    rgb = Session(openbpu.compile(qdq))
    camera = Session(openbpu.compile(qdq, inputs={"image": "nv12"}))
    if options.save:
        camera.executable.save(options.save)

    spec, labels = camera.executable.cameras["image"], zoo.imagenet_labels()
    print(f"{'photograph':16} {'RGB':24} {'nv12':24} {'cosine':>8} {'same pixels':>11}")
    for name, photograph in zoo.photographs().items():
        pixels = lite0.pixels(photograph)
        frame = spec.frame("image", pixels)  # what a camera would deliver: planes y and uv
        seen = nv12_to_rgb(frame["image_y"][0, ..., 0], frame["image_uv"][0])  # as RGB again, on the host
        of_rgb, of_camera, of_seen = (
            rgb.run(lite0.normalise(pixels))["logits"],
            camera.run(frame)["logits"],
            rgb.run(lite0.normalise(seen))["logits"],
        )
        best = [labels[int(np.argmax(logits))][:24] for logits in (of_rgb, of_camera)]
        cosines = f"{similar(of_rgb, of_camera):8.4f} {similar(of_seen, of_camera):11.5f}"
        print(f"{name:16} {best[0]:24} {best[1]:24} {cosines}")


if __name__ == "__main__":
    main()
