"""The files beside the weights: those that loading reads, and no others, go with a checkpoint wherever it is written."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from jaxembed.convert.checkpoint.sentence_bert import LENGTH_FILES, without_changes
from jaxembed.convert.formats.json_files import read_json, read_modules
from jaxembed.errors import CheckpointError

# What is read by these names, in the main folder or in that of a module.
_READ = (
    "config.json",
    "modules.json",
    "config_sentence_transformers.json",
    *LENGTH_FILES,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "artifact.metadata",
)
# Vocabularies that transformers makes a tokenizer of where there is no tokenizer.json, and other software in any case.
_VOCABULARIES = ("added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "*.model")


def small_files(folder: Path) -> list[str]:
    """Returns the files beside the weights that a checkpoint consists of, by their names within its folder, in order.

    What is read is taken wherever a link leads for it. What is not read is taken if it lies in the folder, or in the hub's
    cache to which the folder belongs.
    """
    found = set()
    for place in ("", *(place for place, _ in read_modules(folder) or ())):
        own = folder / place
        names = [path.name for pattern in _VOCABULARIES for path in own.glob(pattern) if path.is_file()]
        if (own / "tokenizer.json").is_file():
            names = [name for name in names if _lies_in(own / name, folder)]
        found |= {str(PurePosixPath(place, name)) for name in (*_READ, *names) if (own / name).is_file()}
    return sorted(found)


def copy_files(names: Sequence[str], source: Path, target: Path) -> None:
    """Copies files from a folder to another, in which it makes the folders they lie in.

    The caller writes `config.json`, with all changes in it: sentence-transformers' own file goes along without those it asks
    for. Raises `CheckpointError` for a file that cannot be read.
    """
    for name in names:
        try:
            content = _content(source, name)
        except OSError as error:
            raise CheckpointError(f"{source / name} cannot be read: {error.strerror}.") from None
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)


def _content(folder: Path, name: str) -> bytes:
    if PurePosixPath(name).name in LENGTH_FILES:
        return (json.dumps(without_changes(read_json(folder / name) or {}), indent=2) + "\n").encode()
    return (folder / name).read_bytes()


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether a file lies in a folder, links followed; for a snapshot in the hub's cache, among the blobs of its model."""
    homes = [folder.resolve()]
    if folder.parent.name == "snapshots":
        homes.append(folder.resolve().parent.parent / "blobs")
    return any(path.resolve().is_relative_to(home) for home in homes)
