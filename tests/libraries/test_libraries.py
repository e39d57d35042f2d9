"""Libraries that take a SentenceTransformer, unmodified, with ours in its place, in an environment that has torch and them."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("JAXEMBED_LIBRARIES_PYTHON", ROOT / ".venv-libraries/bin/python"))
CHECKS = ("vectors pairs features pooling util quantized evaluators mining mteb keybert bertopic setfit sklearn frames").split()

pytestmark = pytest.mark.libraries


@pytest.mark.parametrize("name", CHECKS)
def test_a_library_takes_our_model_and_gets_what_it_gets_from_the_other(name):
    command = [str(PYTHON), str(Path(__file__).parent / "checks.py"), name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
