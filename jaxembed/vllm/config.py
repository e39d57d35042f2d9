"""`PoolerConfig` under the name of vLLM's module."""

from jaxembed.vllm.params import PoolerConfig

__all__ = ["PoolerConfig"]
