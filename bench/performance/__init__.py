"""The estimate of `openbpu perf` against public figures."""
