"""Calls a running server with one client library, as its users do, and prints what came of it as JSON.

Runs in the environment of that library, not in ours: `call.py NAME URL PACKAGE`. Nothing of jaxembed is imported.
"""

import base64
import json
import struct
import sys
from importlib.metadata import version

MODEL = "all-MiniLM-L6-v2"
TEXTS = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
KEY = "secret"
# Longer than the model takes, whole and in the chunks that frameworks make by default.
BOOK = "Rabbits are small mammals of the family Leporidae. They live in burrows and eat grass. " * 150
QUESTION = "What do rabbits eat?"


def openai(url: str) -> dict:
    """Both encodings, token ids, the models, the chat form of vLLM's documentation, and errors as exceptions."""
    from openai import BadRequestError, NotFoundError, OpenAI
    from openai.types import CreateEmbeddingResponse

    client = OpenAI(base_url=f"{url}/v1", api_key=KEY)
    default = client.embeddings.create(model=MODEL, input=TEXTS)
    floats = client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float", user="u")
    cut = client.embeddings.create(model=MODEL, input="word " * 400, extra_body={"truncate_prompt_tokens": -1})
    chat = client.post(
        "/embeddings",
        cast_to=CreateEmbeddingResponse,
        body={
            "messages": [{"role": "user", "content": [{"type": "text", "text": TEXTS[0]}]}],
            "model": MODEL,
            "encoding_format": "float",
        },
    )
    errors = []
    for kind, arguments in (
        (BadRequestError, {"model": MODEL, "input": "a", "dimensions": 32}),
        (BadRequestError, {"model": MODEL, "input": []}),
        (NotFoundError, {"model": "nobody", "input": "a"}),
    ):
        try:
            client.embeddings.create(**arguments)
        except kind as error:
            errors.append([error.status_code, error.code, error.type, error.body["message"]])
    return {
        "vectors": [item.embedding for item in default.data],
        "floats": [item.embedding for item in floats.data],
        "usage": default.usage.prompt_tokens,
        "cut": cut.usage.prompt_tokens,
        "chat": chat.data[0].embedding,
        "models": [card.id for card in client.models.list()],
        "errors": errors,
    }


def openai_async(url: str) -> dict:
    """Fifty requests at once, each of its own text."""
    import asyncio

    from openai import AsyncOpenAI

    async def run() -> list:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY) as client:
            asked = [client.embeddings.create(model=MODEL, input=TEXTS[i % 3]) for i in range(50)]
            return [answer.data[0].embedding for answer in await asyncio.gather(*asked)]

    return {"vectors": asyncio.run(run())}


def cohere(url: str) -> dict:
    """Version 2 with every type, version 1 both ways, rerank, and an error."""
    import cohere as library

    client = library.ClientV2(api_key=KEY, base_url=url)
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    plain = client.embed(model=MODEL, texts=TEXTS, input_type="search_document", embedding_types=["float"])
    every = client.embed(model=MODEL, texts=TEXTS, input_type="search_query", embedding_types=types).embeddings
    decoded = [list(struct.unpack("<384f", base64.b64decode(text))) for text in every.base64]
    old = library.Client(api_key=KEY, base_url=url)
    floats = old.embed(model=MODEL, texts=TEXTS, input_type="search_document")
    typed = old.embed(model=MODEL, texts=TEXTS * 40, input_type="search_document", embedding_types=["float"])
    ranked = client.rerank(model=MODEL, query=TEXTS[0], documents=TEXTS[1:], top_n=2)
    try:
        client.embed(model=MODEL, texts=TEXTS, input_type="nonsense", embedding_types=["float"])
        error = None
    except library.BadRequestError as raised:
        error = raised.body["message"]
    return {
        "vectors": plain.embeddings.float_,
        "floats": decoded,
        "lengths": [len(getattr(every, name)[0]) for name in ("int8", "uint8", "binary", "ubinary")],
        "old": floats.embeddings,
        "typed": typed.embeddings.float_[:3],
        "count": len(typed.embeddings.float_),
        "warnings": plain.meta.warnings,
        "ranked": [[result.index, result.relevance_score] for result in ranked.results],
        "error": error,
    }


def langchain_openai(url: str) -> dict:
    """With the flag that sends texts instead of another tokenizer's ids."""
    from langchain_openai import OpenAIEmbeddings

    embeddings = OpenAIEmbeddings(model=MODEL, base_url=f"{url}/v1", api_key=KEY, check_embedding_ctx_length=False)
    return {"vectors": embeddings.embed_documents(TEXTS), "query": embeddings.embed_query(TEXTS[0])}


