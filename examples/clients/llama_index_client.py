"""llama-index against a server of ours."""

import os

from llama_index.embeddings.openai import OpenAIEmbedding

embedding = OpenAIEmbedding(
    model_name="all-MiniLM-L6-v2",
    api_base=os.environ.get("URL", "http://localhost:8000") + "/v1",
    api_key=os.environ.get("KEY", "EMPTY"),
)
print(embedding.get_query_embedding("What is a rabbit?")[:3])
print(len(embedding.get_text_embedding_batch(["Rabbits are small mammals.", "He drove to the stadium."])))
