"""Block-wise reconstruction: weights, biases and scales learned so that each block's output is that of the float block.

`walk.Reconstruction` is the step; start reading there. What imports torch is imported when the step is taken.
"""
