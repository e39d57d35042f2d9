"""Small, obvious references for what transformers has no class for, written from the published definitions.

Each looks to `write_goldens.py` like a class of transformers: it saves a checkpoint in the public layout, and runs one text.
"""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.nn import functional as F


class Own:
    """A model that is a config and tensors by name; subclasses say `shapes()` and `hidden(ids)`."""

    config_class = dict
    architecture: str

    def __init__(self, config: dict, tensors: dict[str, torch.Tensor] | None = None) -> None:
        self.config, self.tensors = config, tensors

    def save_pretrained(self, folder: Path, **_: object) -> None:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"architectures": [self.architecture], **self.config}))
        save_file({name: torch.zeros(shape) for name, shape in self.shapes().items()}, folder / "model.safetensors")

    @classmethod
    def from_pretrained(cls, folder: Path, **_: object) -> "Own":
        return cls(json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors"))

    def eval(self) -> "Own":
        return self

    def base_model(self, ids: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.hidden(ids[0])[None])

    def linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"))

    def norm(self, x: torch.Tensor, name: str, epsilon: float) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"], epsilon)


def linear_shapes(name: str, outputs: int, inputs: int, bias: bool = True) -> dict[str, list[int]]:
    return {f"{name}.weight": [outputs, inputs], **({f"{name}.bias": [outputs]} if bias else {})}


def norm_shapes(name: str, width: int) -> dict[str, list[int]]:
    return {f"{name}.weight": [width], f"{name}.bias": [width]}


def heads(x: torch.Tensor, count: int) -> torch.Tensor:
    """[t, d] to [n, t, h]."""
    return x.reshape(x.shape[0], count, -1).transpose(0, 1)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | float = 0.0) -> torch.Tensor:
    """Softmax attention of [n, t, h], back to [t, d]."""
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]) + bias
    return (scores.softmax(-1) @ v).transpose(0, 1).reshape(q.shape[1], -1)


def turn(x: torch.Tensor, theta: float) -> torch.Tensor:
    """Rotary positions on [n, t, h], halves paired."""
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[1])[:, None] * theta ** (-torch.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], -1)


class JinaBert(Own):
    """jina v2 (arXiv 2310.19923): ALiBi both ways, post-norm, an MLP whose first half passes the activation and gates."""

    architecture = "JinaBertForMaskedLM"

    def shapes(self) -> dict[str, list[int]]:
        d, f, c = self.config["hidden_size"], self.config["intermediate_size"], self.config
        shapes = {"embeddings.word_embeddings.weight": [c["vocab_size"], d], **norm_shapes("embeddings.LayerNorm", d)}
        shapes["embeddings.token_type_embeddings.weight"] = [c["type_vocab_size"], d]
        for i in range(c["num_hidden_layers"]):
            at = f"encoder.layer.{i}."
            for name in ("self.query", "self.key", "self.value", "output.dense"):
                shapes |= linear_shapes(f"{at}attention.{name}", d, d)
            shapes |= norm_shapes(at + "attention.output.LayerNorm", d) | norm_shapes(at + "mlp.layernorm", d)
            shapes |= linear_shapes(at + "mlp.gated_layers", 2 * f, d, bias=False) | linear_shapes(at + "mlp.wo", d, f)
        return {f"bert.{name}": shape for name, shape in shapes.items()}

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        c, n = self.config, self.config["num_attention_heads"]
        tables = [self.tensors[f"bert.embeddings.{name}_embeddings.weight"] for name in ("word", "token_type")]
        x = self.norm(tables[0][ids] + tables[1][0], "bert.embeddings.LayerNorm", c["layer_norm_eps"])
        place = torch.arange(len(ids))
        bias = -torch.tensor(self.slopes(n))[:, None, None] * (place[:, None] - place[None]).abs()
        for i in range(c["num_hidden_layers"]):
            x = self.layer(x, f"bert.encoder.layer.{i}.", bias)
        return x

    def layer(self, x: torch.Tensor, at: str, bias: torch.Tensor) -> torch.Tensor:
        n, epsilon = self.config["num_attention_heads"], self.config["layer_norm_eps"]
        q, k, v = (heads(self.linear(x, f"{at}attention.self.{name}"), n) for name in ("query", "key", "value"))
        seen = self.linear(attend(q, k, v, bias), at + "attention.output.dense")
        x = self.norm(x + seen, at + "attention.output.LayerNorm", epsilon)
        gate, up = self.linear(x, at + "mlp.gated_layers").chunk(2, -1)
        return self.norm(x + self.linear(self.activate(gate) * up, at + "mlp.wo"), at + "mlp.layernorm", epsilon)

    def activate(self, x: torch.Tensor) -> torch.Tensor:
        return {"geglu": F.gelu, "reglu": F.relu}[self.config["feed_forward_type"]](x)

    @classmethod
    def slopes(cls, count: int) -> list[float]:
        """As ALiBi's authors publish it: exact for powers of two, the rest taken from twice as many heads."""
        if math.log2(count).is_integer():
            first = 2 ** (-(2 ** -(math.log2(count) - 3)))
            return [first * first**i for i in range(count)]
        below = 2 ** math.floor(math.log2(count))
        return cls.slopes(below) + cls.slopes(2 * below)[0::2][: count - below]


