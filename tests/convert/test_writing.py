"""Pieces on their way to the disk: written in any order, read ahead, and run through on the way."""

import errno
import os
import threading

import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxembed.convert.checkpoint.loading import describe
from jaxembed.convert.formats.tensors import PAGE, empty
from jaxembed.convert.orbax import store, writing
from jaxembed.convert.orbax.writing import Outline, Writer, digest_of, digest_of_piece
from jaxembed.convert.tool.streamed import ReadAhead, streamed_vectors
from jaxembed.convert.weights.parameters import Parameter, declare, open_parameters
from jaxembed.loading import load_engine
from jaxembed.packing.text import Options, Text

# Large enough for chunks of their own, and not; stacked and not; with a last chunk that is cut short, without axes, empty.
ARRAYS = {
    "a.large": Outline((3, 1024, 512), np.dtype(np.float32), stacked=True),
    "a.words": Outline((9001, 1024), np.dtype(np.float32), stacked=False),
    "b.small": Outline((3, 40), np.dtype(ml_dtypes.bfloat16), stacked=True),
    "b.scalar": Outline((), np.dtype(np.float32), stacked=False),
    "c.none": Outline((0, 4), np.dtype(np.float32), stacked=False),
    "c.bytes": Outline((2, 3, 7, 5), np.dtype(np.int8), stacked=True),
}


def drawn(offset: int = 0) -> dict[str, list[np.ndarray]]:
    """Pieces of the arrays, which begin so many elements behind a page."""
    rng = np.random.default_rng(0)
    found = {}
    for path, outline in ARRAYS.items():
        shape = outline.shape[1:] if outline.stacked else outline.shape
        found[path] = []
        for _ in range(outline.pieces):
            piece = empty((int(np.prod(shape)) + offset,), outline.dtype)[offset:].reshape(shape)
            piece[...] = rng.integers(-100, 100, shape)
            found[path].append(piece)
    return found


def write(folder, *, offset: int = 0, backwards: bool = False) -> dict[str, str]:
    store.create(folder, ARRAYS)
    told: list[int] = []
    with Writer(folder, ARRAYS, told.append) as writer:
        every = [(path, index, piece) for path, pieces in drawn(offset).items() for index, piece in enumerate(pieces)]
        for one in reversed(every) if backwards else every:
            writer.put(*one)
    assert sum(told) == sum(outline.nbytes for outline in ARRAYS.values())
    return {path: writer.digest(path) for path in ARRAYS}


def test_whatever_the_order_and_the_place_in_memory_the_files_are_the_same(tmp_path, monkeypatch):
    past: list[str] = []
    plain = writing._write_past_cache
    monkeypatch.setattr(writing, "_write_past_cache", lambda path, content: (past.append(path.name), plain(path, content)))
    digests = write(tmp_path / "straight")
    assert bool(past) == bool(writing._DIRECT)
    past.clear()
    assert write(tmp_path / "backwards", offset=1, backwards=True) == digests
    assert not past
    monkeypatch.setattr(writing, "_DIRECT", 0)
    assert write(tmp_path / "plain") == digests
    names = [
        sorted(path.relative_to(tmp_path / each) for path in (tmp_path / each).rglob("*/*")) for each in ("straight", "plain")
    ]
    assert names[0] == names[1]
    for path, pieces in drawn().items():
        expected = np.stack(pieces) if ARRAYS[path].stacked else pieces[0]
        for each in ("straight", "backwards", "plain"):
            found = store.read(tmp_path / each, path)
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            np.testing.assert_array_equal(found, expected)
        assert digests[path] == digest_of([digest_of_piece(piece) for piece in pieces])
    restored = ocp.PyTreeCheckpointer().restore(tmp_path / "straight")
    np.testing.assert_array_equal(restored["a"]["words"], drawn()["a.words"][0])


