"""What the stages share: quantisation parameters, the integer graph, target profiles, the executable."""
