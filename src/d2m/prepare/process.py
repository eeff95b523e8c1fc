"""Processes one recording: poses, dance units, music features, beats and onsets, or the reason why it is refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.files import sha256
from d2m.core.skeleton import FPS, N_JOINTS, POSE_DIM, SAMPLE_RATE
from d2m.data.manifest import Recording
from d2m.motion.camera import centre, lift, project, project_pinhole
from d2m.motion.units import cut_units, select_units, track_beats
from d2m.music.audio import load_song, seconds
from d2m.music.beats import BEAT_TRACKERS, WEIGHTS_VARIABLE, onset_strength, onsets_from, tempo, track
from d2m.music.front_ends import front_end
from d2m.prepare.clean import CleanClip, check_options, clean
from d2m.prepare.plausible import check_stated, read_pose, reads
from d2m.prepare.rates import check_lengths, likely_rate
from d2m.prepare.sources import SOURCES
from d2m.prepare.stated import Stated, parse_stated

#: Increased whenever the same inputs would give different arrays.
CODE_VERSION = 7
YAWS = (0.0, 45.0, 90.0, 135.0, 180.0, 225.0, 270.0, 315.0)
CAMERAS = {"orthographic": project, "pinhole": project_pinhole}
#: A motion shorter than this is not a dance.
MIN_MOTION_S = 1.0


@dataclass(frozen=True)
class Options:
    """Everything besides its files that determines a recording's arrays.

    source: one of :data:`d2m.prepare.sources.SOURCES`.
    yaws, camera: angles in degrees, and "orthographic" or "pinhole", for 3-D motions; 2-D ones keep their own camera.
    front_end: of the music features, one of :data:`d2m.music.front_ends.FRONT_ENDS`.
    beats: the music's beat tracker, one of :data:`d2m.music.beats.BEAT_TRACKERS`; beats_checkpoint: its weights.
    max_gap_s: by how much the length of music and motion may differ; None cuts the longer one instead.
    clean: options of :func:`d2m.prepare.clean.clean`.
    stated: what the user states about the poses.
    """

    source: str = "npz"
    yaws: tuple[float, ...] = YAWS
    front_end: str = "rhythm"
    beats: str = "librosa"
    beats_checkpoint: str | None = None
    max_gap_s: float | None = 1.0
    clean: Mapping[str, Any] = field(default_factory=dict)
    camera: str = "orthographic"
    stated: Stated = field(default_factory=Stated)

    def __post_init__(self) -> None:
        for key in ("source", "front_end", "beats", "camera"):
            if not isinstance(value := getattr(self, key), str):
                raise D2MError(f"{key}={value}: give a single name")
        if self.source not in SOURCES:
            raise D2MError(f"no source '{self.source}'; choose from {', '.join(SOURCES)}")
        # Its full name, so that the plan records the model or embedding.
        object.__setattr__(self, "front_end", front_end(self.front_end).name)
        if self.beats not in BEAT_TRACKERS:
            raise D2MError(f"no beat tracker '{self.beats}'; choose from {', '.join(BEAT_TRACKERS)}")
        if self.camera not in CAMERAS:
            raise D2MError(f"no camera '{self.camera}'; choose from {', '.join(CAMERAS)}")
        if not self.yaws:
            raise D2MError("yaws is empty; give at least one camera angle in degrees")
        if self.max_gap_s is not None and not self.max_gap_s >= 0:
            raise D2MError(f"max_gap_s={self.max_gap_s}: give seconds (0 or more) or null")
        check_options(self.clean)
        check_stated(self.source, self.stated)

    def of(self, recording: Recording) -> Options:
        """The options for one recording: those stated in its manifest row override those stated for all.

        What is stated for ``source`` does not apply to a row that names another source.

        Raises:
            D2MError: an invalid value, or one that its source does not read.
        """
        if not recording.stated:
            return self
        row = dict(recording.stated)
        source = row.pop("source", self.source)
        for_all = self.stated if source == self.source else Stated()
        return replace(self, source=source, stated=replace(for_all, **parse_stated(row)))

    @cached_property
    def checkpoint(self) -> Path | None:
        """The beat tracker's weights; None for one without."""
        given = self.beats_checkpoint or os.environ.get(WEIGHTS_VARIABLE)
        return None if self.beats == "librosa" or not given else Path(given).expanduser()

    @cached_property
    def _weights(self) -> dict[str, str]:
        return {"beats_weights": sha256(self.checkpoint)} if self.checkpoint and self.checkpoint.is_file() else {}

    def plain(self) -> dict[str, Any]:
        """As JSON: the checkpoint by its digest, without this machine's path; ``stated`` only if it is not empty."""
        kept = {k: v for k, v in asdict(self).items() if k not in ("beats_checkpoint", "stated")}
        stated = {"stated": said} if (said := self.stated.plain()) else {}
        return {**{k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}, **stated, **self._weights}


