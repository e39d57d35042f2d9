"""How flags may be spelled, where they may come from, and that none that asks for something is passed over."""

import argparse

import pytest
from refusals import refused

from jaxembed.cli import flags, foreign, main, serve
from jaxembed.cli.config_file import read_config
from jaxembed.cli.spelling import spelled

DOTTED = [flag.name for flag in serve.FLAGS if "." in flag.name]


def parsed(*argv: str, file=None, **environment: str) -> dict:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    serve.add_arguments(parser)
    arguments = parser.parse_args(spelled(argv, declared=DOTTED, serving=True))
    return flags.read(serve.FLAGS, arguments, environment, file=file or {})


def test_underscores_stand_for_dashes():
    values = parsed(
        *["--trust_remote_code", "--hf_overrides", '{"matryoshka_dimensions": [256]}', "--max_model_len=128"],
        *["--served_model_name", "x_y", "--pooler_config", '{"pooling_type": "MEAN"}', "--no_enable_prefix_caching"],
        *["--pooler_config.use_activation", "false"],
    )
    assert (values["trust_remote_code"], values["max_model_len"], values["served_model_name"]) == (True, 128, ["x_y"])
    assert values["hf_overrides"] == {"matryoshka_dimensions": [256]}
    assert values["enable_prefix_caching"] is False
    assert serve.pooler_config(values) == {"pooling_type": "MEAN", "use_activation": False}


def test_a_key_of_a_json_flag_may_stand_alone():
    values = parsed(
        *["--hf-overrides.is_matryoshka", "true", "--hf_overrides.rope_parameters.rope_theta=1e6"],
        *["--hf-overrides.rope_parameters.rope_type", "yarn", "--hf-overrides", '{"hidden_act": "gelu"}'],
        *["--hf-overrides.architectures", '["BertModel"]'],
    )
    assert values["hf_overrides"] == {
        "is_matryoshka": True,
        "rope_parameters": {"rope_theta": 1e6, "rope_type": "yarn"},
        "hidden_act": "gelu",
        "architectures": ["BertModel"],
    }


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["--hf-overrides.is_matryoshka"], "--hf-overrides.is_matryoshka"),
        (["--hf-overrides.a", "--port", "1"], "--hf-overrides.a"),
        (["--hf-overrides.a+", "x"], "--hf-overrides.a+"),
        (["--hf-overrides.a..b", "x"], "--hf-overrides.a..b"),
    ],
)
def test_a_key_without_a_value_is_named(argv, name):
    with refused(name):
        parsed(*argv)


def test_what_follows_two_dashes_is_a_text_and_not_a_flag():
    assert spelled(["embed", "--max_model_len", "9", "--", "--a_b"]) == ["embed", "--max-model-len", "9", "--", "--a_b"]


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["--model-id", "m"], "model", "m"),
        (["--model_id=m"], "model", "m"),
        (["--hostname", "0.0.0.0"], "host", "0.0.0.0"),
        (["--max-client-batch-size", "32"], "max_items", 32),
        (["--auto-truncate"], "truncate", True),
        (["--truncate"], "truncate", True),
        (["--no-auto-truncate"], "truncate", False),
        (["--huggingface-hub-cache", "d"], "download_dir", "d"),
        (["--proxy-root-path", "/x"], "root_path", "/x"),
        (["--log-level", "debug"], "uvicorn_log_level", "debug"),
        (["--task", "embed"], "task", "embed"),
    ],
)
def test_other_servers_names_are_known(argv, name, value):
    assert parsed(*argv)[name] == value


@pytest.mark.parametrize("name", sorted(foreign.ELSEWHERE))
def test_what_means_something_else_here_is_refused_with_the_way_out(capsys, name):
    assert main(["serve", "/no/such/model", f"--{name}", "1"]) == 2
    assert f"--{name} here: {foreign.ELSEWHERE[name]}" in capsys.readouterr().err
    assert name not in {flag.name for flag in serve.FLAGS}


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--io-processor-plugin", "x"], "plugins"),
        (["--tokenizer-revision", "v2"], "--tokenizer"),
        (["--tokenizer-revision", "v2", "--revision", "v1"], "--tokenizer"),
        (["--load-format", "dummy"], "dummy"),
        (["--config-format", "mistral"], "mistral"),
        (["--tokenizer-mode", "slow"], "slow"),
        (["--limit-mm-per-prompt", '{"image": 4}'], "texts only"),
        (["--limit-mm-per-prompt", "image=2,video=0"], "texts only"),
        (["--mm-processor-kwargs", '{"a": 1}'], "texts only"),
        (["--api-server-count", "2"], "proxy"),
        (["--cpu-offload-gb", "4"], "device"),
        (["--kv-cache-dtype", "fp8"], "fp8"),
        (["--scheduling-policy", "lottery"], "lottery"),
    ],
)
def test_what_would_change_what_is_served_is_refused(argv, named):
    with refused(argv[0], argv[0].removeprefix("--"), named):
        list(foreign.idle(parsed(*argv)))


