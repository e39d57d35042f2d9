"""langchain against a server of ours: check_embedding_ctx_length=False keeps it from sending another tokenizer's ids."""

import os

from langchain_openai import OpenAIEmbeddings

embeddings = OpenAIEmbeddings(
    model="all-MiniLM-L6-v2",
    base_url=os.environ.get("URL", "http://localhost:8000") + "/v1",
    api_key=os.environ.get("KEY", "EMPTY"),
    check_embedding_ctx_length=False,
)
print(embeddings.embed_query("What is a rabbit?")[:3])
print(len(embeddings.embed_documents(["Rabbits are small mammals.", "He drove to the stadium."])))
