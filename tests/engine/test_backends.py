"""The engine asks what a model needs once, and chooses for each shape of row, for this machine or any other."""

import time

import jax
import jax.numpy as jnp
import pytest

from jaxembed.convert.checkpoint.loading import load
from jaxembed.engine.backends import Backends, Survey
from jaxembed.engine.engine import Engine
from jaxembed.errors import BackendError
from jaxembed.kernels_pallas import OPERATIONS, AttentionShape, Choice, Choices, Spans, Target
from jaxembed.packing.planning import TABLES, RowShape

V5E, H200 = Target("tpu", "TPU v5 lite"), Target("gpu", "NVIDIA H200")


def chooser(model, target, **forced):
    table = TABLES[target.platform]
    return Backends(model.graph, model.state, target, table.shape(table.row, table.cell), forced)


def in_bfloat16(checkpoint, heads):
    """A tiny BERT, 32 wide."""

    def change(spec):
        spec["files"]["config.json"]["num_attention_heads"] = heads

    return load(str(checkpoint("backbone-bert", change)), per_layer=False, dtype="bfloat16")


def test_a_model_in_bfloat16_runs_in_kernels_where_there_is_hardware_for_them(checkpoint):
    model = in_bfloat16(checkpoint, heads=2)
    for target, kernel in ((V5E, "mosaic_tpu"), (H200, "mosaic_gpu")):
        choices = chooser(model, target)(RowShape(1024, 256, 128))
        assert choices.attention.backend.name == kernel
        assert target.name in choices.attention.reason
        assert choices.pool.backend.name == "xla"
        assert "width 32 is not a multiple of 128" in choices.pool.reason


def test_tiles_depend_on_the_shape_of_the_row(checkpoint):
    model = in_bfloat16(checkpoint, heads=1)
    choose = chooser(model, H200)
    assert choose(RowShape(8192, 128, 1024)).attention.tiles == (128, 64)
    assert choose(RowShape(8192, 1024, 1024)).attention.tiles == (128, 128)
    assert chooser(model, V5E)(RowShape(256, 256, 32)).attention.tiles == (256, 256)


def test_float32_falls_back_on_a_gpu_and_says_why(llm):
    model = llm.engine.model
    choices = chooser(model, H200)(RowShape(8192, 128, 1024))
    assert choices.attention.backend.name == "banded"
    assert "float32 is not one of the types" in choices.attention.reason
    assert choices.pool.backend.name == "mosaic_gpu"


def test_a_forced_back_end_that_cannot_serve_is_an_error_that_says_why(llm):
    with pytest.raises(BackendError, match="mosaic_tpu cannot be used for attention on cpu: it is made for another kind"):
        Engine(llm.engine.model, attention="mosaic_tpu")
    with pytest.raises(BackendError, match="pool has no back end 'fast'"):
        Engine(llm.engine.model, pool="fast")
    with pytest.raises(BackendError, match="float32 is not one of the types"):
        chooser(llm.engine.model, H200, attention="mosaic_gpu")(RowShape(8192, 128, 1024))


def test_asking_a_model_costs_no_more_than_a_second(llm):
    begin = time.process_time()
    chooser(llm.engine.model, H200)
    assert time.process_time() - begin < 1


def test_a_survey_notes_what_is_asked_and_computes_nothing():
    nothing = Choice(OPERATIONS["attention"].reference, (1, 1), "nothing is computed")
    survey = Survey(32, Choices(nothing, nothing))
    q, k = jax.ShapeDtypeStruct((64, 4, 32), jnp.bfloat16), jax.ShapeDtypeStruct((64, 2, 32), jnp.bfloat16)
    starts = jax.ShapeDtypeStruct((64,), jnp.int32)
    out = jax.eval_shape(lambda q, k, start: survey.attention(q, k, k, Spans(start, start), scale=1.0), q, k, starts)
    assert out.shape == q.shape
    assert survey.seen == [AttentionShape(64, 32, 4, 2, 32, "bfloat16")]
