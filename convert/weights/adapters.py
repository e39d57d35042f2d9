"""Low-rank adapters in a folder of their own, as peft saves them, merged into the tensors they belong to as those are read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxembed.convert.formats.json_files import read_json
from jaxembed.convert.formats.reader import Checkpoint, open_tensors
from jaxembed.convert.mapping.values import needed
from jaxembed.errors import CheckpointError, UnsupportedModelError
from jaxembed.models.backbone import BackboneConfig

# Keys of adapter_config.json that would change the product, each with the values that do not; None never does.
_CHANGES: dict[str, tuple[Any, ...]] = {
    "use_rslora": (False,),
    "use_dora": (False,),
    "fan_in_fan_out": (False,),
    "bias": ("none",),
    "rank_pattern": ({},),
    "alpha_pattern": ({},),
    "modules_to_save": ([],),
    "layer_replication": ([],),
}
_BEFORE, _LOW, _UP = "base_model.model.", ".lora_A.weight", ".lora_B.weight"


def merged_config(config_json: Mapping[str, Any], config: BackboneConfig) -> dict[str, Any]:
    """Returns the `config.json` of weights that have the adapter of `config` in them for good."""
    return {**config_json, "jina_task": None} if config.adapter else dict(config_json)


class Adapted(Checkpoint):
    """A checkpoint whose tensors come with alpha / r · B A of an adapter added, in float32.

    adapter: its folder. Raises `CheckpointError` for an adapter that is not there or does not fit, `UnsupportedModelError` for
    one whose product is not this one.
    """

    def __init__(self, folder: Path, adapter: Path) -> None:
        super().__init__(folder)
        config = read_json(adapter / "adapter_config.json")
        if config is None:
            raise CheckpointError(f"there is no adapter in {adapter}: it has no adapter_config.json.")
        told = [key for key, neutral in _CHANGES.items() if config.get(key) not in (None, *neutral)]
        if config.get("peft_type") != "LORA" or told:
            what = ", ".join(told) or f"peft_type {config.get('peft_type')!r}"
            raise UnsupportedModelError(f"{what} of {adapter / 'adapter_config.json'} is not supported; plain LORA is.")
        alpha, rank = (needed(key, config.get(key), str(adapter / "adapter_config.json")) for key in ("lora_alpha", "r"))
        self._scale = np.float32(alpha / rank)
        self.files += (adapter / "adapter_model.safetensors",)
        self._added = open_tensors(self.files[-1])
        self._low = {self._owner(name): name for name in self._added if name.endswith(_LOW)}
        expected = {name for low in self._low.values() for name in (low, low.removesuffix(_LOW) + _UP)}
        wrong = sorted(expected ^ set(self._added)) + sorted(name for name in self._low if name not in self)
        if wrong:
            raise CheckpointError(f"the adapter of {adapter} does not fit its model: {', '.join(wrong[:10])}.")

    def dtype(self, name: str) -> np.dtype:
        """Returns the type that `read` gives a tensor, without reading it."""
        return np.dtype(np.float32) if name in self._low else super().dtype(name)

    def read(self, name: str) -> np.ndarray:
        """Returns one tensor, with what the adapter adds to it."""
        tensor = super().read(name)
        if name not in self._low:
            return tensor
        low = self._low[name]
        a, b = (self._added[one].read().astype(np.float32) for one in (low, low.removesuffix(_LOW) + _UP))
        merged: np.ndarray = tensor.astype(np.float32) + self._scale * (b @ a)
        return merged

    def _owner(self, name: str) -> str:
        """The tensor that an adapter's belongs to, whose name may have `model.` before it."""
        owner = name.removeprefix(_BEFORE).removesuffix(_LOW) + ".weight"
        others = (owner, f"model.{owner}", owner.removeprefix("model."))
        return next((one for one in others if one in self), owner)
