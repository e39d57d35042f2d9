"""Bytes on a disk: safetensors, what torch.save writes, JSON. Knows nothing about models."""