def langchain_cohere(url: str) -> dict:
    """Which speaks version 1."""
    from langchain_cohere import CohereEmbeddings, CohereRerank

    embeddings = CohereEmbeddings(model=MODEL, base_url=url, cohere_api_key=KEY)
    rerank = CohereRerank(model=MODEL, base_url=url, cohere_api_key=KEY)
    ranked = rerank.rerank(TEXTS[1:], TEXTS[0])
    return {
        "vectors": embeddings.embed_documents(TEXTS),
        "query": embeddings.embed_query(TEXTS[0]),
        "ranked": [[result["index"], result["relevance_score"]] for result in ranked],
    }


def llama_index_openai(url: str) -> dict:
    """By its own name, for the model is none of OpenAI's."""
    from llama_index.embeddings.openai import OpenAIEmbedding

    embedding = OpenAIEmbedding(model_name=MODEL, api_base=f"{url}/v1", api_key=KEY)
    return {"vectors": embedding.get_text_embedding_batch(TEXTS), "query": embedding.get_query_embedding(TEXTS[0])}


def llama_index_cohere(url: str) -> dict:
    """Which takes only Cohere's names, so the server has such an alias."""
    from llama_index.embeddings.cohere import CohereEmbedding

    embedding = CohereEmbedding(model_name="embed-english-v3.0", base_url=url, api_key=KEY)
    return {"vectors": embedding.get_text_embedding_batch(TEXTS), "query": embedding.get_query_embedding(TEXTS[0])}


def llama_index_tei(url: str) -> dict:
    """Against `/embed`."""
    from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

    embedding = TextEmbeddingsInference(model_name=MODEL, base_url=url, auth_token=KEY)
    return {"vectors": embedding.get_text_embedding_batch(TEXTS)}


def huggingface_hub(url: str) -> dict:
    """Features and similarities, with options."""
    from huggingface_hub import InferenceClient

    client = InferenceClient(base_url=url, api_key=KEY)
    many = client.feature_extraction(TEXTS, normalize=True, truncate=True)
    return {
        "vectors": many.tolist(),
        "query": client.feature_extraction(TEXTS[0])[0].tolist(),
        "similar": client.sentence_similarity(TEXTS[0], TEXTS[1:]),
    }


def llama_index_like(url: str) -> dict:
    """For servers that speak as OpenAI's do."""
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    embedding = OpenAILikeEmbedding(model_name=MODEL, api_base=f"{url}/v1", api_key=KEY)
    return {"vectors": embedding.get_text_embedding_batch(TEXTS), "query": embedding.get_query_embedding(TEXTS[0])}


def llama_index_rag(url: str) -> dict:
    """An index and a search by its defaults: chunks of 1,024 tokens, four times what the model takes."""
    from llama_index.core import Document, Settings, VectorStoreIndex
    from llama_index.embeddings.openai import OpenAIEmbedding

    Settings.embed_model = embedding = OpenAIEmbedding(model_name=MODEL, api_base=f"{url}/v1", api_key=KEY)
    index = VectorStoreIndex.from_documents([Document(text=BOOK), *(Document(text=text) for text in TEXTS)])
    (found,) = index.as_retriever(similarity_top_k=1).retrieve(QUESTION)
    return {"vectors": embedding.get_text_embedding_batch(TEXTS), "found": found.text}


def langchain_rag(url: str) -> dict:
    """A splitter, a store and a search by their defaults: chunks of 4,000 characters."""
    from langchain_core.documents import Document
    from langchain_core.vectorstores import InMemoryVectorStore
    from langchain_openai import OpenAIEmbeddings
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    embeddings = OpenAIEmbeddings(model=MODEL, base_url=f"{url}/v1", api_key=KEY, check_embedding_ctx_length=False)
    pages = [Document(page_content=BOOK), *(Document(page_content=text) for text in TEXTS)]
    store = InMemoryVectorStore.from_documents(RecursiveCharacterTextSplitter().split_documents(pages), embeddings)
    return {"vectors": embeddings.embed_documents(TEXTS), "found": store.similarity_search(QUESTION, k=1)[0].page_content}


