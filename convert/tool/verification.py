"""Whether a model gives the vectors that it should: those of the reference library, or those that its conversion recorded."""

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array

from jaxembed.convert.checkpoint.loading import describe, read_config
from jaxembed.convert.families import static
from jaxembed.convert.formats.json_files import transformer_place
from jaxembed.convert.orbax.manifest import Manifest, read_manifest
from jaxembed.convert.tool import reference as reference_script
from jaxembed.convert.tool.parity import MORE_TEXTS, figures
from jaxembed.engine.engine import Engine
from jaxembed.errors import InputError, ParityError
from jaxembed.heads.tokens import HIDDEN
from jaxembed.layers.run import Run
from jaxembed.layers.stack import Stack
from jaxembed.packing import planning
from jaxembed.packing.packed import Packed
from jaxembed.packing.text import Text

# A layer departs where the states that leave it differ by more than this share of their norm, by the type of the weights.
# float32 sums in another order come to some 1e-6 a layer, MiniLM in int8 to 4e-2; what is wrong comes to far more.
DEPARTS = {"float32": 1e-4, "bfloat16": 3e-2, "int8": 1e-1}

# What the vectors of each type of weights must keep of the reference's: the smallest cosine.
LEAST_COSINE = {"float32": 0.999999, "bfloat16": 0.9995, "int8": 0.98}


# What stands in the table of layers where single ones cannot be told apart.
WHOLE = "the last states"


@dataclass(frozen=True)
class Comparison:
    """What was compared and what came of it.

    against: the reference in words. figures: those of `parity.figures`. layers: for what enters the first layer and what leaves
    each, and last for the final states, its name and the relative difference, the largest over the texts; only `WHOLE`, the
    final states, where layers cannot be told apart. precision: of the weights.
    """

    against: str
    texts: int
    precision: str
    figures: Mapping[str, float]
    layers: Sequence[tuple[str, float]]

    @property
    def first_departure(self) -> str | None:
        """The name of the first layer that departs, None if none does or single layers were not compared."""
        single = [(name, difference) for name, difference in self.layers if name != WHOLE]
        return next((name for name, difference in single if not difference <= DEPARTS[self.precision]), None)

    def check(self) -> None:
        """Raises `ParityError` if the vectors are further from the reference than their type of weights explains."""
        least = LEAST_COSINE[self.precision]
        if not self.figures["cosine_min"] >= least:
            where = f"; the first layer that departs is {self.first_departure}" if self.first_departure else ""
            raise ParityError(
                f"the vectors depart from {self.against}: a cosine is {self.figures['cosine_min']:.6f}, and {self.precision} "
                f"weights keep at least {least}{where}."
            )


def against_reference(engine: Engine, folder: Path, python: Path) -> Comparison:
    """Compares an engine with the reference libraries, which another Python runs on the checkpoint in `folder`.

    Raises `InputError` if that Python cannot.
    """
    model = engine.model
    texts = list(MORE_TEXTS)
    encoded = list(model.encoder.texts(texts, model.options, tokenization=model.encoder.cut()))
    walked = [encoded[0], max(encoded, key=lambda text: len(text.ids))]
    with tempfile.TemporaryDirectory() as scratch:
        place = _as_configured(engine, folder, Path(scratch) / "model")
        cut = model.max_length if model.max_length != describe(str(place)).max_length else None
        asked = {"folder": str(place), "texts": texts, "ids": [one.ids.tolist() for one in walked], "max_length": cut}
        arrays, versions = _ask(python, asked, folder, Path(scratch))
    ours = np.stack(list(engine.run(encoded)))
    theirs = arrays.get("vectors")
    if theirs is None:
        # No pipeline of sentence-transformers: the states of the two texts are what can be compared.
        ours = np.concatenate(list(engine.run(walked, HIDDEN)))
        theirs = np.concatenate([arrays[f"hidden-{number}"] for number in range(len(walked))])
    found = _figures(ours, theirs, versions)
    worst: list[tuple[str, float]] = []
    if "hidden-0" in arrays:
        layers = [_layers(engine, one, arrays, number) for number, one in enumerate(walked)]
        worst = [(name, max(each[place][1] for each in layers)) for place, (name, _) in enumerate(layers[0])]
    return Comparison(versions, len(texts) if "vectors" in arrays else len(walked), _precision(engine), found, worst)


def against_record(engine: Engine, manifest: Manifest) -> Comparison:
    """Compares an engine with the float32 vectors that the conversion recorded from the source.

    Raises `InputError` if the engine takes no texts of their length.
    """
    texts, expected = manifest.recorded()
    model, recorded = engine.model, describe(str(engine.model.folder)).encoder
    encoded = list(recorded.texts(texts, model.options, tokenization=recorded.cut()))
    longest = max(len(text.ids) for text in encoded)
    if longest > model.max_length:
        raise InputError(
            f"the conversion recorded the vectors of texts of up to {longest} tokens; "
            f"leave out --max-model-len {model.max_length}.",
            field="max_model_len",
        )
    ours = list(engine.run(encoded))
    against = f"the vectors of {manifest.source['name']} that the conversion recorded"
    return Comparison(against, len(texts), _precision(engine), _figures(np.stack(ours), expected, against), ())


def check_source(folder: Path, manifest: Manifest) -> bool:
    """Returns whether a folder still holds the files that a conversion read."""
    for name, expected in manifest.source["files"].items():
        path = folder / name
        if not path.is_file():
            return False
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                return False
    return True


