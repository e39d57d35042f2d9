"""Tokenizers that have no words, too high ids, or rules that Rust does not expect."""

import base64
from pathlib import Path

from lies import Lie
from lies.texts import grown
from lies.wholes import bert as WHOLE  # noqa: F401
from lies.wholes import edited

HIGH = (2**31, 4_000_000_000, 2**32 - 1, 2**32, 2**63, -1, 1.5, "7", None)


def said(change) -> Lie:
    return edited("tokenizer.json", change)


def word(id_: object) -> Lie:
    return said(lambda content: content["model"]["vocab"].update({"w20": id_}))


def around(id_: object) -> Lie:
    def change(content: dict) -> None:
        special = content["post_processor"]["special_tokens"]
        next(iter(special.values()))["ids"] = [id_]

    return said(change)


def added(id_: object) -> Lie:
    return said(lambda content: content["added_tokens"][0].update(id=id_))


def normalized(normalizer: object) -> Lie:
    return said(lambda content: content.update(normalizer=normalizer))


def modeled(**fields) -> Lie:
    return said(lambda content: content.update(model=fields, post_processor=None, added_tokens=[]))


def replaced(*pairs: tuple[str, str]) -> dict:
    rules = [{"type": "Replace", "pattern": {"String": old}, "content": new} for old, new in pairs]
    return {"type": "Sequence", "normalizers": rules}


CHARSMAPS = {
    "no base64": "!!!",
    "nothing": "",
    "one byte": base64.b64encode(b"\x01").decode(),
    "four bytes": base64.b64encode(b"\x04\x00\x00\x00").decode(),
    "a length of 2^32": base64.b64encode(b"\xff\xff\xff\xff" + b"x" * 40).decode(),
    "a length of 3": base64.b64encode(b"\x03\x00\x00\x00" + b"x" * 40).decode(),
    "garbage": base64.b64encode(b"\x20\x00\x00\x00" + bytes(range(200))).decode(),
}
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "added_tokens.json")


def only(name: str, content: bytes) -> Lie:
    """A file of an older kind in the place of tokenizer.json."""

    def tell(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / name).write_bytes(content)

    return tell


LIES: dict[str, Lie] = {
    **{f"a word's id {id_!r}": word(id_) for id_ in HIGH},
    **{f"an id around texts {id_!r}": around(id_) for id_ in HIGH},
    **{f"an added token's id {id_!r}": added(id_) for id_ in HIGH},
    **{
        f"a charsmap of {what}": normalized({"type": "Precompiled", "precompiled_charsmap": value})
        for what, value in CHARSMAPS.items()
    },
    "words that grow 10^9 times": normalized(replaced(*[("a", "a" * 1000)] * 3)),
    "words that grow 2^40 times": normalized(replaced(*[("a", "aa")] * 40)),
    "words that grow at once": normalized({"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10**6}),
    "words that grow in the middle": normalized({"type": "Sequence", "normalizers": [replaced(*[("a", "aa")] * 30)]}),
    "a regex that is none": normalized({"type": "Replace", "pattern": {"Regex": "("}, "content": ""}),
    "an unknown normalizer": normalized({"type": "\x1b[31m"}),
    "an empty Unigram": modeled(type="Unigram", unk_id=0, vocab=[]),
    "a Unigram without the unknown": modeled(type="Unigram", unk_id=9, vocab=[["a", 0.0]]),
    "no words": modeled(type="WordLevel", vocab={}, unk_token="[UNK]"),
    "one word, none for the unknown": modeled(type="WordLevel", vocab={}, unk_token="none"),
    "merges of what is not there": modeled(type="BPE", vocab={"a": 0}, merges=["x y"]),
    "a WordPiece without the unknown": modeled(type="WordPiece", vocab={}, unk_token="x", max_input_chars_per_word=100),
    "an unknown model": modeled(type="x" * 100_000),
    "no model": said(lambda content: content.pop("model") and None),
    "nothing": said(lambda _: {}),
    "a list": said(lambda _: [[]]),
    "nested without end": lambda folder: (folder / "tokenizer.json").write_text('{"a":' * 200_000),
    "bytes": lambda folder: (folder / "tokenizer.json").write_bytes(bytes(range(256)) * 4000),
    "8 GB": lambda folder: grown(folder / "tokenizer.json"),
    "vocab.txt of 8 GB": lambda folder: (only("vocab.txt", b"[UNK]\na\n")(folder), grown(folder / "vocab.txt")),
    "vocab.txt of bytes": only("vocab.txt", bytes(range(256)) * 100),
    "a model of nothing": only("spiece.model", b""),
    "a model of garbage": only("tokenizer.model", bytes(range(256)) * 100),
    "vocab.json of a list": lambda folder: (only("vocab.json", b"[1]")(folder), (folder / "merges.txt").write_text("a b")),
    "an unknown class": lambda folder: (
        only("vocab.txt", b"[UNK]\na\n")(folder),
        edited("tokenizer_config.json", lambda content: content.update(tokenizer_class="\x1b[31m" + "x" * 10_000))(folder),
    ),
}
for _key in ("added_tokens_decoder", "chat_template", "model_max_length", "do_lower_case", "bos_token", "add_bos_token"):
    for _value in (10**30, "\x1b[31m", [[]], {"a": {"b": 1}}, -1):
        LIES[f"{_key} {_value!r}"] = edited(
            "tokenizer_config.json", lambda content, key=_key, value=_value: content.update({key: value})
        )
