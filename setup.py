"""Maps the top-level folders into one import package: everything else is in pyproject.toml.

`server/`, `convert/` and `kernels_pallas/` are installed as `jaxembed.server`, `jaxembed.convert` and
`jaxembed.kernels_pallas`, so that nobody's site-packages gets a module called `server`. In the repository itself the
symlinks inside `jaxembed/` say the same to `python -m`, to type checkers and to editors.
"""

from setuptools import find_packages, setup

MOVED = ("convert", "kernels_pallas", "server")

packages = [
    name for name in find_packages(include=["jaxembed", "jaxembed.*"]) if name.split(".")[1:2] not in [[m] for m in MOVED]
]
for folder in MOVED:
    packages += [f"jaxembed.{folder}"] + [f"jaxembed.{folder}.{name}" for name in find_packages(folder)]

setup(
    packages=packages,
    package_dir={f"jaxembed.{folder}": folder for folder in MOVED},
    package_data={
        "jaxembed": ["py.typed"],
        "jaxembed.kernels_pallas": ["tiles.json"],
        "jaxembed.server": ["playground/*"],
    },
)