@pytest.mark.parametrize(
    "argv",
    [
        *[["--load-format", "auto"], ["--load-format=safetensors"], ["--api-server-count", "1"], ["--seed", "7"]],
        *[
            ["--tokenizer-revision", "v1", "--revision", "v1"],
            ["--limit-mm-per-prompt", '{"image": 0}'],
            ["--no-enforce-eager"],
        ],
        *[["--limit-mm-per-prompt", "image=0"], ["--mm-processor-kwargs", "{}"], ["--disable-log-requests"], []],
    ],
)
def test_what_asks_for_nothing_is_taken_in_silence(argv):
    assert list(foreign.idle(parsed(*argv))) == []


@pytest.mark.parametrize(
    "argv",
    [
        *[["--gpu-memory-utilization", "0.9"], ["--max-num-seqs=8"], ["--enforce-eager"], ["--enable-prefix-caching"]],
        *[["--skip-tokenizer-init"], ["--max-num-batched-tokens", "8192"], ["--enable-log-requests"]],
    ],
)
def test_what_has_no_effect_is_said(argv):
    (line,) = foreign.idle(parsed(*argv))
    assert line.startswith(f"{argv[0].partition('=')[0]} has no effect here: ")


def test_every_flag_of_vllm_s_without_a_use_is_hidden_and_none_is_silent():
    for one in foreign.IDLE:
        assert one.flag.help == argparse.SUPPRESS
        assert one.flag.default is None
        assert one.instead


def test_abbreviations_are_no_flags(capsys):
    for argv in (["serve", "--max-model", "9"], ["embed", "--trunc", "a"]):
        with pytest.raises(SystemExit):
            main(argv)
        assert argv[1] in capsys.readouterr().err


def test_a_file_of_flags_is_read_and_the_command_line_and_the_environment_win(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "served-model-name: [from-config, other]\nmax_model_len: 77\ntruncate: true\nport: 9000\ndtype: float32\n"
        "hf-overrides: {is_matryoshka: true}\npooler-config.use_activation: false\napi-key: 1234\nmodel-id: m\nrevision:\n"
    )
    file = read_config(str(path), serve.FLAGS)
    values = parsed(file=file)
    assert (values["served_model_name"], values["max_model_len"], values["truncate"]) == (["from-config", "other"], 77, True)
    assert (values["hf_overrides"], values["api_key"], values["model"]) == ({"is_matryoshka": True}, ["1234"], "m")
    assert serve.pooler_config(values) == {"use_activation": False}
    assert values["revision"] is None
    assert parsed("--max-model-len", "9", file=file)["max_model_len"] == 9
    assert parsed("--no-truncate", file=file)["truncate"] is False
    assert parsed(file=file, JAXEMBED_PORT="9001")["port"] == 9001


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("max-model-length: 9", "max-model-len"),
        ("max-model-len: many", "many"),
        ("truncate: 3", "true or false"),
        ("cohere-input-type: loose", "strict"),
        ("batch-size: 3", "--batch-size"),
        ("config: other.yaml", "config"),
        ("- a", "max-model-len"),
        ("a: [", "YAML"),
    ],
)
def test_a_line_of_the_file_that_cannot_be_is_named(tmp_path, text, named):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with refused("--batch-size" if named == "--batch-size" else "--config", named.removeprefix("--")):
        read_config(str(path), serve.FLAGS)


def test_a_file_that_is_not_there_is_named(capsys):
    assert main(["serve", "/no/such/model", "--config", "/no/such/file.yaml"]) == 2
    assert "--config /no/such/file.yaml cannot be read" in capsys.readouterr().err


def test_variables_that_nobody_reads_are_warned_of(capsys, monkeypatch):
    for name, value in {
        "JAXEMBED_MAX_MODEL_LENGTH": "77",
        "JAXEMBED_NONSENSE": "1",
        "JAXEMBED_EMPTY": "",
        "JAXEMBED_DTYPE": "float32",
        "JAXEMBED_SERVICE_HOST": "10.0.0.7",
        "JAXEMBED_SERVICE_PORT_HTTP": "8000",
        "JAXEMBED_PORT_8000_TCP_ADDR": "10.0.0.7",
        "JAXEMBED_PORT": "tcp://10.0.0.7:8000",
    }.items():
        monkeypatch.setenv(name, value)
    assert main(["serve", "/no/such/model", "--port", "70000"]) == 2
    first, second, last = capsys.readouterr().err.splitlines()
    assert "JAXEMBED_MAX_MODEL_LENGTH is not known and not read; did you mean JAXEMBED_MAX_MODEL_LEN?" in first
    assert "JAXEMBED_NONSENSE is not known" in second
    assert "--port" in last
    assert main(["embed", "a", "-m", "/no/such/model"]) == 1
    assert "JAXEMBED_DTYPE is for `jaxembed serve`; `jaxembed embed` has --dtype." in capsys.readouterr().err


def test_a_prefix_is_a_path():
    for given, prefix in (("", ""), ("/", ""), ("api", "/api"), ("/a/b/", "/a/b")):
        assert serve.settings(parsed("--root-path", given), {}).root_path == prefix
    with refused("--root-path", "/api"):
        serve.settings(parsed("--root-path", "https://example.org/api"), {})
