"""Files of texts: what is read, what is refused by its name, which line is wrong, and what of a line is kept."""

import io
import json

import pytest
from refusals import refused

from jaxembed.cli import main
from jaxembed.cli.texts import _OTHER, read_lines


@pytest.fixture
def run(capsys):
    def go(*argv: object) -> tuple[int, str, str]:
        status = main([str(one) for one in argv])
        return status, *capsys.readouterr()

    return go


@pytest.mark.parametrize("suffix", [*sorted(_OTHER), ".CSV", ".jsonl.gz"])
def test_another_format_is_refused_by_its_name_and_never_read_as_lines(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_text('id,text\n1,"hello, world"\n')
    with refused("--input", str(path), "JSON lines"):
        list(read_lines(str(path)))


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.en", "a", "a.TXT"])
def test_what_is_no_known_format_is_lines(tmp_path, name):
    (tmp_path / name).write_text("a, b\n[c]\n")
    assert [line.text for line in read_lines(str(tmp_path / name))] == ["a, b", "[c]"]


def test_json_lines_may_be_called_in_capitals(tmp_path):
    (tmp_path / "a.JSONL").write_text('{"text": "a"}\n')
    assert [line.text for line in read_lines(str(tmp_path / "a.JSONL"))] == ["a"]


@pytest.mark.parametrize(
    "text", ['[{"text": "a"},\n {"text": "b"}]\n', '[\n  {"text": "a"}\n]\n', '{\n  "text": "a"\n}\n', "\n[\n"]
)
def test_a_json_document_on_standard_input_is_told_from_lines(monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    with refused("--input", "standard input", "JSON lines"):
        list(read_lines("-"))


@pytest.mark.parametrize("text", ["[1] a footnote\nb\n", "{curly} text\n", '["a", "b"] in words\n'])
def test_a_bracket_alone_makes_no_document(monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert [line.text for line in read_lines("-")] == text.splitlines()


@pytest.mark.parametrize(
    ("name", "lines", "bad"),
    [
        ("a.txt", ["a", "", "word " * 400, "b"], "line 3: This model's maximum context length is 256 tokens"),
        ("a.jsonl", ['"a"', "", json.dumps({"text": "word " * 400})], "line 3: This model's maximum context length"),
        ("a.jsonl", ['"a"', "", r'{"text": "half \ud83d"}'], "line 3: a text holds a lone surrogate"),
        ("a.jsonl", ['"a"', '{"text": null}'], "line 2 has no text"),
        ("a.jsonl", ['"a"', '{"text": "a"', '"b"'], "line 2 is not JSON"),
        ("one.txt", ["word " * 400], "line 1: This model's maximum context length"),
    ],
)
def test_the_line_that_is_wrong_is_named(run, tmp_path, name, lines, bad):
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    status, out, err = run("embed", "--input", tmp_path / name)
    assert (status, out) == (2, "")
    assert f"jaxembed: {tmp_path / name}, {bad}" in err
    assert ("--truncate" in err) == ("maximum" in bad)


def test_an_argument_that_is_wrong_is_named(run):
    status, _, err = run("embed", "a", "word " * 400)
    assert (status, "TEXT[1]: This model's maximum context length" in err, "--truncate" in err) == (2, True, True)
    status, _, err = run("score", "a", "b", "word " * 400)
    assert (status, "TEXT[1]: This model's maximum context length" in err, "--truncate" in err) == (2, True, True)


def test_what_a_line_holds_besides_its_text_is_in_the_line_of_its_vector(run, tmp_path):
    records = [
        {"id": 7, "text": "a", "meta": {"lang": "en", "score": 0.5}},
        {"id": 12345678901234567890123, "text": "b – c", "half": "\ud83d", "embedding": "old"},
        "a plain string",
        {"text": "d"},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    status, _, _ = run("embed", "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl")
    assert status == 0
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [len(record.pop("embedding")) for record in written] == [384] * 4
    expected = [{"text": record} if isinstance(record, str) else record for record in records]
    expected[1] = {key: value for key, value in expected[1].items() if key != "embedding"}
    assert written == expected
