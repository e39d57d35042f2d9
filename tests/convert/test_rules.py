import re

import numpy as np
import pytest
from reference import cases, tiny
from safetensors.numpy import load_file

from jaxembed.convert.checkpoint.loading import describe
from jaxembed.convert.mapping import rules
from jaxembed.convert.mapping.architectures import find
from jaxembed.convert.mapping.rules import Ignore, Rule, Table
from jaxembed.convert.weights.adapters import Adapted
from jaxembed.errors import CheckpointError

SIZES = {"n": 2, "h": 3, "d": 4, "l": 2}


def test_a_rule_is_its_own_shape_assertion_and_runs_both_ways():
    rule = Rule("q.weight", "q.w", "(n h) d -> d n h")
    assert rule.expected(SIZES) == (6, 4)
    tensor = np.arange(24.0).reshape(6, 4)
    parameter = rule.forward(tensor, SIZES)
    assert parameter.shape == (4, 2, 3)
    assert parameter[1, 1, 2] == tensor[1 * 3 + 2, 1]
    np.testing.assert_array_equal(rule.backward(parameter, SIZES), tensor)


TABLE = Table(
    rules=(Rule("a.{i}.w", "layers.w", "d"), Rule("b", "b", "h")),
    ignored=(Ignore(r"head\..*", because="it comes after"),),
    prefixes=("", "model."),
    sizes=lambda config: SIZES,
)


def test_layers_are_numbered_and_prefixes_found():
    tensors = {"model.a.0.w": (4,), "model.a.1.w": (4,), "model.b": (3,), "head.x": (9, 9)}
    steps = rules.plan(TABLE, None, tensors, ["layers.w", "b"], "x")
    assert [(step.name, step.layer) for step in steps] == [("model.a.0.w", 0), ("model.a.1.w", 1), ("model.b", None)]


def test_every_misfit_is_in_one_message():
    tensors = {"a.0.w": (5,), "b": (3,), "c": (1,)}
    with pytest.raises(CheckpointError) as error:
        rules.plan(TABLE, None, tensors, ["layers.w", "b", "unknown"], "the folder")
    message = str(error.value)
    for part in ("1 missing: a.1.w", "no rule knows: c [1]", "a.0.w has shape [5], expected [4]", "no rule fills: unknown"):
        assert part in message


@pytest.mark.parametrize("name", sorted(cases.BACKBONES))
def test_exporting_gives_back_the_bytes_that_were_loaded(name, checkpoint):
    import jax
    from flax import nnx

    from jaxembed.convert.checkpoint.loading import load

    folder = checkpoint(f"backbone-{name}")
    model = load(str(folder), per_layer=False)
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(model.state)["backbone"])
    parameters = {".".join(str(key.key) for key in path): np.asarray(leaf) for path, leaf in leaves}
    original = load_file(folder / "model.safetensors")
    if model.config.adapter:  # its product is in the weights for good
        adapted = Adapted(folder, folder / model.config.adapter)
        original = {tensor: adapted.read(tensor) for tensor in adapted}
    family = find(model.config_json)
    table, prefix = family.load(family.rules).layout(model.config, original, parameters)
    exported = dict(rules.export(table, model.config, parameters, prefix))
    left = set(original) - set(exported)
    assert not [tensor for tensor in left if not any(re.fullmatch(each.name, tensor) for each in table.ignored)]
    for tensor, value in exported.items():
        assert value.shape == original[tensor].shape, tensor
        assert value.tobytes() == original[tensor].tobytes(), tensor


def test_describing_a_model_reads_no_weights(checkpoint):
    folder = checkpoint("backbone-bert")
    (folder / "model.safetensors").write_bytes(b"")
    assert describe(str(folder)).config.width == 32
    assert describe(str(folder)).config.vocabulary == tiny.VOCABULARY
