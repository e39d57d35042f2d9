"""Tiny random checkpoints in the layout of public ones, drawn from a seed: the same bytes with torch and without.

A spec says everything: {"seed", "files": {path: JSON}, "tensors": {safetensors path: {name: shape}}}, and for some "decoder"
(which tokenizer), "norms" (what their scales lie around), "tokenizer" (its folder). The reference side makes one by saving with
the real classes; both sides write it out with `write`. Needs numpy, safetensors and tokenizers only.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

VOCABULARY = 120
# Ids that mean something; texts use words w7 and up, which keeps clear of RoBERTa's padding id 1 as well.
SPECIAL = ["[PAD]", "<pad>", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[UNUSED]"]
END = "<|endoftext|>"
FIRST_WORD = len(SPECIAL)


def write(spec: dict, folder: Path) -> Path:
    """Writes a checkpoint; weights come from `np.random.RandomState(seed)`, whose stream is frozen, in sorted order."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in spec["files"].items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, sort_keys=True))
    rng = np.random.RandomState(spec["seed"])
    for name, shapes in sorted(spec["tensors"].items()):
        save_file(
            {tensor: draw(rng, tensor, shape, spec.get("norms", 1)) for tensor, shape in sorted(shapes.items())}, folder / name
        )
    write_tokenizer(folder / spec.get("tokenizer", ""), decoder=spec.get("decoder", False))
    return folder


def draw(rng: np.random.RandomState, name: str, shape: list[int], norms: float = 1) -> np.ndarray:
    """Values that neither vanish nor explode over a few layers: `norms` around one, biases small, matrices by their fan-in."""
    values = rng.randn(*shape).astype(np.float32)
    if len(shape) == 1:
        return np.float32(norms) + np.float32(0.1) * values if name.endswith(("weight", "scalar")) else np.float32(0.1) * values
    return values * np.float32(0.3 if "embed" in name else shape[-1] ** -0.5)


def write_tokenizer(folder: Path, *, decoder: bool, words: int = VOCABULARY) -> None:
    """Encoders split words "w7" ... "w119" at spaces, framed by [CLS] and [SEP]; decoders read letters and end with [END]."""
    tokenizer = letters() if decoder else whole_words(words)
    tokenizer.add_special_tokens([END] if decoder else SPECIAL)
    single = f"$A {END}" if decoder else "[CLS] $A [SEP]"
    specials = [(name, tokenizer.token_to_id(name)) for name in ([END] if decoder else ["[CLS]", "[SEP]"])]
    template = processors.TemplateProcessing(single=single, special_tokens=specials)
    tokenizer.post_processor = (
        processors.Sequence([processors.ByteLevel(trim_offsets=False), template]) if decoder else template
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    if decoder:
        config = {"tokenizer_class": "Qwen2Tokenizer", "pad_token": END, "eos_token": END}
    else:
        names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        config = {"tokenizer_class": "PreTrainedTokenizerFast"} | names
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": 96}))


def whole_words(count: int) -> Tokenizer:
    """One token a word."""
    words = {name: i for i, name in enumerate(SPECIAL)} | {f"w{i}": i for i in range(FIRST_WORD, count)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def letters() -> Tokenizer:
    """Bytes as Qwen2 reads them, with no merges, in an alphabet that leaves room for the special token."""
    alphabet = [chr(i) for i in range(33, 127)] + ["Ġ", "Ċ"]
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, [], fuse_unk=False, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def ids(lengths: list[int], seed: int) -> list[list[int]]:
    """Random texts as token ids."""
    rng = np.random.RandomState(seed)
    return [rng.randint(FIRST_WORD, VOCABULARY, n).tolist() for n in lengths]


def texts(lengths: list[int], seed: int) -> list[str]:
    """Random texts of so many words."""
    return [" ".join(f"w{i}" for i in one) for one in ids(lengths, seed)]