@dataclass(frozen=True, eq=False)
class Prepared:
    """One recording's arrays, as stored in a part file.

    seconds: of the music, or of the motion if there is none. tempo: BPM, nan if unknown. genre: as stated in the file,
    or "". rejected_units: number, over all views, of units in spans that cleaning could not repair. poses: (v, t, 28)
    px. units: (v, n, 32, 28) px; unit_beats (n, 4), unit_spans (n, 2) s and runs (r, 2) as in
    :class:`d2m.motion.units.UnitCut`. motion_beats: (k,) s, kinematic. features: (t, f) of the whole song. beats,
    onsets: (m,) s, of the music.
    """

    seconds: float
    tempo: float
    genre: str
    rejected_units: int
    poses: NDArray[np.float32]
    units: NDArray[np.float32]
    unit_beats: NDArray[np.float64]
    unit_spans: NDArray[np.float64]
    runs: NDArray[np.int64]
    motion_beats: NDArray[np.float64]
    features: NDArray[np.float32]
    beats: NDArray[np.float64]
    onsets: NDArray[np.float64]


#: Names of the arrays of a :class:`Prepared`.
ARRAYS = tuple(f.name for f in fields(Prepared) if f.name not in ("seconds", "tempo", "genre", "rejected_units"))


def process(recording: Recording, options: Options) -> Prepared:
    """Read one recording and cut it into units, seen from every yaw (a 2-D one from its own camera).

    Beats are tracked once, on the centred motion, so that all views share their units' times.

    Raises:
        D2MError: its files cannot be used.
    """
    recording = recording.beginning(options.of(recording).stated.audio_offset or 0.0)
    cleaned, joints, wave = read_recording(recording, options)
    hears = front_end(options.front_end)
    song_features, beats, onsets = np.empty((0, hears.width), np.float32), np.empty(0), np.empty(0)
    length, bpm = len(joints) / FPS, float("nan")
    if wave is not None:
        envelope = onset_strength(wave)
        song_features, length = hears.features(wave, recording.audio, recording.audio_start_s), seconds(wave)
        beats = track(wave, options.beats, options.checkpoint, envelope)
        onsets, bpm = onsets_from(envelope, len(wave)), tempo(beats)
    body = body_of(joints)
    period = float(np.median(np.diff(beats))) if len(beats) > 2 else None
    motion_beats = track_beats(body, FPS, period)
    cut = cut_units(body, FPS, motion_beats)
    usable = cleaned.usable(cut.spans + recording.start_s)
    cut = select_units(cut, usable)
    if wave is None and not len(cut.units):
        raise D2MError(f"{recording.pose}: no dance unit in {len(joints) / FPS:.1f} s of motion, and no music")
    flat = joints.shape[-1] == 2
    poses = pictures(body, flat, options)
    # Units are cut in 3-D: the views are projections of the time-warped body.
    n, frames = cut.units.shape[:2]
    units = pictures(cut.units.reshape(n * frames, N_JOINTS, 3), flat, options)
    views = len(poses)
    return Prepared(
        length, bpm, cleaned.genre or "", int((~usable).sum()) * views, poses.reshape(views, -1, POSE_DIM),
        units.reshape(views, n, frames, POSE_DIM), cut.beats, cut.spans, cut.runs, motion_beats, song_features, beats,
        onsets,
    )  # fmt: skip


