"""The worked examples of CONTRIBUTING.md, applied to a copy of the tree and run: they are all that it takes."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reference import tiny
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
BLOCK = re.compile(r'```(python|diff) title="([^"]+)"\n(.*?)```', re.DOTALL)


@pytest.fixture
def tree(tmp_path):
    """A copy of the sources."""
    copy = tmp_path / "tree"
    for folder in ("jaxembed", "convert", "kernels_pallas", "server"):
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def follow(tree: Path, heading: str) -> list[str]:
    """Does what the section under a heading says, and returns for each changed file how: "new", or the lines added."""
    (section,) = re.findall(rf"### {heading}[^\n]*\n(.*?)(?=\n##|\Z)", PAGE, re.DOTALL)
    done = []
    for language, name, body in BLOCK.findall(section):
        path = tree / name
        if language == "python":
            assert not path.exists(), f"{name} is there already"
            path.write_text(body)
            done.append("new")
            continue
        lines = body.splitlines()
        old = "\n".join(line[1:] for line in lines if line[:1] in " -")
        new = "\n".join(line[1:] for line in lines if line[:1] in " +")
        text = path.read_text()
        assert text.count(old) == 1, f"{name} does not hold, once:\n{old}"
        path.write_text(text.replace(old, new))
        done.append("changed")
    return done


def run(tree: Path, program: str, *arguments: str) -> str:
    """Runs a program with the modules of a tree, and returns what it prints."""
    where = f"import jaxembed; assert jaxembed.__file__.startswith({str(tree)!r}), jaxembed.__file__\n"
    command = [sys.executable, "-c", where + program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


TASK = """
import numpy as np
from fastapi.testclient import TestClient
from jaxembed import LLM
from jaxembed.heads.tokens import HIDDEN
from jaxembed.server.app import create_app
from jaxembed.server.service import Service
from jaxembed.server.settings import Settings

llm = LLM()
texts = ["The weather is lovely today.", "hi", "He drove to the stadium, and then home again."]
spread = np.stack([one.outputs.data for one in llm.encode(texts, pooling_task="spread")])
encoder = llm.engine.model.encoder
states = llm.engine.run(encoder.texts(texts, tokenization=encoder.tokenization()), HIDDEN)
truth = np.stack([one.std(axis=0) for one in states])
print(np.abs(spread - truth).max())
with TestClient(create_app(Service(llm, Settings()))) as client:
    answer = client.post("/pooling", json={"input": texts, "task": "spread"}).json()
print(np.abs(np.array([one["data"] for one in answer["data"]]) - truth).max())
"""


def test_a_new_task_is_one_file_and_a_line_of_the_table(tree):
    assert follow(tree, "A task: one file and a line") == ["new", "changed", "changed"]
    differences = [float(line) for line in run(tree, TASK).split()]
    # The program takes the difference of two sums; the truth subtracts first.
    assert max(differences) < 1e-4


FIELD = """
import numpy as np
from jaxembed.heads.task import Task
from jaxembed.heads.vectors import EMBED
from jaxembed.loading import load_engine
from jaxembed.packing.text import Options, Text

engine = load_engine()

def program(embedder, packed, states, run):
    return embedder.pooled(packed, states, run) * packed.options.weight[:, None]

weighted = Task("weighted", False, program, EMBED.cut)
ids = np.array([101, 7592, 102], np.int32)
found = list(engine.run([Text(ids), Text(ids, Options(weight=0.5)), Text(ids, Options(weight=-2.0))], weighted))
print(*[float(np.linalg.norm(vector) * np.sign(vector @ found[0])) for vector in found])
"""


def test_a_new_value_that_each_text_carries_is_one_line(tree):
    assert follow(tree, "A value that each text carries: one line") == ["changed"]
    assert [float(word) for word in run(tree, FIELD).split()] == pytest.approx([1, 0.5, -2], abs=1e-5)


FAMILY = """
import sys
import numpy as np
from jaxembed import LLM
np.save(sys.argv[1] + "/found.npy", np.stack([one.outputs.array for one in LLM(sys.argv[1]).embed(["w8 w9", "w30 w8 w77"])]))
"""


def test_a_new_family_is_two_files_and_a_line_of_the_registry(tree, tmp_path):
    assert follow(tree, "A family: two files and a line") == ["new", "new", "changed"]
    config = {"architectures": ["GatedWordsModel"], "vocab_size": 120, "hidden_size": 8, "max_position_embeddings": 64}
    spec = {
        "seed": 3,
        "files": {"config.json": {**config, "model_type": "gated_words"}},
        "tensors": {"model.safetensors": {"model.embed.weight": [120, 8], "model.gate.weight": [120]}},
    }
    folder = tiny.write(spec, tmp_path / "gated")
    run(tree, FAMILY, str(folder))
    tensors = load_file(folder / "model.safetensors")
    turned = tensors["model.embed.weight"] / (1 + np.exp(-tensors["model.gate.weight"]))[:, None]
    # [CLS] is 3, [SEP] is 4.
    truth = np.stack([turned[[3, 8, 9, 4]].mean(0), turned[[3, 30, 8, 77, 4]].mean(0)])
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    np.testing.assert_allclose(np.load(folder / "found.npy"), truth, atol=1e-6)
