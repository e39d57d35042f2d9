"""The reference libraries, in an environment of their own that a second Python runs."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
REFERENCE = Path(os.environ.get("JAXEMBED_REFERENCE_PYTHON", ROOT / ".venv-reference/bin/python"))
SCRIPTS = ROOT / "tests" / "support" / "reference"


def reference(script: str, *arguments: str, stdin: str = "") -> str:
    command = [str(REFERENCE), str(SCRIPTS / script), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
