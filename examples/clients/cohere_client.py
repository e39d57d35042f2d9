"""The cohere package against a server of ours."""

import os

import cohere

client = cohere.ClientV2(base_url=os.environ.get("URL", "http://localhost:8000"), api_key=os.environ.get("KEY", "EMPTY"))
answer = client.embed(
    model="all-MiniLM-L6-v2",
    texts=["Rabbits are small mammals."],
    input_type="search_document",
    embedding_types=["float", "int8", "ubinary"],
)
print(answer.embeddings.float_[0][:3], answer.embeddings.int8[0][:3], answer.embeddings.ubinary[0][:3])
ranked = client.rerank(model="all-MiniLM-L6-v2", query="What is a rabbit?", documents=["A stadium.", "A small mammal."])
print([(result.index, round(result.relevance_score, 4)) for result in ranked.results])
