"""What a stranger's tokenizer may do to whoever calls it, and what is made of that. Knows nothing about files or models.

The Rust library raises bare Exceptions, and its panics are no Exceptions at all. Regular expressions of a file run on an
engine that goes back and forth, and replacements may make a text longer, without end.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from jaxembed.errors import CheckpointError, InputError, sentence

# How many times longer a tokenizer may make a text before it cuts it up; what normalizers do to Unicode is at most 18 times.
MOST_GROWTH = 64
_MOST_MESSAGE = 200
# Regular expressions of public tokenizers (of GPT-2, GPT-4, Qwen and Llama 3, and for runs of blanks and digits): none of them
# goes back and forth, so a short text takes no time whoever wrote it.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
)
_DIGITS = (r"\p{N}", r"\p{N}{1,3}", r"\d", "[0-9]")
_BLANKS = (" {2,}", "▁{2,}", r"\s+", r"[\r\n]", r"[\r\n\t ]+", r"\n")
_KNOWN = frozenset({_WORDS[1], *_DIGITS, *_BLANKS, *(_WORDS[0] % digits for digits in _DIGITS)})


def is_rust(error: BaseException) -> bool:
    """Whether an error is one of the Rust library's own: a bare Exception, or a panic."""
    return type(error) is Exception or type(error).__name__ == "PanicException"


@contextmanager
def rust_errors(field: str) -> Iterator[None]:
    """Makes errors of the Rust library inside it errors of the input.

    Args:
        field: what they are about.

    Raises:
        InputError: what was raised inside.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        if not is_rust(error) and not isinstance(error, OverflowError):
            raise
        raise InputError(f"the model's tokenizer cannot take this input: {said(error)}.", field=field) from None


def damaged[**P, R](load: Callable[P, R]) -> Callable[P, R]:
    """Makes errors of the Rust library in a function that loads a tokenizer's files errors of the checkpoint."""

    @wraps(load)
    def loaded(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return load(*arguments, **options)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            if not is_rust(error):
                raise
            raise CheckpointError(f"the tokenizer of {arguments[0]} is damaged: {said(error)}.") from None

    return loaded


def said(error: BaseException) -> str:
    """Returns the beginning of what an error says, without characters that a terminal would obey."""
    return sentence(str(error) or type(error).__name__, _MOST_MESSAGE).rstrip(".")


def is_tame(parts: list[Any]) -> bool:
    """Whether the parts of a tokenizer hold only regular expressions that are known not to go back and forth.

    Args:
        parts: normalizer, pre-tokenizer and decoder of the Rust library, or None.
    """
    patterns = [each["Regex"] for each in _objects([_state(part) for part in parts]) if "Regex" in each]
    return all(isinstance(pattern, str) and pattern in _KNOWN for pattern in patterns)


def growth(part: Any) -> float:
    """Returns how many times longer a normalizer or a decoder may make a text by what it replaces."""
    times = 1.0
    for each in _objects(_state(part)):
        content, pattern = each.get("content"), each.get("pattern")
        if each.get("type") != "Replace" or not isinstance(content, str) or not isinstance(pattern, dict):
            continue
        # An expression may match between any two characters, and is taken to match one.
        literal = pattern.get("String")
        times *= max(1.0, len(content) / max(len(literal), 1) if isinstance(literal, str) else len(content) + 1.0)
    return times


def _state(part: Any) -> Any:
    """Returns what a part says of itself, as `tokenizer.json` has it."""
    return None if part is None else json.loads(part.__getstate__())


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            yield one
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)
