// Calls a running server with one client library of npm, as its users do, and prints what came of it as JSON.
//
// node call.mjs NAME URL PACKAGE, beside the folder node_modules that has them.

import { readFileSync } from "node:fs";

const [NAME, URL, PACKAGE] = process.argv.slice(2);
const MODEL = "all-MiniLM-L6-v2", KEY = "secret";
const TEXTS = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."];
const clients = {
  async openai() {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ baseURL: `${URL}/v1`, apiKey: KEY });
    const answer = await client.embeddings.create({ model: MODEL, input: TEXTS });
    if ((await client.models.retrieve(MODEL)).id !== MODEL) throw new Error("another model");
    return { vectors: answer.data.map((item) => item.embedding) };
  },
  async cohere() {
    const { CohereClientV2 } = await import("cohere-ai");
    const client = new CohereClientV2({ token: KEY, environment: URL });
    const answer = await client.embed({ model: MODEL, texts: TEXTS, inputType: "search_document", embeddingTypes: ["float"] });
    const ranked = await client.rerank({ model: MODEL, query: TEXTS[0], documents: TEXTS.slice(1) });
    return { vectors: answer.embeddings.float, ranked: ranked.results.map((one) => [one.index, one.relevanceScore]) };
  },
  async ollama() {
    const { Ollama } = await import("ollama");
    const answer = await new Ollama({ host: URL, headers: { Authorization: `Bearer ${KEY}` } }).embed({ model: MODEL, input: TEXTS });
    return { vectors: answer.embeddings };
  },
  async huggingface() {
    const { InferenceClient } = await import("@huggingface/inference");
    const client = new InferenceClient(KEY, { endpointUrl: URL });
    const similar = await client.sentenceSimilarity({ inputs: { source_sentence: TEXTS[0], sentences: TEXTS.slice(1) } });
    return { vectors: await client.featureExtraction({ inputs: TEXTS }), similar };
  },
  async ai_sdk() {
    const { embedMany } = await import("ai");
    const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
    const provider = createOpenAICompatible({ name: "jaxembed", baseURL: `${URL}/v1`, apiKey: KEY });
    return { vectors: (await embedMany({ model: provider.textEmbeddingModel(MODEL), values: TEXTS })).embeddings };
  },
  async ai_sdk_cohere() {
    const { embedMany } = await import("ai");
    const { createCohere } = await import("@ai-sdk/cohere");
    const provider = createCohere({ baseURL: `${URL}/v2`, apiKey: KEY });
    return { vectors: (await embedMany({ model: provider.textEmbeddingModel(MODEL), values: TEXTS })).embeddings };
  },
  async langchain_openai() {
    const { OpenAIEmbeddings } = await import("@langchain/openai");
    const embeddings = new OpenAIEmbeddings({ model: MODEL, apiKey: KEY, configuration: { baseURL: `${URL}/v1` } });
    return { vectors: await embeddings.embedDocuments(TEXTS), query: await embeddings.embedQuery(TEXTS[0]) };
  },
};
const about = JSON.parse(readFileSync(new globalThis.URL(`node_modules/${PACKAGE}/package.json`, import.meta.url)));
console.log(JSON.stringify({ ...(await clients[NAME]()), version: about.version }));
