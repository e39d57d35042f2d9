"""Embeds three sentences with the default model and prints how similar they are."""

from jaxembed import LLM

SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]

llm = LLM()
outputs = llm.embed(SENTENCES, use_tqdm=False)
print(f"{llm.name}: {outputs[0].outputs.hidden_size} dimensions\n")
for sentence, output in zip(SENTENCES, outputs, strict=True):
    first = ", ".join(f"{value:+.4f}" for value in output.outputs.embedding[:4])
    print(f"  {sentence:<30} [{first}, ...]")
print()
for i, j in [(0, 1), (0, 2), (1, 2)]:
    (pair,) = llm.score(SENTENCES[i], SENTENCES[j], use_tqdm=False)
    print(f"  {pair.outputs.score:.4f}  {SENTENCES[i]}  |  {SENTENCES[j]}")
