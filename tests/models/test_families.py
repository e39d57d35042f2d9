"""What each family promises beyond equal numbers: the checkpoints that people bring load as they are, and say how they pool."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from reference import cases, table, tiny
from safetensors.numpy import load_file, save_file

from jaxembed import LLM, SentenceTransformer
from jaxembed.convert.checkpoint.loading import describe
from jaxembed.convert.mapping.architectures import find
from jaxembed.convert.mapping.registry import FAMILIES
from jaxembed.errors import CheckpointError, UnsupportedModelError
from jaxembed.heads.tokens import HIDDEN
from jaxembed.loading import load_engine
from jaxembed.packing.text import Text

GOLDENS = Path(__file__).parents[1] / "goldens"


def expected(name: str) -> tuple[list[int], np.ndarray]:
    """The ids of a golden's text of 7 tokens and the reference's hidden states for it."""
    about = json.loads((GOLDENS / f"backbone-{name}.json").read_text())
    ids = tiny.ids(about["lengths"], about["seed"])[about["lengths"].index(7)]
    return ids, np.load(GOLDENS / f"backbone-{name}.npz")["hidden-7"]


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x)


def vector(folder, ids, **options) -> np.ndarray:
    llm = LLM(str(folder), **options)
    (output,) = llm.embed([{"prompt_token_ids": ids}], use_tqdm=False)
    return np.array(output.outputs.embedding)


def modules(folder: Path, mode: str | None, *, normalize: bool = True, old: bool = True) -> None:
    """Writes the files of sentence-transformers; mode None leaves out Pooling's own."""
    spelling = "sentence_transformers.models."
    names = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    places = ["", "1_Pooling", "2_Normalize"]
    listed = [{"idx": i, "name": str(i), "path": places[i], "type": spelling + name} for i, name in enumerate(names)]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps(
            {"word_embedding_dimension": 24, f"pooling_mode_{mode}": True, "pooling_mode_mean_tokens": mode == "mean_tokens"}
        )
    )


def test_gte_new_model_loads_with_and_without_the_override_that_vllm_asks_for(checkpoint):
    folder = checkpoint("backbone-gte-new")
    assert not list(folder.glob("*.py"))
    ids, hidden = expected("gte-new")
    plain = vector(folder, ids)
    overridden = vector(folder, ids, hf_overrides={"architectures": ["GteNewModel"]})
    np.testing.assert_array_equal(plain, overridden)
    np.testing.assert_allclose(plain, unit(hidden[0]), atol=1e-5)
    assert describe(str(folder)).recipe.modes == ("cls",)


def test_a_new_model_that_is_no_gte_is_refused_by_name(checkpoint):
    folder = checkpoint("backbone-gte-new", lambda spec: spec["files"]["config.json"].pop("pack_qkv"))
    with pytest.raises(UnsupportedModelError, match="NewModel is not supported"):
        describe(str(folder))


def test_qwen2_embed_base_takes_the_mean_by_pooler_config(checkpoint):
    """ssmits/Qwen2-7B-Instruct-embed-base has a module list that sentence-transformers itself cannot pool by."""
    folder = checkpoint("backbone-qwen2-causal-lm")
    ids, hidden = expected("qwen2-causal-lm")
    np.testing.assert_allclose(vector(folder, ids), unit(hidden[-1]), atol=1e-5)
    mean = vector(folder, ids, pooler_config={"pooling_type": "MEAN"}, convert="embed", runner="pooling")
    np.testing.assert_allclose(mean, unit(hidden.mean(0)), atol=1e-5)


