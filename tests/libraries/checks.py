"""One check by its name: python checks.py NAME. Compares the real SentenceTransformer with ours, on the embedded default."""

import sys
import warnings

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402

from jaxembed import SentenceTransformer as Ours  # noqa: E402
from jaxembed.convert.checkpoint.hub import find_model  # noqa: E402

FOLDER = str(find_model(None))
TEXTS = ["a dog", "a cat sits", "the stock market fell", "it rains", "wet weather", "a red car", "", "Paris is in France"]
LEFT = ["a small dog", "it rains", "the market", "he drove a car", "she reads", "birds sing"]
RIGHT = ["a little dog", "wet weather", "stocks fall", "she drives", "a book is read", "songs of birds"]
SCORES = [0.9, 0.7, 0.5, 0.6, 0.8, 0.75]


def both():
    from sentence_transformers import SentenceTransformer as Theirs

    return Theirs(FOLDER, device="cpu"), Ours(FOLDER, device="cpu")


def alike(a, b, tolerance=1e-5):
    assert type(a) is type(b), (type(a), type(b))
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    worst = float(abs(a - b).max())
    assert worst <= tolerance, worst


def vectors():
    theirs, ours = both()
    for options in ({}, {"convert_to_tensor": True}, {"prompt": "query: "}, {"truncate_dim": 8, "normalize_embeddings": True}):
        alike(theirs.encode(TEXTS, **options), ours.encode(TEXTS, **options))
    for options in ({"convert_to_numpy": False}, {"output_value": "token_embeddings"}):
        for one, other in zip(theirs.encode(TEXTS, **options), ours.encode(TEXTS, **options), strict=True):
            alike(one, other, 2e-5)
    a, b = theirs.encode(TEXTS), ours.encode(TEXTS)
    alike(theirs.similarity(a, b), ours.similarity(a, b))
    alike(theirs.similarity_pairwise(a, b), ours.similarity_pairwise(a, b))
    assert ours.dtype == theirs.dtype


def pairs():
    theirs, ours = both()
    given = [("a", "b c"), ["Represent the title:", "A title"], ("word " * 400, "other " * 300), ("word", "other " * 300)]
    for options in ({}, {"prompt": "query: "}):
        alike(theirs.encode(given, **options), ours.encode(given, **options))
    alike(theirs.encode(np.array([["a", "b"], ["c", "d"]])), ours.encode(np.array([["a", "b"], ["c", "d"]])))


def features():
    theirs, ours = both()
    for given, options in ((["a", "b c"], {}), (["a", "b c"], {"prompt": "query: "}), ([("a", "b c"), ("d", "e")], {})):
        one, other = theirs.preprocess(given, **options), ours.preprocess(given, **options)
        assert set(one) == set(other)
        for name, value in one.items():
            assert (value == other[name]).all() if hasattr(value, "shape") else value == other[name], name
    assert set(theirs.encode("a", output_value=None)) == set(ours.encode("a", output_value=None))


def pooling():
    theirs, ours = both()
    for mode in ("max", "cls", "lasttoken", "mean"):
        for include in (False, True):
            for model in (theirs, ours):
                model[1].pooling_mode = mode
                model.set_pooling_include_prompt(include)
            alike(theirs.encode(TEXTS[:3], prompt="query: "), ours.encode(TEXTS[:3], prompt="query: "))


def util():
    from sentence_transformers import util as theirs

    from jaxembed.sentence_transformers import util as ours

    rng = np.random.RandomState(0)
    a, b = rng.randn(300, 16).astype(np.float32), rng.randn(7, 16).astype(np.float32)
    for name in ("cos_sim", "dot_score", "euclidean_sim", "manhattan_sim"):
        alike(getattr(theirs, name)(a, b), getattr(ours, name)(a, b))
    for name in ("cos_sim", "dot_score", "euclidean_sim", "manhattan_sim", "angle_sim"):
        alike(getattr(theirs, f"pairwise_{name}")(a[:7], b), getattr(ours, f"pairwise_{name}")(a[:7], b))
    for options in ({}, {"top_k": 1000}, {"corpus_chunk_size": 50, "top_k": 5}, {"score_function": theirs.dot_score}):
        _same_search(theirs.semantic_search(b, a, **options), ours.semantic_search(b, a, **options))
    import torch

    for options in ({"top_k": 3}, {"max_pairs": 50}, {"query_chunk_size": 40, "corpus_chunk_size": 70, "top_k": 10}):
        one = theirs.paraphrase_mining_embeddings(torch.tensor(a), **options)
        other = ours.paraphrase_mining_embeddings(a, **options)
        assert {tuple(each[1:]) for each in one} == {tuple(each[1:]) for each in other}
        np.testing.assert_allclose([each[0] for each in one], [each[0] for each in other], atol=1e-5)
    groups = np.concatenate([a[i : i + 1] + 0.3 * rng.randn(20, 16).astype(np.float32) for i in range(6)] + [a[6:40]])
    for options in ({}, {"threshold": 0.6, "min_community_size": 3}, {"threshold": 0.9, "min_community_size": 2}):
        assert theirs.community_detection(groups, **options) == ours.community_detection(groups, **options)


