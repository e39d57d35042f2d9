#!/usr/bin/env bash
# Makes a TPU VM, installs this checkout on it, and serves a model there: deploy/tpu-vm.sh NAME ZONE [MODEL]
# Needs gcloud, logged in, with a project set. Remove the VM afterwards: gcloud compute tpus tpu-vm delete NAME --zone ZONE
set -euo pipefail
cd "$(dirname "$0")/.."

name=${1:?usage: deploy/tpu-vm.sh NAME ZONE [MODEL]}
zone=${2:?usage: deploy/tpu-vm.sh NAME ZONE [MODEL]}
model=${3:-BAAI/bge-base-en-v1.5}

on_vm() { gcloud compute tpus tpu-vm ssh "$name" --zone "$zone" --command "$1"; }

gcloud compute tpus tpu-vm create "$name" --zone "$zone" --accelerator-type v5litepod-1 --version v2-alpha-tpuv5-lite
git archive --prefix jaxembed/ --output /tmp/jaxembed-source.tar.gz HEAD
gcloud compute tpus tpu-vm scp /tmp/jaxembed-source.tar.gz "$name:" --zone "$zone"
# The image's own Python is older than 3.12.
on_vm "sudo apt-get update -q && sudo apt-get install -qy software-properties-common && sudo add-apt-repository -y ppa:deadsnakes/ppa &&
    sudo apt-get install -qy python3.12 python3.12-venv && tar xzf jaxembed-source.tar.gz && python3.12 -m venv env &&
    env/bin/pip install -q './jaxembed[tpu]' && env/bin/jaxembed doctor"
# Only this machine reaches the server, through the tunnel: http://127.0.0.1:8000
gcloud compute tpus tpu-vm ssh "$name" --zone "$zone" --command "env/bin/jaxembed serve '$model' --host 127.0.0.1 --port 8000" \
    -- -L 8000:127.0.0.1:8000
