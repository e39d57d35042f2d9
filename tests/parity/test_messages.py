"""Texts that sentence-transformers 6.2 takes as messages and puts through a chat template."""

import json

import numpy as np
import pytest
from live import reference

from jaxembed import SentenceTransformer

pytestmark = pytest.mark.parity

FLAT = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}>>{% endif %}"
)
PARTS = (
    "{% for m in messages %}{{ m.role }}:{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}"
    "\n{% endfor %}end"
)
STATES = {"method": "forward", "method_output_name": "last_hidden_state"}
CALLS = [
    {"inputs": ["what is w7", "", "<|endoftext|> two", "long " * 40]},
    {"inputs": ["what is w7", "long " * 40], "prompt": "find it: "},
]


def saved(folder, template, file):
    """A decoder with a template, without modules.json or with the file of its Transformer."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template, "model_max_length": 60}))
    if file is None:
        return folder
    types = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules = [
        {"idx": i, "name": str(i), "path": place, "type": f"sentence_transformers.models.{kind}"}
        for i, (place, kind) in enumerate(types)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"module_output_name": "token_embeddings"} | file))
    return folder


@pytest.mark.parametrize(
    ("template", "file"),
    [
        (FLAT, None),
        (PARTS, None),
        (FLAT, {"modality_config": {"text": STATES, "message": {**STATES, "format": "flat"}}, "max_seq_length": 50}),
        (
            PARTS,
            {
                "modality_config": {"text": STATES, "message": STATES},
                "processing_kwargs": {"chat_template": {"restore_suffix": False}},
            },
        ),
        (
            FLAT,
            {
                "modality_config": {"text": STATES, "message": {**STATES, "format": "auto"}},
                "processing_kwargs": {"chat_template": {"add_generation_prompt": True}},
            },
        ),
        (FLAT, {"modality_config": {"text": STATES}}),
        (FLAT, {}),
    ],
)
def test_texts_are_messages_where_the_reference_takes_them_so(checkpoint, tmp_path, template, file):
    folder = saved(checkpoint("backbone-qwen3-causal-lm"), template, file)
    reference("call_sentence_transformer.py", str(folder), str(tmp_path / "out.npz"), stdin=json.dumps(CALLS))
    model = SentenceTransformer(str(folder), prompts={"query": "find this: "})
    with np.load(tmp_path / "out.npz") as arrays:
        for number, call in enumerate(CALLS):
            np.testing.assert_allclose(model.encode(**call), arrays[str(number)], atol=1e-5, err_msg=str(call))
