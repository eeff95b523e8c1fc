"""All widths of the networks, defined once (docs/adr/0052-sizes.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Self

from d2m.core.errors import D2MError

#: Fields that are not widths -> their choices.
CHOICES: dict[str, tuple[str, ...]] = {"style_network": ("gru", "statistics")}


@dataclass(frozen=True)
class Widths:
    """A record of integers of at least 1, and of names from :data:`CHOICES`.

    It is stored as a plain dict in hparams, config.json and conf.
    """

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name in CHOICES:
                if value not in CHOICES[name]:
                    raise D2MError(f"sizes: {name}={value!r}; choose from {', '.join(CHOICES[name])}")
            elif not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise D2MError(f"sizes: {name}={value!r}; give a whole number of at least 1")

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`. A missing width that has a default takes it, for files older than the width.

        Raises:
            D2MError: one line that names an unknown, missing or invalid width, or an unknown choice.
        """
        if not isinstance(values, Mapping):
            raise D2MError(f"sizes: {values!r} is not a mapping of names to whole numbers")
        known = {f.name: f.default is MISSING for f in fields(cls)}
        unknown = sorted(str(k) for k in values.keys() - known.keys())
        if unknown:
            raise D2MError(f"sizes: unknown {', '.join(unknown)}; known are {', '.join(known)}")
        missing = [name for name, required in known.items() if required and name not in values]
        if missing:
            raise D2MError(f"sizes: {', '.join(missing)} missing; known are {', '.join(known)}")
        return cls(**values)


@dataclass(frozen=True)
class Sizes(Widths):
    """Widths of the networks that dance; a stage with only some of them (stage 1) ignores the others.

    Attributes:
        n_genres: classes of the music style network.
        z_ini, z_mov, z_dan: latents (the paper's: 10, 512, 512).
        movement_hidden, unit_hidden, dance_encoder_hidden, dance_decoder_hidden: GRUs (the paper's: 1024).
        n_features: music features per frame, as in the corpus.
        style: width of the music style, and of the noise concatenated to it (the paper's: 30).
        discriminator_hidden: first layer of both discriminators (the paper's: 1024).
        style_network: not a width, but the network that encodes the music, one of :data:`d2m.nets.music_style.NETWORKS`
            (the paper's: gru).
    """

    n_genres: int
    z_ini: int
    z_mov: int
    z_dan: int
    movement_hidden: int
    unit_hidden: int
    dance_encoder_hidden: int
    dance_decoder_hidden: int
    n_features: int = 28
    style: int = 30
    discriminator_hidden: int = 1024
    style_network: str = "gru"


@dataclass(frozen=True)
class MotionSizes(Widths):
    """Widths of the motion classifier, which shares none with other networks: classes, and width of guide and judge."""

    n_genres: int
    hidden: int


def sizes_in(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes in a checkpoint's hparams; before docs/adr/0052-sizes.md, each width was a separate hparam.

    To be passed to :meth:`Sizes.from_dict`, which validates them.
    """
    if "sizes" in hparams:
        return dict(hparams["sizes"])
    return {f.name: hparams[f.name] for f in fields(Sizes) if f.name in hparams}
