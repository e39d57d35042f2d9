"""The real client libraries, unmodified, against a running server with the real model: equal to the offline API.

With JAXEMBED_RECORD set, the versions that ran are written into the table of docs/clients.md.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from clients import CLIENTS, NEW, NPM, OLD, Client, draw
from processes import Process, free_port

ROOT = Path(__file__).parent.parent.parent
TEXTS = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
CHATML = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
KEY = "secret"
NAMES = "This server has `all-MiniLM-L6-v2`, `embed-english-v3.0`; --served-model-name gives it other names."
RANKED = [(0, 0.6660), (1, 0.1046)]

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def url():
    names = ["--served-model-name", "all-MiniLM-L6-v2", "embed-english-v3.0"]
    options = ["--truncate", "--chat-template", CHATML, "--api-key", KEY]
    server = Process("--port", free_port(), *names, *options)
    yield server.wait_ready()
    assert server.end() == 0
    assert "Traceback" not in server.output
    server.process.stdout.close()


@pytest.fixture(scope="module")
def expected(llm):
    return np.array([output.outputs.array for output in llm.embed(TEXTS, use_tqdm=False)])


@pytest.fixture(scope="module")
def versions():
    """What ran, by the client; into the table of the documentation if it is to be drawn anew."""
    ran: dict[Client, str] = {}
    yield ran
    if os.environ.get("JAXEMBED_RECORD"):
        draw(ran)


def call(client: Client, url: str) -> dict:
    """Runs one client in its own environment, which sees no proxy and no other server."""
    clean = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    folder = ROOT / client.environment
    if client.environment == NPM:
        shutil.copy(Path(__file__).parent / "call.mjs", folder)  # packages are looked for beside the file
        command = ["node", str(folder / "call.mjs"), client.function, url, client.package]
    else:
        script = str(Path(__file__).parent / "call.py")
        command = [str(folder / "bin" / "python"), script, client.function, url, client.package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=clean)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def of(function: str, environment: str) -> Client:
    """The client that a function calls in an environment."""
    return next(one for one in CLIENTS if (one.function, one.environment) == (function, environment))


def near(found, expected) -> None:
    assert np.abs(np.array(found, np.float32) - expected).max() <= 1e-6


@pytest.mark.parametrize("environment", [OLD, NEW])
def test_openai(url, llm, expected, environment):
    got = call(of("openai", environment), url)
    near(got["vectors"], expected)
    near(got["floats"], expected)
    assert got["usage"] == sum(len(output.prompt_token_ids) for output in llm.embed(TEXTS, use_tqdm=False))
    assert got["cut"] == 256
    assert got["models"] == ["all-MiniLM-L6-v2", "embed-english-v3.0"]
    chat = llm.embed(f"<user>{TEXTS[0]}", use_tqdm=False, tokenization_kwargs={"add_special_tokens": False})
    near(got["chat"], chat[0].outputs.array)
    model = 'Model "all-MiniLM-L6-v2"'
    poor = f"{model} does not support matryoshka representation, changing output dimensions will lead to poor results."
    assert got["errors"] == [
        [400, "400", "BadRequestError", poor],
        [400, "400", "BadRequestError", "You must pass at least one prompt"],
        [404, "404", "NotFoundError", f"The model `nobody` does not exist. {NAMES}"],
    ]


def test_openai_with_many_requests_at_once(url, expected):
    got = call(of("openai_async", NEW), url)
    near(got["vectors"], expected[np.arange(50) % 3])


@pytest.mark.parametrize("environment", [OLD, NEW])
def test_cohere(url, expected, environment):
    got = call(of("cohere", environment), url)
    near(got["vectors"], expected)
    near(got["floats"], expected)
    near(got["old"], expected)
    near(got["typed"], expected)
    assert got["count"] == 120  # more than the client sends in one request
    assert got["lengths"] == [384, 384, 48, 48]
    assert "no prompt for input_type 'search_document'" in got["warnings"][0]
    assert got["error"].startswith("Unsupported input_type 'nonsense'.")
    assert [(index, round(score, 4)) for index, score in got["ranked"]] == [(0, 0.6660), (1, 0.1046)]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: f"{client.title} ({client.environment})")
def test_every_client_gets_the_library_s_vectors(url, expected, versions, client):
    if client.environment == NPM and shutil.which("node") is None:
        pytest.skip("there is no node on this machine")
    got = call(client, url)
    near(got["vectors"], expected[np.arange(len(got["vectors"])) % 3])
    if "query" in got:
        near(got["query"], expected[0])
    for others in got.get("others", ()):
        near(others, expected)
    for ranked in [*got.get("rankings", ()), *([got["ranked"]] if "ranked" in got else [])]:
        assert [(index, round(score, 4)) for index, score in ranked] == RANKED
    if "similar" in got:
        assert [round(score, 4) for score in got["similar"]] == [0.6660, 0.1046]
    if "found" in got:
        assert "eat grass" in got["found"]
    versions[client] = got["version"]


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples" / "clients").iterdir()))
def test_the_examples_run_as_they_are(url, name):
    path = ROOT / "examples" / "clients" / name
    command = ["bash", str(path)] if path.suffix == ".sh" else [str(ROOT / OLD / "bin" / "python"), str(path)]
    clean = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**clean, "URL": url, "KEY": KEY})
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()


def test_schemathesis_finds_no_server_error(url, tmp_path):
    """Requests drawn from the served OpenAPI, valid and not: every answer is below 500 and as documented."""
    command = [
        *[str(ROOT / NEW / "bin" / "schemathesis"), "run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {KEY}"],
        *["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"],
        *["--max-examples", "25", "--max-time", "60", "--seed", "1", "--no-color", "--continue-on-failure"],
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:]
