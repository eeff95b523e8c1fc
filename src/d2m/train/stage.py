"""Definitions of the curriculum's stages: their networks, warm starts, training items and monitored metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from d2m.core.errors import D2MError

if TYPE_CHECKING:  # d2m runs reads the monitors, without waiting for torch
    from d2m.data.sampling import Kind


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage; its name is its key under ``model`` and ``fit`` in the config and its folder under ``checkpoints``.

    Attributes:
        items: kind of the items in its batches, see :mod:`d2m.data.sampling`.
        networks: dotted names within its LightningModule.
        monitor, mode: define the "best" checkpoint, and what a sweep optimises. The curriculum continues from "last": a
            GAN has no meaningful best.
        warm_starts: stage -> {network here: network there}.
        knows_genres: its networks are sized and labelled by the corpus's genres (``n_genres``).
        dances: its ``net`` is a Composition, which can generate dances during training and be released as a bundle.
    """

    name: str
    items: Kind
    networks: tuple[str, ...]
    monitor: str
    mode: str
    warm_starts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    knows_genres: bool = True
    dances: bool = False

    @property
    def hears(self) -> bool:
        """Whether it contains the music style network."""
        return self.name == "music_style" or "net.music_style" in self.networks


_UNITS = ("net.initial_pose_encoder", "net.initial_pose_decoder", "net.movement_encoder", "net.unit_decoder")
_COMPOSITION = (
    *_UNITS, "net.music_style", "net.dance_encoder", "net.dance_decoder", "net.style_to_dance", "net.style_regressor"
)  # fmt: skip

DU_VAE = Stage("du_vae", "unit_pairs", _UNITS, "val/recon", "min", knows_genres=False)
MUSIC_STYLE = Stage("music_style", "songs", ("net",), "val/accuracy", "max")
#: Optional: genre classifiers of motion that guide and judge edits.
MOTION_STYLE = Stage("motion_style", "units", ("net",), "val/balanced_accuracy", "max")
MM_GAN = Stage(
    "mm_gan", "sequences", (*_COMPOSITION, "movement_discriminator", "dance_discriminator"), "val/recon", "min",
    warm_starts={DU_VAE.name: {n: n for n in _UNITS}, MUSIC_STYLE.name: {"net.music_style": "net"}},
    dances=True,
)  # fmt: skip
GENERATOR = Stage(
    "generator", "sequences", _COMPOSITION, "val/loss", "min",
    warm_starts={MM_GAN.name: {n: n for n in _COMPOSITION}}, dances=True,
)  # fmt: skip

#: By name, in training order: the motion classifier before the stages whose dances it may judge.
STAGES: dict[str, Stage] = {s.name: s for s in (DU_VAE, MUSIC_STYLE, MOTION_STYLE, MM_GAN, GENERATOR)}

#: Stage -> its monitored metric, and "min" or "max".
MONITORS: dict[str, tuple[str, str]] = {s.name: (s.monitor, s.mode) for s in STAGES.values()}


def in_order(names: Iterable[str]) -> list[Stage]:
    """The named stages in training order.

    Raises:
        D2MError: an unknown name, or none at all.
    """
    asked = list(names)
    if not asked or not set(asked) <= STAGES.keys():
        raise D2MError(f"stages={asked}: choose from {', '.join(STAGES)}")
    return [s for s in STAGES.values() if s.name in asked]
