"""Back to a Hugging Face checkpoint: the weight rules run backwards, tensor by tensor, into one safetensors file a folder."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from jaxembed.convert.checkpoint.loading import Description, Overrides, describe
from jaxembed.convert.families.static import undescribed
from jaxembed.convert.formats.json_files import inside, transformer_place
from jaxembed.convert.formats.reader import SINGLE
from jaxembed.convert.formats.safetensors_files import NAMES
from jaxembed.convert.formats.tensors import as_bytes
from jaxembed.convert.mapping import rules
from jaxembed.convert.orbax.manifest import Manifest, read_manifest
from jaxembed.convert.orbax.restoring import check_arrays, stored_parameters
from jaxembed.convert.tool.new_folder import check_target, new_folder
from jaxembed.convert.tool.small_files import copy_files, small_files
from jaxembed.convert.weights.adapters import merged_config
from jaxembed.convert.weights.parameters import DENSE, NORM, Opened, Parameter, declare, layouts, open_parameters
from jaxembed.heads.recipe import DenseHead, LayerNormHead
from jaxembed.layers.int8 import Quantized, dequantized

# Room for one tensor in the header, which is written last and padded with spaces as the format allows.
_HEADER_ENTRY = 400


@dataclass(frozen=True)
class Exported:
    """How many tensors were written, and which of the source's were not, because the vectors do not need them."""

    tensors: int
    left_out: Sequence[str]


def export(
    source: str | None,
    out: Path,
    *,
    progress: Callable[[int], Any],
    hf_overrides: Overrides | None = None,
    **hub: Any,
) -> Exported:
    """Writes the new folder `out` in the layout of a Hugging Face checkpoint.

    Tensors keep the type in which they are stored; quantized matrices become float32. Names are those of the bare model,
    without the prefix of a task class, and the config is the one that the model is loaded with, overrides included.

    Args:
        source: a converted folder, or any other checkpoint.
        out, progress, hf_overrides: as those of `convert`.
        **hub: as in `find_model`.

    Raises:
        CheckpointError: a converted folder whose arrays have changed; and what `convert` raises.
    """
    check_target(out)
    found = describe(source, hf_overrides=hf_overrides, **hub)
    manifest = read_manifest(found.folder)
    opened = _opened(found, manifest)
    if manifest is not None:
        check_arrays(found.folder, manifest)
    listed = {parameter.path: parameter for parameter in opened.parameters}
    total = sum(int(np.prod(parameter.shape)) * parameter.dtype.itemsize for parameter in listed.values())
    # Each tensor fills one piece at least.
    room = sum(len(parameter.reads) for parameter in listed.values())
    count = 0
    with new_folder(out) as folder, progress(total) as tick:
        copy_files(small_files(found.folder), found.folder, folder)
        _write_config(found, manifest, folder / transformer_place(found.folder) / "config.json")
        for place, tensors in _folders(found, listed, layouts(found.family)[opened.layout]):
            # The folders beside this one are not ours to write.
            own = folder / inside(place, found.folder / "modules.json")
            own.mkdir(parents=True, exist_ok=True)
            count += write_safetensors(own / SINGLE, tensors, room=room, tick=tick)
        _opened(describe(str(folder)), None)
    return Exported(count, opened.left_out)


def write_safetensors(
    path: Path, tensors: Iterator[tuple[str, np.ndarray]], *, room: int, tick: Callable[[int], None] = lambda count: None
) -> int:
    """Writes tensors as they come, with one in memory at a time, and returns how many; at most `room` of them."""
    names = {numpy: name for name, numpy in NAMES.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    reserved = -(-(room + 1) * _HEADER_ENTRY // 8) * 8
    with path.open("wb") as file:
        file.write(reserved.to_bytes(8, "little") + b" " * reserved)
        for name, tensor in tensors:
            end = place + tensor.nbytes
            header[name] = {"dtype": names[tensor.dtype.name], "shape": list(tensor.shape), "data_offsets": [place, end]}
            file.write(as_bytes(np.ascontiguousarray(tensor)))
            tick(end - place)
            place = end
        text = json.dumps(header, separators=(",", ":")).encode()
        assert len(text) <= reserved, "the names of the tensors are longer than anyone foresaw"
        file.seek(8)
        file.write(text)
    return len(header) - 1


def _write_config(found: Description, manifest: Manifest | None, path: Path) -> None:
    """Writes what the model is loaded with, but for the scales and adapters that its weights have in them now."""
    config = undescribed(merged_config(found.config_json, found.config))
    config.pop("quantization_config", None)
    path.unlink(missing_ok=True)
    if not config:
        return
    if manifest is not None and manifest.dtype != "auto":
        # transformers turns all weights into the type that stands here.
        names = [name for name in ("dtype", "torch_dtype") if name in config] or ["torch_dtype"]
        config |= dict.fromkeys(names, "bfloat16" if manifest.dtype == "bfloat16" else "float32")
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _opened(found: Description, manifest: Manifest | None) -> Opened:
    """Returns the parameters of a checkpoint, or of a converted folder if it has a manifest; raises where they do not fit."""
    model = declare(found.family, found.config, found.recipe)
    if manifest is None:
        return open_parameters(model, found.folder)
    return Opened(stored_parameters(model, found.folder, manifest), (), manifest.layout, list(manifest.left_out))


def _folders(
    found: Description, listed: Mapping[str, Parameter], table: rules.Table
) -> Iterator[tuple[str, Iterator[tuple[str, np.ndarray]]]]:
    """Yields each folder that holds tensors, and them."""
    backbone = _Backbone({path.removeprefix("backbone."): one for path, one in listed.items() if one.in_backbone})
    places = {found.config.subfolder: [rules.export(table, found.config, backbone)]}
    for number, head in enumerate(found.recipe.heads):
        if isinstance(head, DenseHead | LayerNormHead):
            names = DENSE if isinstance(head, DenseHead) else NORM
            own = [(name, listed.get(f"heads.{number}.{target}"), turned) for name, (target, _, turned) in names.items()]
            places.setdefault(head.folder, []).append(_tensors(own))
    yield from ((place, chain.from_iterable(parts)) for place, parts in places.items())


def _tensors(own: Sequence[tuple[str, Parameter | None, bool]]) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the tensors of a head. own: the name of each, the parameter that it was, and whether it was turned."""
    return ((name, _plain(one, 0).T if turned else _plain(one, 0)) for name, one, turned in own if one)


class _Backbone(Mapping[str, Any]):
    """The parameters by their names in the rules, each read when it is taken."""

    def __init__(self, listed: Mapping[str, Parameter]) -> None:
        self._listed = listed

    def __getitem__(self, target: str) -> Any:
        parameter = self._listed[target]
        return _Layers(parameter) if parameter.stacked else _plain(parameter, 0)

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)


class _Layers(Sequence[np.ndarray]):
    """The layers of a stacked parameter, each read when it is taken."""

    def __init__(self, parameter: Parameter) -> None:
        self._parameter = parameter

    def __getitem__(self, layer: Any) -> Any:
        return _plain(self._parameter, layer)

    def __len__(self) -> int:
        return len(self._parameter.reads)


def _plain(parameter: Parameter, index: int) -> np.ndarray:
    value = parameter.reads[index]()
    return dequantized(value) if isinstance(value, Quantized) else value
