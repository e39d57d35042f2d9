"""The command line as a person meets it: what is printed, where, and with which exit status."""

import io
import json
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest

from jaxembed import SentenceTransformer
from jaxembed.cli import main
from jaxembed.cli.embed import write
from jaxembed.cli.texts import Line, _parse

TEXTS = ["The weather is lovely today.", "", "He drove to the stadium."]


@pytest.fixture(scope="module")
def vectors():
    return SentenceTransformer().encode(TEXTS)


@pytest.fixture
def run(capsys):
    """Runs the command in this process and returns its status, output and errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(list(arguments))
        out, err = capsys.readouterr()
        return status, out, err

    return call


def parsed(lines: str) -> np.ndarray:
    return np.array([json.loads(line)["embedding"] for line in lines.splitlines()], np.float32)


def test_texts_as_arguments_come_out_as_json_lines(run, vectors):
    status, out, err = run("embed", *TEXTS)
    assert status == 0
    assert [json.loads(line)["text"] for line in out.splitlines()] == TEXTS
    np.testing.assert_allclose(parsed(out), vectors, atol=1e-6)
    assert "3 texts, 18 tokens in" in err
    assert "tokens/s" in err


@pytest.mark.parametrize("kind", ["txt", "jsonl", "strings.jsonl"])
def test_a_file_of_texts_becomes_an_array(run, vectors, tmp_path, kind):
    lines = {
        "txt": TEXTS,
        "jsonl": [json.dumps({"id": 1, "text": text}) for text in TEXTS],
        "strings.jsonl": [json.dumps(text) for text in TEXTS],
    }[kind]
    (tmp_path / f"in.{kind}").write_text("\n".join(lines) + "\n")
    status, out, _ = run("embed", "--input", str(tmp_path / f"in.{kind}"), "--output", str(tmp_path / "out.npy"))
    assert (status, out) == (0, "")
    got = np.load(tmp_path / "out.npy")
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, vectors, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"in.{kind}", "out.npy"]


OBJECTS = [json.dumps({"text": text}) for text in TEXTS]


@pytest.mark.parametrize(
    "lines",
    [
        TEXTS,
        OBJECTS,
        ["{ " + line[1:] for line in OBJECTS],
        ["", *OBJECTS, ""],
        ["\ufeff" + TEXTS[0], *TEXTS[1:]],
        ["\ufeff" + OBJECTS[0], *OBJECTS[1:]],
    ],
)
def test_standard_input_may_be_plain_or_json_lines(run, vectors, tmp_path, monkeypatch, lines):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))
    status, _, _ = run("embed", "--input", "-", "--output", str(tmp_path / "out.jsonl"))
    assert status == 0
    np.testing.assert_allclose(parsed((tmp_path / "out.jsonl").read_text()), vectors, atol=1e-6)


def test_dimensions_and_length_are_the_callers_choice(run, vectors):
    status, out, _ = run("embed", TEXTS[0], "--dimensions", "64", "--no-normalize", "--hf-overrides", '{"is_matryoshka": true}')
    assert status == 0
    short = parsed(out)[0]
    assert short.shape == (64,)
    assert abs(np.linalg.norm(short) - 1) > 0.1
    cut = vectors[0][:64]
    np.testing.assert_allclose(short / np.linalg.norm(short), cut / np.linalg.norm(cut), atol=1e-6)


def test_a_prompt_is_taken_by_name(run, checkpoint):
    folder = str(checkpoint("pipeline-pooling-without-prompt"))
    expected = SentenceTransformer(folder).encode_query("w8 w9")
    status, out, _ = run("embed", "w8 w9", "-m", folder, "--prompt-name", "query")
    assert status == 0
    np.testing.assert_allclose(parsed(out)[0], expected, atol=1e-6)
    status, _, err = run("embed", "w8 w9", "-m", folder, "--prompt-name", "passage")
    assert (status, err) == (2, "jaxembed: the model has no prompt named 'passage'; it has document, query.\n")


def test_score_prints_a_line_a_text(run):
    status, out, _ = run("score", "The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
    assert status == 0
    assert out == "0.6660  It's so sunny outside!\n0.1046  He drove to the stadium.\n"


def test_info_tells_of_static_embeddings_too(run, checkpoint):
    status, out, _ = run("info", str(checkpoint("static-model2vec")))
    assert status == 0
    assert "Static embeddings (StaticModel)" in out
    assert "layers          none" in out


def test_info_says_what_was_found_and_in_which_file(run, checkpoint):
    status, out, _ = run("info", str(checkpoint("pipeline-dense-many")))
    assert status == 0
    facts = {line.split("  ")[1].strip(): line for line in out.splitlines()[1:]}
    assert facts["family"].split()[1:] == ["BERT", "(BertModel)", "config.json"]
    assert facts["pooling"].split() == ["pooling", "mean", "+", "max", "1_Pooling/config.json"]
    assert facts["dimensions"].split()[1] == "16"
    assert "Dense 64 to 48 (linear)" in facts["heads"]


def test_doctor_checks_this_machine(run):
    status, out, _ = run("doctor")
    assert status == 0
    assert "attention   banded" in out
    assert "cosines 0.6660, 0.1046, 0.1411" in out
    assert out.endswith("all good\n")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["embed"], 2, "give the texts either as arguments or with --input FILE"),
        (["embed", "a", "--input", "b"], 2, "give the texts either as arguments or with --input FILE"),
        (["embed", "--input", "missing.txt"], 2, "missing.txt cannot be read: No such file or directory."),
        (["embed", "a", "--output", "out.csv"], 2, "--output must end in .npy or .jsonl, not 'out.csv'."),
        (["embed", "a", "--output", "/no/such/folder/out.npy"], 2, "there is no folder /no/such/folder to write out.npy to."),
        (["embed", "a", "-m", "/no/such/model"], 1, "there is no model folder /no/such/model."),
        (["embed", "a", "--dtype", "int3"], 1, "dtype 'int3' is not supported"),
        (["embed", "a", "--dimensions", "7"], 2, "does not support matryoshka representation"),
        (["embed", "word " * 400], 2, "maximum context length is 256 tokens"),
        (["embed", "a", "--max-model-len", "9999"], 2, "greater than the derived max_model_len"),
        (["info", "/no/such/model"], 1, "there is no model folder /no/such/model."),
    ],
)
def test_what_cannot_be_done_is_one_line_and_no_traceback(run, arguments, status, message):
    got, out, err = run(*arguments)
    assert (got, out) == (status, "")
    assert err.startswith("jaxembed: ")
    assert message in err
    assert err.count("\n") == 1


def test_truncate_cuts_what_is_too_long(run):
    status, out, _ = run("embed", "word " * 400, "--truncate")
    assert status == 0
    assert parsed(out).shape == (1, 384)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b'{"text": 3}\n', "line 1 has no text"),
        (b'{"text": "a"}\n{"text":\n', "line 2 is not JSON"),
        (b"", "holds no texts"),
    ],
)
def test_a_bad_line_is_named_and_no_output_is_left(run, tmp_path, content, message):
    (tmp_path / "in.jsonl").write_bytes(content)
    status, _, err = run("embed", "--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.npy"))
    assert status == 2
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_text_that_fails_late_leaves_the_old_output_alone(run, tmp_path):
    (tmp_path / "out.npy").write_bytes(b"old")
    (tmp_path / "in.txt").write_text("fine\n" * 2000 + "word " * 400)
    status, _, err = run("embed", "--input", str(tmp_path / "in.txt"), "--output", str(tmp_path / "out.npy"))
    assert status == 2
    assert "402 input tokens" in err
    assert (tmp_path / "out.npy").read_bytes() == b"old"


def test_blank_lines_are_texts_between_texts():
    assert list(_parse(["\n", "a\n", "\n"], "-", None)) == [Line("", 1), Line("a", 2), Line("", 3)]
    assert list(_parse(["\n", "\n"], "-", None)) == [Line("", 1), Line("", 2)]


def test_a_file_of_another_name_is_left_alone(run, tmp_path):
    (tmp_path / "out.npy.partial").write_text("mine")
    assert run("embed", "a", "--output", str(tmp_path / "out.npy"))[0] == 0
    assert (tmp_path / "out.npy.partial").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.npy", "out.npy.partial"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", ["out.npy", "out.jsonl"])
def test_a_signal_leaves_nothing_half_written(tmp_path, number, name):
    def vectors():
        yield np.zeros(4, np.float32)
        os.kill(os.getpid(), number)
        yield np.zeros(4, np.float32)

    with pytest.raises(SystemExit) as end:
        write(tmp_path / name, [Line("a", 1), Line("b", 2)], vectors())
    assert end.value.code == 128 + number
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(number) == signal.SIG_DFL


def test_a_signal_that_nohup_ignores_stays_ignored(tmp_path):
    def vectors():
        os.kill(os.getpid(), signal.SIGHUP)
        yield np.zeros(4, np.float32)

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        write(tmp_path / "out.npy", [Line("a", 1)], vectors())
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert [path.name for path in tmp_path.iterdir()] == ["out.npy"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            FileNotFoundError(2, "No such file or directory", "/no/tables"),
            "/no/tables cannot be used: No such file or directory",
        ),
        (OSError(28, "No space left on device"), "the output cannot be written: No space left on device"),
        (OSError(24, "Too many open files"), "the system refuses: Too many open files"),
    ],
)
def test_an_error_of_the_system_names_what_it_is_about(capfd, monkeypatch, error, said):
    def fail(arguments):
        raise error

    monkeypatch.setattr("jaxembed.cli._abandon_output", lambda: None)
    monkeypatch.setattr("jaxembed.cli.doctor.run", fail)
    assert main(["doctor"]) == 1
    assert capfd.readouterr().err == f"jaxembed: {said}.\n"


def test_a_full_disk_behind_standard_output_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "jaxembed", "embed", "a"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "jaxembed: the output cannot be written: No space left on device.\n"


def test_a_default_prompt_that_is_not_applied_is_told(run, checkpoint):
    folder = checkpoint("pipeline-pooling-without-prompt")
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"default_prompt_name": "query"}))
    assert "--prompt-name query is the model's own" in run("embed", "w8", "-m", str(folder))[2]
    assert "not applied elsewhere" in run("info", str(folder))[1]
    assert "--prompt-name" not in run("embed", "w8", "-m", str(folder), "--prompt-name", "query")[2]


@pytest.mark.parametrize("arguments", [["--help"], ["embed", "--help"], ["--version"]])
def test_help_is_there_at_once(arguments):
    """Under 0.3 s: processor time, the best of three, because other work on the machine shall not decide."""

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    best = 1e9
    for _ in range(3):
        before = spent()
        done = subprocess.run([sys.executable, "-m", "jaxembed", *arguments], capture_output=True, text=True)
        best = min(best, spent() - before)
        assert done.returncode == 0
        assert "jaxembed" in done.stdout
    assert best < 0.3


def test_a_reader_that_goes_away_ends_it_quietly():
    command = f"{sys.executable} -m jaxembed embed " + " ".join(["word"] * 200) + " | head -c 100"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=os.environ)
    assert len(done.stdout) == 100
    assert "Traceback" not in done.stderr
