"""One dance to one song: the test phase, its edits with all noise shared, and the beats put on the music's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, SEQUENCE_FRAMES
from d2m.dance.generator import DanceGenerator, DanceNoise, pick_draws
from d2m.motion.beat_align import cover_beats, dance_beat_frames, n_source_frames, time_map, warp
from d2m.motion.units import fold_period


class Edit(Protocol):
    """What turns a dance's latents (n, z_dan) into the neutral and the target dance's; a strength for all, or (n,)."""

    def neutral(self, z: NDArray[np.floating], strength: float | NDArray[np.floating]) -> NDArray[np.floating]: ...

    def transform(self, z: NDArray[np.floating], strength: float | NDArray[np.floating]) -> NDArray[np.floating]: ...


@runtime_checkable
class DanceEdit(Protocol):
    """An edit that wants to know the bundle and the noise (1, n, 1) that it dances with, and becomes an Edit then.

    What it returns may have a dict ``facts`` after the dance, for :attr:`SongDance.edit_facts`.
    """

    def for_dance(self, generator: DanceGenerator, noise: DanceNoise) -> Edit: ...


AnyEdit = Edit | DanceEdit


class StrengthCurve(Protocol):
    """A strength that changes along the song."""

    def at(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Strength at these times (n,) -> (n,)."""
        ...

    def table(self) -> list[list[float]]:
        """[[seconds, strength], ...]."""
        ...


@dataclass(frozen=True)
class SongDance:
    """The dances to one song; keys are "original" and, with an edit, "neutral" and "target"."""

    poses: dict[str, NDArray[np.float32]]  # (t, 14, 2) pixels at 15 fps
    unwarped: dict[str, NDArray[np.float32]]  # (m, 14, 2): as decoded, before its beats were put on the music's
    z_dan: dict[str, NDArray[np.float32]]  # (n, z_dan), one per 96 frames of dance
    music_beats: NDArray[np.float64]  # s
    dance_beats: NDArray[np.float64]  # s
    draws: NDArray[np.int64]  # (n,) accepted draw of every segment
    accepted: NDArray[np.bool_]  # (n,)
    centres_s: NDArray[np.float64]  # (n,) when the middles of the segments are shown, in seconds of the song
    edit_facts: dict[str, Any] = field(default_factory=dict)  # what the edit says of itself, plain values


def dance_pulse(music_beats: NDArray[np.float64]) -> NDArray[np.float64]:
    """Music beats (s) at the rate that dance units were cut at: halved or doubled until a dancer could step to it.

    The units of a song at 67 beats a minute were cut at 134 (:func:`d2m.motion.units.fold_period`); putting them on 67
    would dance at half speed.
    """
    beats = np.asarray(music_beats, np.float64)
    if len(beats) < 2:
        return beats
    period = float(np.median(np.diff(beats)))
    ratio = fold_period(period) / period
    if ratio > 1:
        return beats[:: round(ratio)]
    parts = round(1 / ratio)
    grid = np.arange((len(beats) - 1) * parts + 1) / parts
    return np.interp(grid, np.arange(len(beats)), beats)


