"""The contracts of packing, on the real model: a text's vector is its own, whatever lies beside it."""

import itertools
import resource
import threading

import numpy as np
import pytest
from refusals import refused

from jaxembed.engine.engine import WINDOW_TEXTS
from jaxembed.heads.task import together
from jaxembed.heads.tokens import HIDDEN, TOKEN_EMBED
from jaxembed.heads.vectors import EMBED
from jaxembed.loading import load_engine
from jaxembed.packing.text import Options, Text


@pytest.fixture(scope="module")
def engine():
    return load_engine()


def draw(rng: np.random.RandomState, length: int) -> Text:
    return Text(np.concatenate([[101], rng.randint(1000, 30000, length - 2), [102]]).astype(np.int32))


@pytest.fixture
def texts():
    rng = np.random.RandomState(5)
    return [draw(rng, length) for length in rng.randint(3, 250, 51)]


def test_a_text_is_the_same_alone_packed_and_in_any_order(engine, texts):
    together = np.array(list(engine.run(texts)))
    alone = np.array([next(engine.run([text])) for text in texts])
    order = np.random.RandomState(1).permutation(len(texts))
    shuffled = np.array(list(engine.run([texts[i] for i in order])))
    assert np.abs(together - alone).max() <= 1e-6
    assert np.abs(together[order] - shuffled).max() <= 1e-6


@pytest.mark.parametrize("task", [EMBED, TOKEN_EMBED], ids=str)
def test_replacing_one_text_changes_not_one_bit_of_the_others(engine, task):
    rng = np.random.RandomState(2)
    texts = [draw(rng, length) for length in (40, 30, 20, 10)]
    before = list(engine.run(texts, task))
    texts[1] = draw(rng, 30)
    after = list(engine.run(texts, task))
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [True, False, True, True]


def test_each_text_of_a_row_gets_the_dimensions_and_the_length_it_asked_for(engine):
    rng = np.random.RandomState(3)
    ids = draw(rng, 20).ids
    asked = [{}, {"dimensions": 192}, {"normalize": False}, {"dimensions": 192, "normalize": False}]
    full, half, raw, raw_half = engine.run([Text(ids, Options(**one)) for one in asked])
    assert (full.shape, half.shape) == ((384,), (192,))
    assert np.linalg.norm(full) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(raw / np.linalg.norm(raw), full, atol=1e-6)
    np.testing.assert_allclose(raw[:192], raw_half, atol=1e-6)
    np.testing.assert_allclose(raw_half / np.linalg.norm(raw_half), half, atol=1e-6)


def test_every_kind_of_output_has_its_shape(engine):
    text = draw(np.random.RandomState(4), 9)
    (tokens,) = engine.run([Text(text.ids, Options(dimensions=100))], task=TOKEN_EMBED)
    (hidden,) = engine.run([text], task=HIDDEN)
    (raw,) = engine.run([Text(text.ids, Options(normalize=False))])
    assert tokens.shape == (9, 100)
    assert hidden.shape == (9, 384)
    assert tokens.dtype == hidden.dtype == np.float32
    np.testing.assert_allclose(hidden.mean(0), raw, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=1), 1, atol=1e-6)


def test_one_pass_gives_what_several_tasks_give_apart(engine, texts):
    both = list(engine.run(texts, together(EMBED, HIDDEN)))
    for (vector, states), alone, hidden in zip(both, engine.run(texts), engine.run(texts, HIDDEN), strict=True):
        np.testing.assert_allclose(vector, alone, atol=1e-6)
        np.testing.assert_allclose(states, hidden, atol=1e-5)


def test_nothing_compiles_after_a_warm_up(engine):
    engine.warm_up()
    compiled = engine.compiled
    assert compiled >= len(engine.table.shapes(engine.model.max_length))
    rng = np.random.RandomState(6)
    for _ in range(15):
        count = int(np.exp(rng.uniform(0, 4)))
        lengths = np.exp(rng.uniform(np.log(3), np.log(256), count)).astype(int)
        assert len(list(engine.run([draw(rng, length) for length in lengths]))) == count
    assert engine.compiled == compiled


def test_a_row_whose_program_is_missing_rounds_up_to_a_ready_one():
    engine = load_engine()
    rng = np.random.RandomState(8)
    list(engine.run([draw(rng, 200)]))
    assert engine.compiled == 1
    short = draw(rng, 10)
    (rounded,) = engine.run([short])
    engine.warm_up()
    (exact,) = engine.run([short])
    assert np.abs(rounded - exact).max() <= 1e-6


@pytest.mark.filterwarnings("ignore")
def test_ten_thousand_texts_keep_their_order_in_flat_memory(engine):
    engine.warm_up()
    rng = np.random.RandomState(9)
    distinct = [draw(rng, length) for length in rng.randint(3, 24, 100)]
    expected = np.array(list(engine.run(distinct)))
    count = 10_000
    compiled = engine.compiled
    stream = engine.run(distinct[i % 100] for i in range(count))
    list(itertools.islice(stream, WINDOW_TEXTS + 1))  # both windows in flight have been allocated by now
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    worst, seen = 0.0, WINDOW_TEXTS + 1
    for vector in stream:
        worst = max(worst, np.abs(vector - expected[seen % 100]).max())
        seen += 1
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert seen == count
    assert worst <= 1e-6
    assert engine.compiled == compiled
    assert grown_mib < 30


def test_several_threads_share_one_engine(engine, texts):
    expected = np.array(list(engine.run(texts)))
    found = {}

    def work(number: int) -> None:
        found[number] = np.array(list(engine.run(texts)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1, 2, 3]
    for vectors in found.values():
        np.testing.assert_array_equal(vectors, expected)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "cannot be empty"),
        ([101] * 257, "maximum context length is 256 tokens"),
        ([101, 30522, 102], "Token id 30522 is out of vocabulary"),
        ([101, -1, 102], "Token id -1 is out of vocabulary"),
    ],
)
def test_a_text_that_the_model_cannot_take_is_refused_in_a_sentence(engine, ids, message):
    encoder = engine.model.encoder
    with refused("prompts", message):
        list(encoder.texts([np.array(ids, np.int32)], tokenization=encoder.tokenization()))


def test_an_error_in_the_stream_of_texts_reaches_the_caller(engine):
    def broken():
        yield draw(np.random.RandomState(0), 5)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(engine.run(broken()))


def test_no_texts_give_no_vectors(engine):
    assert list(engine.run([])) == []


def test_a_program_that_could_not_be_compiled_is_tried_again_and_stands_in_for_none(engine, texts, monkeypatch):
    programs = engine._programs
    monkeypatch.setattr(programs, "_futures", {})
    monkeypatch.setattr("jaxembed.engine.programs._RETRY_SECONDS", 0.0)
    lowered, failures = programs.lowered, [MemoryError("no memory to compile")]

    def failing(task, shape):
        if failures:
            raise failures.pop()
        return lowered(task, shape)

    monkeypatch.setattr(programs, "lowered", failing)
    with pytest.raises(MemoryError):
        list(engine.run(texts[:1]))
    assert engine.compiled == 0
    assert len(list(engine.run(texts[:1]))) == 1
