import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import jaxembed

ROOT = Path(__file__).parents[2]


def python(code: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **options)


def test_importing_jaxembed_imports_neither_jax_nor_transformers():
    out = python("import jaxembed, sys; print(sorted({'jax', 'flax', 'transformers', 'numpy'} & set(sys.modules)))")
    assert out.stdout.strip() == "[]"


def test_every_public_name_is_there():
    python("import jaxembed\nfor name in jaxembed.__all__: getattr(jaxembed, name)")


def test_the_command_line_helps_at_once_without_importing_jax():
    program = """
import sys
from jaxembed.cli import main
for command in ([], ["serve"], ["embed"], ["convert"]):
    try:
        main([*command, "--help"])
    except SystemExit as end:
        assert end.code == 0
print('jax' in sys.modules, 'numpy' in sys.modules)
"""
    assert python(program).stdout.strip().splitlines()[-1] == "False False"


def test_the_version_is_written_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "jaxembed.__version__"}
    pattern = rf"version[\"_]* *[:=] *[\"']{re.escape(jaxembed.__version__)}"
    found = subprocess.run(
        ["git", "grep", "-lE", pattern, "--", "*.py", "*.toml", "*.cfg"], cwd=ROOT, capture_output=True, text=True
    )
    assert found.stdout.split() == ["jaxembed/__init__.py"]


@pytest.mark.parametrize("name", ["server", "convert", "kernels_pallas"])
def test_the_symlinks_are_relative_and_lead_to_the_top_level_folders(name):
    assert os.readlink(ROOT / "jaxembed" / name) == f"../{name}"
    assert (ROOT / name / "__init__.py").is_file()


def test_the_wheel_holds_one_import_package_with_every_module(tmp_path):
    source = tmp_path / "source"  # a build leaves files beside its sources
    ignore = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignore)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"jaxembed-{jaxembed.__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if "dist-info" not in name}
    assert tops == {"jaxembed"}
    assert len(names) == len(set(names))
    assert "jaxembed/py.typed" in names
    for folder in ("jaxembed", "server", "convert", "kernels_pallas"):
        for path in (ROOT / folder).rglob("*.py"):
            inner = path.relative_to(ROOT).as_posix()
            inner = inner if inner.startswith("jaxembed/") else f"jaxembed/{inner}"
            assert inner in names, f"the wheel lacks {inner}"


# What stands beside the product, and the file that imports torch where a user who has it asks for tensors.
NOT_LOOKED_AT = [":!tests/support/reference", ":!benchmarks", ":!tests/libraries", ":!jaxembed/tensors.py"]


def test_torch_is_never_imported():
    out = subprocess.run(
        ["git", "grep", "-lE", r"^\s*(import|from) torch\b", "--", *NOT_LOOKED_AT],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert out.stdout == ""


@pytest.mark.parametrize("name", ["Makefile", "scripts/aot.sh", "scripts/setup.sh"])
def test_every_file_that_a_target_names_is_there(name):
    named = set(re.findall(r"\b(?:tests|scripts|benchmarks|examples)/[\w./-]+\.(?:py|sh)\b", (ROOT / name).read_text()))
    assert named
    assert not [path for path in named if not (ROOT / path).is_file()]
