"""Weights from Hugging Face checkpoints into Flax modules; knows nothing about engines, texts or servers."""
