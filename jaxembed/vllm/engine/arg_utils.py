"""The arguments of `LLM` as an object."""

from jaxembed.vllm.engine_args import EngineArgs

__all__ = ["EngineArgs"]