def haystack_rag(url: str) -> dict:
    """Its two embedders for OpenAI, a store and a retriever."""
    from haystack import Document
    from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
    from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore
    from haystack.utils import Secret

    asked = {"model": MODEL, "api_base_url": f"{url}/v1", "api_key": Secret.from_token(KEY)}
    pages = [*(Document(content=text) for text in TEXTS), Document(content=BOOK)]
    embedded = OpenAIDocumentEmbedder(progress_bar=False, **asked).run(pages)["documents"]
    store = InMemoryDocumentStore()
    store.write_documents(embedded)
    question = OpenAITextEmbedder(**asked).run(QUESTION)["embedding"]
    (found,) = InMemoryEmbeddingRetriever(store, top_k=1).run(query_embedding=question)["documents"]
    return {"vectors": [page.embedding for page in embedded[:3]], "found": found.content}


def chroma(url: str) -> dict:
    """Its embedding functions for OpenAI, Ollama and TEI; a text that is too long among others."""
    from chromadb.utils import embedding_functions

    openai_s = embedding_functions.OpenAIEmbeddingFunction(api_key=KEY, api_base=f"{url}/v1", model_name=MODEL)
    vectors = [vector.tolist() for vector in openai_s([*TEXTS, BOOK])]
    return {"vectors": vectors[:3], "count": len(vectors)}


def litellm(url: str) -> dict:
    """Every provider that stands for a server of one's own."""
    import os

    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it asks the network for prices
    import litellm as library

    vectors = {}
    for provider, base in (
        ("openai", "/v1"),
        ("hosted_vllm", "/v1"),
        ("infinity", ""),
        ("cohere", "/v2/embed"),
        ("jina_ai", "/v1"),
    ):
        answer = library.embedding(model=f"{provider}/{MODEL}", input=TEXTS, api_base=url + base, api_key=KEY)
        vectors[provider] = [item["embedding"] for item in answer.data]
    ranked = {}
    for provider, base in (("hosted_vllm", ""), ("cohere", "/v2/rerank"), ("jina_ai", "/v1/rerank"), ("infinity", "/infinity")):
        answer = library.rerank(
            model=f"{provider}/{MODEL}", query=TEXTS[0], documents=TEXTS[1:], api_base=url + base, api_key=KEY, top_n=2
        )
        ranked[provider] = [[result["index"], result["relevance_score"]] for result in answer.results]
    return {"vectors": vectors.pop("openai"), "others": list(vectors.values()), "rankings": list(ranked.values())}


def ollama(url: str) -> dict:
    """Its newer and its older call."""
    from ollama import Client

    client = Client(host=url, headers={"Authorization": f"Bearer {KEY}"})
    return {
        "vectors": client.embed(model=MODEL, input=TEXTS).embeddings,
        "query": list(client.embeddings(model=MODEL, prompt=TEXTS[0]).embedding),
    }


def langchain_ollama(url: str) -> dict:
    """Which adds `:latest` to no name."""
    from langchain_ollama import OllamaEmbeddings

    headers = {"headers": {"Authorization": f"Bearer {KEY}"}}
    embeddings = OllamaEmbeddings(model=MODEL, base_url=url, client_kwargs=headers)
    return {"vectors": embeddings.embed_documents(TEXTS), "query": embeddings.embed_query(TEXTS[0])}


def infinity(url: str) -> dict:
    """All that its client asks."""
    from infinity_client import AuthenticatedClient
    from infinity_client.api.default import embeddings, health, models, rerank
    from infinity_client.models import OpenAIEmbeddingInputText, RerankInput

    with AuthenticatedClient(base_url=f"{url}/infinity", token=KEY) as client:
        assert health.sync(client=client).additional_properties["unix"] > 0
        assert MODEL in [card.id for card in models.sync(client=client).data]
        body = RerankInput(query=TEXTS[0], documents=TEXTS[1:], model=MODEL, return_documents=True)
        ranked = rerank.sync(client=client, body=body).results
        assert [result.document for result in ranked] == TEXTS[1:]
        asked = OpenAIEmbeddingInputText.from_dict({"input": TEXTS, "model": MODEL})
        answer = embeddings.sync(client=client, body=asked)
    return {
        "vectors": [item.embedding for item in answer.data],
        "ranked": [[result.index, result.relevance_score] for result in ranked],
    }


if __name__ == "__main__":
    name, url, package = sys.argv[1:]
    print(json.dumps({**globals()[name](url), "version": version(package)}))
