"""Preprocessing: what turns a photograph or a camera frame into the input of a network."""

from openbpu.preprocess.camera import LEGAL, InputSpec, PortSpec
from openbpu.preprocess.families import FAMILIES, recipe
from openbpu.preprocess.geometry import CenterCrop, CenterResize, Letterbox, Resize, ShortSide, Step
from openbpu.preprocess.images import ImageFolder
from openbpu.preprocess.recipe import Recipe

__all__ = [
    "FAMILIES",
    "LEGAL",
    "CenterCrop",
    "CenterResize",
    "ImageFolder",
    "InputSpec",
    "Letterbox",
    "PortSpec",
    "Recipe",
    "Resize",
    "ShortSide",
    "Step",
    "recipe",
]
