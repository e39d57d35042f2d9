"""Writes what the images install: deploy/requirements-*.txt, every package with its version and the hashes of its wheels.

Run it where a package index is reachable: python scripts/pins.py. It resolves anew, for the Python of deploy/Dockerfile and
for both kinds of processor, and installs nothing. Names, versions and hashes are written, and no addresses.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
# By image: the extras of the package, and the processors that the wheels of all its packages are there for.
IMAGES: dict[str, tuple[list[str] | None, list[str]]] = {
    "build": (None, ["x86_64", "aarch64"]),
    "cpu": ([], ["x86_64", "aarch64"]),
    "cuda": (["cuda13"], ["x86_64", "aarch64"]),
    "tpu": (["tpu"], ["x86_64"]),
}
# What wheels for the image's glibc are named after: any version up to it.
GLIBC = range(5, 37)


def requirements(extras: list[str] | None) -> list[str]:
    """Returns what the package needs, None for what it is built with."""
    read = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if extras is None:
        return list(read["build-system"]["requires"])
    project = read["project"]
    return [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]


def python_version() -> str:
    """Returns the Python of the images."""
    found = re.search(r"=python:([\d.]+)-slim", (ROOT / "deploy" / "Dockerfile").read_text())
    assert found is not None, "the image's line in deploy/Dockerfile"
    return found[1]


def resolved(wanted: list[str], processor: str, python: str) -> dict[str, tuple[str, str]]:
    """Returns version and hash of each package that pip would install."""
    tags = [*(f"manylinux_2_{minor}_{processor}" for minor in GLIBC), f"manylinux2014_{processor}"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--ignore-installed",
            "--quiet",
            "--only-binary",
            ":all:",
        ]
        command += ["--report", str(report), "--target", folder, "--python-version", python, "--implementation", "cp"]
        command += ["--abi", f"cp{python.replace('.', '')}", "--abi", "abi3", "--abi", "none"]
        command += [part for tag in tags for part in ("--platform", tag)]
        subprocess.run([*command, *wanted], check=True)
        found = json.loads(report.read_text())["install"]
    return {
        each["metadata"]["name"]: (each["metadata"]["version"], each["download_info"]["archive_info"]["hashes"]["sha256"])
        for each in found
    }


def main() -> None:
    """Writes a file for each image, or for those that are named."""
    python = python_version()
    for image, (extras, processors) in IMAGES.items():
        if sys.argv[1:] and image not in sys.argv[1:]:
            continue
        found = [resolved(requirements(extras), processor, python) for processor in processors]
        lines = [f"# For the image {image}, on Python {python}. Written by scripts/pins.py."]
        for name in sorted(set().union(*found), key=str.lower):
            pins = [one[name] for one in found if name in one]
            versions = {version for version, _ in pins}
            assert len(versions) == 1, f"{name} has no version for all of {processors}: {versions}"
            hashes = sorted({hash_ for _, hash_ in pins})
            lines.append(f"{name.lower()}=={versions.pop()} \\")
            lines += [f"    --hash=sha256:{hash_}" + (" \\" if hash_ != hashes[-1] else "") for hash_ in hashes]
        (ROOT / "deploy" / f"requirements-{image}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
