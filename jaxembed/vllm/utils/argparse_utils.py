"""The parser of vLLM's examples under its own name."""

from jaxembed.vllm.engine_args import FlexibleArgumentParser

__all__ = ["FlexibleArgumentParser"]
