"""The latent study of a system in training: genre means, edited dances, figures. Arrays in, files out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, STYLE_FRAMES, UNIT_FRAMES
from d2m.dance.generator import DanceGenerator
from d2m.dance.stream import SongRequest, rows_for
from d2m.dance.table import LatentTable
from d2m.dance.together import dance_all
from d2m.data.corpus import Corpus
from d2m.draw.render import still
from d2m.draw.video import render_dance
from d2m.edits.mean_shift import MeanShift
from d2m.metrics.motion import common_scale, content_distance, mean_energy
from d2m.reports.edit_scores import LEAST_SECONDS
from d2m.reports.judges import Judges
from d2m.reports.manipulation_axes import edit_scores
from d2m.reports.readings import Reading, motion_reading, structure_reading

VERSIONS = ("original", "neutral", "target")
#: Columns of the table, before one "music_GENRE" per genre and, if there is a motion classifier, "motion_GENRE".
COLUMNS = ("song", "genre", "to", "version", "video", "kinetic_energy", "content_distance")


def fixed_songs(corpus: Corpus, per_genre: int, seed: int, splits: Sequence[str]) -> list[int]:
    """At most ``per_genre`` songs of every genre, in order: a seeded choice from the first split that has any."""
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    for genre in corpus.genres:
        for split in splits:
            songs = corpus.recordings_in(split, genre, with_music=True)
            songs = songs[corpus.feature_bounds[songs, 1] >= STYLE_FRAMES]
            if len(songs):
                chosen += sorted(int(i) for i in rng.permutation(songs)[:per_genre])
                break
    return chosen


def cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Of two directions (d,); nan if one of them has no length."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    length = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.clip(x @ y / length, -1, 1)) if length > 0 else float("nan")


def mean_scalars(means: dict[str, NDArray[np.float32]]) -> dict[str, float]:
    """Norms of genre means (d,) and distances between them."""
    names = sorted(means)
    scalars = {f"norm/{g}": float(np.linalg.norm(means[g])) for g in names}
    for i, a in enumerate(names):
        scalars |= {f"distance/{a}-{b}": float(np.linalg.norm(means[a] - means[b])) for b in names[i + 1 :]}
    return scalars


@dataclass
class Study:
    """Results of :func:`study`.

    rows: of the table, "video" a path. figures: name -> PNG; "contact" is a strip of poses.
    """

    scalars: dict[str, float]
    rows: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Path] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


def _towards(genre: str, source: str, target: str) -> str:
    """The genre towards which a song is edited."""
    return source if genre == target else target


def _request(
    corpus: Corpus, i: int, means: dict[str, NDArray[np.float32]], source: str, target: str, seconds: float, seed: int
) -> SongRequest:
    features, beats, genre = corpus.song_features(i), corpus.song_beats(i), corpus.recordings[i].genre
    n = min(int(seconds * FPS), len(features))
    edit = MeanShift(genre, _towards(genre, source, target)).from_means(means)
    return SongRequest(features, beats[beats < n / FPS], n, seed, edit)


def study(
    generator: DanceGenerator,
    corpus: Corpus,
    *,
    songs: Sequence[int],
    table: LatentTable,
    source: str,
    target: str,
    seconds: float,
    seed: int,
    out: Path,
    size: int = 320,
    permutations: int = 99,
    judges: Judges | None = None,
    check: Callable[[], None] = lambda: None,
) -> Study:
    """Edit the dances to some songs and measure them.

    Songs of the target genre are edited towards the source, all others towards the target; the mean of the song's own
    genre is subtracted. The three dances of a song share all noise, as do two calls with the same seed.

    Args:
        songs: recordings to dance to. table: latents whose training rows give the means and whose rows are shown.
        seconds: of every song. size: of a video, pixels.
        out: folder for figures/, videos/ and contact.png.
        check: called between songs; it may raise.
        judges: of the corpus; if given, and dances last three seconds, the mean shift is scored (:func:`edit_scores`).

    Raises:
        D2MError: dances that cannot be read or drawn (not finite, no torso), a full disk.
    """
    unseen = dict.fromkeys(generator.genres if generator.motion_style is not None else (), float("nan"))
    means = table.training_rows().genre_means()
    result = Study(mean_scalars(means))
    by_genre: dict[str, list[dict[str, NDArray[np.float32]]]] = {}
    strips: list[NDArray[np.float32]] = []
    captions: list[str] = []
    asked = [_request(corpus, i, means, source, target, seconds, seed) for i in songs]
    rows = rows_for(len(asked), generator.net.sizes)
    for i, request, danced in zip(songs, asked, dance_all(generator, asked, rows=rows), strict=True):
        check()
        info, n, poses = corpus.recordings[i], request.n_frames, danced.poses
        to = _towards(info.genre, source, target)
        # The judge was trained on dances before the warp.
        judged = danced.unwarped if generator.motion_style is not None and n >= UNIT_FRAMES else None
        by_genre.setdefault(info.genre, []).append(poses)
        music = {f"music_{g}": p for g, p in generator.by_genre(danced.music_votes).items()}
        audio = corpus.song_wave(i, n)
        scale = common_scale([poses["original"]])
        for version in VERSIONS:
            dance = poses[version]
            caption = f"{info.name}, {version}" + (f" ({to})" if version == "target" else "")
            video = out / "videos" / f"{i:04d}-{version}.mp4"
            render_dance(video, [dance], captions=[caption], audio=audio, seconds=n / FPS, size=(size, size))
            seen = unseen if judged is None else generator.genre_of_motion(judged[version])
            result.rows.append({
                "song": info.name, "genre": info.genre, "to": to, "version": version, "video": video,
                "kinetic_energy": mean_energy(dance, scale),
                "content_distance": content_distance(dance, poses["original"]),
                **music, **{f"motion_{g}": p for g, p in seen.items()},
            })  # fmt: skip
            strips.append(dance)
            captions.append(caption)
    for genre in by_genre:
        for version in VERSIONS:
            own = [r for r in result.rows if (r["genre"], r["version"]) == (genre, version)]
            for key in ("kinetic_energy", "content_distance"):
                result.scalars[f"{key}/{genre}/{version}"] = float(np.mean([r[key] for r in own]))
    if strips:
        still(out / "contact.png", strips, captions=captions)
        result.figures["contact"] = out / "contact.png"
    check()
    if judges is not None and seconds >= LEAST_SECONDS and len(songs) > 1:
        axes = edit_scores(
            generator,
            corpus,
            judges,
            songs=songs,
            means=means,
            source=source,
            target=target,
            seconds=seconds,
            seed=seed,
        )
        result.scalars |= {f"edit/{k}": v for k, v in axes.items()}
    elif judges is not None:
        result.skipped.append(f"axes of the edit: they need two songs and {LEAST_SECONDS:g} s of each")
    read: list[Reading] = []
    if source in by_genre:
        read.append(motion_reading(by_genre[source], source, target))
    try:
        shape = structure_reading(table, permutations, seed)
        read.append(shape)
        result.scalars["probe"] = shape.numbers["probe"]["value"]
        result.scalars["probe_p"] = shape.numbers["probe"]["p"]
        result.scalars["silhouette"] = shape.numbers["silhouette"]["value"]
    except D2MError as e:  # too few songs for structure figures; still log the rest
        result.skipped.append(str(e))
    for reading in read:
        names = [name.removesuffix("_music") for name in reading.figures]
        result.figures |= dict(zip(names, reading.save_figures(out / "figures"), strict=True))
    return result
