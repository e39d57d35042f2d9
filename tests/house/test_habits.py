"""What lets a stranger take part says what is so: the hooks before a commit are the checks of make check."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
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
