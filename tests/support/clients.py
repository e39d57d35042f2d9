"""The client libraries that are run against a server, and the table of docs/clients.md that the run draws."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "clients.md"
BEGIN, END = "<!-- drawn by make clients-table -->\n", "<!-- end -->\n"
# Environments of scripts/setup.sh.
OLD, NEW, MORE, NPM = ".venv-clients", ".venv-clients-new", ".venv-clients-more", ".venv-clients-npm"


@dataclass(frozen=True)
class Client:
    """A client library.

    title: as the table calls it. environment: where it is installed. function: of call.py or call.mjs. package: whose version
    is shown. address: what it is given as its server's. calls: what of it runs. needs: what a user must know, if anything.
    """

    title: str
    environment: str
    function: str
    package: str
    address: str
    calls: str
    needs: str = ""


_V1 = "`URL/v1`"
_BARE = "`URL`"
_LONG = "`--truncate` for chunks that are longer than the model takes"
CLIENTS = (
    Client("openai", NEW, "openai", "openai", _V1, "embeddings, models, errors"),
    Client("openai", OLD, "openai", "openai", _V1, "embeddings, models, errors"),
    Client("openai, asynchronous", NEW, "openai_async", "openai", _V1, "embeddings, fifty at once"),
    Client("openai (npm)", NPM, "openai", "openai", _V1, "embeddings, `models.retrieve`"),
    Client("cohere", NEW, "cohere", "cohere", _BARE, "versions 1 and 2, rerank, every type"),
    Client("cohere", OLD, "cohere", "cohere", _BARE, "versions 1 and 2, rerank, every type"),
    Client("cohere-ai (npm)", NPM, "cohere", "cohere-ai", _BARE, "embed, rerank"),
    Client(
        "langchain-openai", OLD, "langchain_openai", "langchain-openai", _V1, "documents, query",
        "`check_embedding_ctx_length=False`; without it, another tokenizer's ids are sent, which are refused",
    ),
    Client(
        "langchain-text-splitters", OLD, "langchain_rag", "langchain-text-splitters", _V1, "a search by defaults",
        f"the same, and {_LONG}",
    ),
    Client("langchain-cohere", OLD, "langchain_cohere", "langchain-cohere", _BARE, "embed, rerank"),
    Client("langchain-ollama", MORE, "langchain_ollama", "langchain-ollama", _BARE, "documents, query"),
    Client("@langchain/openai (npm)", NPM, "langchain_openai", "@langchain/openai", _V1, "documents, query"),
    Client("llama-index-embeddings-openai", OLD, "llama_index_openai", "llama-index-embeddings-openai", _V1, "texts, query"),
    Client("llama-index, an index", OLD, "llama_index_rag", "llama-index-core", _V1, "a search by the defaults", _LONG),
    Client(
        "llama-index-embeddings-openai-like", OLD, "llama_index_like", "llama-index-embeddings-openai-like", _V1, "texts, query"
    ),
    Client(
        "llama-index-embeddings-cohere", OLD, "llama_index_cohere", "llama-index-embeddings-cohere", _BARE, "texts, query",
        "`--served-model-name embed-english-v3.0`: it takes Cohere's names only",
    ),
    Client(
        "llama-index-embeddings-text-embeddings-inference", OLD, "llama_index_tei",
        "llama-index-embeddings-text-embeddings-inference", _BARE, "texts",
    ),
    Client("haystack-ai", MORE, "haystack_rag", "haystack-ai", _V1, "a search by the defaults", _LONG),
    Client("chromadb", MORE, "chroma", "chromadb-client", _V1, "its embedding function for OpenAI", _LONG),
    Client(
        "litellm", MORE, "litellm", "litellm", "`URL/v1`, `URL`, `URL/v2/embed`",
        "`openai/`, `hosted_vllm/`, `infinity/`, `cohere/`, `jina_ai/`, their reranking too",
        "`api_base=URL/infinity` for `infinity/` reranking",
    ),
    Client("infinity-client", OLD, "infinity", "infinity-client", "`URL/infinity`", "embeddings, rerank, models, health"),
    Client("huggingface_hub", OLD, "huggingface_hub", "huggingface_hub", _BARE, "features, similarity"),
    Client("@huggingface/inference (npm)", NPM, "huggingface", "@huggingface/inference", _BARE, "features, similarity"),
    Client("ollama", MORE, "ollama", "ollama", _BARE, "embed, embeddings"),
    Client("ollama (npm)", NPM, "ollama", "ollama", _BARE, "embed"),
    Client("Vercel's AI SDK (npm)", NPM, "ai_sdk", "ai", _V1, "`embedMany` of `@ai-sdk/openai-compatible`"),
    Client("@ai-sdk/cohere (npm)", NPM, "ai_sdk_cohere", "@ai-sdk/cohere", "`URL/v2`", "`embedMany`"),
)  # fmt: skip


def rows(ran: Mapping[Client, str]) -> list[str]:
    """One line for each client, with the version that ran."""
    lines = ["| client | version | address | what is called | needs |", "| --- | --- | --- | --- | --- |"]
    for client in CLIENTS:
        cells = (client.title, ran.get(client, "not run"), client.address, client.calls, client.needs)
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return list(dict.fromkeys(lines))  # the same version in two environments is one line


def draw(ran: Mapping[Client, str]) -> None:
    """Draws the table of the document anew."""
    before, rest = DOCUMENT.read_text().split(BEGIN)
    DOCUMENT.write_text(before + BEGIN + "\n".join(rows(ran)) + "\n" + END + rest.split(END)[1])