@dataclass(frozen=True)
class _Clock:
    """Which frame of the unwarped dance every output frame shows."""

    dance_beats: NDArray[np.float64]  # frames of the unwarped dance
    song_beats: NDArray[np.float64]  # frames of the song they fall on
    n_source: int  # frames of unwarped dance that are read
    n_frames: int

    @classmethod
    def make(cls, music_beats: NDArray[np.float64], n_frames: int, warped: bool) -> _Clock:
        if warped:
            song = cover_beats(dance_pulse(music_beats) * FPS, n_frames)
            return cls(dance_beat_frames(len(song)), song, max(1, n_source_frames(song, n_frames)), n_frames)
        beats = dance_beat_frames(n_frames)
        beats = beats[beats < n_frames]
        return cls(beats, beats, n_frames, n_frames)

    def apply(self, poses: NDArray[np.float32]) -> NDArray[np.float32]:
        return warp(poses, self.dance_beats, self.song_beats, self.n_frames).astype(np.float32)

    def segment_centres_s(self, n: int) -> NDArray[np.float64]:
        """When the middles of the n segments of 96 frames are shown, in seconds of the song."""
        positions = time_map(self.dance_beats, self.song_beats, self.n_frames)
        middles = SEQUENCE_FRAMES * (np.arange(n) + 0.5)
        return np.asarray(np.interp(middles, positions, np.arange(self.n_frames)) / FPS, np.float64)

    def beats_s(self) -> NDArray[np.float64]:
        """When the dance's beats (frames 3 + 8 k) are shown, in seconds."""
        positions = time_map(self.dance_beats, self.song_beats, self.n_frames)
        beats = dance_beat_frames(self.n_source)
        beats = beats[(beats >= positions[0]) & (beats <= positions[-1])]
        return np.asarray(np.interp(beats, positions, np.arange(self.n_frames)) / FPS, np.float64)


def frames_needed(music_beats: NDArray[np.float64], n_frames: int) -> int:
    """How many frames of dance units, one after the other, :func:`put_on_beats` reads for ``n_frames`` of a song."""
    return _Clock.make(music_beats, n_frames, True).n_source


def put_on_beats(units: NDArray[np.float32], music_beats: NDArray[np.float64], n_frames: int) -> NDArray[np.float32]:
    """Dance units one after the other (m, 14, 2), m >= :func:`frames_needed` -> (n_frames, 14, 2) on the music's beats.

    What :func:`dance_to` does with what it decoded; for dances that came from elsewhere.
    """
    return _Clock.make(music_beats, n_frames, True).apply(units)


