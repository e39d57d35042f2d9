"""How far vectors are from those they should be: the figures that are printed, recorded and promised."""

from collections.abc import Mapping

import numpy as np

# What every conversion records vectors of: words, other scripts, code, one token. Few and short: a large model takes its time.
TEXTS = (
    "The weather is lovely today.",
    "Wo ist die Straße nach Zürich? 東京 🙂",
    "def add(a, b):\n    return a + b",
    "a",
)

# What a comparison with a reference library adds to them.
MORE_TEXTS = (
    *TEXTS,
    "How do I cancel my subscription before the trial ends?",
    "Order 66: 3.14159 kg at -40 °C on 2024-02-29, ref. #A-17/b.",
    "  two  spaces\tand a tab ",
    "Привет, мир! مرحبا بالعالم",
    "supercalifragilisticexpialidocious",
    "Follow the white rabbit. " * 12,
    "The committee adjourned without a vote, and nobody was surprised. " * 40,
)


def figures(vectors: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Returns how vectors [n, e] differ from the expected ones.

    cosine_min, cosine_mean: of each vector with its own. max_abs: the largest difference of one value. sign_flips: the share of
    values whose sign differs, which is what binary quantization keeps of them.
    """
    a, b = vectors.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(1) / np.maximum(norms, 1e-30)
    return {
        "cosine_min": float(cosines.min()),
        "cosine_mean": float(cosines.mean()),
        "max_abs": float(np.abs(a - b).max()),
        "sign_flips": float(((a > 0) != (b > 0)).mean()),
    }


def described(found: Mapping[str, float]) -> str:
    """Returns the figures as a line for a person."""
    return (
        f"cosine {found['cosine_min']:.6f} at least, {found['cosine_mean']:.6f} in the mean; "
        f"max abs {found['max_abs']:.2e}; {found['sign_flips']:.3%} of signs flipped"
    )
