"""Zips that say something else in their records than is in them."""

import struct
from pathlib import Path

from lies import Lie
from lies.wholes import torch_bert as WHOLE  # noqa: F401

LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
# What stands where in a record: offset and format.
IN_LOCAL = {"version": (4, "H"), "flags": (6, "H"), "method": (8, "H"), "size": (22, "I"), "name length": (26, "H")}
IN_LOCAL |= {"extra length": (28, "H")}
IN_CENTRAL = {"version": (6, "H"), "flags": (8, "H"), "method": (10, "H"), "packed": (20, "I"), "size": (24, "I")}
IN_CENTRAL |= {"name length": (28, "H"), "extra length": (30, "H"), "comment length": (32, "H"), "offset": (42, "I")}
IN_END = {"entries here": (8, "H"), "entries": (10, "H"), "list's size": (12, "I"), "list's offset": (16, "I")}
NUMBERS = {"H": (0, 1, 20, 99, 2**11, 2**16 - 1), "I": (0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)}


def patched(signature: bytes, offset: int, kind: str, number: int, *, every: bool) -> Lie:
    def tell(folder: Path) -> None:
        path = folder / "pytorch_model.bin"
        content = bytearray(path.read_bytes())
        place = content.find(signature)
        while place >= 0:
            struct.pack_into(f"<{kind}", content, place + offset, number)
            place = content.find(signature, place + 4) if every else -1
        path.write_bytes(bytes(content))

    return tell


def extra(sizes: tuple[int, ...]) -> Lie:
    """A zip64 field in the first entry of the list, with sizes of 64 bits."""

    def tell(folder: Path) -> None:
        path = folder / "pytorch_model.bin"
        content = bytearray(path.read_bytes())
        place = content.find(CENTRAL)
        field = struct.pack("<HH", 1, 8 * len(sizes)) + struct.pack(f"<{len(sizes)}Q", *sizes)
        struct.pack_into("<II", content, place + 20, 2**32 - 1, 2**32 - 1)
        struct.pack_into("<H", content, place + 30, len(field))
        (length,) = struct.unpack_from("<H", content, place + 28)
        at = place + 46 + length
        content[at:at] = field
        end = content.rfind(END)
        (listed,) = struct.unpack_from("<I", content, end + 12)
        struct.pack_into("<I", content, end + 12, listed + len(field))
        path.write_bytes(bytes(content))

    return tell


def named(replacement: bytes, *, utf8: bool) -> Lie:
    def tell(folder: Path) -> None:
        path = folder / "pytorch_model.bin"
        content = path.read_bytes().replace(b"archive/version", replacement)
        path.write_bytes(content)
        if utf8:
            patched(CENTRAL, 8, "H", 1 << 11, every=True)(folder)

    return tell


def many(folder: Path) -> None:
    """A list of entries of 40 MB, each of which becomes some hundred bytes in memory."""
    path = folder / "pytorch_model.bin"
    content = path.read_bytes()
    place, end = content.find(CENTRAL), content.rfind(END)
    entry = content[place : content.find(CENTRAL, place + 4)]
    count = (40 << 20) // len(entry)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, count * len(entry), place)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, place + count * len(entry), 1)
    tail = bytearray(content[end:])
    struct.pack_into("<HHII", tail, 8, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1)
    path.write_bytes(content[:place] + entry * count + record + locator + bytes(tail))


LIES: dict[str, Lie] = {
    f"{what} {number} in {where}": patched(signature, offset, kind, number, every=every)
    for where, signature, fields, every in (
        ("a header", LOCAL, IN_LOCAL, False),
        ("the list", CENTRAL, IN_CENTRAL, False),
        ("all of the list", CENTRAL, {"version": (6, "H"), "size": (24, "I"), "offset": (42, "I")}, True),
        ("the end", END, IN_END, False),
    )
    for what, (offset, kind) in fields.items()
    for number in NUMBERS[kind]
}
LIES |= {f"zip64 sizes {sizes}": extra(sizes) for one in (2**62, 2**64 - 1, 40 << 30) for sizes in ((one,), (one, one))}
LIES |= {
    "a name that is not UTF-8": named(b"archive/ver\xff\xfe\xfdn", utf8=True),
    "a name of escape codes": named(b"archive/\x1b]0;x\x07\x00", utf8=False),
    "a name that leads out": named(b"../../../version", utf8=False),
    "forty megabytes of entries": many,
}
