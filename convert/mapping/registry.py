"""The families of models that load: what each is called, how its config is read, where its module and its rules are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from jaxembed.convert.mapping.keys import Keys
from jaxembed.errors import JaxEmbedError, UnsupportedModelError


@dataclass(frozen=True)
class Family:
    """One row of the registry.

    Attributes:
        name: what people call it.
        model_type: its key when no architecture is given.
        architectures: the names in `config.json` that mean this family.
        module, config, rules: "module:name" of the Flax module, the function from `config.json` to its config, and the weight
            rules, imported only when needed.
        pooling: how texts are pooled where no file says it.
        when: what the config must look like, for names that several families share.
        bare: whether texts get no special tokens.
        instruction_end: the mark up to which a text is an instruction, which pooling leaves out.
        own_module: the type of a sentence-transformers module that its checkpoints bring along in place of a Transformer.
        own_code: whether its checkpoints come with classes of their own, so that `model_type`, mostly that of what they were
            made from, says nothing.
        examples: public checkpoints.
        reference: what parity is measured against.
    """

    name: str
    model_type: str
    architectures: tuple[str, ...]
    module: str
    config: str
    rules: str
    pooling: str = "mean"
    when: Callable[[Mapping[str, Any]], bool] | None = None
    bare: bool = False
    instruction_end: str = ""
    own_module: str = ""
    own_code: bool = False
    examples: str = ""
    reference: str = ""

    def read_config(self, config: Mapping[str, Any]) -> Any:
        """Returns the family's own config.

        Raises `UnsupportedModelError` for a key that is missing, cannot be served, or would change the vectors unread.
        """
        keys = Keys(config)
        found = self.parse(keys)
        keys.check(self.name)
        return found

    def parse(self, keys: Keys) -> Any:
        """Returns the family's own config, whatever else `keys` hold. Raises `UnsupportedModelError`."""
        try:
            return self.load(self.config)(keys)
        except JaxEmbedError:
            raise
        except KeyError as error:
            raise UnsupportedModelError(f"config.json lacks {error.args[0]!r}, which a {self.name} model needs.") from None
        # What the kinds of values let through: lists of the wrong length, parts of objects, numbers that do not go together.
        except (TypeError, ValueError, ArithmeticError, AttributeError, IndexError) as error:
            last = next(reversed(keys.read), "its keys")
            raise UnsupportedModelError(
                f"config.json does not describe a {self.name} model: its values up to {last!r} do not go together ({error})."
            ) from None

    def load(self, what: str) -> Any:
        """Imports what "module:name" means."""
        module, _, name = what.partition(":")
        return getattr(import_module(module), name)


_TASKS = (
    "Model",
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForPreTraining",
    "ForQuestionAnswering",
)


def _bert(name: str, model_type: str, prefix: str, config: str, rules: str = "BERT", **more: Any) -> Family:
    return Family(
        name,
        model_type,
        tuple(prefix + task for task in _TASKS),
        "jaxembed.models.bert:Bert",
        f"jaxembed.convert.families.bert:{config}",
        f"jaxembed.convert.families.bert:{rules}",
        reference=more.pop("reference", f"transformers `{prefix}Model`"),
        **more,
    )


_LAYER_NORMS = "layer_norm_decoders"


def _decoder(name: str, model_type: str, prefix: str, config: str, rules: str = "LLAMA", **more: Any) -> Family:
    tasks = more.pop("tasks", ("Model", "ForCausalLM", "ForSequenceClassification"))
    file = more.pop("file", None)
    return Family(
        name,
        model_type,
        more.pop("architectures", tuple(prefix + task for task in tasks)),
        "jaxembed.models.decoder:Decoder",
        f"jaxembed.convert.families.{file or 'decoder_configs'}:{config}",
        f"jaxembed.convert.families.{file or 'decoder'}:{rules}",
        pooling=more.pop("pooling", "lasttoken"),
        reference=more.pop("reference", f"transformers `{prefix}Model`"),
        **more,
    )