def test_gte_qwen2_sees_both_ways_and_ends_texts_without_code_of_the_checkpoint(checkpoint):
    folder = checkpoint("backbone-qwen2-bidirectional")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"add_eos_token": True, "auto_map": {"AutoTokenizer": ["tokenization_qwen.Qwen2Tokenizer", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    model = LLM(str(folder))
    (output,) = model.embed(["hello"], use_tqdm=False)
    end = model.engine.model.tokenizer.special_ids
    assert output.prompt_token_ids[-1] in end
    assert len(output.prompt_token_ids) == 6
    ids, hidden = expected("qwen2-bidirectional")
    np.testing.assert_allclose(vector(folder, ids), unit(hidden[-1]), atol=1e-5)
    causal = vector(folder, ids, hf_overrides={"is_causal": True})
    assert np.abs(causal - unit(hidden[-1])).max() > 1e-3


def test_bge_m3_takes_its_first_token_and_leaves_its_other_heads_alone(checkpoint):
    folder = checkpoint("backbone-xlm-roberta")
    modules(folder, "cls_token")
    for name in ("sparse_linear.pt", "colbert_linear.pt"):
        (folder / name).write_bytes(b"weights of the sparse and of the multi-vector head")
    ids, hidden = expected("xlm-roberta")
    np.testing.assert_allclose(vector(folder, ids), unit(hidden[0]), atol=1e-5)


def test_arctic_embed_xs_has_a_prompt_for_queries_and_pools_the_first_token(checkpoint):
    folder = checkpoint("backbone-bert")
    modules(folder, "cls_token")
    prompts = {"prompts": {"query": "w7 w8 w9 "}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    model = SentenceTransformer(str(folder))
    np.testing.assert_array_equal(model.encode("w10 w11", prompt_name="query"), model.encode("w7 w8 w9 w10 w11"))
    ids, hidden = expected("bert")
    np.testing.assert_allclose(vector(folder, ids), unit(hidden[0]), atol=1e-5)


def test_jina_v3_loads_the_adapters_of_all_tasks_and_applies_text_matching(checkpoint):
    folder = checkpoint("backbone-jina3")
    ids, hidden = expected("jina3")
    engine = load_engine(str(folder))
    backbone = nnx.to_pure_dict(engine.model.state)["backbone"]
    tasks = len(cases.JINA3_PUBLIC["lora_adaptations"])
    assert backbone["embeddings"]["word_low"].shape[0] == tasks == 5
    assert all(layer.shape[0] == tasks for layer in backbone["layers"]["qkv_adapters"]["down"])
    (found,) = engine.run([Text(np.array(ids, np.int32))], task=HIDDEN)
    np.testing.assert_allclose(found, hidden, atol=1e-5)
    renamed = ["text-matching", "b", "c", "d", "e"]
    (other,) = load_engine(str(folder), hf_overrides={"lora_adaptations": renamed}).run(
        [Text(np.array(ids, np.int32))], task=HIDDEN
    )
    assert np.abs(other - hidden).max() > 1e-2
    with pytest.raises(UnsupportedModelError, match="lack 'text-matching', the task that is applied; there are a, b"):
        describe(str(folder), hf_overrides={"lora_adaptations": ["a", "b"]})


def test_any_causal_language_model_converts_by_its_last_token(checkpoint):
    folder = checkpoint("backbone-llama-biased")
    ids, hidden = expected("llama-biased")
    np.testing.assert_allclose(vector(folder, ids, runner="pooling", convert="embed"), unit(hidden[-1]), atol=1e-5)


def test_an_unknown_decoder_that_reads_like_a_llama_loads_with_a_notice(checkpoint, caplog):
    folder = checkpoint("backbone-llama", lambda spec: spec["files"]["config.json"].update(architectures=["NovelForCausalLM"]))
    ids, hidden = expected("llama")
    with caplog.at_level(logging.WARNING, logger="jaxembed"):
        np.testing.assert_allclose(vector(folder, ids), unit(hidden[-1]), atol=1e-5)
    assert "NovelForCausalLM is not known; its config reads like a Llama's" in caplog.text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_experts": 8, "router_scale": 2.0}, "keys that no Llama has: num_experts, router_scale"),
        ({"rms_norm_eps": None}, "lacks 'rms_norm_eps'"),
        ({"hidden_act": "snake"}, "the activation 'snake'"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, "of their own for full_attention"),
        ({"architectures": ["NovelForImageClassification"]}, "it names no decoder"),
    ],
)
def test_an_unknown_architecture_that_is_no_llama_is_refused_by_name_with_what_is_supported(checkpoint, changes, reason):
    def change(spec):
        spec["files"]["config.json"].update({"architectures": ["NovelForCausalLM"], **changes})

    with pytest.raises(UnsupportedModelError, match=rf"Novel\w+ is not supported \(.*{reason}.*\); supported are AlbertModel"):
        describe(str(checkpoint("backbone-llama", change)))


def test_an_unknown_decoder_whose_tensors_are_no_llamas_is_refused_by_name(checkpoint):
    folder = checkpoint("backbone-llama", lambda spec: spec["files"]["config.json"].update(architectures=["NovelModel"]))
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"layers.0.mlp.sub_norm.weight": np.ones(48, np.float32)}, folder / "model.safetensors")
    with pytest.raises(UnsupportedModelError, match=r"NovelModel is not supported .*mlp\.sub_norm\.weight.*supported are"):
        LLM(str(folder))


@pytest.mark.parametrize(("said", "pick"), [("avg", "mean"), ("cls", 0), ("last", -1)])
def test_a_bidirectional_llama_pools_as_its_config_says(checkpoint, said, pick):
    folder = checkpoint("backbone-llama-bidirectional", lambda spec: spec["files"]["config.json"].update(pooling=said))
    ids, hidden = expected("llama-bidirectional")
    np.testing.assert_allclose(vector(folder, ids), unit(hidden.mean(0) if pick == "mean" else hidden[pick]), atol=1e-5)


