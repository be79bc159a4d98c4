"""Programs for the virtual BPU whose results the oracle knows."""
