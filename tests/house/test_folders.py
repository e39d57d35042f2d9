"""The house keeps its order: a folder imports only from those before it, as docs/architecture.md lists them."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
# Imported before any model is loaded, so that `import jaxembed` and `jaxembed --help` stay quick.
LIGHT = [
    "errors",
    "lazy",
    "packing.text",
    "packing.planning",
    "heads.recipe",
    "heads.task",
    "heads.tasks",
    "inputs",
    "engine.queue",
    "engine.pipeline",
    "engine.stats",
    "engine.scheduler",
    "convert.formats.json_files",
    "convert.checkpoint.pipeline",
    "convert.checkpoint.sentence_bert",
    "vllm.params",
    "vllm.outputs",
    "sentence_transformers.similarity",
    "sentence_transformers.quantization",
    "sentence_transformers.util",
    "sentence_transformers.models",
    "sentence_transformers.losses",
]
HEAVY = {"jax", "flax", "transformers", "orbax", "torch"}
# Folders of ours that read environment variables; the hub's library reads its own.
FACES = ("jaxembed.cli", "jaxembed.server")


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


SOURCES = sources()


def order() -> dict[str, int]:
    """The height of each folder, from the one list of them, which is a block of the page."""
    block = re.search(r"```order\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    lines = block.group(1).strip().splitlines()
    return {name.strip().replace("/", "."): height for height, line in enumerate(lines) for name in line.split(",")}


ORDER = order()


def folder(module: str) -> str:
    """The folder of the list that a module stands in."""
    inner = module.removeprefix("jaxembed.")
    found = [name for name in ORDER if inner == name or inner.startswith(name + ".")]
    assert found, f"{module} stands in no folder of {PAGE.name}"
    return max(found, key=len)


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


def ours(path: Path, top_level_only: bool = False) -> set[str]:
    """The modules of ours that a file imports; a name imported from a module counts as that module."""
    found = {name for name in imports(path, top_level_only) if name.startswith("jaxembed.")}
    return {name if name in SOURCES else name.rsplit(".", 1)[0] for name in found} - {"jaxembed"}


PLACED = sorted(set(SOURCES) - {"jaxembed", "jaxembed.__main__", "jaxembed.convert", "jaxembed.convert.__main__"})


@pytest.mark.parametrize("module", PLACED)
def test_a_file_imports_only_from_its_own_folder_or_earlier_ones(module):
    own = folder(module)
    later = {name for name in ours(SOURCES[module]) if folder(name) != own and ORDER[folder(name)] >= ORDER[own]}
    assert not later, f"{module} ({own}) imports from later folders: {later}"


def test_no_folders_import_each_other_in_a_circle():
    # Independent of the list: the imports themselves, walked.
    arrows: dict[str, set[str]] = {name: set() for name in ORDER}
    for module in PLACED:
        arrows[folder(module)] |= {folder(name) for name in ours(SOURCES[module])} - {folder(module)}
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle: {' → '.join((*path, name))}"
        if name not in done:
            for each in sorted(arrows[name]):
                walk(each, (*path, name))
            done.add(name)

    for name in ORDER:
        walk(name, ())


def test_the_engine_does_not_know_where_a_model_comes_from():
    below = [name for name in PLACED if ORDER[folder(name)] <= ORDER["engine"]]
    assert "jaxembed.engine.engine" in below
    for module in below:
        assert not {name for name in ours(SOURCES[module]) if name.startswith("jaxembed.convert")}, module


@pytest.mark.parametrize("module", sorted(name for name in SOURCES if name.startswith("jaxembed.models.")))
def test_families_never_import_each_other(module):
    families = {name for name in SOURCES if name.startswith("jaxembed.models.")} - {"jaxembed.models.backbone"}
    assert not (ours(SOURCES[module]) & families) - {module}


def reached(module: str, seen: set[str]) -> set[str]:
    """All that importing a module imports of ours, itself included."""
    if module not in seen and module in SOURCES:
        seen.add(module)
        for name in ours(SOURCES[module], top_level_only=True) | {module.rsplit(".", 1)[0]}:
            reached(name, seen)
    return seen


@pytest.mark.parametrize("name", LIGHT)
def test_what_is_spoken_before_a_model_is_loaded_is_spoken_without_jax(name):
    modules = [module for module in SOURCES if module == f"jaxembed.{name}" or module.startswith(f"jaxembed.{name}.")]
    assert modules
    for each in {one for module in modules for one in reached(module, set())}:
        top = {imported.split(".")[0] for imported in imports(SOURCES[each], top_level_only=True)}
        assert not top & HEAVY, f"{name} imports {each}, which imports {top & HEAVY}"


def test_no_file_outgrows_its_reader():
    long = {name: n for name, path in SOURCES.items() if (n := len(path.read_text().splitlines())) > 450}
    assert not long


def test_no_module_is_imported_by_a_string_but_by_the_registry_and_the_lazy_packages():
    users = {name for name, path in SOURCES.items() if "import_module(" in path.read_text()}
    assert users <= {"jaxembed.lazy", "jaxembed.cli", "jaxembed.convert.__main__", "jaxembed.convert.mapping.registry"}


def test_models_read_no_global_context():
    users = {name for name, path in SOURCES.items() if "contextvars" in path.read_text()}
    assert not users


def test_environment_variables_are_read_by_faces_and_by_the_hub_only():
    readers = {
        name
        for name, path in SOURCES.items()
        if ("os.environ" in path.read_text() or "os.getenv" in path.read_text()) and not name.startswith(FACES)
    }
    assert not readers