def _same_search(one, other):
    for row, others in zip(one, other, strict=True):
        assert [each["corpus_id"] for each in row] == [each["corpus_id"] for each in others]
        np.testing.assert_allclose([each["score"] for each in row], [each["score"] for each in others], atol=1e-4)


def quantized():
    from sentence_transformers.util import quantization as theirs

    from jaxembed.sentence_transformers.util import quantization as ours

    rng = np.random.RandomState(0)
    a, b = rng.randn(300, 64).astype(np.float32), rng.randn(7, 64).astype(np.float32)
    ranges = np.stack([a.min(0), a.max(0)])
    for name, precisions in {
        "semantic_search_faiss": ("float32", "uint8"),
        "semantic_search_usearch": ("float32", "int8"),
    }.items():
        for precision in precisions:
            corpus = theirs.quantize_embeddings(a, precision, ranges=ranges)
            np.testing.assert_array_equal(corpus, ours.quantize_embeddings(a, precision, ranges=ranges))
            for rescore in (True, False):
                options = {"corpus_precision": precision, "top_k": 3, "rescore": rescore, "ranges": ranges}
                _same_search(getattr(theirs, name)(b, corpus, **options)[0], getattr(ours, name)(b, corpus, **options)[0])
    # Hamming distances are whole numbers, so many tie; with all of them scored again nothing does.
    bits = theirs.quantize_embeddings(a, "ubinary")
    options = {"corpus_precision": "ubinary", "top_k": 3, "rescore_multiplier": 100}
    for name in ("semantic_search_faiss", "semantic_search_usearch"):
        _same_search(getattr(theirs, name)(b, bits, **options)[0], getattr(ours, name)(b, bits, **options)[0])


def evaluators():
    theirs, ours = both()
    for name, make in _evaluators(theirs).items():
        one, other = make(theirs)(theirs), make(ours)(ours)
        if isinstance(one, dict):
            assert set(one) == set(other), name
            difference = max(abs(one[key] - other[key]) for key in one)
        else:
            difference = abs(one - other)
        # int8 falls on the other side of an edge here and there.
        assert difference < (1e-3 if name == "int8" else 1e-6), (name, difference)
    assert ours.evaluate(_evaluators(theirs)["triplet"](ours)) == {"cosine_accuracy": 1.0}


def _evaluators(teacher):
    import torch
    from sentence_transformers import evaluation as e
    from sentence_transformers.losses import SoftmaxLoss
    from sentence_transformers.readers import InputExample
    from torch.utils.data import DataLoader

    queries, corpus = {str(i): t for i, t in enumerate(LEFT)}, {str(i): t for i, t in enumerate(RIGHT + TEXTS)}
    mined = {str(i): t for i, t in enumerate(LEFT + RIGHT)}
    # No negative is a positive too: equal scores may be ranked either way.
    others = ["a cat sits", "the stock market fell", "a red car"]
    ranked = [{"query": a, "positive": [b], "negative": others} for a, b in zip(LEFT, RIGHT, strict=True)]
    four = ["cosine", "dot", "euclidean", "manhattan"]

    def accuracy(model):
        torch.manual_seed(0)
        loss = SoftmaxLoss(model, 384, 2)
        examples = [InputExample(texts=[a, b], label=i % 2) for i, (a, b) in enumerate(zip(LEFT, RIGHT, strict=True))]
        return e.LabelAccuracyEvaluator(DataLoader(examples, batch_size=3), "label", loss)

    return {
        "similarity": lambda m: e.EmbeddingSimilarityEvaluator(LEFT, RIGHT, SCORES, similarity_fn_names=four),
        "int8": lambda m: e.EmbeddingSimilarityEvaluator(LEFT, RIGHT, SCORES, precision="int8"),
        "binary": lambda m: e.BinaryClassificationEvaluator(LEFT * 2, RIGHT + RIGHT[::-1], [1] * 6 + [0] * 6),
        "triplet": lambda m: e.TripletEvaluator(LEFT, RIGHT, RIGHT[1:] + RIGHT[:1]),
        "retrieval": lambda m: e.InformationRetrievalEvaluator(queries, corpus, {str(i): {str(i)} for i in range(6)}),
        "paraphrases": lambda m: e.ParaphraseMiningEvaluator(mined, [(str(i), str(i + 6)) for i in range(6)]),
        "mse": lambda m: e.MSEEvaluator(LEFT, RIGHT, teacher_model=teacher),
        "translation": lambda m: e.TranslationEvaluator(LEFT, RIGHT),
        "reranking": lambda m: e.RerankingEvaluator(ranked),
        "sequential": lambda m: e.SequentialEvaluator(
            [e.TranslationEvaluator(LEFT, RIGHT), e.TripletEvaluator(LEFT, RIGHT, LEFT)]
        ),
        "labels": accuracy,
    }


