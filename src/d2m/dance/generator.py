"""The test phase: a song's features -> z_dan -> poses. Torch only; no Lightning, no Hydra.

Lee et al., "Dancing to Music", NeurIPS 2019, section 3.4. Deviations: the style is averaged over 2 s windows, of the
song or around every segment, instead of read after the whole song; the redraw of frozen dances is bounded and its
threshold is relative to the training data; all noise is an argument, so that two edits of a song can share it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from d2m.bundle import Bundle, read_bundle
from d2m.core.errors import D2MError
from d2m.core.gaussian import randn
from d2m.core.machine import check_device
from d2m.core.skeleton import FPS, N_JOINTS, POSE_DIM, SEQUENCE_FRAMES, SEQUENCE_UNITS, UNIT_FRAMES
from d2m.data.normalizer import Normalizer
from d2m.music.beats import BeatTracker
from d2m.nets.composition import Composition
from d2m.nets.motion_style import MotionStyle
from d2m.nets.music_style import StyleMode, check_style_mode
from d2m.nets.sizes import Sizes


class ZDan(NamedTuple):
    """The dance latent of n segments of 96 frames: three tensors (n, z_dan)."""

    mu: Tensor
    logvar: Tensor
    sample: Tensor


@dataclass(frozen=True)
class DanceNoise:
    """All noise of b dances of n segments with k candidate draws each.

    Sharing one of these between an original and its edits is what makes them comparable.
    """

    audio: Tensor  # (b, n, k, style)
    z_dan: Tensor  # (b, n, k, z_dan)
    z_mov: Tensor  # (b, n, k, 3, z_mov)
    z_ini: Tensor  # (b, n, k, 3, z_ini)

    @classmethod
    def draw(cls, sizes: Sizes, b: int, n: int, k: int, generator: torch.Generator) -> DanceNoise:
        """Segment after segment, so that a longer song begins with the draws of a shorter one."""
        shapes = {
            "audio": (b, k, sizes.style),
            "z_dan": (b, k, sizes.z_dan),
            "z_mov": (b, k, SEQUENCE_UNITS, sizes.z_mov),
            "z_ini": (b, k, SEQUENCE_UNITS, sizes.z_ini),
        }
        rows = [{name: randn(*s, generator=generator) for name, s in shapes.items()} for _ in range(n)]
        return cls(**{name: torch.stack([r[name] for r in rows], dim=1) for name in shapes})

    def to(self, device: torch.device) -> DanceNoise:
        return DanceNoise(self.audio.to(device), self.z_dan.to(device), self.z_mov.to(device), self.z_ini.to(device))

    def pick(self, draws: Tensor) -> DanceNoise:
        """Only the draws (b, n) of every segment: k becomes 1."""
        return DanceNoise(*(pick_draws(x, draws) for x in (self.audio, self.z_dan, self.z_mov, self.z_ini)))


def pick_draws(x: Tensor, draws: Tensor) -> Tensor:
    """(b, n, k, ...) and draws (b, n) -> (b, n, 1, ...)."""
    b, n = draws.shape
    return x[torch.arange(b)[:, None], torch.arange(n)[None, :], draws].unsqueeze(2)


class Choreography(NamedTuple):
    """What :meth:`DanceGenerator.choreograph` returns for b dances of n segments."""

    poses: Tensor  # (b, 96 n, 28) normalised
    draws: Tensor  # (b, n) the accepted draw of every segment
    accepted: Tensor  # (b, n) bool: False if no draw moved enough and the liveliest one was taken


def motion(units: Tensor) -> Tensor:
    """Sum of absolute frame differences of every unit, (..., 32, 28) -> (...), normalised units."""
    return units.diff(dim=-2).abs().sum(dim=(-1, -2))


def segment_centres_s(n: int) -> np.ndarray:
    """When the middles of n segments of 96 frames are shown (n,), in seconds, if a dance is not warped."""
    return SEQUENCE_FRAMES * (np.arange(n) + 0.5) / FPS


def _frames(seconds: np.ndarray | Tensor) -> Tensor:
    return torch.as_tensor(np.asarray(seconds, np.float64)) * FPS


@dataclass(eq=False)
class DanceGenerator:
    """A trained system that dances.

    Args:
        net: the networks.
        normalizer: of poses and features, fitted on the training split.
        genres: names of the style network's classes.
        front_end: which audio features it was trained on, one of :data:`d2m.music.front_ends.FRONT_ENDS`.
        motion_threshold: a draw is rejected if one of its units has less :func:`motion` than this.
        max_draws: candidates for a segment; if none passes, the one whose stillest unit moves most is taken.
        style_mode: "windows", "legacy" or "local", see :class:`d2m.nets.music_style.MusicStyle`'s ``song_style`` and
            ``segment_styles``.
        genre_means: genre -> (z_dan,) mean of the training songs' noise-averaged z_dan.
        motion_style: the motion classifier; None if stage motion_style was not trained.
        beat_tracker: the tracker that found its training music's beats, used for new songs as well.
        motion_style_held_out: what it is worth, see :func:`d2m.train.release.motion_style_accuracy`.
    """

    net: Composition
    normalizer: Normalizer
    genres: tuple[str, ...]
    front_end: str = "mfcc"
    motion_threshold: float = 0.0
    max_draws: int = 8
    style_mode: StyleMode = "windows"
    genre_means: dict[str, np.ndarray] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    motion_style: MotionStyle | None = None
    motion_style_held_out: dict[str, float] = field(default_factory=dict)
    beat_tracker: BeatTracker = field(default_factory=BeatTracker)

    @classmethod
    def load(
        cls, folder: str | Path, device: torch.device | str = "cpu", style_mode: str | None = None
    ) -> DanceGenerator:
        """Read a bundle.

        Args:
            style_mode: instead of the bundle's own.

        Raises:
            D2MError: a file is missing, altered or does not fit the others; no such device or style mode here.
        """
        check_device(device)
        chosen = None if style_mode is None else check_style_mode(style_mode)
        bundle: Bundle = read_bundle(folder)
        c = bundle.config
        net = Composition(bundle.sizes)
        bundle.load_weights_into(net)
        classifier, facts = None, c.get("motion_style", {})
        if bundle.motion_sizes is not None:
            classifier = MotionStyle(bundle.motion_sizes)
            bundle.load_motion_style_into(classifier)
            classifier.eval().requires_grad_(False).to(device)
        return cls(
            net=net.eval().requires_grad_(False).to(device),
            normalizer=bundle.normalizer,
            genres=bundle.genres,
            front_end=c["front_end"],
            beat_tracker=BeatTracker.of(c.get("beat_tracker")),
            motion_threshold=c["motion_threshold"],
            max_draws=c["max_draws"],
            style_mode=chosen or c["style_mode"],
            genre_means=bundle.genre_means,
            provenance=bundle.provenance,
            motion_style=classifier,
            motion_style_held_out=facts.get("held_out", {}),
        )

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    # -- music -> z_dan ------------------------------------------------------------------------------------

    def normalize_features(self, features: np.ndarray | Tensor) -> Tensor:
        """Raw features (t, 28) -> normalised, on the networks' device and in their dtype."""
        x = torch.as_tensor(np.array(features), dtype=next(self.net.parameters()).dtype, device=self.device)
        return self.normalizer.normalize_features(x)

    @torch.no_grad()
    def style(self, features: np.ndarray | Tensor) -> Tensor:
        """Raw features (t, n_features) of a song, t >= 30 -> the style of the whole of it (style,).

        Under "local" the mean over all its windows, as under "windows": what latents of whole songs, genre means and
        directions are made of. What is danced to: :meth:`segment_styles`.
        """
        return self.net.music_style.song_style(self.normalize_features(features), self.style_mode)

    @torch.no_grad()
    def segment_styles(self, features: np.ndarray | Tensor, centres_s: np.ndarray | Tensor) -> Tensor:
        """Raw features (t, n_features) of a song, t >= 30, and the middles (n,) of its segments -> (n, style).

        Args:
            centres_s: seconds of the song; one beyond its ends counts as there.
        """
        x = self.normalize_features(features)
        return self.net.music_style.segment_styles(x, _frames(centres_s), self.style_mode)

    @torch.no_grad()
    def genre_probabilities(self, features: np.ndarray | Tensor) -> dict[str, float]:
        """Raw features (t, 28) -> genre -> mean vote of the music style network over 2 s windows."""
        votes = self.net.music_style.song_probabilities(self.normalize_features(features))
        return dict(zip(self.genres, votes.tolist(), strict=True))

    @torch.no_grad()
    def segment_probabilities(
        self, features: np.ndarray | Tensor, centres_s: np.ndarray | Tensor
    ) -> list[dict[str, float]]:
        """As :meth:`genre_probabilities`, for each of n segments: votes of the windows within 6.4 s around its middle.

        Whatever the style mode, so that the music can be compared with what was danced.
        """
        votes = self.net.music_style.segment_probabilities(self.normalize_features(features), _frames(centres_s))
        return [dict(zip(self.genres, v, strict=True)) for v in votes.tolist()]

    @torch.no_grad()
    def encode(
        self,
        features: np.ndarray | Tensor,
        generator: torch.Generator | None = None,
        n_segments: int | None = None,
        noise: DanceNoise | None = None,
    ) -> ZDan:
        """A song's z_dan, one per segment of 96 frames.

        Args:
            features: raw features (t, n_features), t >= 30.
            generator: source of the noise; fresh entropy if None.
            n_segments: how many z_dan; by default ceil(t / 96). Under "local" segment i hears what lies around
                frame 96 (i + 0.5).
            noise: all noise instead of a generator (its first draw is used), of as many segments as are made.

        Returns:
            mu, logvar, sample, each (n_segments, z_dan). mu and logvar depend on the style noise, as in the paper.
        """
        if noise is None:
            n = n_segments or -(-len(features) // SEQUENCE_FRAMES)
            noise = self.draw_noise(n, generator, max_draws=1)
        centres_s = segment_centres_s(noise.audio.shape[1])
        z = self.encode_style(self.segment_styles(features, centres_s)[None], noise)
        return ZDan(*(t[0, :, 0] for t in z))

    @torch.no_grad()
    def encode_style(self, style: Tensor, noise: DanceNoise) -> ZDan:
        """Styles of songs (b, style) or of their segments (b, n, style), and noise of (b, n, k) draws.

        Returns:
            mu, logvar, sample, each (b, n, k, z_dan).
        """
        noise = noise.to(self.device)
        b, n, k = noise.audio.shape[:3]
        per_segment = style[:, None] if style.ndim == 2 else style
        rows = per_segment[:, :, None].expand(b, n, k, -1).reshape(b * n * k, -1)
        z = self.net.style_to_dance(rows, noise.audio.reshape(b * n * k, -1).to(rows.dtype)).reshape(b, n, k)
        return ZDan(z.mu, z.logvar, z.sample(noise.z_dan.to(rows.dtype)))

    # -- z_dan -> poses ------------------------------------------------------------------------------------

    def draw_noise(
        self, n_segments: int, generator: torch.Generator | None, max_draws: int | None = None
    ) -> DanceNoise:
        """Noise for one dance, on the CPU, so that a seed means the same dance on every device.

        Without a generator it comes from the operating system's entropy; torch's global generator is neither read nor
        reseeded.
        """
        if generator is None:
            generator = torch.Generator()
            generator.seed()
        return DanceNoise.draw(self.net.sizes, 1, n_segments, max_draws or self.max_draws, generator)

    @torch.no_grad()
    def choreograph(
        self, z_dan: Tensor, noise: DanceNoise, threshold: float = 0.0, first_pose: Tensor | None = None
    ) -> Choreography:
        """Dances from z_dan, segment by segment, each from the last pose of the one before.

        Args:
            z_dan: (b, n, k, z_dan): k candidates for every segment.
            noise: of the same (b, n, k).
            threshold: the first candidate whose units all move at least this much (:func:`motion`) is taken; where
                none does, the one whose stillest unit moves most.
            first_pose: (b, 28) normalised; the mean pose (zeros) if None.
        """
        noise = noise.to(self.device)
        b, n, k = z_dan.shape[:3]
        pose = z_dan.new_zeros(b, POSE_DIM) if first_pose is None else first_pose
        # Movements do not depend on poses: all first candidates at once, and by themselves, because the bits of a row
        # depend on how many are computed with it. The others are seldom needed.
        first = self._movements(z_dan[:, :, 0], noise.z_mov[:, :, 0])
        z_ini = noise.z_ini.to(z_dan.dtype)

        segments, draws, accepted = [], [], []
        for s in range(n):
            units = self.net.unroll(first[:, s], pose, z_ini[:, s, 0])
            liveliness = motion(units).amin(-1)
            draw = torch.zeros(b, dtype=torch.long, device=z_dan.device)
            ok = liveliness >= threshold
            if k > 1 and not bool(ok.all()):
                # The other candidates of the rejected dances, all at once.
                bad = (~ok).nonzero()[:, 0]
                m = len(bad)
                others = self.net.unroll(
                    self._movements(z_dan[bad, s, 1:], noise.z_mov[bad, s, 1:]).flatten(0, 1),
                    pose[bad].repeat_interleave(k - 1, 0),
                    z_ini[bad, s, 1:].reshape(m * (k - 1), SEQUENCE_UNITS, -1),
                ).reshape(m, k - 1, SEQUENCE_UNITS, UNIT_FRAMES, POSE_DIM)
                candidates = torch.cat([units[bad, None], others], dim=1)
                lively = motion(candidates).amin(-1)
                passes = lively >= threshold
                choice = torch.where(passes.any(1), passes.int().argmax(1), lively.argmax(1))
                draw[bad], ok[bad] = choice, passes.any(1)
                units[bad] = candidates[torch.arange(m), choice]
            segments.append(units.flatten(1, 2))
            draws.append(draw)
            accepted.append(ok)
            pose = units[:, -1, -1]
        return Choreography(torch.cat(segments, 1), torch.stack(draws, 1), torch.stack(accepted, 1))

    def _movements(self, z_dan: Tensor, eps: Tensor) -> Tensor:
        """z_dan (b, n, z_dan) and noise (b, n, 3, z_mov) -> sampled movements (b, n, 3, z_mov)."""
        mov = self.net.dance_decoder(z_dan.flatten(0, 1), SEQUENCE_UNITS)
        out: Tensor = mov.sample(eps.to(z_dan.dtype).flatten(0, 1)).reshape(eps.shape)
        return out

    def dance(self, z_dan: Tensor, noise: DanceNoise) -> Tensor:
        """What :meth:`choreograph` dances with the first draw, with gradients: z_dan (b, n, z_dan) -> (b, 96 n, 28).

        Segments are equal to those of :meth:`choreograph` up to rounding; poses are normalised.
        """
        noise = noise.to(self.device)
        b, n = z_dan.shape[:2]
        mov = self.net.dance_decoder(z_dan.flatten(0, 1), SEQUENCE_UNITS)
        z_mov = mov.sample(noise.z_mov[:, :, 0].to(z_dan.dtype).flatten(0, 1)).reshape(b, n * SEQUENCE_UNITS, -1)
        z_ini = noise.z_ini[:, :, 0].to(z_dan.dtype).flatten(1, 2)
        return self.net.unroll(z_mov, z_dan.new_zeros(b, POSE_DIM), z_ini).flatten(1, 2)

    # -- motion -> genre -----------------------------------------------------------------------------------

    def motion_classifier(self) -> MotionStyle:
        """The motion classifier.

        Raises:
            D2MError: this bundle has none.
        """
        if self.motion_style is None:
            raise D2MError("this bundle has no motion classifier; train one with stages=[...,motion_style]")
        return self.motion_style

    @torch.no_grad()
    def genre_of_motion(self, poses: np.ndarray | Tensor) -> dict[str, float]:
        """A dance (t, 14, 2) in pixels at 15 fps, t >= 32 -> genre -> probability, by the judge.

        The judge learned from units whose beats lie on frames 3, 11, 19, 27: dances whose beats were warped elsewhere
        are foreign to it. What it is worth: :attr:`motion_style_held_out`.

        Raises:
            D2MError: no motion classifier, or a dance that is too short or misshapen.
        """
        judge = self.motion_classifier()
        x = torch.as_tensor(np.array(poses), dtype=next(judge.parameters()).dtype, device=self.device)
        if x.ndim != 3 or x.shape[1:] != (N_JOINTS, 2) or len(x) < UNIT_FRAMES:
            raise D2MError(f"poses of shape {tuple(x.shape)}; give (t, {N_JOINTS}, 2) with t >= {UNIT_FRAMES}")
        votes = judge.dance_probabilities(self.normalizer.normalize_poses(x.flatten(1))[None])[0]
        return dict(zip(self.genres, votes.tolist(), strict=True))

    # -- poses ---------------------------------------------------------------------------------------------

    def to_pixels(self, poses: Tensor) -> Tensor:
        """Normalised (..., 28) -> pixels (..., 14, 2)."""
        pixels: Tensor = self.normalizer.denormalize_poses(poses).unflatten(-1, (N_JOINTS, 2))
        return pixels

    @torch.no_grad()
    def decode(
        self, z_dan: Tensor | np.ndarray, n_frames: int, generator: torch.Generator | None = None,
        noise: DanceNoise | None = None,
    ) -> Tensor:  # fmt: skip
        """z_dan (n, z_dan) -> poses (n_frames, 14, 2) in pixels at 15 fps, n_frames <= 96 n.

        Args:
            generator: source of the movements' and initial poses' noise; fresh entropy if None.
            noise: all noise instead of a generator; edits of one dance are given the same.

        Raises:
            ValueError: z_dan is too short for n_frames, or has another width than the networks'.
        """
        z = torch.as_tensor(z_dan, dtype=next(self.net.parameters()).dtype, device=self.device)
        if z.ndim != 2 or z.shape[1] != self.net.sizes.z_dan:
            raise ValueError(f"z_dan has shape {tuple(z.shape)}, expected (n, {self.net.sizes.z_dan})")
        if n_frames > len(z) * SEQUENCE_FRAMES:
            raise ValueError(f"{len(z)} z_dan make {len(z) * SEQUENCE_FRAMES} frames, but {n_frames} were requested")
        if noise is None:
            noise = self.draw_noise(len(z), generator, max_draws=1)
        dance = self.choreograph(z[None, :, None], noise)
        return self.to_pixels(dance.poses[0, :n_frames])