def read_recording(
    recording: Recording, options: Options
) -> tuple[CleanClip, NDArray[np.float32], NDArray[np.float32] | None]:
    """A recording's cleaned clip; the part of it to use, (t, 14, c) at 15 fps; and that part's sound or None.

    Raises:
        D2MError: as :func:`process`.
    """
    options = options.of(recording)
    recording = recording.beginning(options.stated.audio_offset or 0.0)
    clip = read_pose(options.source, recording.pose, options.stated)
    cleaned = clean(clip, **{"name": str(recording.pose), **options.clean})
    joints = _excerpt(cleaned.joints, recording.start_s, recording.end_s, FPS)
    wave = _song(recording)
    if wave is not None:
        rate = clip.fps if reads(options.source, "fps") else None
        joints, wave = _match(joints, wave, recording, options.max_gap_s, rate, options.stated.fps is not None)
    if len(joints) < MIN_MOTION_S * FPS:
        raise D2MError(f"{recording.pose}: {len(joints) / FPS:.2f} s of motion; at least {MIN_MOTION_S:g} s are needed")
    return cleaned, joints, wave


def body_of(joints: NDArray[np.floating]) -> NDArray[np.float64]:
    """(t, 14, 2) px or (t, 14, 3) cm -> (t, 14, 3) cm, with the hips' horizontal path and the floor's drift removed."""
    return centre(joints if joints.shape[-1] == 3 else lift(joints))


def pictures(body: NDArray[np.floating], flat: bool, options: Options) -> NDArray[np.float32]:
    """Views of a centred body (t, 14, 3) cm from every yaw, or from its own camera if the recording is 2-D (``flat``).

    Returns:
        (v, t, 14, 2) px.
    """
    return project(body, (0.0,)) if flat else CAMERAS[options.camera](body, options.yaws)


def _excerpt(x: NDArray[Any], start_s: float, end_s: float | None, rate: int) -> NDArray[Any]:
    return x[round(start_s * rate) : None if end_s is None else round(end_s * rate)]


def _song(recording: Recording) -> NDArray[np.float32] | None:
    if recording.audio is None or (recording.audio == recording.pose and not _has_sound(recording.audio)):
        return None
    wave = load_song(recording.audio)
    part = np.asarray(_excerpt(wave, recording.audio_start_s, recording.audio_end_s, SAMPLE_RATE), np.float32)
    if not len(part):
        raise D2MError(
            f"{recording.audio}: its {seconds(wave):.1f} s end before the part to use begins, at "
            f"{recording.audio_start_s:.1f} s; correct start or audio_offset"
        )
    return part


def _has_sound(video: Path) -> bool:
    import av

    try:
        with av.open(str(video), metadata_errors="ignore") as container:
            return bool(container.streams.audio)
    except (av.FFmpegError, OSError, ValueError):
        return True  # its poses were readable, so the audio reader will report the fault


def _match(
    joints: NDArray[np.float32],
    wave: NDArray[np.float32],
    recording: Recording,
    max_gap_s: float | None,
    fps: float | None,
    is_stated: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Refuse a pair of different lengths, or cut the longer one. fps: None if the source takes no fps=; is_stated:
    the user states it."""
    motion, song = len(joints) / FPS, len(wave) / SAMPLE_RATE
    if max_gap_s is None:
        frames = min(len(joints), int(song * FPS + 0.5))
        return joints[:frames], wave[: round(frames / FPS * SAMPLE_RATE)]
    offset = recording.offset_s
    whole = recording.start_s == max(0.0, offset) and recording.end_s is None
    if abs(motion - song) > max_gap_s:
        rate = likely_rate(fps, motion, song) if whole and fps is not None and not offset else None
        hint = f"; at {rate:g} frames per second they would be equally long: set fps={rate:g}" if rate else ""
        if whole:
            hint += f"; if they end together, set audio_offset={motion - song + offset:.2f}"
        raise D2MError(
            f"{recording.pose}: {motion:.1f} s of motion but {song:.1f} s of music ({recording.audio}); "
            f"they may differ by max_gap_s={max_gap_s:g}{hint}"
        )
    if whole and fps is not None and not offset and not is_stated:
        check_lengths(fps, motion, song, str(recording.pose))
    return joints, wave
