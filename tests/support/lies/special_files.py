"""Pipes, devices, folders and links in the place of files."""

import os
from pathlib import Path

from lies import Lie
from lies.wholes import golden


def WHOLE(folder: Path) -> Path:
    return golden("pipeline-dense", folder)


NAMES = (
    "config.json modules.json 1_Pooling/config.json config_sentence_transformers.json sentence_bert_config.json tokenizer.json "
    "tokenizer_config.json special_tokens_map.json chat_template.jinja model.safetensors 2_Dense/config.json "
    "2_Dense/model.safetensors"
).split()
KINDS = {
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nowhere": lambda path: path.symlink_to("/no/such/file"),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "8 GB": lambda path: os.truncate(path, 8 << 30) if path.touch() is None else None,
}


def put(name: str, make) -> Lie:
    def tell(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return tell


LIES: dict[str, Lie] = {f"{kind} at {name}": put(name, make) for name in NAMES for kind, make in KINDS.items()}
LIES |= {
    f"{kind} at {name} without tokenizer.json": lambda folder, name=name, make=make: (
        (folder / "tokenizer.json").unlink(),
        (folder / "vocab.txt").write_text("[UNK]\n[PAD]\n[CLS]\n[SEP]\n[MASK]\na\n"),
        put(name, make)(folder),
    )
    for name in ("vocab.txt", "added_tokens.json", "merges.txt")
    for kind, make in KINDS.items()
}