def test_a_pooling_that_no_one_knows_is_refused_in_vllms_words(checkpoint):
    folder = checkpoint("backbone-llama-bidirectional", lambda spec: spec["files"]["config.json"].update(pooling="weird"))
    with pytest.raises(UnsupportedModelError, match="pool_type 'weird' not supported"):
        describe(str(folder))


def test_gritlm_leaves_its_instruction_out_of_the_mean(checkpoint):
    folder = checkpoint("backbone-gritlm")
    llm = LLM(str(folder))
    tokenizer = llm.engine.model.tokenizer
    instruction = "<|user|>\nfind\n<|embed|>\n"
    whole = tokenizer.encode([instruction + "text"])[0]
    (states,) = llm.engine.run([Text(whole)], task=HIDDEN)
    (output,) = llm.embed([instruction + "text"], use_tqdm=False)
    skip = tokenizer.prompt_length(instruction)
    assert 0 < skip < len(whole)
    np.testing.assert_allclose(output.outputs.embedding, unit(states[skip:].mean(0)), atol=1e-5)
    named = SentenceTransformer(str(folder)).encode("text", prompt=instruction, normalize_embeddings=True)
    np.testing.assert_allclose(named, output.outputs.embedding, atol=1e-6)


def test_static_embeddings_are_found_in_a_folder_of_their_own_and_get_no_special_tokens(checkpoint):
    folder = checkpoint("static-sentence-transformers")
    whole = SentenceTransformer(str(folder)).encode("w8 w9")
    place = folder / "0_StaticEmbedding"
    place.mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).rename(place / name)
    listed = json.loads((folder / "modules.json").read_text())
    listed[0]["path"] = place.name
    (folder / "modules.json").write_text(json.dumps(listed))
    model = SentenceTransformer(str(folder))
    np.testing.assert_array_equal(model.encode("w8 w9"), whole)
    table = load_file(place / "model.safetensors")["embedding.weight"]
    np.testing.assert_allclose(whole, unit((table[8] + table[9]) / 2), atol=1e-6)


def test_the_old_names_of_a_berts_norms_are_known(checkpoint):
    folder = checkpoint("backbone-bert")
    ids, hidden = expected("bert")
    tensors = load_file(folder / "model.safetensors")
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta") for name in tensors}
    assert old != set(tensors)
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in tensors.items()
    }
    save_file({f"bert.{name}": tensor for name, tensor in renamed.items()}, folder / "model.safetensors")
    np.testing.assert_allclose(vector(folder, ids), unit(hidden.mean(0)), atol=1e-5)


def test_only_the_encoder_of_a_whole_t5_is_read(checkpoint):
    folder = checkpoint("backbone-t5")
    ids, hidden = expected("t5")
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"]
    tensors["decoder.final_layer_norm.weight"] = np.ones(24, np.float32)
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text()) | {"architectures": ["T5ForConditionalGeneration"]}
    (folder / "config.json").write_text(json.dumps(config))
    np.testing.assert_allclose(vector(folder, ids), unit(hidden.mean(0)), atol=1e-5)
    del tensors["shared.weight"]
    save_file(tensors, folder / "model.safetensors")
    np.testing.assert_allclose(vector(folder, ids), unit(hidden.mean(0)), atol=1e-5)


