"""Prints what transformers' own config classes take for keys that a config.json leaves out; run by the parity tests.

Reads a JSON object of configs by name. Prints for each the keys that were left out in turn, and the config that says in full
what the class then holds. Keys whose absence the class itself refuses are left out, as are model types it does not know.
"""

import json
import sys

from huggingface_hub.errors import StrictDataclassError
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

# All that says how positions turn; transformers 5 gathers it in `rope_parameters`.
ROPE = ("rope_parameters", "rope_scaling", "rope_theta", "global_rope_theta", "local_rope_theta", "rope_local_base_freq")


def spelled_out(config: dict, key: str, inner: str | None = None) -> tuple[dict, dict] | None:
    """The config without `key`, or without `inner` of its object, and the same with what the class takes instead."""
    without = {name: value for name, value in config.items() if name != key}
    if inner is not None:
        without[key] = {name: value for name, value in config[key].items() if name != inner}
    given = {name: value for name, value in without.items() if name not in ("architectures", "model_type")}
    try:
        held = CONFIG_MAPPING[config["model_type"]](**json.loads(json.dumps(given))).to_dict()
    except (StrictDataclassError, TypeError, ValueError, KeyError, AttributeError):  # it cannot do without the key
        return None
    if key in ROPE:
        rest = {name: value for name, value in without.items() if name not in ROPE}
        return without, {**rest, "rope_parameters": held["rope_parameters"]}
    return (without, {**without, key: held[key]}) if key in held else None


def main() -> None:
    found: dict[str, dict[str, tuple[dict, dict]]] = {}
    for name, config in json.load(sys.stdin).items():
        if config.get("model_type") not in CONFIG_MAPPING:
            continue
        keys = [(key, None) for key in config if key not in ("architectures", "model_type")]
        keys += [("rope_parameters", inner) for inner in config.get("rope_parameters") or {}]
        pairs = {f"{key}.{inner}" if inner else key: spelled_out(config, key, inner) for key, inner in keys}
        found[name] = {key: pair for key, pair in pairs.items() if pair is not None}
    print(json.dumps(found, default=str))


if __name__ == "__main__":
    main()