class JinaCode(JinaBert):
    """jina v2 for code: norms over all heads of q and k, a further norm behind attention that adds the input once more."""

    def shapes(self) -> dict[str, list[int]]:
        d, f, shapes = self.config["hidden_size"], self.config["intermediate_size"], {}
        for name, shape in super().shapes().items():
            if ".mlp." not in name:
                shapes[name] = shape
        for i in range(self.config["num_hidden_layers"]):
            at = f"bert.encoder.layer.{i}."
            shapes |= linear_shapes(at + "mlp.up_gated_layer", 2 * f, d, bias=False) | linear_shapes(
                at + "mlp.down_layer", d, f
            )
            for name in ("attention.self.layer_norm_q", "attention.self.layer_norm_k", "layer_norm_1", "layer_norm_2"):
                shapes |= norm_shapes(at + name, d)
        return shapes

    def layer(self, x: torch.Tensor, at: str, bias: torch.Tensor) -> torch.Tensor:
        n, epsilon = self.config["num_attention_heads"], self.config["layer_norm_eps"]
        q, k, v = (self.linear(x, f"{at}attention.self.{name}") for name in ("query", "key", "value"))
        q = self.norm(q, at + "attention.self.layer_norm_q", epsilon)
        k = self.norm(k, at + "attention.self.layer_norm_k", epsilon)
        seen = self.linear(attend(heads(q, n), heads(k, n), heads(v, n), bias), at + "attention.output.dense")
        y = self.norm(x + seen, at + "attention.output.LayerNorm", epsilon)
        y = self.norm(x + y, at + "layer_norm_1", epsilon)
        up, gate = self.linear(y, at + "mlp.up_gated_layer").chunk(2, -1)
        return self.norm(y + self.linear(up * self.activate(gate), at + "mlp.down_layer"), at + "layer_norm_2", epsilon)