def segments_needed(music_beats: NDArray[np.float64], n_frames: int, warp: bool) -> int:
    """How many z_dan a song takes: one per 96 frames of unwarped dance."""
    return -(-_Clock.make(music_beats, n_frames, warp).n_source // SEQUENCE_FRAMES)


def fit_z_dan(z_dan: NDArray[np.floating], n: int, width: int, source: str = "z_dan") -> NDArray[np.float32]:
    """A given latent (d,), (1, d) or (m >= n, d) as (n, d): one serves the whole song.

    Raises:
        D2MError: another shape or not finite.
    """
    z = np.atleast_2d(np.asarray(z_dan, np.float32))
    if z.ndim != 2 or z.shape[1] != width or (len(z) != 1 and len(z) < n) or not np.isfinite(z).all():
        raise D2MError(
            f"{source}: shape {np.shape(z_dan)} does not fit; give finite numbers of shape ({width},) or ({n},{width})"
        )
    return np.repeat(z, n, axis=0) if len(z) == 1 else z[:n]


@torch.no_grad()
def dance_to(
    generator: DanceGenerator,
    features: NDArray[np.floating],
    music_beats: NDArray[np.float64],
    n_frames: int,
    *,
    seed: int,
    edit: AnyEdit | None = None,
    strength: float | StrengthCurve = 1.0,
    warp: bool = True,
    z_dan: NDArray[np.floating] | None = None,
) -> SongDance:
    """Dance to a song.

    Args:
        features: raw features (t, n_features) of the whole song. Every segment of 96 frames is danced to the style
            that the generator's style mode gives it: under "local" that of the music around its middle.
        music_beats: seconds, increasing.
        n_frames: length of the dance at 15 fps.
        seed: of all noise, the same for the original and its edits, on every device.
        edit, strength: also make the neutral and the target dance. Which draws are accepted is decided on the
            original; the edits reuse them. Strength 0 gives the original, to the bit. A schedule is read in the
            middle of every segment of 96 frames.
        warp: put the dance's beats (frames 3 + 8 k) on the music's.
        z_dan: latents instead of the song's own, see :func:`fit_z_dan`.
    """
    clock = _Clock.make(music_beats, n_frames, warp)
    n = -(-clock.n_source // SEQUENCE_FRAMES)
    centres = clock.segment_centres_s(n)
    noise = generator.draw_noise(n, torch.Generator().manual_seed(seed))
    if z_dan is None:
        z = generator.encode_style(generator.segment_styles(features, centres)[None], noise).sample
    else:
        given = fit_z_dan(z_dan, n, generator.net.sizes.z_dan)
        k = noise.audio.shape[2]
        z = torch.from_numpy(given).to(generator.device)[None, :, None].expand(1, n, k, -1)
    chosen = generator.choreograph(z, noise, generator.motion_threshold)
    noise, base = noise.pick(chosen.draws.cpu()), pick_draws(z, chosen.draws)[0, :, 0].cpu().numpy()

    latents = {"original": base}
    facts: dict[str, Any] = {}
    if edit is not None:
        edit = edit.for_dance(generator, noise) if isinstance(edit, DanceEdit) else edit
        amount = strength if isinstance(strength, int | float) else strength.at(centres)
        latents |= {"neutral": edit.neutral(base, amount), "target": edit.transform(base, amount)}
        facts = getattr(edit, "facts", {})
    poses, unwarped = {}, {}
    for name, latent in latents.items():
        if name == "original" and not bool(chosen.draws.any()):
            danced = chosen  # the first draws, decoded as below
        else:
            # One at a time and never batched: equal latents then give equal bits.
            rows = torch.from_numpy(latent).to(device=generator.device, dtype=z.dtype)[None, :, None]
            danced = generator.choreograph(rows, noise)
        whole = generator.to_pixels(danced.poses[0, : clock.n_source])
        unwarped[name] = whole.float().cpu().numpy()
        poses[name] = clock.apply(unwarped[name])
    return SongDance(
        poses=poses,
        unwarped=unwarped,
        z_dan={k: v.astype(np.float32) for k, v in latents.items()},
        music_beats=np.asarray(music_beats, np.float64),
        dance_beats=clock.beats_s(),
        draws=chosen.draws[0].cpu().numpy(),
        accepted=chosen.accepted[0].cpu().numpy(),
        centres_s=centres,
        edit_facts=facts,
    )


class Redanced(NamedTuple):
    """e dances: poses (e, t, 14, 2) px at 15 fps on the song's time, and unwarped (e, t', 14, 2), as decoded."""

    poses: NDArray[np.float32]
    unwarped: NDArray[np.float32]


@torch.no_grad()
def dance_again(
    generator: DanceGenerator, dance: SongDance, z_dan: NDArray[np.floating], *, seed: int, batch: int = 32
) -> Redanced:
    """Other latents to the same song, with the accepted draws and all noise of a warped dance: many at once.

    Equal to what :func:`dance_to` makes of an edit up to the rounding of batches.

    Args:
        dance: what :func:`dance_to` returned. seed: that it was given.
        z_dan: (e, n, z_dan), n as in ``dance.z_dan``.
        batch: of dances that are decoded together.
    """
    clock = _Clock.make(dance.music_beats, len(dance.poses["original"]), True)
    noise = accepted_noise(generator, dance, seed)
    rows = torch.from_numpy(np.asarray(z_dan)).to(next(generator.net.parameters()))
    decoded = []
    for part in rows.split(batch):
        copies = DanceNoise(*(x.expand(len(part), *x.shape[1:]) for x in vars(noise).values()))
        poses = generator.to_pixels(generator.choreograph(part[:, :, None], copies).poses[:, : clock.n_source])
        decoded.append(poses.float().cpu().numpy())
    unwarped = np.concatenate(decoded)
    return Redanced(np.stack([clock.apply(p) for p in unwarped]), unwarped)


def accepted_noise(generator: DanceGenerator, dance: SongDance, seed: int) -> DanceNoise:
    """The noise (1, n, 1) of a dance's accepted draws, from the seed it was given."""
    n = len(dance.draws)
    noise = generator.draw_noise(n, torch.Generator().manual_seed(seed))
    return noise.pick(torch.from_numpy(dance.draws)[None])
