"""Texts in small files that are too long, escape, or lead somewhere else."""

import json
from pathlib import Path

from lies import Lie
from lies.wholes import edited, golden


def WHOLE(folder: Path) -> Path:
    return golden("pipeline-dense", folder)


STRANGE = {"escape codes": "\x1b]0;owned\x07\x00", "100,000 letters": "x" * 100_000, "a line more": "a\nb", "a path": "../../x"}


def indexed(places: dict) -> Lie:
    def tell(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))

    return tell


def renamed(text: str) -> Lie:
    from safetensors.numpy import load_file, save_file

    def tell(folder: Path) -> None:
        held = load_file(folder / "model.safetensors")
        save_file({**held, text: held.popitem()[1]}, folder / "model.safetensors")

    return tell


def put(name: str, key: str, text: object) -> Lie:
    return edited(name, lambda content: content.update({key: text}) if isinstance(content, dict) else None)


def modules(text: str, key: str) -> Lie:
    def change(content: list) -> None:
        content[-1][key] = text

    return edited("modules.json", change)


LIES: dict[str, Lie] = {}
for _what, _text in STRANGE.items():
    for _key in ("model_type", "hidden_act", "position_embedding_type", "torch_dtype", "rope_scaling", "layer_types"):
        LIES[f"{_key} of {_what}"] = put("config.json", _key, _text)
    LIES[f"architectures of {_what}"] = put("config.json", "architectures", [_text])
    LIES[f"a classifier of {_what}"] = put("config.json", "architectures", [f"{_text}ForSequenceClassification"])
    LIES[f"quantization_config of {_what}"] = put("config.json", "quantization_config", {"quant_method": _text})
    LIES[f"a pooling of {_what}"] = put("1_Pooling/config.json", "pooling_mode", _text)
    LIES[f"an activation of {_what}"] = put("2_Dense/config.json", "activation_function", _text)
    LIES[f"in_features of {_what}"] = put("2_Dense/config.json", "in_features", _text)
    LIES[f"a module's path of {_what}"] = modules(_text, "path")
    LIES[f"a module's type of {_what}"] = modules(_text, "type")
    LIES[f"a tensor named {_what}"] = renamed(_text)
    LIES[f"a shard named {_what}"] = indexed({"embeddings.LayerNorm.bias": _text})
    LIES[f"a truncation_side of {_what}"] = put("tokenizer_config.json", "truncation_side", _text)
    LIES[f"max_seq_length of {_what}"] = put("sentence_bert_config.json", "max_seq_length", _text)
LIES |= {
    "200,000 shards": indexed({f"t{number}": f"s{number}.safetensors" for number in range(200_000)}),
    "an index of no names": indexed({"a": 1}),
    "an index of nothing": indexed({}),
    "modules of a million": edited("modules.json", lambda _: [{"path": "", "type": "x"}] * 300_000),
    "a config of a million keys": edited("config.json", lambda content: content.update({f"k{n}": n for n in range(10**6)})),
    "a list nested without end": lambda folder: (folder / "config.json").write_text("[" * 200_000),
    "a config of 100 MB": lambda folder: (folder / "config.json").write_bytes(b" " * (100 << 20) + b"{}"),
    "a config of 8 GB": lambda folder: grown(folder / "config.json"),
    "a number of 100,000 digits": lambda folder: (folder / "config.json").write_text('{"hidden_size": ' + "9" * 100_000 + "}"),
}


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(8 << 30)
