"""Calls a running server with one client library, as its users do, and prints what came of it as JSON.

Runs in the environment of that library, not in ours: `call.py NAME URL`. Nothing of jaxembed is imported.
"""

import base64
import json
import struct
import sys

MODEL = "all-MiniLM-L6-v2"
TEXTS = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
KEY = "secret"


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


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
