"""`jaxembed embed` and `score` name a text without a finite vector, write the others, and end with status 1."""

import json

import numpy as np
import pytest
from poison import poison, rows

from jaxembed.cli import main

TEXTS = ["w7 w8", "w20 \x1b[31m", "w9"]


@pytest.fixture
def folder(checkpoint):
    return str(poison(checkpoint("backbone-bert"), rows({0: np.nan, 20: np.nan})))


@pytest.mark.parametrize("ending", ["npy", "jsonl"])
def test_embed_writes_the_others_and_names_the_text(folder, ending, tmp_path, capsys):
    output = tmp_path / f"out.{ending}"
    assert main(["embed", "-m", folder, "--output", str(output), *TEXTS]) == 1
    error = capsys.readouterr().err
    assert "1 of 3 texts have no finite vector: number 2 ('w20 \\x1b[31m')" in error
    assert "\x1b[31m" not in error
    if ending == "npy":
        vectors = np.load(output)
        assert np.isfinite(vectors).all(axis=1).tolist() == [True, False, True]
    else:
        lines = [json.loads(line) for line in output.read_text().splitlines()]
        assert [line["embedding"] is None for line in lines] == [False, True, False]
    assert len(list(tmp_path.glob("out*"))) == 1


def test_embed_names_it_on_standard_output_too(folder, capsys):
    assert main(["embed", "-m", folder, *TEXTS]) == 1
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["embedding"] is None for line in written] == [False, True, False]


def test_score_names_the_text(folder, capsys):
    assert main(["score", "-m", folder, "w7", "w8", "w20"]) == 1
    shown = capsys.readouterr()
    assert "TEXT[1] are not finite" in shown.err
    assert len(shown.out.splitlines()) == 2


def test_a_folder_whose_texts_are_all_finite_ends_with_0(folder, capsys):
    assert main(["embed", "-m", folder, "w7 w8", "w9"]) == 0
    assert "finite" not in capsys.readouterr().err
