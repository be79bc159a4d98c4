"""The commands of the vendor's toolchain, each a thin alias over `openbpu.workflow` and `openbpu.pipeline`."""

from __future__ import annotations

import importlib


def _start(module: str, name: str) -> None:
    from openbpu.cli.running import run

    run(importlib.import_module(f"openbpu.cli.vendor.{module}").command, name)


def hb_compile() -> None:
    """Runs hb_compile and exits."""
    _start("compile", "hb_compile")


def hb_config_generator() -> None:
    """Runs hb_config_generator and exits."""
    _start("config_generator", "hb_config_generator")


def hb_model_info() -> None:
    """Runs hb_model_info and exits."""
    _start("model_info", "hb_model_info")


def hb_eval_preprocess() -> None:
    """Runs hb_eval_preprocess and exits."""
    _start("eval_preprocess", "hb_eval_preprocess")


def hb_verifier() -> None:
    """Runs hb_verifier and exits."""
    _start("verifier", "hb_verifier")


def hb_analyzer() -> None:
    """Runs hb_analyzer and exits."""
    _start("analyzer", "hb_analyzer")
