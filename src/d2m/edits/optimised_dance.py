"""``edit=optimise``: the optimiser of :mod:`d2m.edits.optimise` with a bundle's networks and a dance's noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from d2m.core.errors import D2MError
from d2m.dance.generator import DanceGenerator
from d2m.dance.noise import DanceNoise
from d2m.dance.table import LatentTable
from d2m.edits.edit import LatentEdit
from d2m.edits.mean_shift import MeanShift
from d2m.edits.optimise import WEIGHTS, DanceTerms, GaussianPrior, Optimised, optimise
from d2m.edits.strength import blend
from d2m.stats.labels import check_latents


@contextmanager
def _differentiable_rnn() -> Iterator[None]:
    """Disable cuDNN, whose recurrent networks do not support backward in evaluation mode."""
    with torch.backends.cudnn.flags(enabled=False):
        yield


@dataclass(frozen=True, eq=False)
class Settings:
    """How to optimise; see :func:`d2m.edits.optimise.optimise`. ``prior``: N(0, I) if None."""

    weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    steps: int = 100
    rate: float = 0.05
    prior: GaussianPrior | None = None


class Judged(NamedTuple):
    """Loss terms and classifier outputs of b dances. target_probability: "guide", "judge" -> (b,)."""

    terms: dict[str, Tensor]
    target_probability: dict[str, Tensor]

    def of(self, song: int) -> dict[str, Any]:
        """One song's, plain numbers."""
        return {
            "terms": {k: float(v[song]) for k, v in self.terms.items()},
            "target_probability": {k: float(v[song]) for k, v in self.target_probability.items()},
        }


class DanceObjective:
    """The terms of a batch of dances, computed by a bundle's networks.

    Args:
        generator: with a motion classifier.
        original: z_dan (b, n, z_dan) of the unedited dances.
        noise: that of their accepted draws, (b, n, 1).
        target: the target genre.
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
    def judge(self, z: Tensor) -> Judged:
        """Evaluate the dances of these latents (b, n, z_dan)."""
        poses = self.terms.dance(z)
        guide = self.classifier.guide_log_probabilities(poses).exp().mean(1)
        judge = self.classifier.dance_probabilities(poses)
        return Judged(self.terms(z), {"guide": guide[:, self.target], "judge": judge[:, self.target]})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def all_weights(given: Mapping[str, float]) -> dict[str, float]:
    """:data:`d2m.edits.optimise.WEIGHTS`, updated by these weights.

    Raises:
        D2MError: an unknown term, or a weight that is not a number of at least 0.
    """
    if not isinstance(given, Mapping) or not given.keys() <= WEIGHTS.keys():
        raise D2MError(f"weights={given}: give numbers for any of {', '.join(WEIGHTS)}")
    for name, value in given.items():
        if not _is_number(value) or value < 0:
            raise D2MError(f"weights.{name}={value}: give a number of at least 0")
    return {**WEIGHTS, **{str(k): float(v) for k, v in given.items()}}


class OptimisedEdit(LatentEdit):
    """From a source genre to a target: mean shift, then the optimiser. "neutral" is that of the mean shift.

    Strength s moves the fraction s of the way from the original to the optimiser's result; 0 returns the original to
    the bit without optimising. Needs a bundle with stage motion_style.

    Args:
        steps, rate: see :func:`d2m.edits.optimise.optimise`.
        weights: of some terms; the others have the weights in :data:`d2m.edits.optimise.WEIGHTS`.

    Fitted attributes: ``start_``, the mean shift, and ``prior_``, fitted on the target's draws; None, which means
    N(0, I), if only genre means are known.

    Raises:
        D2MError: a setting that is not a number in its range.
    """

    name = "optimise"
    fitted_on = "means"

    def __init__(
        self, source: str, target: str, steps: int = 100, rate: float = 0.05,
        weights: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise D2MError(f"steps={steps}: give a whole number of at least 0")
        if not _is_number(rate) or rate <= 0:
            raise D2MError(f"rate={rate}: give a number above 0")
        self.source, self.target, self.steps, self.rate = source, target, steps, rate
        self.weights = all_weights(weights or {})
        self.start_: MeanShift | None = None
        self.prior_: GaussianPrior | None = None

    @property
    def width(self) -> int | None:
        return None if self.start_ is None else self.start_.width

    def from_means(self, means: Mapping[str, NDArray[np.floating]]) -> Self:
        """Fit the mean shift on these means; the prior is N(0, I)."""
        self.start_, self.prior_ = MeanShift(self.source, self.target).from_means(means), None
        return self

    def fit(self, z: ArrayLike, genre: ArrayLike) -> Self:
        """The mean shift of latents z (n, d) with genres (n,), and the prior of those of the target.

        Raises:
            D2MError: no latent of a genre, or fewer than two different ones of the target.
        """
        x, labels = check_latents(z, genre)
        self.start_ = MeanShift(self.source, self.target).fit(x, labels)
        self.prior_ = self._prior(x[labels == self.target])
        return self

    def fit_on_songs(self, songs: LatentTable) -> Self:
        """The mean shift on mu, the prior on the target's complete draws."""
        draws = songs.draws[songs.genre == self.target].reshape(-1, songs.mu.shape[1])
        self.start_ = MeanShift(self.source, self.target).fit_on_songs(songs)
        self.prior_ = self._prior(draws if len(draws) > 1 else songs.mu[songs.genre == self.target])
        return self

    def _prior(self, z: NDArray[np.floating]) -> GaussianPrior:
        try:
            return GaussianPrior.fit(z)
        except ValueError as e:
            raise D2MError(f"{e}; extract more songs of {self.target}") from e

    def fitted(self, generator: DanceGenerator) -> Self:
        """See the base class. Also refuses bundles whose motion classifier is missing or lacks the target."""
        generator.motion_classifier()
        edit = super().fitted(generator)
        if self.target not in generator.genres:
            known = ", ".join(generator.genres)
            raise D2MError(f"target={self.target}: the motion classifier knows {known}; choose one")
        return edit

    def for_dance(self, generator: DanceGenerator, noise: DanceNoise) -> OptimisedDance:
        return OptimisedDance(self.fitted(generator), generator, noise)


