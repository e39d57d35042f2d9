"""`jaxembed info` on files that lie: it shows what they say in one line each, and says where they contradict each other."""

import json

import pytest

from jaxembed.cli import main


def say(folder, **values) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return str(folder)


def test_layers_that_no_tensor_fills_are_said_behind_the_facts(checkpoint, capsys):
    assert main(["info", say(checkpoint("backbone-bert"), num_hidden_layers=9000)]) == 1
    shown = capsys.readouterr()
    assert "9000, " in shown.out
    assert "do not fit its config.json" in shown.err
    assert len(shown.err) < 450


@pytest.mark.parametrize("layers", [10**6, 10**30])
def test_more_layers_than_any_model_has_are_refused_at_once(checkpoint, layers, capsys):
    assert main(["info", say(checkpoint("backbone-bert"), num_hidden_layers=layers)]) == 1
    assert "and it may be 10,000 at most" in capsys.readouterr().err


TITLE = "\x1b]0;owned\x07"


@pytest.mark.parametrize("said", [{"architectures": [TITLE]}, {"architectures": None, "model_type": TITLE}])
def test_escape_codes_of_a_file_never_reach_the_terminal(checkpoint, said, capsys):
    main(["info", say(checkpoint("backbone-bert"), **said)])
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert "\\x1b]0;owned" in shown.out + shown.err
