"""Lowering and scheduling under test: QDQ models to build, the oracle as executor of integer graphs, the comparison."""
