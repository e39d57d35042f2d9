"""Pages keep what they promise: their blocks run, the commands they show are ones that there are, their links lead somewhere.

A block of Python runs, all of a page in one namespace; a console block is a transcript that is run and compared ("..." stands
for anything); the lines of a bash block are parsed as the command line would. A comment before a block says otherwise:
`<!-- not run: why -->`, or `<!-- with a server: its flags -->` for one that talks to localhost:8000.
"""

import ast
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from jaxembed.cli import main, parser
from jaxembed.cli.foreign import ELSEWHERE, RENAMED

ROOT = Path(__file__).parents[2]
SITE = runpy.run_path(str(ROOT / "scripts" / "site_pages.py"))
PAGES = sorted([ROOT / "README.md", *(ROOT / path for path in SITE["ELSEWHERE"].values()), *(ROOT / "docs").rglob("*.md")])
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
# What a bash block may call that is not ours.
OTHERS = {"cat", "cd", "curl", "git", "pip", "pre-commit"}
BLOCK = re.compile(r"(?:^<!-- (not run|with a server)(?:: (.*?))? -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s#]*)(?:#([^)\s]+))?\)")


@dataclass(frozen=True)
class Block:
    """A fenced block, and what the comment before it says."""

    page: str
    line: int
    language: str
    text: str
    mark: str | None
    reason: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def missing(self) -> list[str]:
        """The packages that it imports and this environment lacks."""
        nodes = list(ast.walk(ast.parse(self.text)))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
        return sorted(top for top in {name.split(".")[0] for name in names} if find_spec(top) is None)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(*languages: str, mark: str | None = None) -> list[Block]:
    return [one for one in BLOCKS if one.language in languages and one.mark == mark]


BLOCKS = [
    Block(name_of(page), text[: found.start(4)].count("\n") + 1, found[3], found[4], found[1], found[2] or "")
    for page in PAGES
    for text in [page.read_text()]
    for found in BLOCK.finditer(text)
]
PYTHON = {page: found for page in map(name_of, PAGES) if (found := [one for one in blocks("python") if one.page == page])}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Blocks write into a folder of their own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def engines():
    """Engines by what they were loaded from: pages share them, and what they have compiled."""
    return {}


@pytest.fixture
def shared(engines, monkeypatch):
    from jaxembed import loading
    from jaxembed.sentence_transformers import sentence_transformer
    from jaxembed.vllm import llm

    def load(name=None, **options):
        key = repr((name, sorted(options.items())))
        if Path(str(name)).exists() or key not in engines:
            engines[key] = loading.load_engine(name, **options)
        return engines[key]

    for module in (llm, sentence_transformer):
        monkeypatch.setattr(module, "load_engine", load)


def run(block: Block, namespace: dict, text: str | None = None) -> None:
    # Its lines have the numbers of the page, so that a traceback points there.
    code = "\n" * (block.line - 1) + (text or block.text)
    exec(compile(code, ROOT / block.page, "exec"), namespace)


@pytest.mark.parametrize("page", PYTHON)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, shared):
    namespace: dict = {"__name__": "__page__"}
    for block in PYTHON[page]:
        run(block, namespace)


@pytest.mark.parametrize("block", blocks("python", mark="not run"), ids=str)
def test_python_that_cannot_run_here_is_python(block):
    assert block.reason, "say why: <!-- not run: why -->"
    compile(block.text, str(block), "exec")


@pytest.fixture(scope="module")
def address():
    """A server of the default model, for all blocks that talk to one."""
    from processes import Process, free_port

    flags = [flag for one in BLOCKS if one.mark == "with a server" for flag in one.reason.split()]
    assert not flags, "all blocks share one server, which is started as everybody starts it"
    process = Process("--port", free_port())
    yield process.wait_ready
    process.end()
    process.process.stdout.close()


@pytest.mark.parametrize("block", blocks("python", mark="with a server"), ids=str)
def test_python_that_talks_to_a_server_is_answered(block, request):
    assert "localhost:8000" in block.text
    compile(block.text, str(block), "exec")
    if not block.missing:
        here = request.getfixturevalue("address")()
        run(block, {"__name__": "__page__"}, block.text.replace("http://localhost:8000", here))


