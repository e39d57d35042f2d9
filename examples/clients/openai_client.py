"""The openai package against a server of ours. URL and KEY say where it is and what it asks for."""

import os

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("URL", "http://localhost:8000") + "/v1", api_key=os.environ.get("KEY", "EMPTY"))
model = client.models.list().data[0].id
answer = client.embeddings.create(model=model, input=["What is a rabbit?", "Rabbits are small mammals."])
for item in answer.data:
    print(f"{len(item.embedding)} dimensions: {item.embedding[:3]}")
print(f"{answer.usage.prompt_tokens} tokens")
