"""What lets a stranger take part says what is so: hooks, workflows, forms and the changelog fit the sources."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import jaxembed

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def recipe(target: str) -> list[str]:
    """The commands of a target, without those that make environments."""
    lines = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1].splitlines()
    return [line.strip().removeprefix("@") for line in lines if "scripts/setup.sh" not in line]


def test_the_hooks_before_a_commit_are_the_checks_of_make_check():
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"
    assert [hook["entry"] for hook in repo["hooks"]] == recipe("check")
    assert not any(hook["pass_filenames"] for hook in repo["hooks"])


def test_every_target_is_phony_and_says_what_it_does():
    phony = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())
    assert phony == set(re.findall(r"^([a-z-]+):.*## \w", MAKEFILE, re.MULTILINE)) == TARGETS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_reads_only_and_calls_what_there_is(path):
    workflow = yaml.safe_load(path.read_text())
    # YAML 1.1 takes the key `on` for a truth value.
    assert set(workflow) <= {"name", True, "permissions", "concurrency", "jobs"}
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert set(job.get("needs", "").split()) <= set(workflow["jobs"])
        if "uses" in job:
            assert (ROOT / job["uses"]).is_file()
            continue
        assert job["runs-on"]
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", "")):
                assert target in TARGETS
            for script in re.findall(r"\bscripts/[\w.]+", step.get("run", "")):
                assert (ROOT / script).is_file()


def test_the_quick_suite_is_run_over_both_ends_of_what_pyproject_allows():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (jax,) = (one for one in project["dependencies"] if one.startswith("jax>"))
    lowest, below = re.fullmatch(r"jax>=([\d.]+),<([\d.]+)", jax).groups()
    pythons = [one.rsplit(" ", 1)[1] for one in project["classifiers"] if re.search(r"Python :: 3\.\d+$", one)]
    workflow = yaml.safe_load((GITHUB / "workflows" / "tests.yml").read_text())
    cases = workflow["jobs"]["test"]["strategy"]["matrix"]["include"]
    wanted = {(python, jax) for python in pythons for jax in (f"jax=={lowest}", f"jax<{below}")}
    assert {(case["python"], case["jax"]) for case in cases} == wanted
    assert workflow["jobs"]["wheel"]["strategy"]["matrix"]["python"] == pythons


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_one_that_can_be_filled_in(path):
    form = yaml.safe_load(path.read_text())
    assert form["name"]
    assert form["description"]
    fields = [one for one in form["body"] if one["type"] != "markdown"]
    ids = [one["id"] for one in fields]
    assert len(ids) == len(set(ids))
    for one in fields:
        assert one["type"] in ("input", "textarea", "dropdown", "checkboxes")
        assert one["attributes"]["label"]
        if one["type"] in ("dropdown", "checkboxes"):
            assert one["attributes"]["options"]
    commands = set(re.findall(r"`jaxembed (\w+)", path.read_text()))
    from jaxembed.cli import _COMMANDS

    assert commands
    assert commands <= set(_COMMANDS)


def test_the_changelog_has_the_form_of_keep_a_changelog():
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", one) for one in headings[1:])
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_a_release_is_made_only_of_the_version_with_its_section():
    def notes(tag: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(ROOT / "scripts" / "release_notes.py"), tag]
        return subprocess.run(command, capture_output=True, text=True)

    made = notes(f"v{jaxembed.__version__}")
    assert made.returncode == 0, made.stderr
    assert "### Added" in made.stdout
    assert "## [" not in made.stdout
    assert "is not the version" in notes("v99.0.0").stderr


@pytest.mark.parametrize("page", ["CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md"])
def test_a_file_of_ours_that_a_page_names_is_there(page):
    text = (ROOT / page).read_text()
    text = text.split("## [Unreleased]")[0] if page == "CHANGELOG.md" else text
    named = set(re.findall(r"`((?:jaxembed|convert|server|kernels_pallas|tests|docs|scripts|benchmarks)/[\w./]+)`", text))
    assert [name for name in named if not (ROOT / name).exists()] == []
