"""From the name of a model to what it says and to its weights. Executes no code of a checkpoint."""
