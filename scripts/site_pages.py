"""What the documentation site has beyond docs/: pages that stand elsewhere, links that lead elsewhere, the commands' own help.

MkDocs calls this, as `mkdocs.yml` asks; `tests/house/test_docs.py` reads `ELSEWHERE` and `DRAWN`.
"""

import os
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Pages of the site, and the files of the repository that they are.
ELSEWHERE = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
    "measurements.md": "benchmarks/results/README.md",
}
# Pages that no file holds.
DRAWN = ("reference/cli.md",)

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_FENCES = re.compile(r"^( *```.*?^ *```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are not in docs/."""
    from mkdocs.structure.files import File

    for page, path in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text()))
    files.append(File.generated(config, "reference/cli.md", content=commands()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Makes links between files of the repository links between pages of the site."""
    here = ELSEWHERE.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    pages = {path: name for name, path in ELSEWHERE.items()} | {"README.md": "index.md"}

    def site_link(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        if re.match(r"\w+:", target):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
        name = pages.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if name is not None:
            return f"[{text}]({posixpath.relpath(name, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"
        # A file that is no page: shown in the repository, where it is known which that is.
        return f"[{text}]({config.repo_url}/blob/main/{path}{anchor})" if config.repo_url else text

    parts = _FENCES.split(markdown)
    return "".join(part if part.lstrip().startswith("```") else _LINK.sub(site_link, part) for part in parts)


def commands() -> str:
    """Returns the page of the command line, drawn from its parser."""
    sys.path.insert(0, str(ROOT))
    os.environ["COLUMNS"] = "110"
    from jaxembed.cli import parser

    top = parser()
    (choices,) = (action.choices for action in top._subparsers._group_actions)  # argparse has no public way to them
    lines = ["# Command line", "", "What each command says of itself.", ""]
    for title, one in [("jaxembed", top), *((f"jaxembed {name}", sub) for name, sub in choices.items())]:
        lines += [f"## {title}", "", "```text", one.format_help().rstrip(), "```", ""]
    return "\n".join(lines)
