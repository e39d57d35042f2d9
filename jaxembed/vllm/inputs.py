"""What vLLM's callers write prompts and adapters in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict


class TextPrompt(TypedDict):
    """A prompt that is a text. The other keys must be left out or ask for nothing."""

    prompt: str
    multi_modal_data: NotRequired[Any]
    mm_processor_kwargs: NotRequired[Any]
    multi_modal_uuids: NotRequired[Any]
    cache_salt: NotRequired[str]


class TokensPrompt(TypedDict):
    """A prompt that is token ids. The other keys must be left out or ask for nothing."""

    prompt_token_ids: Sequence[int]
    prompt: NotRequired[str]
    token_type_ids: NotRequired[Sequence[int]]
    multi_modal_data: NotRequired[Any]
    mm_processor_kwargs: NotRequired[Any]
    multi_modal_uuids: NotRequired[Any]
    cache_salt: NotRequired[str]


@dataclass
class LoRARequest:
    """An adapter, which can be named and not used: `LLM` says so where it is given one."""

    lora_name: str
    lora_int_id: int
    lora_path: str = ""
    base_model_name: str | None = None
    tensorizer_config_dict: Any = None
    load_inplace: bool = False

    @property
    def adapter_id(self) -> int:
        """Its number."""
        return self.lora_int_id

    @property
    def name(self) -> str:
        """Its name."""
        return self.lora_name

    @property
    def path(self) -> str:
        """Where it lies."""
        return self.lora_path
