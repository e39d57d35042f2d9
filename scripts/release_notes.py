"""Prints the changelog's section of a tag, and fails where the tag is not the version or the section is missing.

Usage: python scripts/release_notes.py v0.1.0
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def version() -> str:
    """Returns the version that jaxembed/__init__.py says, without importing it."""
    tree = ast.parse((ROOT / "jaxembed" / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            return str(ast.literal_eval(node.value))
    raise SystemExit("jaxembed/__init__.py has no __version__.")


def section(changelog: str, number: str) -> str:
    """Returns what stands under a version's heading. Raises `SystemExit` where it has none, no date or no words."""
    found = re.search(
        rf"^## \[{re.escape(number)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |^\[|\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    if found is None or not found[1].strip():
        raise SystemExit(f"CHANGELOG.md has no section '## [{number}] - YYYY-MM-DD', or nothing in it.")
    return found[1].strip()


def main(tag: str) -> None:
    """Prints the notes of a release."""
    if tag != f"v{version()}":
        raise SystemExit(f"the tag {tag} is not the version {version()} of jaxembed/__init__.py with a v before it.")
    sys.stdout.write(section((ROOT / "CHANGELOG.md").read_text(), version()) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
