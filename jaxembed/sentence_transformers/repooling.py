"""Another pooling for a loaded model: its arrays stay, its programs are compiled again."""

from copy import copy
from dataclasses import replace

from flax import nnx

from jaxembed.engine.engine import Engine
from jaxembed.errors import InputError
from jaxembed.heads.recipe import MODES, DenseHead, LayerNormHead


def repooled(engine: Engine, modes: tuple[str, ...], include_prompt: bool) -> Engine:
    """Returns an engine that pools in other modes, or with or without the tokens of prompts.

    Raises `InputError` for an unknown mode, and for more or fewer modes than the heads behind the pooling take.
    """
    model = engine.model
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown or not modes:
        raise InputError(
            f"the pooling mode {unknown[0] if unknown else modes!r} is not known; known are {', '.join(MODES)}.",
            field="pooling_mode",
        )
    fixed = any(isinstance(head, DenseHead | LayerNormHead) for head in model.recipe.heads)
    if fixed and len(modes) != len(model.recipe.modes):
        raise InputError(
            f"the modules behind the pooling take {len(model.recipe.modes)} mode(s), not {len(modes)}.", field="pooling_mode"
        )
    recipe = replace(model.recipe, modes=modes, include_prompt=include_prompt)
    encoder = replace(model.encoder, include_prompt=include_prompt)
    if modes == model.recipe.modes:
        other = copy(engine)
        other.model = replace(model, recipe=recipe, encoder=encoder)
        return other
    embedder = nnx.merge(model.graph, model.state)
    embedder.modes = modes
    graph, state = nnx.split(embedder)
    return Engine(replace(model, recipe=recipe, encoder=encoder, graph=graph, state=state), device=engine.device)
