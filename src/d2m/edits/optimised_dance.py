"""``edit=optimise``: the optimiser of :mod:`d2m.edits.optimise` on a bundle's own networks and a dance's own noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d2m.core.errors import D2MError
from d2m.dance.generator import DanceGenerator, DanceNoise
from d2m.edits.mean_shift import MeanShift
from d2m.edits.optimise import WEIGHTS, DanceTerms, GaussianPrior, Optimised, optimise
from d2m.edits.strength import blend


@contextmanager
def _differentiable_rnn() -> Iterator[None]:
    """cuDNN's recurrent networks refuse a backward pass in evaluation mode."""
    with torch.backends.cudnn.flags(enabled=False):
        yield


@dataclass(frozen=True, eq=False)
class Settings:
    """How to optimise; see :func:`d2m.edits.optimise.optimise`. ``prior``: N(0, I) where None."""

    weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    steps: int = 100
    rate: float = 0.05
    prior: GaussianPrior | None = None


class Reading(NamedTuple):
    """b dances by the terms and by both classifiers. target_probability: "guide", "judge" -> (b,)."""

    terms: dict[str, Tensor]
    target_probability: dict[str, Tensor]

    def of(self, song: int) -> dict[str, Any]:
        """One song's, plain numbers."""
        return {
            "terms": {k: float(v[song]) for k, v in self.terms.items()},
            "target_probability": {k: float(v[song]) for k, v in self.target_probability.items()},
        }


class DanceObjective:
    """The terms of a batch of dances by a bundle's networks.

    Args:
        generator: with a motion classifier.
        original: z_dan (b, n, z_dan) of the unedited dances.
        noise: of their accepted draws, (b, n, 1).
        target: wanted genre.
        settings: weights, steps, prior.

    Raises:
        D2MError: no motion classifier, or an unknown genre.
    """

    def __init__(
        self, generator: DanceGenerator, original: Tensor, noise: DanceNoise, target: str, settings: Settings
    ) -> None:
        self.classifier = generator.motion_classifier()
        if target not in generator.genres:
            raise D2MError(f"unknown genre '{target}'; the motion classifier knows {', '.join(generator.genres)}")
        self.settings, self.target = settings, generator.genres.index(target)
        noise = noise.to(generator.device)
        with torch.no_grad():
            poses = generator.dance(original, noise)
        self.terms = DanceTerms(
            dance=lambda z: generator.dance(z, noise),
            log_p=self.classifier.guide_log_probabilities,
            target=self.target,
            original=poses,
            prior=settings.prior or GaussianPrior.standard(original.shape[-1]),
        )

    def optimise(self, start: Tensor) -> Optimised:
        """From ``start`` (b, n, z_dan)."""
        with _differentiable_rnn():
            s = self.settings
            return optimise(start, self.terms, s.weights, steps=s.steps, rate=s.rate)

    @torch.no_grad()
    def read(self, z: Tensor) -> Reading:
        """What these latents (b, n, z_dan) dance."""
        poses = self.terms.dance(z)
        guide = self.classifier.guide_log_probabilities(poses).exp().mean(1)
        judge = self.classifier.dance_probabilities(poses)
        return Reading(self.terms(z), {"guide": guide[:, self.target], "judge": judge[:, self.target]})


class OptimisedEdit:
    """From a source genre to a target: mean shift, then the optimiser. "neutral" is the mean shift's.

    Strength s goes the share s of the way from the original to what the optimiser found; 0 returns the original to
    the bit and optimises nothing.
    """

    name = "optimise"

    def __init__(self, generator: DanceGenerator, start: MeanShift, settings: Settings) -> None:
        self.generator, self.start, self.settings = generator, start, settings
        self.source, self.target = start.source, start.target
        generator.motion_classifier()  # refuses a bundle without one before any song is read

    def for_dance(self, noise: DanceNoise) -> OptimisedDance:
        """The edit of the dance with this noise (1, n, 1)."""
        return OptimisedDance(self, noise)


class OptimisedDance:
    """An :class:`OptimisedEdit` of one dance; :attr:`facts` says afterwards what was reached, and by which judge."""

    def __init__(self, edit: OptimisedEdit, noise: DanceNoise) -> None:
        self.edit, self.noise = edit, noise
        self.facts: dict[str, Any] = {}

    def neutral(self, z: NDArray[np.floating], strength: float | NDArray[np.floating]) -> NDArray[np.floating]:
        """Mean shift's, (n, z_dan)."""
        return self.edit.start.neutral(z, strength)

    def transform(self, z: NDArray[np.floating], strength: float | NDArray[np.floating]) -> NDArray[np.floating]:
        """Latents (n, z_dan) -> optimised ones; strength a number or (n,)."""
        edit, s = self.edit, np.asarray(strength, np.float64)
        self.facts = {
            "weights": dict(edit.settings.weights),
            "rate": edit.settings.rate,
            "steps": 0,
            "motion_classifier_held_out": edit.generator.motion_style_held_out,
        }
        if not s.any():
            return z

        def rows(x: NDArray[np.floating]) -> Tensor:
            like = next(edit.generator.net.parameters())
            return torch.from_numpy(np.array(x)).to(like)[None]

        objective = DanceObjective(edit.generator, rows(z), self.noise, edit.target, edit.settings)
        arithmetic = edit.start.transform(z, 1.0)
        found = objective.optimise(rows(arithmetic))
        best = found.z[0].cpu().numpy().astype(z.dtype)
        moved = blend(z, best - z, s)
        whole = (s == 1)[..., None] if s.ndim else s == 1
        moved = np.where(whole, best, moved)
        self.facts |= {
            "steps": int(found.steps[0]),
            "history": {k: [round(float(x), 5) for x in v[:, 0]] for k, v in found.history.items()},
            "original": objective.read(rows(z)).of(0),
            "arithmetic": objective.read(rows(arithmetic)).of(0),
            "optimised": objective.read(rows(moved)).of(0),
        }
        return moved
