"""Texts that hold special, padding, mask and added tokens, against sentence-transformers."""

import json

import numpy as np
import pytest
from live import reference

from jaxembed import SentenceTransformer

pytestmark = pytest.mark.parity

TEXTS = [
    "w7 <pad> w8",
    "<pad> <pad> w9 w10 <pad>",
    "[PAD] w7 [UNK] w8 [MASK]",
    "[CLS] W7 [SEP] w8",
    "[mask] [Sep] W7 ΟΔΟΣ",
    "w7 [SEP][SEP] w8",
    "w12w7 W12 w12 ",
    "<pad>",
]
MODULES = ["Transformer", "Pooling"]


@pytest.mark.parametrize(
    ("name", "lower"),
    [
        ("bert", True),
        ("roberta", True),
        ("roberta", False),
        ("xlm-roberta", False),
        ("camembert", False),
        ("mpnet", False),
        ("distilbert", False),
        ("modernbert", False),
    ],
)
def test_texts_with_special_tokens_equal_the_reference(checkpoint, tmp_path, name, lower):
    folder = checkpoint(f"backbone-{name}")
    listed = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(MODULES)
    ]
    tokens = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "1_Pooling").mkdir()
    for path, content in {
        "modules.json": listed,
        "1_Pooling/config.json": {"embedding_dimension": 32, "pooling_mode": "mean"},
        "sentence_bert_config.json": {"max_seq_length": 32, "do_lower_case": lower},
        "tokenizer_config.json": tokens | {"mask_token": "[MASK]", "extra_special_tokens": ["w12"]},
    }.items():
        (folder / path).write_text(json.dumps(content))
    reference("call_sentence_transformer.py", str(folder), str(tmp_path / "out.npz"), stdin=json.dumps([{"inputs": TEXTS}]))
    with np.load(tmp_path / "out.npz") as arrays:
        expected = arrays["0"]
    assert np.abs(SentenceTransformer(str(folder)).encode(TEXTS) - expected).max() <= 1e-5
