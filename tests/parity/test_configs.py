"""What is taken for a key that a config.json leaves out is what transformers takes, for every key of every family."""

import json
from dataclasses import asdict

import pytest
from live import ROOT, reference

from jaxembed.convert.mapping.architectures import find
from jaxembed.errors import UnsupportedModelError

pytestmark = pytest.mark.parity

# A wrong guess for it gives tensors of another shape, and is an error as they are loaded.
HELD_BY_SHAPES = {"num_key_value_heads"}
# Enough layers for the defaults that count layers, in configs that leave to them which layers slide.
MANY = {"num_hidden_layers": 40, "use_sliding_window": True}


def configs() -> dict[str, dict]:
    """Every golden's config, and where layers may slide, the same with many layers that do."""
    found = {}
    for path in sorted((ROOT / "tests" / "goldens").glob("backbone-*.json")):
        config = json.loads(path.read_text())["spec"]["files"]["config.json"]
        found[path.stem] = config
        if "sliding_window" in config:
            found[f"{path.stem} with many layers"] = {**config, **MANY, "layer_types": None, "no_rope_layers": None}
    return found


def test_keys_left_out_mean_what_transformers_takes_for_them():
    defaults = json.loads(reference("config_defaults.py", stdin=json.dumps(configs())))
    wrong, compared = [], 0
    for name, keys in defaults.items():
        for key, (without, spelled_out) in keys.items():
            if key in HELD_BY_SHAPES:
                continue
            family = find(without)
            try:
                taken = family.read_config(without)
            except UnsupportedModelError:
                continue  # it is asked for by name
            expected = family.read_config(spelled_out)
            compared += 1
            if taken != expected:
                differ = [field for field, value in asdict(taken).items() if value != asdict(expected)[field]]
                wrong.append(f"{name} without {key}: {', '.join(differ)}")
    assert not wrong, "\n".join(wrong)
    assert compared > 200
