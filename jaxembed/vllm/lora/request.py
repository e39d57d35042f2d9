"""Adapters, which can be named and not used."""

from jaxembed.vllm.inputs import LoRARequest

__all__ = ["LoRARequest"]
