"""What code written for sentence-transformers does with the model object itself: copies, processes, verbs, modules, files."""

import copy
import inspect
import json
import multiprocessing
import pickle
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from refusals import refused

from jaxembed import SentenceTransformer
from jaxembed.errors import BackendError, InputError, InputTypeError
from jaxembed.sentence_transformers.models import Pooling, Transformer

TEXT = "a rabbit"


@pytest.fixture(scope="module")
def model():
    return SentenceTransformer()


@pytest.fixture
def small(checkpoint):
    """A model with a Dense behind a mean over tokens."""
    return SentenceTransformer(str(checkpoint("pipeline-dense")))


# Copies and processes.


def test_a_copy_encodes_the_same_and_has_settings_of_its_own(small):
    small.max_seq_length, small.prompts["mine"], small.note = 5, "w1 ", [1]
    for made in (copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        np.testing.assert_array_equal(made.encode("w8 w9 w3 w4 w5 w6"), small.encode("w8 w9 w3 w4 w5 w6"))
        assert (made.max_seq_length, made.prompts, made.note) == (5, small.prompts, [1])
        made.prompts["other"] = ""
        made.max_seq_length = 4
    assert "other" not in small.prompts
    assert small.max_seq_length == 5
    assert copy.copy(small).engine is copy.deepcopy(small).engine is small.engine


def test_what_was_set_of_the_pooling_is_copied_and_pickled(small):
    small[1].pooling_mode = "max"
    small.set_pooling_include_prompt(False)
    for made in (copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        assert (made[1].pooling_mode, made[1].include_prompt) == ("max", False)
        np.testing.assert_array_equal(made.encode("w8 w9", prompt="w1 "), small.encode("w8 w9", prompt="w1 "))


def test_a_token_is_not_pickled(checkpoint):
    model = SentenceTransformer(str(checkpoint("pipeline-dense")), token="hf_secret")
    assert b"hf_secret" not in pickle.dumps(model)


def test_a_model_goes_into_a_spawned_process(small):
    script = "import pickle, sys; m = pickle.load(sys.stdin.buffer); sys.stdout.buffer.write(m.encode('w8 w9').tobytes())"
    done = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(small), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    np.testing.assert_allclose(np.frombuffer(done.stdout, np.float32), small.encode("w8 w9"), atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*fork.*")
@pytest.mark.parametrize("encoded_before", [False, True])
def test_a_forked_process_gets_an_error_and_never_waits(small, encoded_before):
    if encoded_before:
        small.encode("w8")

    def child(pipe, work):
        try:
            work()
            pipe.send("worked")
        except BackendError as error:
            pipe.send(str(error))

    data = pickle.dumps(small)
    for work in (lambda: small.encode("w8"), lambda: small.warm_up(), lambda: pickle.loads(data)):
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        process = context.Process(target=child, args=(theirs, work))
        process.start()
        assert ours.poll(60), "the child waits for threads that it does not have"
        said = ours.recv()
        process.join(10)
        assert "forked" in said
        assert "spawn" in said


# The verbs of torch.


def test_verbs_that_ask_for_nothing_return_the_model(model):
    for made in (
        model.cpu(),
        model.eval(),
        model.train(),
        model.train(False),
        model.float(),
        model.requires_grad_(False),
        model.share_memory(),
    ):
        assert made is model
    assert model.to("cpu") is model.to(device="cpu", non_blocking=True) is model.to("float32") is model
    assert model.compile() is None
    assert not model.training
    model._target_device = "cpu"
    assert model.device.type == model._target_device.type == model.device == "cpu"
    assert model.device.index is None
    assert str(model.dtype).endswith("float32")


def test_a_type_stays_with_a_warning_and_is_never_silently_kept(caplog, small):
    assert small.half() is small.bfloat16() is small
    assert caplog.text.count("stays in float32") == 1
    with refused("dtype", "float16"):
        small.to("torch.float16")
    with refused("requires_grad", "train"):
        small.requires_grad_()


def test_parameters_can_be_counted_and_looked_at(small):
    found = dict(small.named_parameters())
    assert len(found) == len(list(small.parameters())) > 5
    first = next(small.parameters())
    assert (first.device, first.requires_grad) == ("cpu", False)
    assert first.numel() == np.prod(first.size()) == first.detach().numpy().size
    assert sum(one.numel() for one in found.values()) > 1000
    assert list(small.buffers()) == []


class Cuda:
    """What `torch.device` says of itself."""

    def __str__(self):
        return "cuda:0"


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "tpu", 0, Cuda()])
def test_a_device_that_is_not_there_is_refused_wherever_it_is_named(model, device):
    with refused("device", "cpu", "leave device out"):
        SentenceTransformer(device=device)
    for call in (
        model.to,
        model.cuda,
        lambda one: model.encode("x", device=one),
        lambda one: model.encode("x", device=["cpu", one]),
    ):
        with refused("device", "leave device out"):
            call(device)
    with refused("device"):
        model.start_multi_process_pool(["cpu", device])


def test_devices_that_jax_has_not_at_all_are_named(model):
    with refused("device", "mps"):
        model.to("mps")
    assert SentenceTransformer(device="cpu").device == "cpu"


# Modules.


def test_modules_are_read_and_set_as_people_do(small):
    assert isinstance(small[0], Transformer)
    assert isinstance(small[1], Pooling)
    assert small._first_module().max_seq_length == small["0"].max_seq_length == small.max_seq_length
    small[0].max_seq_length = 7
    assert small.max_seq_length == small.get_max_seq_length() == 7
    assert small[0].tokenizer is small.tokenizer is small.processor
    width = small[0].get_word_embedding_dimension()
    assert small[0].auto_model.config.hidden_size == small.config.hidden_size == width
    assert small[1].get_sentence_embedding_dimension() == small[1].word_embedding_dimension == width
    assert (small[1].pooling_mode_mean_tokens, small[1].pooling_mode_cls_token) == (False, True)
    assert small[1].get_pooling_mode_str() == "cls"
    assert small[2].out_features == small.get_embedding_dimension()
    assert [name for name, _ in small.named_children()] == [str(place) for place in range(len(small))]
    assert len(list(small.modules())) == len(small) + 1
    assert small[:2][1].include_prompt
    assert "pooling_mode" in repr(small[1])
    with pytest.raises(AttributeError):
        small[1].pooling_mode_sum_tokens  # noqa: B018
    with refused("Pooling", "folder"):
        Pooling(32, "mean")


def test_pooling_flags_change_how_texts_are_pooled(checkpoint):
    model = SentenceTransformer(str(checkpoint("pipeline-pooling-mean")))
    states = model.encode("w8 w9 w3", output_value="token_embeddings")
    model[1].pooling_mode_mean_tokens = False
    model[1].pooling_mode_cls_token = True
    cls = model.encode("w8 w9 w3", normalize_embeddings=True)
    np.testing.assert_allclose(cls, states[0] / np.linalg.norm(states[0]), atol=1e-5)
    model[1].pooling_mode_max_tokens = True
    assert model[1].pooling_mode == ("cls", "max")
    model[1].pooling_mode = "mean"
    mean = np.asarray(states).mean(0)
    np.testing.assert_allclose(model.encode("w8 w9 w3", normalize_embeddings=True), mean / np.linalg.norm(mean), atol=1e-5)
    with refused("pooling_mode", "sum", "mean"):
        model[1].pooling_mode = "sum"


def test_modes_that_the_modules_behind_cannot_take_are_refused(small):
    with refused("pooling_mode", "1", "2"):
        small[1].pooling_mode = ("mean", "max")


def test_prompts_are_left_out_of_the_pooling_on_demand(checkpoint):
    model = SentenceTransformer(str(checkpoint("pipeline-pooling-mean")))
    whole = model.encode("w8 w9", prompt="w1 w2 ")
    model.set_pooling_include_prompt(False)
    without = model.encode("w8 w9", prompt="w1 w2 ", normalize_embeddings=True)
    assert np.abs(whole - without).max() > 1e-3
    states = np.asarray(model.encode("w1 w2 w8 w9", output_value="token_embeddings"))
    skip = model.tokenize(["w8 w9"], prompt="w1 w2 ")["prompt_length"]
    mean = states[skip:].mean(0)
    np.testing.assert_allclose(without, mean / np.linalg.norm(mean), atol=1e-5)
    model.set_pooling_include_prompt(True)
    np.testing.assert_array_equal(model.encode("w8 w9", prompt="w1 w2 "), whole)


# Calls.


def test_a_pair_of_texts_is_one_input(model):
    pair = [("How many?", "Five of them.")]
    features = model.tokenize(pair)
    assert np.asarray(features["token_type_ids"]).tolist() == [[0] * 5 + [1] * 5]
    got = model.encode(pair)
    assert got.shape == (1, 384)
    states = np.asarray(model.encode(pair, output_value="token_embeddings")[0])
    assert len(states) == 10
    np.testing.assert_allclose(states.mean(0) / np.linalg.norm(states.mean(0)), got[0], atol=1e-6)
    for same in ([["How many?", "Five of them."]], np.array(pair)):
        np.testing.assert_array_equal(model.encode(same), got)
    mixed = model.encode(["a", *pair, "b"])
    np.testing.assert_allclose(mixed[1], got[0], atol=1e-6)
    np.testing.assert_allclose(mixed[[0, 2]], model.encode(["a", "b"]), atol=1e-6)
    # The prompt goes before the first of the two.
    np.testing.assert_allclose(model.encode(pair, prompt="q: "), model.encode([("q: How many?", "Five of them.")]), atol=1e-6)


def test_a_pair_that_is_too_long_loses_from_the_longer_text(model):
    short = copy.copy(model)
    short.max_seq_length = 16
    ids = np.asarray(short.tokenize([("word " * 30, "other one")])["input_ids"])[0].tolist()
    assert len(ids) == 16
    assert ids[-3:] == model.tokenizer("other one")["input_ids"][1:]


@pytest.mark.parametrize("given", [("a", "b", "c"), (), ["a"], ("a", None)])
def test_what_is_no_pair_is_refused_with_its_place(model, given):
    with refused("inputs", "inputs[1]", error=InputTypeError):
        model.encode(["fine", given])


def test_a_text_without_tokens_gets_the_vector_of_zeros(checkpoint):
    model = SentenceTransformer(str(checkpoint("static-sentence-transformers")))
    got = model.encode(["w8 w9", "", "w3"])
    np.testing.assert_array_equal(got[1], 0)
    np.testing.assert_array_equal(got[[0, 2]], model.encode(["w8 w9", "w3"]))
    np.testing.assert_array_equal(model.encode(""), 0)
    assert np.asarray(model.tokenize(["", "w8"])["attention_mask"]).tolist() == [[0], [1]]


class Frame:
    """What a DataFrame does: it iterates over its columns' names."""

    columns = ("text",)

    def __iter__(self):
        return iter(self.columns)

    def __len__(self):
        return 5


class Series:
    """What a Series does."""

    def to_list(self):
        return [TEXT, "b"]


@pytest.mark.parametrize(
    "given", [Frame(), {"a", "b"}, frozenset("a"), {"a": 1}, {"a": 1}.keys(), np.array("text"), b"bytes", object()]
)
def test_what_has_no_order_or_holds_no_texts_is_refused(model, given):
    with refused("inputs", error=InputTypeError):
        model.encode(given)


@pytest.mark.parametrize(
    "given", [Series(), {1: TEXT, 2: "b"}.values(), map(str, [TEXT, "b"]), iter([TEXT, "b"]), np.array([TEXT, "b"], object)]
)
def test_what_holds_texts_in_an_order_is_taken(model, given):
    np.testing.assert_allclose(model.encode(given)[0], model.encode(TEXT), atol=1e-6)


def test_the_one_bad_text_among_many_is_named(model):
    for bad in (None, 1.5, float("nan"), b"x"):
        with refused("inputs", "inputs[7]", error=InputTypeError):
            model.encode(["a"] * 7 + [bad])
    with refused("inputs", "inputs[2000]", "surrogate"):
        model.encode(["a"] * 2000 + ["\ud800", "b"])


@pytest.mark.parametrize(
    "given", [[("a", "b"), "c", "\ud800"], ["a", "b", ("c", "\ud800")], [("a", "b"), ("c", "d"), ("\ud800", "e")]]
)
def test_a_bad_text_is_named_once_among_texts_and_pairs(model, given):
    with pytest.raises(InputError, match=r"^inputs\[2\]: a text holds a lone surrogate"):
        model.encode(given)


def test_every_way_of_encoding_takes_what_encode_takes(model):
    expected = model.encode([TEXT])
    for call in (model.encode_query, model.encode_document):
        np.testing.assert_array_equal(call([TEXT], None, None, 32, False), expected)
        np.testing.assert_array_equal(call(sentences=[TEXT]), expected)
        names = list(inspect.signature(call).parameters)[:-1]
        assert names == list(inspect.signature(model.encode).parameters)[: len(names)]
    pool = model.start_multi_process_pool(["cpu"])
    np.testing.assert_array_equal(model.encode_multi_process([TEXT], pool, "query", None, 8, 100, False), expected)


def test_a_subclass_that_overrides_encode_is_given_everything_by_name():
    class Mine(SentenceTransformer):
        def encode(self, inputs, **options):
            return options

    got = Mine().encode_query(["x"], batch_size=7)
    assert (got["prompt_name"], got["batch_size"], got["task"]) == ("query", 7, "query")


def test_all_there_is_of_a_text_comes_at_once(model):
    one, two = model.encode(["a", "b c"], output_value=None, prompt="q: ")
    assert set(one) == {
        "input_ids", "token_type_ids", "attention_mask", "modality", "prompt_length", "token_embeddings", "sentence_embedding"
    }  # fmt: skip
    assert np.asarray(two["input_ids"]).tolist() == model.tokenizer("q: b c")["input_ids"]
    assert (two["modality"], two["prompt_length"]) == ("text", 3)
    assert two["token_embeddings"].shape[0] == two["attention_mask"].shape[0] == 6


def test_a_model_is_called_with_what_it_tokenized(model):
    texts = ["a", "a longer text"]
    got = model(model.tokenize(texts))
    np.testing.assert_allclose(got["sentence_embedding"], model.encode(texts), atol=1e-6)
    assert got["token_embeddings"].shape[:2] == got["input_ids"].shape
    examples = [SimpleNamespace(texts=["a", "b"], label=1), SimpleNamespace(texts=["c", "d e"], label=0)]
    features, labels = model.smart_batching_collate(examples)
    assert (len(features), np.asarray(labels).tolist()) == (2, [1, 0])


def test_none_as_the_longest_text_leaves_it_to_the_model():
    model = SentenceTransformer()
    model.max_seq_length = None
    assert model.max_seq_length == 512
    with refused("max_seq_length", "x"):
        model.max_seq_length = "x"


def test_older_names_are_taken(model):
    with model.truncate_sentence_embeddings(4):
        assert model.encode("a").shape == (4,)
    assert SentenceTransformer.load(str(model.engine.model.folder)).encode("a").shape == (384,)
    assert (
        SentenceTransformer(use_auth_token=False, tokenizer_kwargs={"padding": True}).get_sentence_embedding_dimension() == 384
    )
    assert (model.get_backend(), model.modalities, model.supports("text"), model.supports("image")) == (
        "jax",
        ["text"],
        True,
        False,
    )
    assert (model.is_singular_input("a"), model.is_singular_input(["a"]), model.get_model_kwargs()) == (True, False, [])
    with pytest.raises(ValueError, match="train"):
        model.fit([])


# Around it.


def test_a_plain_folder_is_saved_with_its_modules(model, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    for one in model.engine.model.folder.iterdir():
        if one.is_file() and one.name not in ("modules.json", "config_sentence_transformers.json", "README.md"):
            shutil.copy(one, plain / one.name)
    before = SentenceTransformer(str(plain))
    before.save(str(tmp_path / "saved"), "mine", True, None, True)
    kinds = [one["type"].rsplit(".", 1)[-1] for one in json.loads((tmp_path / "saved/modules.json").read_text())]
    assert kinds == ["Transformer", "Pooling"]
    assert json.loads((tmp_path / "saved/1_Pooling/config.json").read_text())["pooling_mode_mean_tokens"] is True
    assert "# mine" in (tmp_path / "saved/README.md").read_text()
    after = SentenceTransformer(str(tmp_path / "saved"))
    np.testing.assert_array_equal(after.encode(TEXT), before.encode(TEXT))
    before.save(str(tmp_path / "bare"), create_model_card=False)
    assert not (tmp_path / "bare/README.md").exists()


@pytest.mark.parametrize("name", ["pipeline-pooling-mean", "pipeline-pooling-cls"])
def test_what_was_set_of_the_pooling_is_saved(checkpoint, tmp_path, name):
    model = SentenceTransformer(str(checkpoint(name)))
    for mode in ("max", "mean"):
        model[1].pooling_mode = mode
        model.set_pooling_include_prompt(False)
        model.save(tmp_path / "saved")
        again = SentenceTransformer(str(tmp_path / "saved"))
        assert (again[1].pooling_mode, again[1].include_prompt) == (mode, False)
        np.testing.assert_array_equal(again.encode("w8 w9"), model.encode("w8 w9"))


def test_saving_refuses_what_it_cannot_write(model, tmp_path):
    with refused("safe_serialization", "pickle"):
        model.save(tmp_path, safe_serialization=False)
    with refused("path"):
        model.save(None)


def test_a_model_is_published_from_a_saved_folder(small, monkeypatch, tmp_path):
    import huggingface_hub

    calls = []

    class Api:
        def __init__(self, token=None):
            calls.append(token)

        def create_repo(self, name, **options):
            calls.append(name)

        def create_branch(self, name, **options):
            calls.append(options["branch"])

        def upload_folder(self, *, folder_path, **options):
            from pathlib import Path

            calls.append(sorted(one.name for one in Path(folder_path).iterdir()))
            return SimpleNamespace(commit_url="https://a/commit", pr_url="https://a/pr")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert small.push_to_hub("me/mine", token="t", revision="dev") == "https://a/commit"
    assert calls[:3] == ["t", "me/mine", "dev"]
    assert {"modules.json", "README.md", "config.json"} <= set(calls[3])
    assert small.save_to_hub("mine", organization="us", create_pr=True) == "https://a/pr"
    assert calls[5] == "us/mine"


def test_an_evaluator_is_called_with_the_model_and_a_folder_that_is_there(model, tmp_path):
    class Evaluator:
        name = "mine"

        def __call__(self, given, output_path):
            assert given is model
            assert output_path is None or (tmp_path / "new").is_dir()
            given.model_card_data.set_evaluation_metrics(self, {"score": 0.5}, 0, 0)
            return {"score": 0.5}

    assert model.evaluate(Evaluator(), str(tmp_path / "new")) == model.evaluate(Evaluator()) == {"score": 0.5}
    assert model.model_card_data.evaluations["mine"] == {"score": 0.5}
    assert "score: 0.5" in model.model_card_data.card("x", 384, 256)


def test_without_mteb_a_model_says_nothing_of_it(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "mteb.models", None)
    assert not hasattr(model, "mteb_model_meta")


def test_a_model_runs_on_the_device_that_is_named():
    """Two devices of the processor stand for two cards."""
    script = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import jax
from jaxembed import LLM, SentenceTransformer
model = SentenceTransformer(device="cpu:1")
assert model.encode("a rabbit").shape == (384,)
for engine in (model.engine, LLM(device="cpu:1").engine):
    places = {place for leaf in jax.tree.leaves(engine.model.state) for place in leaf.devices()}
    assert places == {engine.device} == {jax.devices()[1]}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
