"""`jaxembed serve` as a process: flags, environment, sockets, signals."""

import argparse
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import httpx2 as httpx
import pytest
from processes import free_port
from refusals import refused

from jaxembed.cli import flags, main, serve
from jaxembed.server.listen import Listen
from jaxembed.server.run import warnings


def parsed(*argv: str, **environment: str) -> dict:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    arguments = parser.parse_args(argv)
    return flags.read(serve.FLAGS, arguments, environment)


@pytest.fixture
def folder(checkpoint):
    return str(checkpoint("pipeline-pooling-mean"))


def test_flags_have_vllm_s_names_and_dots_reach_into_the_pooler():
    values = parsed(
        *"--runner pooling --convert embed --trust-remote-code --dtype float32 --max-model-len 128 -tp 1".split(),
        *["--pooler-config", '{"pooling_type": "MEAN", "use_activation": true}', "--pooler-config.use_activation", "false"],
        *["--hf-overrides", '{"is_matryoshka": true}', "--served-model-name", "a", "b", "--enforce-eager"],
        *["--no-enable-prefix-caching", "--max-num-seqs", "256", "--gpu-memory-utilization=0.9"],
    )
    assert serve.pooler_config(values) == {"pooling_type": "MEAN", "use_activation": False}
    assert serve.pooler_config(parsed("--pooler-config.pooling_type", "CLS")) == {"pooling_type": "CLS"}
    assert values["hf_overrides"] == {"is_matryoshka": True}
    assert serve.settings(values, {}).served_model_names == ("a", "b")
    assert (values["max_model_len"], values["trust_remote_code"], values["tensor_parallel_size"]) == (128, True, 1)


def test_every_flag_is_also_a_variable_and_the_command_line_wins():
    environment = {
        "JAXEMBED_PORT": "9000",
        "JAXEMBED_API_KEY": "one, two",
        "JAXEMBED_TRUST_REMOTE_CODE": "true",
        "JAXEMBED_POOLER_CONFIG_POOLING_TYPE": "MEAN",
        "JAXEMBED_HF_OVERRIDES": '{"a": 1}',
        "JAXEMBED_MAX_WAIT_SECONDS": "1.5",
    }
    values = parsed(**environment)
    assert (values["port"], values["max_wait_seconds"], values["hf_overrides"]) == (9000, 1.5, {"a": 1})
    assert serve.settings(values, environment).api_keys == ("one", "two")
    assert serve.pooler_config(values) == {"pooling_type": "MEAN"}
    assert values["trust_remote_code"] is True
    assert parsed("--port", "1234", "--no-trust-remote-code", **environment)["port"] == 1234
    assert parsed("--no-trust-remote-code", **environment)["trust_remote_code"] is False
    for flag in serve.FLAGS:
        assert flag.variable.startswith("JAXEMBED_")
        assert flag.variable.isupper()


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("PORT", "many", "'many'"),
        ("HF_OVERRIDES", "[1]", '{"is_matryoshka": true}'),
        ("TRUST_REMOTE_CODE", "maybe", "'maybe'"),
        ("COHERE_INPUT_TYPE", "loose", "strict, lenient"),
        ("MAX_ITEMS", "0", "not 0"),
        ("MAX_CONNECTIONS", "0", "not 0"),
        ("HEAD_TIMEOUT_SECONDS", "0", "more than 0"),
    ],
)
def test_a_wrong_variable_is_named(name, value, named):
    with refused(f"JAXEMBED_{name}", f"JAXEMBED_{name}", named):
        parsed(**{f"JAXEMBED_{name}": value})


@pytest.mark.parametrize(
    ("arguments", "waits"),
    [
        ([], (5, 30)),
        (["--max-wait-seconds", "2"], (2, 2)),
        (["--max-bulk-wait-seconds", "60"], (5, 60)),
        (["--max-wait-seconds", "2", "--max-bulk-wait-seconds", "60"], (2, 60)),
    ],
)
def test_what_is_said_of_waiting_holds_for_both_lanes_unless_one_is_named(arguments, waits):
    found = serve.settings(parsed(*arguments), {})
    assert (found.max_wait_seconds, found.max_bulk_wait_seconds) == waits


def test_keys_come_from_flags_files_and_vllm_s_variable(tmp_path):
    (tmp_path / "keys").write_text("# comment\nthree\n\nfour\n")
    values = parsed("--api-key", "one", "two", "--api-key-file", str(tmp_path / "keys"))
    assert serve.settings(values, {}).api_keys == ("one", "two", "three", "four")
    assert serve.settings(parsed(), {"VLLM_API_KEY": "v"}).api_keys == ("v",)
    assert serve.settings(parsed(), {}).api_keys == ()
    for arguments, environment, field in (
        (["--api-key", ""], {}, "--api-key"),
        ([], {"JAXEMBED_API_KEY": ""}, "--api-key"),
        ([], {"VLLM_API_KEY": " "}, "--api-key"),
        ([], {"JAXEMBED_API_KEY_FILE": ""}, "JAXEMBED_API_KEY_FILE"),
    ):
        with refused(field, "empty", field):
            serve.settings(parsed(*arguments, **environment), environment)
    assert serve.settings(parsed("--api-key", "k"), {"VLLM_API_KEY": ""}).api_keys == ("k",)
    (tmp_path / "empty").write_text("\n")
    for path, why in ((tmp_path / "empty", "no key"), (tmp_path / "none", "No such file")):
        with refused("--api-key-file", str(path), why):
            serve.settings(parsed("--api-key-file", str(path)), {})


