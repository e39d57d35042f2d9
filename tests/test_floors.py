"""The house keeps its floors: a file imports only from its own floor or lower ones."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "jaxembed.kernels_pallas": 0,
    "jaxembed.errors": 1,
    "jaxembed.files": 1,
    "jaxembed.config": 1,
    "jaxembed.outputs": 1,
    "jaxembed.heads": 1,
    "jaxembed.packed": 1,
    "jaxembed.prompts": 1,
    "jaxembed.chat": 1,
    "jaxembed.batching": 1,
    "jaxembed.tokens": 1,
    "jaxembed.quantization": 1,
    "jaxembed.similarity": 1,
    "jaxembed.quantized": 1,
    "jaxembed.sharding": 1,
    "jaxembed.layers": 2,
    "jaxembed.rotary": 2,
    "jaxembed.pooling": 2,
    "jaxembed.models": 3,
    "jaxembed.convert": 4,
    "jaxembed.loading": 4,
    "jaxembed.recipe": 4,
    "jaxembed.sentence_bert": 4,
    "jaxembed.registry": 4,
    "jaxembed.architectures": 4,
    "jaxembed.choosing": 5,
    "jaxembed.engine": 5,
    "jaxembed.programs": 5,
    "jaxembed.lanes": 5,
    "jaxembed.stats": 5,
    "jaxembed.scheduler": 5,
    "jaxembed.llm": 6,
    "jaxembed.arguments": 6,
    "jaxembed.saving": 6,
    "jaxembed.sentence_transformer": 6,
    "jaxembed.verification": 6,
    "jaxembed.cli": 7,
    "jaxembed.server": 7,
    "jaxembed": 8,
}
# Imported before any model is loaded, so that `import jaxembed` and `jaxembed --help` stay quick.
LIGHT = [
    "errors",
    "files",
    "config",
    "outputs",
    "batching",
    "heads",
    "prompts",
    "chat",
    "tokens",
    "recipe",
    "sentence_bert",
    "quantization",
    "similarity",
    "lanes",
    "stats",
    "scheduler",
]
HEAVY = {"jax", "flax", "transformers", "orbax", "torch"}


def sources() -> dict[str, Path]:
    found = {}
    for folder in ("jaxembed", "convert", "kernels_pallas", "server"):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if folder == "jaxembed" and len(parts) > 1 and parts[1] in ("convert", "kernels_pallas", "server"):
                continue
            parts = parts if folder == "jaxembed" else ("jaxembed", *parts)
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def floor(module: str) -> int:
    names = [name for name in FLOORS if module == name or module.startswith(name + ".")]
    best = max(names, key=len)
    assert best != "jaxembed" or module.count(".") == 0 or module.split(".")[1].startswith("_"), f"{module} has no floor"
    return FLOORS[best]


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


SOURCES = sources()


def ours(path: Path) -> set[str]:
    """The modules of ours that a file imports; a name imported from a module counts as that module."""
    found = {name for name in imports(path) if name.startswith("jaxembed.")}
    return {name if name in SOURCES else name.rsplit(".", 1)[0] for name in found}


@pytest.mark.parametrize("module", sorted(set(SOURCES) - {"jaxembed"}))
def test_a_file_imports_only_from_its_own_floor_or_lower(module):
    own = floor(module)
    above = {name for name in ours(SOURCES[module]) - {"jaxembed"} if floor(name) > own}
    assert not above, f"{module} (floor {own}) imports from above: {above}"


@pytest.mark.parametrize("module", sorted(name for name in SOURCES if name.startswith("jaxembed.models.")))
def test_families_never_import_each_other(module):
    others = {name for name in ours(SOURCES[module]) if name.startswith("jaxembed.models.") and name != module}
    assert not others


@pytest.mark.parametrize("module", LIGHT)
def test_words_are_spoken_without_jax(module):
    top = {name.split(".")[0] for name in imports(SOURCES[f"jaxembed.{module}"], top_level_only=True)}
    assert not top & HEAVY


def test_no_file_outgrows_its_reader():
    long = {name: n for name, path in SOURCES.items() if (n := len(path.read_text().splitlines())) > 450}
    assert not long


def test_environment_variables_are_read_by_faces_and_by_the_hub_only():
    readers = {
        name
        for name, path in SOURCES.items()
        if ("os.environ" in path.read_text() or "os.getenv" in path.read_text()) and floor(name) < 7
    }
    assert not readers
