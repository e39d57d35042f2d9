"""`import jaxembed.sentence_transformers as sentence_transformers`, and the same under the other's own name."""

import importlib
import subprocess
import sys

import pytest
from refusals import refused

import jaxembed
import jaxembed.sentence_transformers as st
from jaxembed.errors import InputError

ALIASED = """
import sys
import jaxembed.sentence_transformers
sys.modules["sentence_transformers"] = jaxembed.sentence_transformers
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", ALIASED + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_other_name_gives_the_same_modules_each_once():
    run("""
from sentence_transformers import SentenceTransformer, util, SimilarityFunction, quantize_embeddings
from sentence_transformers import InputExample, LoggingHandler
from sentence_transformers.util import cos_sim, semantic_search
from sentence_transformers.models import StaticEmbedding, Pooling, Transformer
from sentence_transformers.quantization import quantize_embeddings as again
from sentence_transformers.similarity_functions import SimilarityFunction as same
from sentence_transformers.util.quantization import semantic_search_faiss
from sentence_transformers.evaluation import EmbeddingSimilarityEvaluator
from sentence_transformers.losses import CosineSimilarityLoss
from sentence_transformers.readers import InputExample as example
from sentence_transformers.cross_encoder import CrossEncoder
from sentence_transformers.sentence_transformer import SentenceTransformer as inner
from sentence_transformers.sentence_transformer.model import SentenceTransformer as deep
from sentence_transformers.sentence_transformer.modules import Pooling as module
from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss as loss
assert (inner, deep, module, loss) == (SentenceTransformer, SentenceTransformer, Pooling, CosineSimilarityLoss)
import sentence_transformers.util as other
import jaxembed, jaxembed.sentence_transformers.util as ours
assert SentenceTransformer is jaxembed.SentenceTransformer
assert other is ours is util and same is SimilarityFunction and again is quantize_embeddings and example is InputExample
assert ours.__name__ == ours.__spec__.name == "jaxembed.sentence_transformers.util"
assert [name for name in sys.modules if name.startswith("sentence_transformers.")]
""")


def test_what_is_not_there_is_an_import_error_under_both_names():
    for package in ("jaxembed.sentence_transformers", "sentence_transformers"):
        run(f"""
import importlib, {package}
for name in ("nothing", "util.nothing"):
    try:
        importlib.import_module("{package}." + name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(name)
""")


def test_without_the_alias_the_other_name_is_not_ours():
    code = "import jaxembed.sentence_transformers, importlib.util as u; print(u.find_spec('sentence_transformers'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "jaxembed" not in done.stdout


def test_libraries_that_look_at_the_class_find_the_name():
    assert "sentence_transformers" in str(jaxembed.SentenceTransformer)
    assert st.SentenceTransformer is jaxembed.SentenceTransformer
    assert st.__version__.split(".")[0] == "6"


def test_importing_the_package_loads_neither_jax_nor_torch():
    run("""
from sentence_transformers import util, models, losses
from sentence_transformers.util import cos_sim
assert not {"jax", "torch", "transformers"} & set(sys.modules), set(sys.modules) & {"jax", "torch", "transformers"}
""")


NAMES = [
    ("", "CrossEncoder", "SentenceTransformer"),
    ("", "SparseEncoder", "SentenceTransformer"),
    ("", "MultiVectorEncoder", "SentenceTransformer"),
    ("", "SentenceTransformerTrainer", "training"),
    ("", "mine_hard_negatives", "training"),
    ("losses", "MultipleNegativesRankingLoss", "training"),
    ("training_args", "SentenceTransformerTrainingArguments", "training"),
    ("datasets", "NoDuplicatesDataLoader", "training"),
    ("trainer", "SentenceTransformerTrainer", "training"),
    ("util", "mine_hard_negatives", "training"),
    ("models", "WordEmbeddings", "folder"),
    ("models", "Pooling", "folder"),
    ("evaluation", "TripletEvaluator", "sentence-transformers"),
    ("sparse_encoder", "SparseEncoder", "SentenceTransformer"),
    ("cross_encoder", "CrossEncoder", "SentenceTransformer"),
    ("multi_vector_encoder", "MultiVectorEncoder", "SentenceTransformer"),
]


@pytest.mark.parametrize(("module", "name", "way"), NAMES)
def test_what_cannot_be_used_can_be_imported_and_says_so_in_one_sentence(module, name, way):
    found = getattr(importlib.import_module(f"jaxembed.sentence_transformers{'.' if module else ''}{module}"), name)
    with refused(name, way) as raised:
        found("anything", option=1)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, InputError)
    assert not isinstance(object(), found)


def test_a_name_that_nobody_has_is_no_attribute():
    for module in (st, st.util, st.losses, st.models, st.evaluation):
        assert not hasattr(module, "Nonsense")
