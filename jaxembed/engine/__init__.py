"""Runs rows of texts on a device, from a queue or a stream. Knows nothing about where a model comes from."""