class OptimisedDance:
    """An :class:`OptimisedEdit` of one dance; afterwards, :attr:`facts` has the results and the judge's accuracy."""

    def __init__(self, edit: OptimisedEdit, generator: DanceGenerator, noise: DanceNoise) -> None:
        assert edit.start_ is not None
        self.edit, self.generator, self.noise, self.start = edit, generator, noise, edit.start_
        self.facts: dict[str, Any] = {}

    def neutral(self, z: NDArray[np.floating], strength: float | NDArray[np.floating]) -> NDArray[np.floating]:
        """Mean shift's, (n, z_dan)."""
        return self.start.neutral(z, strength)

    def transform(self, z: NDArray[np.floating], strength: float | NDArray[np.floating]) -> NDArray[np.floating]:
        """Latents (n, z_dan) -> optimised ones; strength a number or (n,)."""
        edit, s = self.edit, np.asarray(strength, np.float64)
        self.facts = {
            "weights": dict(edit.weights),
            "rate": edit.rate,
            "steps": 0,
            "motion_classifier_held_out": self.generator.motion_style_held_out,
        }
        if not s.any():
            return z

        def rows(x: NDArray[np.floating]) -> Tensor:
            like = next(self.generator.net.parameters())
            return torch.from_numpy(np.array(x)).to(like)[None]

        settings = Settings(edit.weights, edit.steps, edit.rate, edit.prior_)
        objective = DanceObjective(self.generator, rows(z), self.noise, edit.target, settings)
        arithmetic = self.start.transform(z, 1.0)
        optimum = objective.optimise(rows(arithmetic))
        best = optimum.z[0].cpu().numpy().astype(z.dtype)
        moved = blend(z, best - z, s)
        whole = (s == 1)[..., None] if s.ndim else s == 1
        moved = np.where(whole, best, moved)
        self.facts |= {
            "steps": int(optimum.steps[0]),
            "history": {k: [round(float(x), 5) for x in v[:, 0]] for k, v in optimum.history.items()},
            "original": objective.judge(rows(z)).of(0),
            "arithmetic": objective.judge(rows(arithmetic)).of(0),
            "optimised": objective.judge(rows(moved)).of(0),
        }
        return moved