class NomicMoe(Own):
    """nomic v2 (arXiv 2502.07972): rotary, post-norm, every second MLP a mixture of experts with one shared bias."""

    architecture = "NomicBertModel"

    def shapes(self) -> dict[str, list[int]]:
        c, d, f = self.config, self.config["n_embd"], self.config["n_inner"]
        shapes = {"embeddings.word_embeddings.weight": [c["vocab_size"], d], **norm_shapes("emb_ln", d)}
        shapes["embeddings.token_type_embeddings.weight"] = [c["type_vocab_size"], d]
        for i in range(c["n_layer"]):
            at = f"encoder.layers.{i}."
            shapes |= linear_shapes(at + "attn.Wqkv", 3 * d, d) | linear_shapes(at + "attn.out_proj", d, d)
            shapes |= norm_shapes(at + "norm1", d) | norm_shapes(at + "norm2", d)
            if i % 2:
                shapes |= {at + "mlp.router.layer.weight": [c["num_experts"], d], at + "mlp.experts.bias": [d]}
                shapes |= {f"{at}mlp.experts.mlp.{w}": [c["num_experts"] * f, d] for w in ("w1", "w2")}
            else:
                shapes |= linear_shapes(at + "mlp.fc1", f, d) | linear_shapes(at + "mlp.fc2", d, f)
        return shapes

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        c, n = self.config, self.config["n_head"]
        tables = [self.tensors[f"embeddings.{name}_embeddings.weight"] for name in ("word", "token_type")]
        x = self.norm(tables[0][ids] + tables[1][0], "emb_ln", c["layer_norm_epsilon"])
        for i in range(c["n_layer"]):
            at = f"encoder.layers.{i}."
            q, k, v = (heads(part, n) for part in self.linear(x, at + "attn.Wqkv").chunk(3, -1))
            q, k = turn(q, c["rotary_emb_base"]), turn(k, c["rotary_emb_base"])
            x = self.norm(x + self.linear(attend(q, k, v), at + "attn.out_proj"), at + "norm1", c["layer_norm_epsilon"])
            y = self.mixture(x, at + "mlp.") if i % 2 else self.linear(F.gelu(self.linear(x, at + "mlp.fc1")), at + "mlp.fc2")
            x = self.norm(x + y, at + "norm2", c["layer_norm_epsilon"])
        return x

    def mixture(self, x: torch.Tensor, at: str) -> torch.Tensor:
        """Token by token, the best experts one after the other."""
        w1, w2 = (
            self.tensors[f"{at}experts.mlp.{w}"].reshape(self.config["num_experts"], -1, x.shape[1]) for w in ("w1", "w2")
        )
        weights = self.linear(x, at + "router.layer").softmax(-1)
        rows = []
        for token, shares in zip(x, weights, strict=True):
            best = shares.topk(self.config["moe_top_k"]).indices
            rows.append(sum(shares[e] * (F.gelu(w1[e] @ token) @ w2[e]) for e in best) + self.tensors[at + "experts.bias"])
        return torch.stack(rows)


class JinaLora(Own):
    """jina v3 (arXiv 2409.10173) with its adapters: transformers' class, after W + scale · B A (A B in embeddings)."""

    architecture = "XLMRobertaModel"

    def shapes(self) -> dict[str, list[int]]:
        c = self.config
        d, f, rank, tasks = c["hidden_size"], c["intermediate_size"], c["lora_rank"], len(c["lora_adaptations"])
        shapes = norm_shapes("emb_ln", d)

        def adapted(name: str, first: int, second: int, a: list[int], b: list[int]) -> dict[str, list[int]]:
            at = f"{name}.parametrizations.weight."
            return {at + "original": [first, second], at + "0.lora_A": [tasks, *a], at + "0.lora_B": [tasks, *b]}

        for name, rows in (("word", c["vocab_size"]), ("token_type", c["type_vocab_size"])):
            shapes |= adapted(f"embeddings.{name}_embeddings", rows, d, [rows, rank], [rank, d])
        for i in range(c["num_hidden_layers"]):
            at = f"encoder.layers.{i}."
            shapes |= norm_shapes(at + "norm1", d) | norm_shapes(at + "norm2", d)
            for name, o, n in (("mixer.Wqkv", 3 * d, d), ("mixer.out_proj", d, d), ("mlp.fc1", f, d), ("mlp.fc2", d, f)):
                shapes |= adapted(at + name, o, n, [rank, n], [o, rank]) | {f"{at}{name}.bias": [o]}
        shapes |= adapted("pooler.dense", d, d, [rank, d], [d, rank]) | {"pooler.dense.bias": [d]}
        return {f"roberta.{name}": shape for name, shape in shapes.items()}

    def base_model(self, ids: torch.Tensor) -> SimpleNamespace:
        c, merged = self.config, {}
        task, scale = c["lora_adaptations"].index("text-matching"), c["lora_alpha"] / c["lora_rank"]
        for name, tensor in self.tensors.items():
            name = name.removeprefix("roberta.")
            at = f"roberta.{name.removesuffix('original')}0.lora_"
            if name.endswith("original"):
                a, b = self.tensors[at + "A"][task], self.tensors[at + "B"][task]
                more = a @ b if "embeddings" in name else b @ a
                merged[name.replace(".parametrizations.weight.original", ".weight")] = tensor + scale * more
            elif "lora_" not in name:
                merged[name] = tensor
        sizes = (
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "type_vocab_size",
        )
        config = transformers.JinaEmbeddingsV3Config(
            **{key: c[key] for key in (*sizes, "max_position_embeddings", "layer_norm_eps")},
            rope_parameters={"rope_type": "default", "rope_theta": c["rotary_emb_base"]},
        )
        model = transformers.JinaEmbeddingsV3Model.from_pretrained(
            None, config=config, state_dict=merged, attn_implementation="eager"
        )
        return model.eval()(ids)


