"""Pickles that ask for more than their bytes, in both of torch's layouts."""

import pickle
from pathlib import Path

from reference import pickled
from reference.pickled import name, plain

from lies import Lie
from lies.wholes import torch_bert as WHOLE  # noqa: F401

MAGIC = 0x1950A86A20F9469CFC6C


def zipped(content: bytes) -> Lie:
    return lambda folder: pickled.write_zip(folder / "pytorch_model.bin", content, {"0": bytes(8)})


def old(content: bytes) -> Lie:
    facts = {"little_endian": True, "protocol_version": 1001}
    head = b"".join(pickle.dumps(value, 2) for value in (MAGIC, 1001, facts))
    tail = pickle.dumps(["0"], 2) + (2).to_bytes(8, "little") + bytes(8)
    return lambda folder: (folder / "pytorch_model.bin").write_bytes(head + content + tail)


def one(shape: tuple, strides: tuple, **options) -> bytes:
    return pickled.state_dict({"embeddings.LayerNorm.bias": pickled.tensor("0", 2, shape, strides, **options)})


def whole(opcodes: bytes) -> bytes:
    return b"\x80\x04" + opcodes + b"."


BIG = 10**4000
PICKLES = {
    **{f"{axes} axes": one((1,) * axes, (1,) * axes) for axes in (65, 1000, 200_000)},
    **{f"{axes} strides for one axis": one((1,), (1,) * axes) for axes in (2, 200_000)},
    **{f"stride 0 for {count}": one((count,), (0,)) for count in (3, 10**8, 10**12, 2**62, 2**63, 10**30, BIG)},
    "stride 0 along two axes": one((10**5, 10**5), (0, 0)),
    "stride 0 below a stride": one((2, 10**9), (1, 0)),
    **{f"stride {stride}": one((2, 2), (stride, 1)) for stride in (-1, 10**12, 2**62, 2**64, BIG)},
    **{f"start {start}": one((2,), (1,), start=start) for start in (-1, 2**40, 2**63, BIG)},
    **{f"an axis of {size}": one((size, 0), (1, 1)) for size in (-1, 2**63, BIG)},
    "a storage that is not there": pickled.state_dict({"x": pickled.tensor("9\x1b[31m", 2, (2,), (1,))}),
    "a storage of 2^62": pickled.state_dict({"x": pickled.tensor("0", 2**62, (2,), (1,))}),
    "a name of escape codes": pickled.state_dict({"\x1b]0;x\x07": pickled.tensor("0", 2, (2,), (1,))}),
    "a name of 100,000 letters": pickled.state_dict({"x" * 100_000: pickled.tensor("0", 2, (2,), (1,))}),
    "a value of escape codes": pickled.state_dict({"\x1b]0;x\x07\x00": plain("\x1b[2J")}),
    "100,000 values": pickled.state_dict({f"x{number}": plain(number) for number in range(100_000)}),
    "200,000 tensors": pickled.state_dict({f"x{n}": pickled.tensor("0", 2, (2,), (1,)) for n in range(200_000)}),
    "twenty megabytes of remembered dicts": whole(b"}\x94" * (10 << 20)),
    "two megabytes of remembered dicts": whole(b"}\x94" * (1 << 20)),
    "twenty megabytes of lists in lists": whole(b"]" * (10 << 20) + b"a" * (10 << 20)),
    "two megabytes of lists in lists": whole(b"]" * (1 << 20) + b"a" * ((1 << 20) - 1)),
    "twenty megabytes of marks": whole(b"(" * (20 << 20)),
    "a megabyte of marks": whole(b"(" * (1 << 20)),
    "marks that are looked for": whole(b"(" + b"N" * 200_000 + b"(t" * 200_000),
    "doubling": whole(b"(lK\x01a" + b"2\x86" * 100_000),
    "a text of 2^40": whole(b"\x8d" + (1 << 40).to_bytes(8, "little") + b"x"),
    "bytes of 2^31": whole(b"B" + (2**31 - 1).to_bytes(4, "little") + b"x"),
    "a number of a megabyte": whole(b"\x8b" + (1 << 20).to_bytes(4, "little") + b"\x7f" * (1 << 20)),
    "a number of 5,000 digits": whole(b"I" + b"9" * 5000 + b"\n"),
    "a place in the memo of 2^31": whole(b"Nr\xff\xff\xff\x7f"),
    "a name that is called": whole(name("posix", "system\x1b[31m") + plain("true") + b"\x85R"),
    "a name of 100,000": whole(name("x" * 100_000, "y")),
}
LIES: dict[str, Lie] = {f"{what} in a zip": zipped(content) for what, content in PICKLES.items()}
LIES |= {f"{what} in the old layout": old(content) for what, content in PICKLES.items()}
LIES["a data.pkl of zeros without end"] = lambda folder: sparse(folder / "pytorch_model.bin", b"\x80\x02", 8 << 30)


def sparse(path: Path, head: bytes, size: int) -> None:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
