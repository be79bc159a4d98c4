"""The law of docs/numerics.md in plain integers: slow, obvious, and sharing no code with openbpu.

`derive` turns real scales into the integer parameters of an instruction (what a compiler does), `mac`, `vec`, `window`
and `ports` execute instructions on numpy arrays. Activations are int8 arrays [n, h, w, c]. Every intermediate is an
int64 or a Python integer, and every bound that the law promises is asserted where it is used: a broken promise raises
OverflowError instead of wrapping.
"""
