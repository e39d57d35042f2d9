"""`PoolingParams` under the name of vLLM's module."""

from jaxembed.vllm.params import PoolingParams

__all__ = ["PoolingParams"]