class Voyage(Own):
    """voyage-4-nano: transformers' Qwen3 without a causal mask, and a linear layer from every hidden state to `num_labels`."""

    architecture = "VoyageQwen3BidirectionalEmbedModel"

    def shapes(self) -> dict[str, list[int]]:
        with torch.device("meta"):
            model = transformers.Qwen3Model(self.backbone())
        shapes = {f"model.{name}": list(tensor.shape) for name, tensor in model.state_dict().items()}
        return shapes | {"linear.weight": [self.config["num_labels"], self.config["hidden_size"]]}

    def backbone(self) -> transformers.Qwen3Config:
        return transformers.Qwen3Config(**{key: value for key, value in self.config.items() if key != "num_labels"})

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        tensors = {name.removeprefix("model."): tensor for name, tensor in self.tensors.items() if name.startswith("model.")}
        model = transformers.Qwen3Model.from_pretrained(
            None, config=self.backbone(), state_dict=tensors, attn_implementation="eager"
        )
        states = model.eval()(ids[None], attention_mask=torch.zeros(1, 1, len(ids), len(ids))).last_hidden_state[0]
        return F.linear(states, self.tensors["linear.weight"])


class JinaV5(Own):
    """jina v5: a Qwen3, or a EuroBERT where it is no decoder, after W + scale · B A of the task's adapter in its own folder."""

    architecture = "JinaEmbeddingsV5Model"
    tasks = ("retrieval", "text-matching")
    rank, alpha = 4, 2
    adapted = ("q_proj", "v_proj", "down_proj")

    def backbone(self) -> torch.nn.Module:
        own = ("task_names", "is_decoder", "model_type")
        sizes = {key: value for key, value in self.config.items() if key not in own}
        name = "EuroBert" if self.config.get("is_decoder") is False else "Qwen3"
        return getattr(transformers, name + "Model")(getattr(transformers, name + "Config")(**sizes))

    def save_pretrained(self, folder: Path, **_: object) -> None:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"architectures": [self.architecture], **self.config}))
        shapes = {name: list(tensor.shape) for name, tensor in self.backbone().state_dict().items()}
        save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, folder / "model.safetensors")
        for task in self.tasks:
            place = folder / "adapters" / task
            place.mkdir(parents=True)
            about = {"peft_type": "LORA", "r": self.rank, "lora_alpha": self.alpha, "target_modules": list(self.adapted)}
            (place / "adapter_config.json").write_text(json.dumps(about))
            added = {}
            for name, (outputs, *inputs) in shapes.items():
                if any(f".{part}.weight" in name for part in self.adapted):
                    at = "base_model.model." + name.removesuffix("weight")
                    added[at + "lora_A.weight"] = torch.zeros(self.rank, *inputs)
                    added[at + "lora_B.weight"] = torch.zeros(outputs, self.rank)
            save_file(added, place / "adapter_model.safetensors")

    @classmethod
    def from_pretrained(cls, folder: Path, **_: object) -> "JinaV5":
        found = super().from_pretrained(folder)
        adapter = load_file(folder / "adapters" / "retrieval" / "adapter_model.safetensors")
        for name in found.tensors:
            at = "base_model.model." + name.removesuffix("weight")
            if at + "lora_A.weight" in adapter:
                low, up = adapter[at + "lora_A.weight"], adapter[at + "lora_B.weight"]
                found.tensors[name] = found.tensors[name] + cls.alpha / cls.rank * up @ low
        return found

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        empty = self.backbone()
        model = type(empty).from_pretrained(None, config=empty.config, state_dict=self.tensors, attn_implementation="eager")
        return model.eval()(ids[None]).last_hidden_state[0]
