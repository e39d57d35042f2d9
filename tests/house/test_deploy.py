"""What is written for machines that are not here: every flag, variable, port and path in it is one that the server has."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
    assert {each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"] if "persistentVolumeClaim" in each} == claims


@pytest.mark.parametrize("file", KUBERNETES, ids=lambda path: path.stem)
def test_a_manifest_gives_the_server_a_key_and_no_more_rights_than_it_needs(file):
    (deployment,) = (one for one in yaml.safe_load_all(file.read_text()) if one["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    rights = container["securityContext"]
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["capabilities"] == {"drop": ["ALL"]}
    for part in ("cpu", "memory"):
        assert part in container["resources"]["requests"]
    assert "memory" in container["resources"]["limits"]
    # A key from a secret that is mounted where the server is told to look, and a place to write to.
    variables = {each["name"]: each["value"] for each in container["env"]}
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    volumes = {each["name"]: each for each in pod["volumes"]}
    keys = next(name for name, volume in volumes.items() if "secret" in volume)
    assert variables["JAXEMBED_API_KEY_FILE"].startswith(f"{mounts[keys]}/")
    assert volumes[keys]["secret"]["secretName"] in file.read_text().splitlines()[1]
    assert "/tmp" in {mounts[name] for name, volume in volumes.items() if "emptyDir" in volume}
    user = re.search(r"--uid (\d+)", (DEPLOY / "Dockerfile").read_text())[1]
    if file.stem.endswith("tpu"):
        assert pod["securityContext"]["runAsUser"] == 0
    else:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == int(user)


PINNED = sorted(DEPLOY.glob("requirements-*.txt"))


@pytest.mark.parametrize("file", PINNED, ids=lambda path: path.stem)
def test_images_install_packages_of_known_hashes_that_the_project_asks_for(file):
    """Names, versions and hashes, no addresses; `scripts/pins.py` writes them."""
    text = file.read_text()
    assert f"/{file.name}" in (DEPLOY / "Dockerfile").read_text()
    pins = re.findall(r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    assert len(pins) == text.count("==")
    assert not re.search(r"://|@", text)
    versions = {canonicalize_name(name): version for name, version, _ in pins}
    for wanted in map(
        Requirement, pins_script().requirements(pins_script().IMAGES[file.stem.removeprefix("requirements-")][0])
    ):
        if wanted.marker is None or wanted.marker.evaluate():
            assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)]), wanted


def pins_script():
    spec = importlib.util.spec_from_file_location("pins", ROOT / "scripts" / "pins.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_dockerfile_installs_what_is_pinned_and_sets_variables_that_are_read():
    text = (DEPLOY / "Dockerfile").read_text()
    assert {extra for extras, _ in pins_script().IMAGES.values() for extra in extras or ()} == {"cuda13", "tpu"}
    assert re.findall(r"^FROM base AS (\w+)", text, re.MULTILINE) == ["cpu", "cuda", "tpu"]
    assert re.findall(r"--require-hashes -r \S+/requirements-(\w+)\.txt", text) == ["build", "cpu", "cuda", "tpu"]
    # Everything else is ours, and brings nothing with it.
    installs = re.findall(r"pip (?:install|wheel) [^&\n]*", text)
    assert all("--require-hashes" in each or "--no-deps" in each for each in installs)
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
