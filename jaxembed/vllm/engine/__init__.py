"""The arguments of `LLM` under the names of vLLM's modules."""
