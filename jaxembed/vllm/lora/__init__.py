"""Adapters under the names of vLLM's modules."""
