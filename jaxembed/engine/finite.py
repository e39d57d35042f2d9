"""Which results of an engine are not finite: programs keep such a text to itself, and whoever hands results out looks here."""

from collections.abc import Sequence

import numpy as np


def not_finite(results: Sequence[np.ndarray]) -> list[int]:
    """Returns the places of the results that hold NaN or infinite numbers."""
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum is one call a result and finite for nearly all; where it overflows, each number is looked at.
        suspects = [place for place, result in enumerate(results) if not np.isfinite(result.sum())]
    return [place for place in suspects if not np.isfinite(results[place]).all()]