def test_empty_variables_and_links_of_kubernetes_are_unset():
    values = parsed(JAXEMBED_MODEL="", JAXEMBED_CHAT_TEMPLATE="", JAXEMBED_TOKEN_IDS="", JAXEMBED_PORT="tcp://10.0.0.7:80")
    assert (values["model"], values["chat_template"], values["token_ids"], values["port"]) == (None, None, None, 8000)


@pytest.mark.parametrize(("text", "value"), [("False", False), ("true", True), ("None", None), ("MEAN", "MEAN"), ("16", 16)])
def test_fields_of_the_pooler_may_be_spelled_as_in_python(text, value):
    assert flags.json_value(text) is value or flags.json_value(text) == value


def test_a_template_is_a_file_or_the_text_itself(tmp_path):
    (tmp_path / "t.jinja").write_text("{{ messages }}")
    assert serve.settings(parsed("--chat-template", str(tmp_path / "t.jinja")), {}).chat_template == "{{ messages }}"
    assert serve.settings(parsed("--chat-template", "{{ 1 }}"), {}).chat_template == "{{ 1 }}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "--model", "b"], "two models are named"),
        (["--port", "70000"], "--port must be 1 to 65535"),
        (["/no/such/model"], "there is no model folder /no/such/model."),
        (["--runner", "generate"], "runner='generate' is not supported"),
        (["--quantization", "fp8"], "quantization='fp8' is not supported"),
        (["-tp", "2"], "tensor_parallel_size=2 is not supported"),
        (["--pooler-config.pooling_type", "MAX"], "the pooling type 'MAX' is not known"),
        (["--host", "localhost:80"], "--host takes an address alone, not 'localhost:80'"),
        (["--uds", __file__], "is there and is no socket"),
        (["--ssl-certfile", "x"], "TLS needs both"),
        (["--ssl-certfile", "/no", "--ssl-keyfile", "/no"], "cannot be used"),
        (["--ssl-cert-reqs", "2"], "--ssl-cert-reqs needs TLS"),
        (["--ssl-cert-reqs", "1"], "the server speaks plain HTTP"),
        (["--ssl-ca-certs", __file__], "--ssl-ca-certs needs TLS"),
        (["--max-connections", "2000000000"], "ulimit -n"),
        (["--host", "203.0.113.1"], "cannot be listened on"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_no_traceback(capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(sys, "setswitchinterval", lambda seconds: None)
    port = [] if "--port" in arguments else ["--port", free_port()]
    assert main(["serve", *arguments, *port]) in (1, 2)
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_port_in_use_is_told_before_the_model_is_loaded(capsys, monkeypatch):
    monkeypatch.setattr(sys, "setswitchinterval", lambda seconds: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "/no/such/model", "--port", str(port)]) == 2
    assert f"http://127.0.0.1:{port} is in use by another server; choose another --port." in capsys.readouterr().err


def _expecting(url: str, body: bytes) -> list[bytes]:
    """The status lines that a client gets which sends its body only after it is told to."""
    host, port = url.removeprefix("http://").split(":")
    head = "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode())
        first = connection.recv(1000)
        connection.sendall(body)
        rest = b"".join(iter(lambda: connection.recv(65536), b""))
    return [part.split(b"\r\n", 1)[0] for part in (first, rest)]


def test_a_server_starts_says_so_serves_drains_and_ends_cleanly(start, folder):
    """One process for the whole life: card, readiness, an open request at SIGTERM, and exit status 0."""
    server = start(folder, "--port", free_port(), "--api-key", "k", env={"JAXEMBED_SERVED_MODEL_NAME": "tiny,alias"})
    url = server.wait_ready()
    headers = {"authorization": "Bearer k"}
    assert "tiny, alias: BERT" in server.output
    assert "programs compiled" in server.output
    httpx.get(f"{url}/health", headers={"x-request-id": "look-for-me"})
    assert [card["id"] for card in httpx.get(f"{url}/v1/models", headers=headers).json()["data"]] == ["tiny", "alias"]
    assert httpx.get(f"{url}/v1/models").status_code == 401
    assert _expecting(url, b'{"input": "w9"}') == [b"HTTP/1.1 100 Continue", b"HTTP/1.1 200 OK"]
    answers = []

    def ask() -> None:
        body = {"input": ["w9 w10 w11"] * 2000, "model": "tiny", "encoding_format": "base64"}
        answers.append(httpx.post(f"{url}/v1/embeddings", json=body, headers=headers, timeout=60))

    thread = threading.Thread(target=ask)
    thread.start()
    end = time.monotonic() + 10
    while not httpx.get(f"{url}/load", headers=headers).json()["server_load"] and not answers and time.monotonic() < end:
        time.sleep(0.001)
    assert server.end() == 0
    thread.join(60)
    assert answers[0].status_code == 200
    assert len(answers[0].json()["data"]) == 2000
    assert re.search(r'INFO jaxembed.access: 127.0.0.1 "GET /health" 200 [\d.]+ ms look-for-me', server.output)
    assert "draining" in server.output
    assert "Traceback" not in server.output


def test_it_listens_on_a_unix_socket_and_removes_it(start, folder, tmp_path):
    path = str(tmp_path / "s.sock")
    with socket.socket(socket.AF_UNIX) as stale:  # left behind by a server that was killed
        stale.bind(path)
    server = start(folder, "--uds", path)
    assert server.wait_ready() == f"unix:{path}"
    with httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client:
        assert client.post("http://x/v1/embeddings", json={"input": "w9"}).status_code == 200
    assert server.end(signal.SIGINT) in (0, 130)
    assert not os.path.exists(path)


def run_openssl(command: str) -> None:
    subprocess.run(command.split(), check=True, capture_output=True)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A certificate of 127.0.0.1 with its key, the key under a passphrase, and the key of another."""
    folder = tmp_path_factory.mktemp("tls")
    subject = "-days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    run_openssl(f"openssl req -x509 -newkey rsa:2048 -nodes {subject} -keyout {folder}/key.pem -out {folder}/cert.pem")
    run_openssl(f"openssl pkey -in {folder}/key.pem -aes256 -passout pass:secret -out {folder}/locked.pem")
    run_openssl(f"openssl genpkey -algorithm RSA -out {folder}/other.pem")
    return folder


@pytest.mark.parametrize(
    ("key", "more", "field", "named"),
    [
        ("key.pem", {"ssl_cert_reqs": 2}, "--ssl-ca-certs", "no client's certificate"),
        ("key.pem", {"ssl_ca_certs": "cert.pem"}, "--ssl-cert-reqs", "--ssl-cert-reqs 2"),
        ("key.pem", {"ssl_ca_certs": "none.pem", "ssl_cert_reqs": 2}, "--ssl-ca-certs", "No such file"),
        ("key.pem", {"ssl_ca_certs": "key.pem", "ssl_cert_reqs": 2}, "--ssl-ca-certs", "PEM"),
        ("none.pem", {}, "--ssl-keyfile", "No such file"),
        (".", {}, "--ssl-keyfile", "directory"),
        ("locked.pem", {}, "--ssl-keyfile", "encrypted"),
        ("other.pem", {}, "--ssl-certfile", "cannot be used"),
    ],
)
def test_tls_that_would_not_hold_is_refused_before_the_model_is_loaded(tls, key, more, field, named):
    paths = {name: str(tls / value) if isinstance(value, str) else value for name, value in more.items()}
    where = Listen(ssl_certfile=str(tls / "cert.pem"), ssl_keyfile=str(tls / key), **paths)
    with refused(field, field, match=named):
        where.check_files()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--host", "0.0.0.0"], ["--host 0.0.0.0"]),
        (["--host", "::"], ["--host ::"]),
        (["--host", "::1"], []),
        (["--host", "localhost"], []),
        (["--uds", "x.sock", "--host", "0.0.0.0"], []),
        (["--host", "0.0.0.0", "--api-key", "k"], []),
        (["--allowed-origins", '["*"]', "--allow-credentials"], ["--allow-credentials"]),
        (["--allowed-origins", '["*"]'], []),
        (["--allowed-origins", '["http://a"]', "--allow-credentials"], []),
    ],
)
def test_what_an_operator_may_not_have_meant_is_warned_of(arguments, named):
    values = parsed(*arguments)
    found = warnings(serve.settings(values, {}), serve.listen(values))
    assert len(found) == len(named)
    assert all(name in line for name, line in zip(named, found, strict=True))


def test_it_speaks_tls(start, folder, tls):
    port = free_port()
    files = ["--ssl-keyfile", str(tls / "key.pem"), "--ssl-certfile", str(tls / "cert.pem")]
    server = start(folder, "--port", port, *files, "--head-timeout-seconds", "1")
    assert server.wait_ready() == f"https://127.0.0.1:{port}"
    with socket.create_connection(("127.0.0.1", int(port)), timeout=20) as silent:  # a handshake that never comes
        begin = time.monotonic()
        assert silent.recv(100) == b""
        assert time.monotonic() - begin < 10
    trusted = ssl.create_default_context(cafile=str(tls / "cert.pem"))
    assert httpx.get(f"https://127.0.0.1:{port}/health", verify=trusted).status_code == 200
    assert server.end() == 0
