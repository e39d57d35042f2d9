"""Files that lie: each is one sentence within ten seconds, and none takes memory for what is not there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lies import GROUPS

from jaxembed.convert.checkpoint.tokenizer_files import load_tokenizer

SUPPORT = Path(__file__).parents[1] / "support"
SECONDS, MESSAGE = 10, 400
# What the process takes that lies are told in: jax, numpy, transformers.
MEMORY = 1 << 30


@pytest.mark.parametrize("group", GROUPS)
def test_every_lie_is_one_sentence_in_bounded_time_and_memory(group, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "lies", group, str(tmp_path)]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert told.returncode == 0, told.stderr[-3000:]
    found = [json.loads(line) for line in told.stdout.splitlines()]
    whole, *lies = found
    assert whole["raised"] is None, whole["message"]
    assert len(lies) >= 30
    wrong = [fault for one in lies for fault in faults(one, harmless(group), whole["weights"])]
    grown = max(one["peak"] for one in lies) - whole["peak"]
    assert not wrong, "\n".join(wrong)
    assert grown < MEMORY, max(lies, key=lambda one: one["peak"])


def harmless(group: str) -> tuple[str, ...]:
    """Parts of the names of lies that may load although their weights are not those of the whole."""
    from importlib import import_module

    return getattr(import_module(f"lies.{group}"), "HARMLESS", ())


def faults(one: dict, may_load: tuple[str, ...], weights: str) -> list[str]:
    """What is wrong with how a lie was taken. One that loads must give the weights of the whole, or be named harmless."""
    name, message = one["lie"], one["message"]
    said = []
    if one["seconds"] > SECONDS:
        said.append(f"{name}: {one['seconds']:.1f} s")
    if one["raised"] is None:
        return said if one["weights"] == weights or any(part in name for part in may_load) else [*said, f"{name}: loads"]
    if "JaxEmbedError" not in one["raised"]:
        said.append(f"{name}: {one['raised'][0]}: {message[:200]}")
    if len(message) > MESSAGE and "supported are" not in message and "this checkpoint is no embedder" not in message:
        said.append(f"{name}: {len(message)} characters")
    if not message.isprintable():
        said.append(f"{name}: {message[:200]!r}")
    return said


def test_a_tokenizer_of_few_letters_is_no_lie_although_it_knows_no_a(checkpoint):
    folder = checkpoint("backbone-bert")
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    words = {"A": 7, "C": 8, "G": 9, "T": 10, "[CLS]": 3, "[SEP]": 4}
    content["model"] = {"type": "WordLevel", "vocab": words, "unk_token": "none"}
    path.write_text(json.dumps(content))
    (ids,) = load_tokenizer(folder).encode(["A C"])
    assert ids.tolist() == [3, 7, 8, 4]
