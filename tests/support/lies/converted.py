"""Converted folders whose records and chunks do not go together."""

import json
import os
from pathlib import Path

from lies import Lie
from lies.texts import grown
from lies.wholes import converted as WHOLE  # noqa: F401
from lies.wholes import edited

WORDS, DEEP = "arrays/backbone.embeddings.words", "arrays/backbone.layers.up.w"


def piped(name: str) -> Lie:
    def tell(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return tell


def recorded(change, place: str = WORDS) -> Lie:
    return edited(f"{place}/.zarray", change)


def listed(**fields) -> Lie:
    def change(content: dict) -> None:
        content["arrays"]["backbone.embeddings.words"] |= fields

    return edited("manifest.json", change)


def both(shape: list, chunks: list) -> Lie:
    """The manifest and the array's own record tell the same lie."""

    def tell(folder: Path) -> None:
        listed(shape=shape)(folder)
        recorded(lambda content: content.update(shape=shape, chunks=chunks))(folder)

    return tell


def moved(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"backbone.embeddings.words"', '"../../etc"'))


LIES: dict[str, Lie] = {
    **{f"a pipe at {name}": piped(name) for name in (f"{WORDS}/.zarray", f"{WORDS}/0.0", f"{DEEP}/0.0.0", "arrays/_METADATA")},
    **{f"a pipe at {name}": piped(name) for name in ("arrays/_CHECKPOINT_METADATA", "manifest.json", "arrays/manifest.ocdbt")},
    **{f"8 GB at {name}": lambda folder, name=name: grown(folder / name) for name in (f"{WORDS}/.zarray", f"{WORDS}/0.0")},
    f"8 GB at {DEEP}/0.0.0": lambda folder: grown(folder / DEEP / "0.0.0"),
    "8 GB of manifest": lambda folder: grown(folder / "manifest.json"),
    "an empty chunk": lambda folder: (folder / WORDS / "0.0").write_bytes(b""),
    "a chunk that is a link to itself": lambda folder: (
        (folder / WORDS / "0.0").unlink(),
        (folder / WORDS / "0.0").symlink_to(folder / WORDS / "0.0"),
    ),
    "a chunk that is a folder": lambda folder: ((folder / WORDS / "0.0").unlink(), (folder / WORDS / "0.0").mkdir()),
    "a chunk that is a device": lambda folder: (
        (folder / WORDS / "0.0").unlink(),
        (folder / WORDS / "0.0").symlink_to("/dev/zero"),
    ),
    **{
        f"{key} {str(value)[:40]} in a record": recorded(lambda content, key=key, value=value: content.update({key: value}))
        for key, values in {
            "shape": ([120], [10**12, 32], [120, 33], [-1, 32], [0, 0], [], None, "x", [1.5, 2], [120, 32, 1]),
            "chunks": ([0, 0], [1, 1], [10**12, 32], [240, 64], [-1, 32], [], None, "x", [120]),
            "dtype": ("<f8", ">f4", "|O", "bfloat16", "<U8", "x" * 100_000, "\x1b[31m", None, [["a", "<f4"]]),
            "compressor": ({"id": "zlib", "level": 1}, {"id": "blosc"}, "x"),
            "filters": ([{"id": "delta"}], "x"),
            "order": ("F", None, "x"),
        }.items()
        for value in values
    },
    "a record without keys": recorded(lambda _: {}),
    "a record that is a list": recorded(lambda _: []),
    "a record of no JSON": lambda folder: (folder / WORDS / ".zarray").write_text("{"),
    **{
        f"{key} {str(value)[:40]} in the manifest": listed(**{key: value})
        for key, values in {
            "shape": ([120], [10**12, 32], [-1, 32], [], None, "x", [1.5, 2]),
            "dtype": ("float64", "object", "x" * 100_000, "\x1b[31m", None, 7),
            "axes": ([], ["\x1b[31m"] * 2, None, 7),
            "stacked": (True, None, "x"),
        }.items()
        for value in values
    },
    "both of 10^12 rows": both([10**12, 32], [1, 32]),
    "both of 10^6 rows in chunks of one": both([10**6, 32], [1, 32]),
    "both of chunks of one": both([120, 32], [1, 1]),
    "an array that lies elsewhere": moved,
    "a manifest of nothing": lambda folder: (folder / "manifest.json").write_text(json.dumps({"format": "jaxembed/2"})),
    "a manifest of another version": edited(
        "manifest.json", lambda content: content.update(format="jaxembed/" + "9" * 100_000)
    ),
}
for _key in ("source", "family", "rules", "layout", "config", "arrays", "vectors", "adapter", "left_out", "versions"):
    for _value in (None, 7, "\x1b[31m" * 10_000, [], {}):
        LIES[f"{_key} {_value!r:.20} in the manifest"] = edited(
            "manifest.json", lambda content, key=_key, value=_value: content.update({key: value})
        )
