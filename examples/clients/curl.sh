#!/usr/bin/env bash
# The server's routes with nothing but curl. URL and KEY say where it is and what it asks for.
set -euo pipefail
url=${URL:-http://localhost:8000}
post() { curl --silent --show-error --fail-with-body "$url$1" -H "Authorization: Bearer ${KEY:-EMPTY}" -H 'Content-Type: application/json' -d "$2"; echo; }

post /v1/embeddings '{"input": ["Follow the white rabbit."], "encoding_format": "base64"}'
post /v2/embed '{"texts": ["Follow the white rabbit."], "embedding_types": ["ubinary"]}'
post /rerank '{"query": "What is a rabbit?", "documents": ["Rabbits are small mammals.", "He drove to the stadium."]}'
post /score '{"text_1": "What is a rabbit?", "text_2": ["Rabbits are small mammals."]}'
post /tokenize '{"prompt": "Follow the white rabbit."}'
