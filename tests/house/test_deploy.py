"""What is written for machines that are not here: every flag, variable, port and path in it is one that the server has."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from jaxembed.cli import parser
from jaxembed.cli.serve import FLAGS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = sorted(DEPLOY.glob("kubernetes-*.yaml"))


def served(arguments: list[str]):
    """Parses as `jaxembed serve` would; an unknown flag ends the test."""
    return parser().parse_args(["serve", *arguments])


@pytest.mark.parametrize("file", KUBERNETES, ids=lambda path: path.stem)
def test_a_manifest_starts_the_server_with_flags_that_it_has(file):
    documents = list(yaml.safe_load_all(file.read_text()))
    assert {"Deployment", "Service"} <= {document["kind"] for document in documents}
    (deployment,) = (document for document in documents if document["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    options = served(container["args"])
    assert options.port == container["ports"][0]["containerPort"]
    assert options.drain_seconds < pod["terminationGracePeriodSeconds"]
    for probe, path in {"startupProbe": "/ready", "readinessProbe": "/ready", "livenessProbe": "/health"}.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}
    assert pod["enableServiceLinks"] is False
    targets = re.findall(r"^FROM base AS (\w+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert container["image"].removeprefix("jaxembed:") in targets
    named = {volume["name"] for volume in pod.get("volumes", [])}
    assert {mount["name"] for mount in container.get("volumeMounts", [])} == named
    claims = {document["metadata"]["name"] for document in documents if document["kind"] == "PersistentVolumeClaim"}
    assert {volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]} == claims


def test_the_dockerfile_installs_extras_that_there_are_and_sets_variables_that_are_read():
    import tomllib

    text = (DEPLOY / "Dockerfile").read_text()
    extras = set(re.findall(r"\.whl\)\[(\w+)\]", text))
    assert extras == {"cuda13", "tpu"}
    assert extras <= set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    assert re.findall(r"^FROM base AS (\w+)", text, re.MULTILINE) == ["cpu", "cuda", "tpu"]
    variables = set(re.findall(r"\bJAXEMBED_\w+", text))
    assert variables
    assert variables <= {flag.variable for flag in FLAGS}


def test_the_script_for_a_tpu_vm_is_shell_and_calls_commands_that_there_are():
    script = DEPLOY / "tpu-vm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    calls = re.findall(r"env/bin/jaxembed (.*?)(?:\"|$)", text, re.MULTILINE)
    assert len(calls) == 2
    for call in calls:
        parser().parse_args(call.replace("'$model'", "some/model").split())
    done = subprocess.run([str(script)], capture_output=True, text=True)
    assert done.returncode != 0
    assert "usage: deploy/tpu-vm.sh NAME ZONE [MODEL]" in done.stderr
