"""Quantisation-aware training; every test here needs the extra `qat`."""

import os

import pytest

if "OPENBPU_REQUIRE_ALL" not in os.environ:
    pytest.importorskip("torch", reason="extra not installed: pip install 'openbpu[qat]'")
