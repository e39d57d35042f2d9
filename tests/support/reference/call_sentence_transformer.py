"""Calls the real SentenceTransformer: python call_sentence_transformer.py FOLDER OUT.npz, a JSON list of calls on stdin."""

import json
import sys

import numpy as np
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(sys.argv[1], device="cpu", prompts={"query": "find this: "})
results = {}
for number, call in enumerate(json.load(sys.stdin)):
    inputs, kind, pairwise = call.pop("inputs"), call.pop("similarity", None), call.pop("pairwise", False)
    vectors = model.encode(inputs, **call)
    if kind is not None:
        model.similarity_fn_name = kind
        compared = model.similarity_pairwise(vectors[1:], vectors[:2]) if pairwise else model.similarity(vectors, vectors[:2])
        vectors = compared.numpy()
    results[str(number)] = np.asarray(vectors)
np.savez(sys.argv[2], **results)
