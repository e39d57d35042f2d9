"""Headers of safetensors files that lie."""

import json
from pathlib import Path

from lies import Lie
from lies.pickles import sparse
from lies.wholes import bert as WHOLE  # noqa: F401


def headed(change, *, length: int | None = None) -> Lie:
    """Rewrites the header: `change` alters it, or returns its bytes. length: what the file says of it."""

    def tell(folder: Path) -> None:
        path = folder / "model.safetensors"
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        raw = change(header)
        raw = raw if isinstance(raw, bytes) else json.dumps(header).encode()
        said = len(raw) if length is None else length
        path.write_bytes(said.to_bytes(8, "little") + raw + content[8 + size :])

    return tell


def of_one(**fields) -> Lie:
    def change(header: dict) -> None:
        header["embeddings.LayerNorm.bias"] |= fields

    return headed(change)


def renamed(name: str) -> Lie:
    def change(header: dict) -> None:
        header[name] = header.pop("embeddings.LayerNorm.bias")

    return headed(change)


def flood(count: int) -> Lie:
    def change(header: dict) -> None:
        last = max(entry["data_offsets"][1] for entry in header.values())
        header |= {f"x{n}": {"dtype": "F32", "shape": [0], "data_offsets": [last, last]} for n in range(count)}

    return headed(change)


LIES: dict[str, Lie] = {
    **{f"a header of {n}": headed(lambda header: None, length=n) for n in (0, 1, 10**6, 10**8, 2**32, 2**63, 2**64 - 1)},
    **{f"{axes} axes": of_one(shape=[32] + [1] * axes) for axes in (63, 64, 1000, 200_000)},
    **{f"shape {shape}": of_one(shape=shape) for shape in ([-1], [2**64], [2**63, 2], [31], [0], [1.5], ["32"], None, {})},
    **{f"type {kind!r}": of_one(dtype=kind) for kind in ("F4", "F8_E8M0", "\x1b[31m", "x" * 100_000, 7, None)},
    **{f"offsets {pair}": of_one(data_offsets=pair) for pair in ([0, 1], [-1, 4], [2**63, 2**63 + 128], [4, 0], [], None)},
    "a name of escape codes": renamed("\x1b]0;x\x07\x00"),
    "a name of 100,000 letters": renamed("x" * 100_000),
    "no header": headed(lambda header: b"[]"),
    "nested without end": headed(lambda header: b"[" * 1_000_000),
    "twice the same name": headed(lambda header: json.dumps(header).encode()[:-1] + b',"x":1}'),
    "200,000 tensors": flood(200_000),
    "a header of 90 MB": headed(lambda header: json.dumps(header).encode() + b" " * (90 << 20)),
    "eight gigabytes of zeros": lambda folder: sparse(folder / "model.safetensors", b"", 8 << 30),
    "eight gigabytes of header": lambda folder: sparse(
        folder / "model.safetensors", (8 << 30).to_bytes(8, "little") + b"{", 9 << 30
    ),
}
