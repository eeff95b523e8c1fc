"""The test phase: a song's features -> z_dan -> poses. Torch only; no Lightning, no Hydra.

Lee et al., "Dancing to Music", NeurIPS 2019, section 3.4. Deviations: the style is averaged over 2 s windows of the
song, or around every segment, instead of taken from the state after the whole song; redrawing of frozen dances is
bounded, with a threshold relative to the training data; all noise is an argument, so that edits of a song can share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from d2m.bundle import Bundle, read_bundle
from d2m.core.errors import D2MError
from d2m.core.gaussian import DiagonalGaussian
from d2m.core.machine import check_device
from d2m.core.skeleton import N_JOINTS, POSE_DIM, SEQUENCE_FRAMES, SEQUENCE_UNITS, UNIT_FRAMES
from d2m.dance.clock import segment_centres_s
from d2m.dance.heard_style import HeardStyle, hear_styles
from d2m.dance.lines import Choreography, Line, advance, padded
from d2m.dance.noise import DanceNoise
from d2m.data.normalizer import Normalizer
from d2m.music.beats import BeatTracker
from d2m.nets.composition import Composition
from d2m.nets.motion_style import MotionStyle
from d2m.nets.music_style import StyleMode, check_style_mode


class ZDan(NamedTuple):
    """The dance latent of n segments of 96 frames: three tensors (n, z_dan)."""

    mu: Tensor
    logvar: Tensor
    sample: Tensor


@dataclass(eq=False)
class DanceGenerator:
    """A trained system that dances.

    Args:
        net: the networks.
        normalizer: of poses and features, fitted on the training split.
        genres: names of the style network's classes.
        front_end: name of the music features it was trained on, one of :data:`d2m.music.front_ends.FRONT_ENDS`.
        motion_threshold: a draw is rejected if one of its units has less :func:`motion` than this.
        max_draws: candidates per segment; if all are rejected, the one whose stillest unit moves most is taken.
        style_mode: "windows", "legacy" or "local", see :class:`d2m.nets.music_style.MusicStyle`'s ``song_style`` and
            ``segment_styles``.
        genre_means: genre -> (z_dan,) mean of the training songs' noise-averaged z_dan.
        motion_style: the motion classifier; None if stage motion_style was not trained.
        beat_tracker: the tracker used for its training music, and therefore for new songs.
        motion_style_held_out: held-out accuracy of the motion classifier, see
            :func:`d2m.train.release.motion_style_accuracy`.
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
            style_mode: replaces that of the bundle.

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

    def normalize_features(self, features: np.ndarray | Tensor) -> Tensor:
        """Raw features (t, n_features) -> normalised, on the networks' device and in their dtype."""
        x = torch.as_tensor(np.array(features), dtype=next(self.net.parameters()).dtype, device=self.device)
        return self.normalizer.normalize_features(x)

    @torch.no_grad()
    def heard_styles(self, songs: Sequence[np.ndarray | Tensor]) -> list[HeardStyle]:
        """Raw features (t, n_features), t >= 30, of whole songs -> all outputs of the music style network.

        One pass over the windows of all songs; the result for a song does not depend on the others.
        """
        return hear_styles(self.net.music_style, [self.normalize_features(x) for x in songs], self.style_mode)

    def style(self, features: np.ndarray | Tensor) -> Tensor:
        """Raw features (t, n_features) of a song, t >= 30 -> the style of the whole song (style,).

        With "local", the mean over all its windows, as with "windows"; used for latents of whole songs, genre means
        and directions. For dancing, see :meth:`segment_styles`.
        """
        return self.heard_styles([features])[0].song_style()

    def segment_styles(self, features: np.ndarray | Tensor, centres_s: np.ndarray | Tensor) -> Tensor:
        """Raw features (t, n_features) of a song, t >= 30, and the centres (n,) of its segments -> (n, style).

        Args:
            centres_s: seconds of the song; those beyond its ends are moved to the ends.
        """
        return self.heard_styles([features])[0].segment_styles(centres_s, self.style_mode)

    def genre_probabilities(self, features: np.ndarray | Tensor) -> dict[str, float]:
        """Raw features (t, n_features) -> genre -> mean probability of the music style network over 2 s windows."""
        return self.by_genre(self.heard_styles([features])[0].song_votes())

    def by_genre(self, votes: np.ndarray | Tensor) -> dict[str, float]:
        """Probabilities (n_genres,) -> genre -> its probability."""
        return dict(zip(self.genres, votes.tolist(), strict=True))

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
            n_segments: number of z_dan; by default ceil(t / 96). With "local", segment i is based on the music around
                frame 96 (i + 0.5).
            noise: all noise instead of a generator (its first draw is used), for ``n_segments`` segments.

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
        posterior = self.net.style_to_dance(*padded(rows, noise.audio.reshape(b * n * k, -1).to(rows.dtype)))
        z = DiagonalGaussian(posterior.mu[: len(rows)], posterior.logvar[: len(rows)]).reshape(b, n, k)
        return ZDan(z.mu, z.logvar, z.sample(noise.z_dan.to(rows.dtype)))

    def draw_noise(
        self, n_segments: int, generator: torch.Generator | None, max_draws: int | None = None
    ) -> DanceNoise:
        """Noise for one dance, drawn on the CPU, so that a seed gives the same dance on every device.

        Without a generator it is seeded by the operating system; torch's global generator is neither used nor reseeded.
        """
        if generator is None:
            generator = torch.Generator()
            generator.seed()
        return DanceNoise.draw(self.net.sizes, 1, n_segments, max_draws or self.max_draws, generator)

    @torch.no_grad()
    def choreograph(
        self, z_dan: Tensor, noise: DanceNoise, threshold: float = 0.0, first_pose: Tensor | None = None
    ) -> Choreography:
        """Decode dances from z_dan, segment by segment, each starting from the last pose of the previous one.

        Args:
            z_dan: (b, n, k, z_dan): k candidates for every segment.
            noise: for the same (b, n, k).
            threshold: the first candidate whose units all move at least this much (:func:`motion`) is taken; if
                there is none, the one whose stillest unit moves most.
            first_pose: (b, 28) normalised; the mean pose (zeros) if None.
        """
        noise = noise.to(self.device)
        lines = [
            Line(z, DanceNoise(*(x[i : i + 1] for x in noise.tensors())), threshold,
                 None if first_pose is None else first_pose[i])
            for i, z in enumerate(z_dan)
        ]  # fmt: skip
        unfinished = lines
        while unfinished:
            advance(self.net, unfinished, alone=len(lines) == 1)
            unfinished = [line for line in unfinished if line.unfinished]
        return Choreography(*(torch.stack(x).to(z_dan.device) for x in zip(*(x.danced() for x in lines), strict=True)))

    def dance(self, z_dan: Tensor, noise: DanceNoise) -> Tensor:
        """Decode the first draw with gradients: z_dan (b, n, z_dan) -> normalised poses (b, 96 n, 28).

        Equal to :meth:`choreograph` up to rounding.
        """
        noise = noise.to(self.device)
        b, n = z_dan.shape[:2]
        mov = self.net.dance_decoder(z_dan.flatten(0, 1), SEQUENCE_UNITS)
        z_mov = mov.sample(noise.z_mov[:, :, 0].to(z_dan.dtype).flatten(0, 1)).reshape(b, n * SEQUENCE_UNITS, -1)
        z_ini = noise.z_ini[:, :, 0].to(z_dan.dtype).flatten(1, 2)
        return self.net.unroll(z_mov, z_dan.new_zeros(b, POSE_DIM), z_ini).flatten(1, 2)

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

        The judge was trained on units with beats on frames 3, 11, 19, 27; warped dances are outside its training
        distribution. Its accuracy is in :attr:`motion_style_held_out`.

        Raises:
            D2MError: no motion classifier, or a dance that is too short or has another shape.
        """
        judge = self.motion_classifier()
        x = torch.as_tensor(np.array(poses), dtype=next(judge.parameters()).dtype, device=self.device)
        if x.ndim != 3 or x.shape[1:] != (N_JOINTS, 2) or len(x) < UNIT_FRAMES:
            raise D2MError(f"poses of shape {tuple(x.shape)}; give (t, {N_JOINTS}, 2) with t >= {UNIT_FRAMES}")
        votes = judge.dance_probabilities(self.normalizer.normalize_poses(x.flatten(1))[None])[0]
        return self.by_genre(votes)

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
            generator: source of the noise of movements and initial poses; fresh entropy if None.
            noise: all noise instead of a generator; pass the same to all edits of a dance.

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
