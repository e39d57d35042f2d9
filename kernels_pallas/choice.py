"""What was chosen and for which hardware, as plain values."""

from dataclasses import dataclass

from jaxembed.kernels_pallas.backend import Backend, Tiles


@dataclass(frozen=True)
class Target:
    """The hardware that programs are compiled for: `platform` is cpu, gpu or tpu, `name` what the maker calls it."""

    platform: str
    name: str

    @property
    def family(self) -> str | None:
        """The family whose kernels fit this hardware, None where none does. Names are those that jax gives devices."""
        words = {
            "v5e": ("v5 lite", "v5e"),
            "v6e": ("v6 lite", "v6e"),
            "v7x": ("tpu7x", "v7x"),
            # The instructions of compute capability 9.0a, which neither older nor newer chips have.
            "hopper": ("h100", "h200", "h800", "h20", "gh200"),
        }
        if self.platform not in ("gpu", "tpu"):
            return None
        return next((family for family, names in words.items() if any(name in self.name.lower() for name in names)), None)


@dataclass(frozen=True)
class Choice:
    """A back end, its tiles, and why it was taken, as a sentence for a person to read."""

    backend: Backend
    tiles: Tiles
    reason: str

    def __str__(self) -> str:
        return f"{self.backend.name} {self.tiles[0]}x{self.tiles[1]} ({self.reason})"


@dataclass(frozen=True)
class Choices:
    """The back ends of one program."""

    attention: Choice
    pool: Choice
