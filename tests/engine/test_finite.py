"""A text never sees its neighbor, not even a broken one: spoiled rows of the table, spoiled padding, spoiled adapters."""

import numpy as np
import pytest
from poison import poison, rows

from jaxembed import LLM
from jaxembed.engine.finite import not_finite
from jaxembed.heads.task import together
from jaxembed.heads.tasks import TASKS
from jaxembed.loading import load_engine
from jaxembed.packing.text import Text

# One of each way in which tokens of a row meet: attention by every rule, experts, adapters, no attention at all.
FAMILIES = [
    "backbone-bert",
    "backbone-mpnet",
    "backbone-deberta",
    "backbone-jina2",
    "backbone-jina3",
    "backbone-nomic-moe",
    "backbone-modernbert",
    "backbone-qwen3",
    "backbone-gemma2",
    "backbone-embeddinggemma2",
    "backbone-t5",
    "pipeline-dense",
    "static-model2vec",
]
SPOILED = {100: np.nan, 101: np.inf, 102: 3e38}
EVERYTHING = together(*TASKS.values())
# The spoiled word stands first, in the middle, last; texts before, between and behind.
WORDS = [[20, 21, 22], [100, 23], [24], [25, 26, 101, 27], [28, 29], [30, 102], [31] * 20]
BROKEN = [1, 3, 5]


def run(folder, **options):
    """For each text what every task gives."""
    texts = [Text(np.asarray(ids, np.int32)) for ids in WORDS]
    return list(load_engine(str(folder), **options).run(texts, EVERYTHING))


def unchanged(before, after, texts):
    for text in texts:
        for one, other in zip(before[text], after[text], strict=True):
            assert np.isfinite(one).all()
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", FAMILIES)
def test_spoiled_words_and_a_spoiled_padding_row_change_no_neighbor_by_one_bit(name, checkpoint):
    folder = checkpoint(name)
    before = run(folder)
    after = run(poison(folder, rows({0: np.nan, **SPOILED})))
    unchanged(before, after, [text for text in range(len(WORDS)) if text not in BROKEN])
    for text in BROKEN[:2]:  # 3e38 is a number like any other, which a norm may bring back
        vector, tokens, states = after[text]
        assert np.isnan(vector).all()
        assert not np.isfinite(tokens).all()
        assert not np.isfinite(states).all()


def test_in_bfloat16_it_is_the_same(checkpoint):
    folder = checkpoint("backbone-bert")
    before = run(folder, dtype="bfloat16")
    after = run(poison(folder, rows({0: np.inf, **SPOILED})), dtype="bfloat16")
    unchanged(before, after, [text for text in range(len(WORDS)) if text not in BROKEN])


def test_an_overflow_within_a_layer_stays_in_its_text_and_is_not_lost(checkpoint):
    # The states of word 100 are finite and all in one dimension; the values that the first layer makes of it are not.
    def values(name, value):
        if "layer.0.attention.self.value.weight" in name:
            value[0, 3] = 9e37

    def word(name, value):
        if "word_embeddings" in name:
            value[100] = 1000 * (np.arange(value.shape[1]) == 3)

    folder = poison(checkpoint("backbone-bert"), values)
    before = run(folder)
    after = run(poison(folder, word))
    # Values of 1e38 overflow for some of the others too, and do so as they did before.
    whole = [text for text in (0, 2, 4, 5, 6) if np.isfinite(before[text][0]).all()]
    assert whole
    unchanged(before, after, whole)
    assert np.isfinite(before[1][0]).all()
    assert all(np.isnan(result).all() for result in after[1])


@pytest.mark.parametrize("part", ["lora_A", "lora_B"])
def test_adapters_of_other_tasks_may_be_spoiled(checkpoint, part):
    folder = checkpoint("backbone-jina3")
    before = run(folder)

    def others(name, value):
        if part in name:
            # Task 4, text-matching, is the one that is applied.
            value[:4] = np.nan

    unchanged(before, run(poison(folder, others)), range(len(WORDS)))


def test_results_that_are_not_finite_are_told_from_those_whose_sum_overflows():
    wide = np.full(4, 3e38, np.float32)
    results = [np.ones(3, np.float32), np.array([1, np.nan], np.float32), wide, np.array([[np.inf, -np.inf]], np.float32)]
    assert not_finite(results) == [1, 3]


def test_the_library_gives_nan_for_the_text_alone(checkpoint):
    llm = LLM(str(poison(checkpoint("backbone-bert"), rows({0: np.nan, 20: np.nan}))))
    good, bad, fine = (np.asarray(one.outputs.embedding) for one in llm.embed(["w7 w8", "w20", "w9"], use_tqdm=False))
    assert np.isfinite(good).all()
    assert np.isfinite(fine).all()
    assert np.isnan(bad).all()
