"""Sizes of config.json that no tensor has, and values that are none."""

from pathlib import Path

from lies import Lie
from lies.wholes import bert as WHOLE  # noqa: F401
from lies.wholes import edited, golden

SIZES = (
    "num_hidden_layers hidden_size vocab_size num_attention_heads intermediate_size max_position_embeddings type_vocab_size"
).split()
NUMBERS = (0, -1, 10_001, 10**6, 10**9, 2**31, 10**12, 10**30, 10**400, 1.5, 1e308, float("nan"), float("inf"))
OTHERS = ("32", True, None, [], {}, [10**9], "\x1b[31m", "x" * 100_000)


def said(**values) -> Lie:
    return edited("config.json", lambda content: content.update(values))


def of_another(name: str, **values) -> Lie:
    """The same of another family's checkpoint, which takes the place of the whole one."""

    def tell(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        said(**values)(golden(name, folder))

    return tell


LIES: dict[str, Lie] = {
    f"{key} {str(value)[:20]}": said(**{key: value})
    for key in SIZES
    for value in (*NUMBERS[:6], 10**12, 10**30, 10**400, 1e308)
}
LIES |= {f"{key} {value!r:.20}": said(**{key: value}) for key in SIZES[:3] for value in (*NUMBERS[9:], *OTHERS)}
LIES |= {
    f"{key} {value} of {family}": of_another(f"backbone-{family}", **{key: value})
    for family, keys in {
        "qwen3": ("num_hidden_layers", "num_key_value_heads", "head_dim", "sliding_window"),
        "t5": ("num_layers", "relative_attention_num_buckets", "relative_attention_max_distance", "d_kv"),
        "nomic-moe": ("n_layer", "num_experts", "moe_top_k"),
        "modernbert": ("num_hidden_layers", "global_attn_every_n_layers", "local_attention"),
        "gemma3": ("num_hidden_layers", "_sliding_window_pattern"),
        "embeddinggemma2": ("num_hidden_layers", "sliding_window_pattern"),
        "deberta": ("position_buckets", "max_relative_positions"),
        "albert": ("num_hidden_groups", "inner_group_num", "num_hidden_layers"),
    }.items()
    for key in keys
    for value in (10**6, 10**9, 10**30)
}
LIES |= {
    f"a rope_theta of {str(value)[:20]}": of_another("backbone-qwen3", rope_parameters={"rope_theta": value})
    for value in (-1, 10**400, 1e308, "x", [], True)
}
LIES |= {
    f"a rope of {kind} {str(value)[:20]}": of_another(
        "backbone-qwen3", rope_scaling={"rope_type": kind, "factor": value}, rope_parameters=None
    )
    for kind in ("linear", "dynamic", "yarn", "llama3", "longrope", "\x1b[31m", "x" * 100_000)
    for value in (0, 10**400, "x" * 100_000)
}
# Other checkpoints than the whole, whose sizes these are not, or not those of a tensor.
HARMLESS = (
    "sliding_window",
    "local_attention",
    "max_relative_positions",
    "relative_attention_max_distance 1000000 ",
    "a rope_theta of 1e+308",
)
