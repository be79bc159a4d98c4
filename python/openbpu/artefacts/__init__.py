"""The files of a build against one another: stages on the same inputs, differences, pictures."""
