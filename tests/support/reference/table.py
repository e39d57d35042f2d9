"""Draws the table of docs/models.md from the registry, the cases of the goldens, and what the parity run measured.

Usage: python tests/support/reference/table.py, after JAXEMBED_RECORD=1 wrote docs/parity.json; `make table` does both.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from jaxembed.convert.mapping.architectures import find
from jaxembed.convert.mapping.registry import FAMILIES

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- drawn by make table -->\n", "<!-- end -->\n"


def rows() -> list[str]:
    """One line for each family: its checkpoints, what it was compared with, and the worst over its goldens."""
    measured = json.loads((ROOT / "docs" / "parity.json").read_text())
    worst: dict[str, list[dict[str, float]]] = {family.name: [] for family in FAMILIES}
    for golden in sorted((ROOT / "tests" / "goldens").glob("*.json")):
        if not golden.name.startswith(("backbone-", "static-")):
            continue
        config = json.loads(golden.read_text())["spec"]["files"].get("config.json", {"architectures": ["StaticEmbedding"]})
        worst[find(config).name].append(measured[golden.name.removesuffix(".json")])
    lines = [
        "| Family | `architectures` | Checkpoints, for example | Compared with | Cases | fp32: difference | bf16: cosine |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for family in FAMILIES:
        found = worst[family.name]
        difference, cosine = max(one["float32"] for one in found), min(one["bfloat16"] for one in found)
        names = ", ".join(f"`{name}`" for name in family.architectures if name.endswith(("Model", "LoRA", "GritLM")))
        cells = (family.name, names, family.examples, family.reference, len(found), f"{difference:.1e}", f"{cosine:.5f}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def drawn(document: str) -> str:
    """Returns the document with its table drawn anew."""
    before, rest = document.split(BEGIN)
    return before + BEGIN + "\n".join(rows()) + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    DOCUMENT.write_text(drawn(DOCUMENT.read_text()))