REFUSED = [
    ("bert", {"add_cross_attention": True}, "add_cross_attention: True"),
    ("roberta", {"is_decoder": True}, "is_decoder: True, which changes the vectors and is not supported for RoBERTa"),
    ("mpnet", {"relative_attention_num_buckets": 64}, "relative_attention_num_buckets 64"),
    ("albert", {"inner_group_num": 2}, "inner_group_num 2"),
    ("albert", {"num_hidden_groups": 2}, "num_hidden_groups 2"),
    ("gte-new", {"logn_attention_scale": True}, "logn_attention_scale: True"),
    ("gte-new", {"layer_norm_type": "rms_norm"}, "layer_norm_type: 'rms_norm'"),
    ("gte-new", {"position_embedding_type": "absolute"}, "position_embedding_type 'absolute'"),
    ("gte-new", {"rope_scaling": {"type": "ntk", "factor": 2.0, "mixed_b": 0.5}}, "mixed_b 0.5"),
    ("nomic", {"prenorm": True}, "prenorm: True"),
    ("nomic", {"causal": True, "use_rms_norm": True}, "causal: True, use_rms_norm: True"),
    ("nomic", {"rotary_emb_scale_base": 512}, "rotary_emb_scale_base: 512"),
    ("nomic", {"rotary_emb_fraction": 0.0}, "rotary_emb_fraction 0.0"),
    ("nomic-moe", {"moe_every_n_layers": 3}, "moe_every_n_layers 3 of 4 layers"),
    ("nomic-moe", {"num_shared_experts": 1}, "num_shared_experts 1"),
    ("jina2", {"feed_forward_type": "original"}, "feed_forward_type 'original'"),
    ("deberta", {"conv_kernel_size": 3}, "conv_kernel_size: 3"),
    ("deberta", {"relative_attention": False}, "relative_attention: false"),
    ("llama", {"sliding_window": 128}, "sliding_window: 128"),
    ("llama", {"embedding_multiplier": 12.0}, "embedding_multiplier: 12.0"),
    ("mistral", {"attention_bias": True, "num_local_experts": 8}, "num_local_experts: 8"),
    ("qwen3", {"layer_types": ["linear_attention"] * 3}, "layer_types 'linear_attention'"),
    ("gemma3", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
    ("phi3", {"rope_parameters": {"rope_type": "spiral"}}, "rope type 'spiral'"),
]


@pytest.mark.parametrize(("name", "changes", "message"), REFUSED)
def test_a_key_that_changes_vectors_and_is_not_understood_is_an_error_that_names_it(checkpoint, name, changes, message):
    with pytest.raises(UnsupportedModelError) as error:
        describe(str(checkpoint(f"backbone-{name}", lambda spec: spec["files"]["config.json"].update(changes))))
    assert message in str(error.value)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_found_by_its_model_type_and_can_be_imported(family):
    assert family.load(family.module)
    assert family.load(family.rules).rules
    assert callable(family.load(family.config))
    assert family.examples
    assert family.reference
    if family.when is None:
        assert find({"architectures": [family.architectures[0]]}) is family


def test_jina_v5_merges_the_adapter_of_the_task_that_is_asked_for(checkpoint):
    folder = checkpoint("backbone-jina5-small")
    ids, hidden = expected("jina5-small")
    np.testing.assert_allclose(vector(folder, ids), unit(hidden[-1]), atol=1e-5)
    other = vector(folder, ids, hf_overrides={"jina_task": "text-matching"})
    assert np.abs(other - unit(hidden[-1])).max() > 1e-2
    with pytest.raises(
        UnsupportedModelError, match="jina_task 'poetry' is not among the tasks of this model: retrieval, text-m"
    ):
        describe(str(folder), hf_overrides={"jina_task": "poetry"})


def test_an_adapter_that_does_not_fit_its_model_is_refused(checkpoint):
    folder = checkpoint("backbone-jina5-small")
    place = folder / "adapters" / "retrieval"
    config = json.loads((place / "adapter_config.json").read_text())
    (place / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    with pytest.raises(UnsupportedModelError, match=r"use_dora of .*adapter_config\.json is not supported; plain LORA is"):
        LLM(str(folder))
    (place / "adapter_config.json").write_text(json.dumps(config))
    tensors = load_file(place / "adapter_model.safetensors")
    save_file(
        tensors | {"base_model.model.layers.9.mlp.up_proj.lora_A.weight": np.ones((4, 24), np.float32)},
        place / "adapter_model.safetensors",
    )
    with pytest.raises(CheckpointError, match=r"does not fit its model: .*layers\.9\.mlp\.up_proj\.lora_B"):
        LLM(str(folder))
    (place / "adapter_config.json").unlink()
    with pytest.raises(CheckpointError, match="there is no adapter in"):
        LLM(str(folder))


def test_the_text_half_of_embeddinggemma_2_is_found_in_the_whole(checkpoint):
    folder = checkpoint("backbone-embeddinggemma2")
    ids, hidden = expected("embeddinggemma2")
    config = json.loads((folder / "config.json").read_text())
    whole = {"architectures": ["EmbeddingGemma2Model"], "model_type": "embedding_gemma2", "text_config": config}
    (folder / "config.json").write_text(json.dumps(whole))
    tensors = {f"language_model.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    tensors["vision_tower.patch_embedder.weight"] = np.ones((2, 2), np.float32)
    save_file(tensors, folder / "model.safetensors")
    np.testing.assert_allclose(vector(folder, ids), unit(hidden.mean(0)), atol=1e-5)
    config["layer_types"] = config["layer_types"][::-1]
    (folder / "config.json").write_text(json.dumps(whole))
    with pytest.raises(UnsupportedModelError, match="unless every n-th layer alone is full"):
        describe(str(folder))


def test_the_table_of_models_is_up_to_date():
    """`make table` draws it from the registry and from what the parity run measured."""
    document = table.DOCUMENT.read_text()
    assert table.drawn(document) == document
