"""What vLLM's examples import from `vllm.utils`, where `vllm` has become `jaxembed`."""

from jaxembed.vllm.utils import FlexibleArgumentParser

__all__ = ["FlexibleArgumentParser"]