def test_a_digest_tells_layers_apart():
    a, b = digest_of_piece(np.arange(4)), digest_of_piece(np.arange(4)[::-1])
    assert len({digest_of(each) for each in ([a, b], [b, a], [a], [b], [])}) == 5


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="this system has no way past its cache")
def test_a_file_system_without_a_way_past_the_cache_is_written_through_it(tmp_path, monkeypatch):
    def refuse(number):
        def direct(path, content):
            raise OSError(number, os.strerror(number))

        return direct

    monkeypatch.setattr(writing, "_write_past_cache", refuse(errno.EINVAL))
    digests = write(tmp_path / "out")
    assert digests["a.large"] == digest_of([digest_of_piece(piece) for piece in store.read(tmp_path / "out", "a.large")])
    monkeypatch.setattr(writing, "_write_past_cache", refuse(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "full")


def test_a_file_is_as_long_as_what_was_written(tmp_path):
    short = empty((PAGE,), np.dtype(np.uint8))
    short[...] = 7
    (tmp_path / "f").write_bytes(bytes(3 * PAGE))
    writing._write_past_cache(tmp_path / "f", short)
    assert (tmp_path / "f").read_bytes() == b"\7" * PAGE


def parameters(reads) -> list[Parameter]:
    """A table, four layers of two matrices, and a head."""
    shapes = {"backbone.words": (1,), "backbone.layers.a": (4, 1), "backbone.layers.b": (4, 1), "heads.0.w": (1,)}
    found = []
    for path, shape in shapes.items():
        calls = tuple(lambda path=path, index=index: reads(path, index) for index in range(shape[0]))
        axes = ("l", "d") if len(shape) == 2 else ("d",)
        found.append(Parameter(path, shape, axes, np.dtype(np.float32), calls, len(shape) == 2))
    return found


def test_pieces_are_read_once_in_order_and_ahead_of_who_takes_them():
    read: list[tuple[str, int]] = []
    ahead = threading.Event()

    def call(path: str, index: int) -> np.ndarray:
        read.append((path, index))
        if (path, index) == ("backbone.layers.a", 1):
            ahead.set()
        return np.float32([index])

    listed = parameters(call)
    words, a, b, _ = listed
    with ReadAhead(listed, Parameter.value, Parameter.value) as pieces:
        assert pieces.take(words, 0) == 0
        assert pieces.take(a, 0) == 0
        assert ahead.wait(10), "the next layer is read while nobody asks for it"
        # Out of turn, and again.
        assert pieces.take(b, 3) == 3
        assert pieces.take(b, 3) == 3
        pieces.rest()
    assert read.count(("backbone.layers.b", 3)) == 2
    assert len(read) == len(set(read)) + 1 == 11
    assert read[:4] == [("backbone.words", 0), ("heads.0.w", 0), ("backbone.layers.a", 0), ("backbone.layers.b", 0)]


def test_what_fails_while_reading_ahead_is_raised_where_it_is_taken():
    def call(path: str, index: int) -> np.ndarray:
        if index == 2:
            raise OSError(errno.EIO, "Input/output error")
        return np.float32([index])

    listed = parameters(call)
    with ReadAhead(listed, Parameter.value, Parameter.value) as pieces:
        assert pieces.take(listed[1], 1) == 1
        with pytest.raises(OSError, match="Input/output"):
            pieces.take(listed[1], 2)
    with pytest.raises(OSError, match="Input/output"), ReadAhead(listed, Parameter.value, Parameter.value) as pieces:
        pieces.rest()


@pytest.mark.parametrize(
    "name",
    [
        "backbone-albert-groups",
        "backbone-deberta",
        "backbone-embeddinggemma2",
        "backbone-jina3",
        "backbone-modernbert",
        "backbone-nomic-moe",
        "backbone-qwen2-sliding",
        "backbone-t5",
        "pipeline-dense-many",
        "static-model2vec",
    ],
)
def test_streamed_vectors_are_those_of_the_engine(name, checkpoint):
    """Of every kind of loop over layers, and of more texts than one row takes: then the layers have another turn."""
    folder = checkpoint(name)
    found = describe(str(folder))
    recipe = found.recipe
    graph, state, summed = declare(found.family, found.config, recipe.heads, recipe.modes, include_prompt=recipe.include_prompt)
    listed = open_parameters(found.family, found.config, recipe.heads, found.folder, state, summed).parameters
    engine = load_engine(str(folder))
    ids = np.random.default_rng(0).integers(5, 90, (24, engine.model.max_length))
    texts = [Text(one[: max(1, 60 - 3 * number)], Options(normalize=bool(recipe.normalize))) for number, one in enumerate(ids)]
    taken: list[str] = []

    def take(parameter: Parameter, index: int):
        taken.append(parameter.path)
        return parameter.value(index)

    streamed = streamed_vectors(graph, state, listed, take, texts, found.width)
    expected = np.stack(list(engine.run(texts)))
    assert np.abs(streamed - expected).max() <= 1e-5 * max(1.0, float(np.abs(expected).max()))
    assert set(taken) == {one.path for one in listed}
    rows = -(-sum(len(text.ids) for text in texts) // 512)
    layers = [one for one in listed if one.stacked]
    assert all(taken.count(one.path) >= rows * len(one.reads) for one in layers)
    assert rows > 1
