"""The parameters of a model, read from a checkpoint and put on devices."""