@pytest.mark.parametrize("block", blocks("bash", mark="with a server"), ids=str)
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
def test_a_call_of_curl_is_answered(block, address):
    text = block.text.replace("localhost:8000", address().removeprefix("http://"))
    done = subprocess.run(["bash", "-ec", text.replace("curl ", "curl -sS --fail-with-body ")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)


def commands(line: str) -> list[list[str]]:
    """The simple commands of a line of a shell, without what pipes and redirects are about."""
    words = list(shlex.shlex(line, posix=True, punctuation_chars="|&;<>"))
    found: list[list[str]] = [[]]
    for word in words:
        if set(word) <= set("|&;"):
            found.append([])
        else:
            found[-1].append(word)
    return [[word for word in one if "=" not in one[0] or word != one[0]] for one in found if one]


def check_command(words: list[str]) -> None:
    """Fails for a command that there is not."""
    if words[0] == "jaxembed" and words[1:] not in ([], ["..."]):
        parser().parse_args(words[1:])
    elif words[0] == "make":
        assert set(words[1:]) <= TARGETS
    elif words[:3] == ["python", "-m", "jaxembed.convert"]:
        parser().parse_args(["convert", *words[3:]])
    elif words[0] in ("python", ".venv/bin/python"):
        assert (ROOT / words[1]).is_file() or words[1:3] == ["-m", "pytest"]
    elif "/" in words[0]:
        assert (ROOT / words[0]).is_file()
    else:
        assert words[0] in {"jaxembed", *OTHERS}, words


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.language == "bash"], ids=str)
def test_the_commands_of_a_page_are_ones_that_there_are(block):
    for line in block.text.replace("\\\n", " ").splitlines():
        for words in commands(line):
            check_command(words)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_within_sentences_are_ones_that_there_are(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for found in re.findall(r"`((?:jaxembed|make) [a-z][^`]*)`", text):
        words = shlex.split(found)
        if words[0] == "make":
            assert words[1].rstrip("'s") in TARGETS or words[1] in TARGETS
        elif "..." not in words:
            assert words[1] in SUBCOMMANDS, found
            assert {word for word in words if word.startswith("--")} <= SUBCOMMANDS[words[1]], found


def _subcommands() -> dict[str, set[str]]:
    (choices,) = (action.choices for action in parser()._subparsers._group_actions)
    return {name: set(one._option_string_actions) for name, one in choices.items()}


SUBCOMMANDS = _subcommands()
FLAGS = set().union(*SUBCOMMANDS.values())
# Flags that pages name because others have them.
FOREIGN = {
    "docs/from-tei.md": {f"--{name}" for name in (*RENAMED, *ELSEWHERE, "auto-truncate")},
    "docs/from-vllm.md": {"--task"},
    "docs/index.md": {"--no-deps"},
}


def as_declared(name: str) -> str:
    """A flag with dashes for underscores; of a key of a JSON flag, the flag."""
    from jaxembed.cli.spelling import OBJECTS

    head, _, key = name[2:].partition(".")
    head = head.replace("_", "-")
    return f"--{head}" if not key or head in OBJECTS else name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_flag_that_a_page_names_is_one_of_ours(page):
    written = re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", page.read_text())
    named = {name if name in FLAGS else as_declared(name) for name in written}
    ours = FLAGS | FOREIGN.get(name_of(page), set())
    assert named - ours == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_variable_that_a_page_names_is_one_that_is_read(page):
    from jaxembed.cli.serve import FLAGS as SERVED

    named = set(re.findall(r"\bJAXEMBED_\w+", page.read_text()))
    assert named <= {flag.variable for flag in SERVED} | {"JAXEMBED_"}


@pytest.mark.parametrize("block", blocks("console"), ids=str)
def test_a_transcript_is_what_is_printed(block, capsys, shared):
    prompt, *parts = re.split(r"^\$ (.*)\n", block.text, flags=re.MULTILINE)
    assert not prompt
    for command, printed in zip(parts[::2], parts[1::2], strict=True):
        ((tool, *words),) = commands(command)
        assert tool == "jaxembed"
        assert main(words) == 0
        pattern = re.escape(printed.strip()).replace(r"\.\.\.", ".*")
        assert re.fullmatch(pattern, capsys.readouterr().out.strip(), re.DOTALL)


def test_every_block_says_what_it_is(capsys):
    assert {one.language for one in BLOCKS} <= {"python", "bash", "console", "text", "order"}
    for page in PAGES:
        for plain in re.split(r"^```", page.read_text(), flags=re.MULTILINE)[1::2]:
            assert not re.match(r"\n(\$ )?(jaxembed|make|curl|pip|import|from) ", plain), f"{name_of(page)}: {plain[:60]!r}"
    counts = {
        "python, run": sum(map(len, PYTHON.values())),
        "python with a server, run": sum(not one.missing for one in blocks("python", mark="with a server")),
        "python with a server, compiled": sum(bool(one.missing) for one in blocks("python", mark="with a server")),
        "python, compiled": len(blocks("python", mark="not run")),
        "bash, run against a server": len(blocks("bash", mark="with a server")),
        "bash, parsed": len(blocks("bash")),
        "transcripts": len(blocks("console")),
    }
    with capsys.disabled():
        print("\nblocks of pages:", "; ".join(f"{count} {what}" for what, count in counts.items()))
    assert counts["python, run"] > 3 * counts["python, compiled"]


def slug(heading: str) -> str:
    """The anchor of a heading, as the site and the forge make it."""
    words = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", words))


def anchors(path: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_link_of_a_page_leads_somewhere(page):
    drawn = {ROOT / "docs" / name for name in SITE["DRAWN"]}
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in LINK.findall(text):
        if re.match(r"\w+:", target):
            continue
        path = Path(os.path.normpath(page.parent / target)) if target else page
        if path in drawn:
            continue
        assert path.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(path), f"{target} has no heading #{anchor}"


def test_every_page_is_in_the_navigation_once():
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!ENV", lambda loader, node: None)
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)

    def listed(nav):
        for one in nav if isinstance(nav, list) else nav.values():
            yield from [one] if isinstance(one, str) else listed(one)

    wanted = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(listed(settings["nav"])) == sorted([*wanted, *SITE["ELSEWHERE"], *SITE["DRAWN"]])


def test_the_table_of_clients_has_all_that_are_run_and_a_version_for_each():
    from clients import BEGIN, CLIENTS, DOCUMENT, END

    table = DOCUMENT.read_text().split(BEGIN)[1].split(END)[0]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]
    assert {row[0] for row in cells} == {client.title for client in CLIENTS}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", row[1]) for row in cells)