def mining():
    import datasets
    from sentence_transformers.util import mine_hard_negatives

    theirs, ours = both()
    given = datasets.Dataset.from_dict({"query": LEFT * 5, "answer": RIGHT * 5})
    for options in ({"num_negatives": 2}, {"num_negatives": 1, "use_faiss": True}):
        one, other = (mine_hard_negatives(given, model, verbose=False, **options) for model in (theirs, ours))
        assert one.to_dict() == other.to_dict()
        assert len(one)


def mteb():
    import datasets
    import mteb as library
    from mteb.abstasks.sts import AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

    words = {"description": "x", "reference": "https://example.org", "license": "mit", "bibtex_citation": ""}
    kinds = {
        "domains": ["Written"],
        "task_subtypes": [],
        "annotations_creators": "derived",
        "dialect": [],
        "sample_creation": "found",
    }

    class Local(AbsTaskSTS):
        metadata = TaskMetadata(
            name="Local", dataset={"path": "local/x", "revision": "1"}, type="STS", category="t2t", modalities=["text"],
            eval_splits=["test"], eval_langs=["eng-Latn"], main_score="cosine_spearman", date=("2026-01-01", "2026-01-02"),
            **words, **kinds,
        )  # fmt: skip
        min_score, max_score = 0, 5

        def load_data(self, **unused):
            columns = {
                "sentence1": LEFT * 2,
                "sentence2": RIGHT + RIGHT[::-1],
                "score": [5 * one for one in SCORES] + [1.0] * 6,
            }
            self.dataset = datasets.DatasetDict({"test": datasets.Dataset.from_dict(columns)})
            self.data_loaded = True

    one, other = (library.evaluate(model, [Local()], cache=None).task_results[0].get_score() for model in both())
    print(one, other)
    assert abs(one - other) < 1e-9


def _in_place():
    """Puts our package where libraries import the other."""
    import jaxembed.sentence_transformers

    sys.modules["sentence_transformers"] = jaxembed.sentence_transformers
    return Ours(FOLDER)


DOCUMENTS = ["the quick brown fox jumps over the lazy dog near a river", "stocks fell on monday", "tomato soup with basil"] * 4


def keybert():
    model = _in_place()
    from keybert import KeyBERT

    used = KeyBERT(model=model)
    assert used.model.embedding_model is model
    assert used.extract_keywords(DOCUMENTS[0], top_n=1)[0][0] == "fox"
    assert type(KeyBERT(model="all-MiniLM-L6-v2").model.embedding_model) is Ours


def bertopic():
    model = _in_place()
    from bertopic.backend._utils import select_backend

    used = select_backend(model)
    assert used.embedding_model is model
    np.testing.assert_allclose(used.embed(DOCUMENTS), model.encode(DOCUMENTS), atol=1e-6)
    assert type(select_backend("sentence-transformers/all-MiniLM-L6-v2").embedding_model) is Ours


def setfit():
    model = _in_place()
    from setfit import SetFitModel
    from sklearn.linear_model import LogisticRegression

    head = LogisticRegression().fit(model.encode(DOCUMENTS), [0, 1, 2] * 4)
    used = SetFitModel(model_body=model, model_head=head)
    assert used.to("cpu").predict(DOCUMENTS[:3]).tolist() == [0, 1, 2]


def sklearn():
    import os
    import tempfile

    import joblib
    from sklearn.base import BaseEstimator, TransformerMixin, clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline

    class Embed(BaseEstimator, TransformerMixin):
        def __init__(self, model=None):
            self.model = model

        def fit(self, texts, labels=None):
            return self

        def transform(self, texts):
            return self.model.encode(list(texts))

    used = make_pipeline(Embed(Ours(FOLDER)), LogisticRegression())
    assert cross_val_score(used, DOCUMENTS, [0, 1, 2] * 4, cv=2).tolist() == [1, 1]
    clone(used)
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump(used[0].model, os.path.join(folder, "model"))
        again = joblib.load(os.path.join(folder, "model"))
    alike(again.encode(TEXTS), used[0].model.encode(TEXTS), 0)


def frames():
    import datasets
    import pandas

    model = Ours(FOLDER)
    frame, expected = pandas.DataFrame({"text": DOCUMENTS}), model.encode(DOCUMENTS)
    for column in (frame["text"], datasets.Dataset.from_pandas(frame)["text"], frame["text"].to_numpy()):
        np.testing.assert_allclose(model.encode(column), expected, atol=1e-6)
    for wrong in (frame, pandas.Series(["a", None])):
        try:
            model.encode(wrong)
        except ValueError as error:
            print(error)
        else:
            raise AssertionError(wrong)


globals()[sys.argv[1]]()