def _rotary(name: str, model_type: str, architectures: tuple[str, ...], config: str, rules: str, **more: Any) -> Family:
    return Family(
        name,
        model_type,
        architectures,
        "jaxembed.models.rotary_bert:RotaryBert",
        f"jaxembed.convert.families.rotary_bert:{config}",
        f"jaxembed.convert.families.rotary_bert:{rules}",
        **more,
    )


def _is_gritlm(config: Mapping[str, Any]) -> bool:
    return "GritLM" in (config.get("architectures") or []) or "gritlm" in str(config.get("auto_map", "")).lower()


def _tasks(*prefixes: str) -> tuple[str, ...]:
    return tuple(prefix + task for prefix in prefixes for task in _TASKS)


# Where two rows share a name, the one with a `when` stands first.
FAMILIES = (
    _rotary(
        "jina v3",
        "jina_embeddings_v3",
        ("XLMRobertaLoRA", "ColBERTJinaRobertaModel", *_tasks("JinaEmbeddingsV3")),
        "read_jina3",
        "JINA3",
        own_module="custom_st.Transformer",
        examples="jina-embeddings-v3",
        reference="transformers `JinaEmbeddingsV3Model`, with the task's adapter merged into its weights",
    ),
    _rotary(
        "jina v3 (XLM-RoBERTa)",
        "xlm-roberta",
        _tasks("XLMRoberta"),
        "read_jina3",
        "JINA3",
        when=lambda config: config.get("position_embedding_type") == "rotary",
        own_module="custom_st.Transformer",
        examples="jina-embeddings-v3 as its config.json names it, jina-colbert-v2",
        reference="transformers `JinaEmbeddingsV3Model`, with the task's adapter merged into its weights",
    ),
    _rotary(
        "jina v2",
        "bert",
        _tasks("JinaBert", "Bert"),
        "read_jina2",
        "JINA2",
        when=lambda config: config.get("position_embedding_type") == "alibi",
        examples="jina-embeddings-v2-base-en, jina-embeddings-v2-base-code",
        reference="our own, of 60 lines in torch",
    ),
    _rotary(
        "GTE (NewModel)",
        "new",
        _tasks("New"),
        "read_gte",
        "GTE",
        pooling="cls",
        when=lambda config: "pack_qkv" in config,
        examples="gte-multilingual-base, gte-large-en-v1.5",
        reference="transformers `GteModel`",
    ),
    _rotary(
        "GTE",
        "gte",
        _tasks("GteNew", "Gte"),
        "read_gte",
        "GTE",
        pooling="cls",
        examples="gte-multilingual-base, snowflake-arctic-embed-m-v2.0",
        reference="transformers `GteModel`",
    ),
    _rotary(
        "NomicBERT",
        "nomic_bert",
        _tasks("NomicBert"),
        "read_nomic",
        "NOMIC",
        examples="nomic-embed-text-v1.5, nomic-embed-text-v2-moe, snowflake-arctic-embed-m-long, CodeRankEmbed",
        reference="transformers `NomicBertModel`; for v2-moe our own, of 60 lines in torch",
    ),
    _bert(
        "BERT",
        "bert",
        "Bert",
        "read_bert",
        examples="all-MiniLM-L6-v2, bge-base-en-v1.5, e5-base-v2, snowflake-arctic-embed-xs",
    ),
    _bert("RoBERTa", "roberta", "Roberta", "read_roberta", examples="all-roberta-large-v1"),
    _bert("XLM-RoBERTa", "xlm-roberta", "XLMRoberta", "read_roberta", examples="bge-m3, multilingual-e5-large"),
    _bert("CamemBERT", "camembert", "Camembert", "read_roberta", examples="sentence-camembert-base"),
    _bert("MPNet", "mpnet", "MPNet", "read_mpnet", "MPNET", examples="all-mpnet-base-v2, multi-qa-mpnet-base-dot-v1"),
    _bert("DistilBERT", "distilbert", "DistilBert", "read_distilbert", "DISTILBERT", examples="msmarco-distilbert-base-v4"),
    _bert("ELECTRA", "electra", "Electra", "read_electra", "ELECTRA", examples="electra-small-discriminator"),
    _bert("ALBERT", "albert", "Albert", "read_albert", "ALBERT", examples="paraphrase-albert-small-v2"),
    _bert("ERNIE", "ernie", "Ernie", "read_ernie", "ERNIE", examples="text2vec-base-chinese-sentence"),
    Family(
        "ModernBERT",
        "modernbert",
        _tasks("ModernBert"),
        "jaxembed.models.modernbert:ModernBert",
        "jaxembed.convert.families.modernbert:read",
        "jaxembed.convert.families.modernbert:RULES",
        examples="gte-modernbert-base, modernbert-embed-base, GTE-ModernColBERT-v1",
        reference="transformers `ModernBertModel`",
    ),
    Family(
        "T5 encoder",
        "t5",
        ("T5EncoderModel", "T5ForConditionalGeneration", "T5Model", "MT5EncoderModel", "MT5ForConditionalGeneration"),
        "jaxembed.models.t5:T5",
        "jaxembed.convert.families.t5:read",
        "jaxembed.convert.families.t5:RULES",
        examples="sentence-t5-base, gtr-t5-base, instructor-large",
        reference="transformers `T5EncoderModel`",
    ),
    Family(
        "DeBERTa v2, v3",
        "deberta-v2",
        _tasks("DebertaV2"),
        "jaxembed.models.deberta:Deberta",
        "jaxembed.convert.families.deberta:read",
        "jaxembed.convert.families.deberta:RULES",
        examples="deberta-v3-base",
        reference="transformers `DebertaV2Model`",
    ),
    Family(
        "Static embeddings",
        "model2vec",
        ("StaticEmbedding", "StaticModel"),
        "jaxembed.models.static:Static",
        "jaxembed.convert.families.static:read",
        "jaxembed.convert.families.static:RULES",
        bare=True,
        own_code=True,
        examples="static-retrieval-mrl-en-v1, potion-base-8M",
        reference="sentence-transformers `StaticEmbedding`",
    ),
    _decoder(
        "GritLM",
        "gritlm",
        "GritLM",
        "gritlm",
        architectures=("GritLM", "MistralForCausalLM", "MistralModel"),
        pooling="mean",
        when=_is_gritlm,
        instruction_end="<|embed|>\n",
        own_code=True,
        examples="GritLM-7B",
        reference="transformers `MistralModel` without a causal mask",
    ),
    _decoder(
        "Llama, both ways",
        "llama_bidirec",
        "LlamaBidirectional",
        "llama_bidirectional",
        pooling="mean",
        own_code=True,
        examples="llama-nemotron-embed-1b-v2",
        reference="transformers `LlamaModel` without a causal mask",
    ),
    _decoder("Llama", "llama", "Llama", "llama", examples='any Llama with convert="embed"'),
    _decoder(
        "Mistral", "mistral", "Mistral", "mistral", examples="e5-mistral-7b-instruct, SFR-Embedding-Mistral, Linq-Embed-Mistral"
    ),
    _decoder("Qwen2", "qwen2", "Qwen2", "qwen2", examples="gte-Qwen2-7B-instruct, Qwen2-7B-Instruct-embed-base, bge-code-v1"),
    _decoder("Qwen3", "qwen3", "Qwen3", "qwen3", examples="Qwen3-Embedding-0.6B"),
    _decoder(
        "jina v5",
        "jina_embeddings_v5",
        "JinaEmbeddingsV5",
        "jina5",
        architectures=("JinaEmbeddingsV5Model",),
        own_code=True,
        own_module="custom_st.Transformer",
        examples="jina-embeddings-v5-text-small, jina-embeddings-v5-text-nano",
        reference="transformers `Qwen3Model` and `EuroBertModel`, with the task's adapter merged into their weights",
    ),
    _decoder(
        "Voyage",
        "qwen3",
        "VoyageQwen3BidirectionalEmbed",
        "voyage",
        own_code=True,
        pooling="mean",
        examples="voyage-4-nano",
        reference="transformers `Qwen3Model` without a causal mask, and a linear layer",
    ),
    _decoder("Gemma", "gemma", "Gemma", "gemma", examples='any Gemma with convert="embed"'),
    _decoder("Gemma 2", "gemma2", "Gemma2", "gemma2", "GEMMA2", examples="bge-multilingual-gemma2"),
    _decoder(
        "Gemma 3",
        "gemma3_text",
        "Gemma3",
        "gemma3",
        "GEMMA2",
        architectures=("Gemma3TextModel", "Gemma3ForCausalLM"),
        pooling="mean",
        examples="embeddinggemma-300m",
        reference="transformers `Gemma3TextModel`",
    ),
    Family(
        "EmbeddingGemma 2 (text)",
        "embedding_gemma2",
        ("EmbeddingGemma2Model", "EmbeddingGemma2TextModel"),
        "jaxembed.models.embedding_gemma2:EmbeddingGemma2",
        "jaxembed.convert.families.embedding_gemma2:read",
        "jaxembed.convert.families.embedding_gemma2:RULES",
        examples="embeddinggemma-2",
        reference="transformers `EmbeddingGemma2TextModel`",
    ),
    _decoder("Phi-3", "phi3", "Phi3", "phi3", "PHI3", examples='any Phi-3 with convert="embed"'),
    _decoder("OLMo 2", "olmo2", "Olmo2", "olmo2", "OLMO2", examples='any OLMo 2 with convert="embed"'),
    _decoder("OLMo 3", "olmo3", "Olmo3", "olmo3", "OLMO2", examples='any OLMo 3 with convert="embed"'),
    _decoder("ERNIE 4.5", "ernie4_5", "Ernie4_5", "ernie45", examples='any dense ERNIE 4.5 with convert="embed"'),
    _decoder("Helium", "helium", "Helium", "helium", examples='any Helium with convert="embed"'),
    _decoder("Seed-OSS", "seed_oss", "SeedOss", "seed_oss", examples='any Seed-OSS with convert="embed"'),
    _decoder("Arcee", "arcee", "Arcee", "arcee", "ARCEE", examples='any Arcee with convert="embed"'),
    _decoder("Granite", "granite", "Granite", "granite", examples='any Granite with convert="embed"'),
    _decoder("GLM", "glm", "Glm", "glm", "GLM", examples='any GLM with convert="embed"'),
    _decoder("GLM-4", "glm4", "Glm4", "glm4", "GLM4", examples='any GLM-4 with convert="embed"'),
    _decoder(
        "StarCoder2", "starcoder2", "Starcoder2", "starcoder2", "STARCODER2", examples='any StarCoder2 with convert="embed"'
    ),
    _decoder(
        "StableLM",
        "stablelm",
        "StableLm",
        "stablelm",
        "STABLELM",
        file=_LAYER_NORMS,
        examples='any StableLM with convert="embed"',
    ),
    _decoder("Phi-2", "phi", "Phi", "phi", "PHI", file=_LAYER_NORMS, examples='any Phi-1.5 or Phi-2 with convert="embed"'),
    _decoder("OLMo", "olmo", "Olmo", "olmo", "OLMO", file=_LAYER_NORMS, examples='any OLMo with convert="embed"'),
    _decoder(
        "Nemotron",
        "nemotron",
        "Nemotron",
        "nemotron",
        "NEMOTRON",
        file=_LAYER_NORMS,
        examples='any Nemotron with convert="embed"',
    ),
    _decoder("Cohere", "cohere", "Cohere", "cohere", "COHERE", file=_LAYER_NORMS, examples='Command R with convert="embed"'),
    _decoder(
        "Cohere 2", "cohere2", "Cohere2", "cohere2", "COHERE", file=_LAYER_NORMS, examples='Command R7B with convert="embed"'
    ),
    _decoder("SmolLM3", "smollm3", "SmolLM3", "smollm3", examples='any SmolLM3 with convert="embed"'),
    _decoder("EuroBERT", "eurobert", "EuroBert", "llama_bidirectional", pooling="mean", tasks=_TASKS, examples="EuroBERT-210m"),
)
ANY_DECODER = _decoder("Llama-like decoder", "", "", "llama")
