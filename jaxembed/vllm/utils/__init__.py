"""What vLLM's examples import from `vllm.utils`."""

from jaxembed.vllm.engine_args import FlexibleArgumentParser

__all__ = ["FlexibleArgumentParser"]
