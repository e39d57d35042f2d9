"""Rotary position embedding (Su et al., arXiv 2104.09864) and the scalings that checkpoints ask for."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxembed.errors import UnsupportedModelError, shown

SCALINGS = ("default", "linear", "dynamic", "ntk", "yarn", "llama3", "longrope")
# Numbers without which a scaling means nothing, and those that may be left out. All are above 0, but for yarn's weights.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "linear": ("factor",),
    "dynamic": ("factor",),
    "ntk": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "longrope": ("long_factor", "short_factor"),
}
_OPTIONAL = ("factor", "original_max_position_embeddings", "attention_factor")
_MAY_BE_ZERO = ("beta_fast", "beta_slow", "mscale", "mscale_all_dim")


@dataclass(frozen=True)
class Rotary:
    """How positions turn into angles: the base, and one of `SCALINGS` with its numbers, as `config.json` gives them."""

    width: int
    theta: float
    scaling: str
    longest: int
    numbers: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], width: int, *, theta: float = 10000.0, part: float = 1.0, layer_type: str | None = None
    ) -> "Rotary":
        """Reads `rope_parameters` (transformers 5) or `rope_theta` with `rope_scaling` (before it).

        width: of a head. theta, part: the family's default base, and the default share of a head that turns. layer_type: where
        each type of layer has parameters of its own. Raises `UnsupportedModelError` naming an unknown scaling.
        """
        numbers = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
        if layer_type is not None:
            numbers = dict(numbers.get(layer_type) or {})
        theta = next(one for one in (numbers.pop("rope_theta", None), config.get("rope_theta"), theta) if one is not None)
        part = numbers.pop("partial_rotary_factor", None) or config.get("partial_rotary_factor") or part
        if not 0 < part <= 1 or int(width * part) % 2:
            raise UnsupportedModelError(f"of heads of {width} numbers a share of {part} cannot be turned in pairs.")
        return cls.scaled(numbers, int(width * part), theta, int(config["max_position_embeddings"]))

    @classmethod
    def scaled(cls, numbers: Mapping[str, Any], width: int, theta: float, longest: int) -> "Rotary":
        """Makes a rotary from `numbers`, the scaling's own parameters with its name as `rope_type` or `type`."""
        own = dict(numbers)
        scaling = own.pop("rope_type", None) or own.pop("type", None) or "default"
        own.pop("type", None)
        nested = [key for key, value in own.items() if isinstance(value, Mapping)]
        if nested:
            raise UnsupportedModelError(
                f"rope parameters of their own for {', '.join(nested)} are not supported for this model."
            )
        if scaling not in SCALINGS:
            raise UnsupportedModelError(
                f"the rope type {shown(scaling)} is not supported; supported are {', '.join(SCALINGS)}."
            )
        if own.get("mixed_b") is not None:
            raise UnsupportedModelError(f"mixed_b {own['mixed_b']} of an ntk rope is not supported.")
        own = {key: tuple(value) if isinstance(value, list) else value for key, value in own.items()}
        if scaling in ("yarn", "llama3", "longrope") and own.get("original_max_position_embeddings") is None:
            own["original_max_position_embeddings"] = longest
        _check(scaling, own, theta, -(-width // 2))
        return cls(width, float(theta), scaling, longest, tuple(sorted(own.items())))

    def tables(self, positions: Int[Array, " t"], lengths: Int[Array, " t"]) -> tuple[Float[Array, "t r"], Float[Array, "t r"]]:
        """Returns cosines and sines, r = width / 2, in float32: bfloat16 would round position 257 to 256.

        lengths: tokens of the text that each token belongs to; only dynamic and longrope scaling look at them.
        """
        numbers = dict(self.numbers)
        if self.scaling == "dynamic":
            factor = numbers["factor"]
            stretch = factor * jnp.maximum(lengths, self.longest) / self.longest - (factor - 1)
            base = self.theta * stretch ** (self.width / (self.width - 2))
            frequencies = base[:, None] ** (-jnp.arange(0, self.width, 2) / self.width)
            angles = positions[:, None] * frequencies
            return jnp.cos(angles), jnp.sin(angles)
        if self.scaling == "longrope":
            long = (lengths > numbers["original_max_position_embeddings"])[:, None]
            longer, shorter = (self.plain() / np.float32(numbers[name]) for name in ("long_factor", "short_factor"))
            angles = positions[:, None] * jnp.where(long, longer, shorter)
            scale = self._longrope_scale(numbers)
            return jnp.cos(angles) * scale, jnp.sin(angles) * scale
        frequencies, scale = self.frequencies()
        angles = positions[:, None].astype(jnp.float32) * frequencies
        return jnp.cos(angles) * scale, jnp.sin(angles) * scale

    def plain(self, stretch: float = 1.0) -> np.ndarray:
        """Returns radians per position without scaling, float32 [width / 2], for the base times `stretch`."""
        # Rounded where torch rounds, because an ulp in a frequency is an ulp times the position in an angle: float32 exponents,
        # an exact power, a float32 quotient.
        exponents = np.arange(0, self.width, 2, dtype=np.float32) / np.float32(self.width)
        power = np.power(np.float64(self.theta * stretch), exponents.astype(np.float64))
        return np.asarray(np.float32(1) / power.astype(np.float32))

    def frequencies(self) -> tuple[np.ndarray, float]:
        """Returns radians per position, float32 [width / 2], and the factor on cosines and sines.

        The formulas follow transformers' `modeling_rope_utils.py`: yarn from arXiv 2309.00071, llama3 from Llama 3.1; ntk is
        the fixed one of GTE, which stretches the base by the factor and then shortens every turn by the same share.
        """
        plain = self.plain()
        numbers = dict(self.numbers)
        if self.scaling == "linear":
            return (plain / numbers["factor"]).astype(np.float32), 1.0
        if self.scaling == "ntk":
            factor = numbers["factor"]
            return (self.plain(factor) / np.float32(factor ** (2 / self.width))).astype(np.float32), 1.0
        if self.scaling == "llama3":
            return self._llama3(plain, numbers).astype(np.float32), 1.0
        if self.scaling == "yarn":
            return self._yarn(plain, numbers)
        return plain.astype(np.float32), 1.0

    def _llama3(self, plain: np.ndarray, numbers: Mapping[str, Any]) -> np.ndarray:
        factor, old = numbers["factor"], numbers["original_max_position_embeddings"]
        low, high = numbers["low_freq_factor"], numbers["high_freq_factor"]
        # torch divides a number by a tensor as the number times the tensor's reciprocal, which rounds twice.
        wavelength = 2 * math.pi * (1 / plain)
        smooth = (old * (1 / wavelength) - low) / (high - low)
        between = (1 - smooth) * plain / factor + smooth * plain
        scaled = np.where(wavelength > old / low, plain / factor, plain)
        return np.where((wavelength <= old / low) & (wavelength >= old / high), between, scaled)

    def _longrope_scale(self, numbers: Mapping[str, Any]) -> float:
        old = numbers["original_max_position_embeddings"]
        factor = numbers.get("factor") or self.longest / old
        given = numbers.get("attention_factor")
        return given if given is not None else math.sqrt(1 + math.log(factor) / math.log(old)) if factor > 1 else 1.0

    def _yarn(self, plain: np.ndarray, numbers: Mapping[str, Any]) -> tuple[np.ndarray, float]:
        old = numbers.get("original_max_position_embeddings") or self.longest
        factor = numbers.get("factor") or self.longest / old

        def magnitude(weight: float) -> float:
            return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

        scale = numbers.get("attention_factor")
        if scale is None:
            both = numbers.get("mscale") and numbers.get("mscale_all_dim")
            scale = magnitude(numbers["mscale"]) / magnitude(numbers["mscale_all_dim"]) if both else magnitude(1.0)

        def dimension(turns: float) -> float:
            return self.width * math.log(old / (turns * 2 * math.pi)) / (2 * math.log(self.theta))

        low, high = dimension(numbers.get("beta_fast") or 32), dimension(numbers.get("beta_slow") or 1)
        if numbers.get("truncate", True):
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, self.width - 1)
        ramp = np.clip((np.arange(self.width // 2) - low) / (high - low if high != low else 0.001), 0, 1)
        return (plain / factor * ramp + plain * (1 - ramp)).astype(np.float32), float(scale)


def _check(scaling: str, numbers: Mapping[str, Any], theta: float, turns: int) -> None:
    """Raises `UnsupportedModelError` for what is missing, or no number that a rope could have. turns: how many pairs turn."""

    def is_number(value: Any, least: float) -> bool:
        # A whole number may be too large for any float.
        largest = sys.float_info.max
        return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= largest

    tiny = float(np.finfo(np.float32).tiny)
    if not turns or not is_number(theta, tiny):
        raise UnsupportedModelError(f"a rope of base {shown(theta)} over {turns} pairs is not supported.")
    if scaling == "default":
        return
    needed = _NEEDED.get(scaling, ())
    for name in (*needed, *_OPTIONAL, *_MAY_BE_ZERO):
        value = numbers.get(name)
        if value is None and name not in needed:
            continue
        if name in _NEEDED["longrope"]:
            fits = isinstance(value, tuple) and len(value) == turns and all(is_number(one, tiny) for one in value)
            wanted = f"{turns} numbers above 0"
        else:
            fits, wanted = is_number(value, 0 if name in _MAY_BE_ZERO else tiny), "a number above 0"
        if not fits:
            raise UnsupportedModelError(
                f"config.json says {name}: {shown(value)} of a {scaling} rope, and it must be {wanted}."
            )
    if scaling == "llama3" and numbers["low_freq_factor"] == numbers["high_freq_factor"]:
        raise UnsupportedModelError("low_freq_factor and high_freq_factor of a llama3 rope must differ.")


def rotate(
    x: Float[Array, "t n h"], cosines: Float[Array, "t r"], sines: Float[Array, "t r"], *, interleaved: bool = False
) -> Float[Array, "t n h"]:
    """Turns the first 2r numbers of each head by their angles, in float32.

    The pairs are (x[i], x[i + r]), or neighbors (x[2i], x[2i + 1]) if `interleaved`. What lies beyond 2r stays as it is.
    """
    turns = 2 * cosines.shape[-1]
    moving, still = x[..., :turns].astype(jnp.float32), x[..., turns:]
    first, second = (moving[..., ::2], moving[..., 1::2]) if interleaved else jnp.split(moving, 2, axis=-1)
    cosines, sines = cosines[:, None], sines[:, None]
    pair = first * cosines - second * sines, second * cosines + first * sines
    turned = jnp.stack(pair, axis=-1).reshape(moving.shape) if interleaved else jnp.concatenate(pair, axis=-1)
    return jnp.concatenate([turned.astype(x.dtype), still], axis=-1) if still.shape[-1] else turned.astype(x.dtype)
