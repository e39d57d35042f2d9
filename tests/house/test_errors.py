"""The tree of errors is as it is drawn, and whoever refuses an argument says which."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from refusals import refused

from jaxembed import errors
from jaxembed.errors import CheckpointError, InputError, ModelNotFoundError, UnsupportedModelError, fields_as, shown

ROOT = Path(__file__).parents[2]
# Raises about more than one argument, or about none that the caller has named.
WITHOUT_FIELD = {
    "jaxembed/layers/sharding.py": 1,  # both numbers of a mesh
    "jaxembed/vllm/llm.py": 4,  # sides that do not pair; methods that there are for no argument
    "server/routes/scoring.py": 1,  # sides that do not pair
}


def test_the_drawn_tree_is_the_tree():
    drawn, above = {}, []
    for indent, name, builtin in re.findall(r"^    ([│├└─ ]*)(\w+Error)(?: \((\w+)\))?", errors.__doc__, re.MULTILINE):
        above[len(indent) // 4 :] = [name]
        drawn[name] = (above[-2] if len(above) > 1 else "Exception", *([builtin] if builtin else []))
    classes = [one for _, one in inspect.getmembers(errors, inspect.isclass) if one.__module__ == errors.__name__]
    assert drawn == {one.__name__: tuple(base.__name__ for base in one.__bases__) for one in classes}


def test_every_refusal_of_an_argument_names_it():
    found = {}
    for folder in ("jaxembed", "convert", "server", "kernels_pallas"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                made = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id
                if made in ("InputError", "InputTypeError") and "field" not in [one.arg for one in node.keywords]:
                    name = str(path.relative_to(ROOT))
                    found[name] = found.get(name, 0) + 1
    assert found == WITHOUT_FIELD


def test_a_field_is_told_in_the_words_of_whoever_was_called():
    with refused("input"), fields_as({"prompts": "input"}):
        raise InputError("no", field="prompts")
    with refused("dimensions"), fields_as({"prompts": "input"}):
        raise InputError("no", field="dimensions")
    with refused(None), fields_as({"prompts": "input"}):
        raise InputError("no")
    with refused("texts"), fields_as({"inner": "texts"}), fields_as({"prompts": "inner"}):
        raise InputError("no", field="prompts")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "'plain'"),
        ("\x1b]0;x\x07\x00", "'\\x1b]0;x\\x07\\x00'"),
        (7, "7"),
        (10**30, str(10**30)),
        pytest.param(10**5000, "a number of 5001 digits", id="large"),
        (None, "None"),
        ({"a": [1]}, "{'a': [1]}"),
    ],
)
def test_what_comes_from_outside_is_shown_escaped(value, expected):
    assert shown(value) == expected


def test_however_large_it_is_little_is_shown():
    for value in ("x" * 10**6, "\x1b" * 10**5, ["x"] * 10**6, {n: n for n in range(10**5)}, [["x" * 10**6] * 9] * 9):
        assert len(shown(value)) < 900
        assert shown(value).isprintable()


@pytest.mark.parametrize("kind", [CheckpointError, UnsupportedModelError, ModelNotFoundError])
def test_a_message_about_files_is_one_line_that_keeps_its_beginning_and_its_end(kind):
    message = str(kind(f"the file says {chr(27)}[31m{'x' * 10**6} and\na line more; download it again."))
    assert len(message) == 400
    assert message.isprintable()
    assert message.startswith("the file says \\x1b[31mxxx")
    assert message.endswith("xxx and a line more; download it again.")
