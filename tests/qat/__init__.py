"""Quantisation-aware training; every test here needs the extra `qat`."""

import needs

needs.module("torch", "extra not installed: pip install 'openbpu[qat]'")