def _figures(ours: np.ndarray, theirs: np.ndarray, against: str) -> dict[str, float]:
    """Returns the figures. Raises `ParityError` for vectors of another width."""
    if ours.shape != theirs.shape:
        raise ParityError(f"the vectors have {ours.shape[1]} dimensions; {theirs.shape[1]} were expected from {against}.")
    return figures(ours, theirs)


def _as_configured(engine: Engine, folder: Path, scratch: Path) -> Path:
    """Returns a folder with the checkpoint and the config that the engine runs it by.

    It is the checkpoint's own unless that config was overridden; else `scratch`, with links to its files.
    """
    config = engine.model.config_json
    if static.KEY in config or config == read_config(folder, None):
        return folder.absolute()
    place = PurePosixPath(transformer_place(folder))
    _link(folder, scratch, place.parts)
    (scratch / place / "config.json").unlink()
    (scratch / place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return scratch


def _link(folder: Path, made: Path, inner: Sequence[str]) -> None:
    """Makes a folder of links to what another holds. inner: the folders in it, one in the other, that are made as it is."""
    made.mkdir()
    for path in folder.iterdir():
        if path.name in inner[:1]:
            _link(path, made / path.name, inner[1:])
        else:
            (made / path.name).symlink_to(path.absolute())


def _ask(python: Path, asked: Mapping[str, Any], folder: Path, scratch: Path) -> tuple[dict[str, np.ndarray], str]:
    """Returns the arrays that the reference script gives, and the versions of what gave them.

    folder: what the user calls the checkpoint. scratch: where it runs, so that it finds nothing of anyone's.
    """
    out = scratch / "out.npz"
    command = [str(python), reference_script.__file__, str(out)]
    try:
        done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False, cwd=scratch)
    except OSError as error:
        raise InputError(f"the reference Python {python} cannot be run: {error.strerror}.", field="python") from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"it ended with {done.returncode}"
        raise InputError(f"the reference libraries of {python} do not take {folder}: {last}", field="python")
    if not out.is_file() or not done.stdout.strip():
        raise InputError(
            f"{python} gave no vectors; --reference takes a Python that has sentence-transformers.", field="python"
        )
    with np.load(out) as arrays:
        return dict(arrays), done.stdout.strip().splitlines()[-1]


def _layers(engine: Engine, text: Text, arrays: Mapping[str, np.ndarray], number: int) -> list[tuple[str, float]]:
    """The relative difference of what enters the first layer, what leaves each, and the final states, for one text.

    The reference may normalize what leaves the last layer before it tells it, so there the final states stand for it. Where
    the layers are not looked into, or the loop does not turn once for each, that of the final states is all there is.
    """
    ours, final = _states(engine, text)
    difference = _relative(final, arrays[f"hidden-{number}"])
    theirs = [array for name, array in arrays.items() if name.startswith(f"layer-{number}-")]
    # ModernBERT runs its first layer by itself; EmbeddingGemma 2, ALBERT and Nomic's experts run several in a turn.
    if not ours or [states.shape for states in ours] != [states.shape for states in theirs]:
        return [(WHOLE, difference)]
    found = [(f"layer {layer}", _relative(*pair)) for layer, pair in enumerate(zip(ours, theirs, strict=True))]
    return [("the embeddings", found[0][1]), *found[1:-1], (found[-1][0], difference)]


@dataclass(frozen=True)
class WatchedRun(Run):
    """Notes what enters the first layer and leaves each, where layers are unrolled."""

    seen: list[Array] = field(default_factory=list)

    def through(self, stack: Stack, x: Array) -> Array:
        """Runs x through a stack."""
        if not stack.is_unrolled:
            return stack.scanned(x)
        # Where there are several stacks, what leaves one enters the next.
        self.seen[-1:] = []
        return stack.unrolled(x, self.seen.append)


def _states(engine: Engine, text: Text) -> tuple[list[np.ndarray], np.ndarray]:
    """What enters the first layer and leaves each, empty where layers are scanned; and the final states. Each [n, d]."""
    (row,) = planning.plan([len(text.ids)], engine.table)
    leaves, tree = jax.tree.flatten(engine.model.state)

    def program(leaves: Sequence[Any], packed: Packed) -> tuple[list[Array], Array]:
        run = WatchedRun(row.shape.cell, engine.choices)
        final = HIDDEN.output(nnx.merge(engine.model.graph, jax.tree.unflatten(tree, leaves)), packed, run)
        return run.seen, final

    with jax.default_matmul_precision("highest"):
        seen, final = jax.jit(program)(leaves, Packed.host(row, [text], row.shape))
    own = slice(row.starts[0], row.starts[0] + len(text.ids))
    return [np.asarray(states, np.float32)[own] for states in seen], np.asarray(final)[own]


def _relative(states: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(states - expected) / max(float(np.linalg.norm(expected)), 1e-30))


def _precision(engine: Engine) -> str:
    """What the weights are, the coarsest type among those in memory and those that a conversion rounded to."""
    types = {leaf.dtype.name for leaf in jax.tree.leaves(engine.model.state)}
    manifest = read_manifest(engine.model.folder)
    if manifest is not None and manifest.dtype in ("bfloat16", "int8"):
        # What int8 leaves out is bfloat16; of static embeddings that is all.
        types.add("bfloat16")
    return next((name for name in ("int8", "bfloat16") if name in types), "float32")
