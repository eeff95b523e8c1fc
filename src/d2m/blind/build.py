"""``d2m blind build``: writes a folder with a page that asks about dances, and a separate key."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from d2m.blind.design import Plan, Shown, Slot, deal
from d2m.blind.key import Key, generator, keyed, named, new_secret, token
from d2m.blind.material import Clip, asked_genres, find_sound, read_manifest, read_results, read_table
from d2m.blind.media import Excerpt, length_s, level, sound_of, stamp, write_clip
from d2m.core.errors import D2MError
from d2m.core.files import sha256
from d2m.core.progress import bar
from d2m.draw.video import probe
from d2m.music.sound import open_sound

#: Named questions (question= in conf/blind/build.yaml).
QUESTIONS = {
    "music": "Which dance fits the music better?",
    "natural": "Which dance looks more natural?",
    "genre": "Which dance looks more like {genre}?",
}
INTRO = (
    "You will see short videos of stick figures that dance to music. You are asked to compare two of them, or to "
    "say what kind of dance you see. There is no right answer to most questions: we want to know what you see.\n\n"
    "Please use headphones or loudspeakers, and watch every video to its end. Single videos have no sound. A few "
    "questions have an obvious answer and only show that you are watching.\n\n"
    "Taking part is voluntary, and you can stop at any time by closing the page. Nothing is sent anywhere: your "
    "answers stay on this device until you download them at the end and hand them over yourself. They hold your "
    "choices, how long they took, a random number and the date, but nothing about you."
)


@dataclass(frozen=True)
class Page:
    """Contents of the page. question: a name of :data:`QUESTIONS` or a text; "{genre}" in it is the song's genre.

    watch: the share of a video that must have been played before it can be judged.
    """

    title: str = "Which dance?"
    intro: str | None = None
    question: str = "music"
    watch: float = 1.0

    @property
    def asks(self) -> str:
        """The question as a text."""
        return QUESTIONS.get(self.question, self.question)


@dataclass(frozen=True)
class Look:
    """How dances are shown. start: second of the song; None: the middle; draw: "auto", "poses" or "video"."""

    seconds: float = 10.0
    start: float | None = None
    size: int = 480
    draw: str = "auto"
    sound: bool = True
    music: Path | None = None


def read_clips(a: dict[str, Any]) -> list[Clip]:
    """The dances of a request, from ``results`` or ``manifest``.

    Raises:
        D2MError: both or neither are given, or they cannot be read.
    """
    if bool(a["results"]) == bool(a["manifest"]):
        raise D2MError("give results=FOLDER (of folders that d2m infer wrote) or manifest=FILE.csv, and not both")
    if a["manifest"]:
        return read_manifest(Path(a["manifest"]))
    genres = {} if not a["songs"] else {r["song"]: r["genre"] for r in read_table(Path(a["songs"]), ("song", "genre"))}
    return read_results(Path(a["results"]), a["systems"] or [], genres)


def build(clips: list[Clip], out: Path, key: Path | None, plan: Plan, page: Page, look: Look, seed: int) -> Key:
    """Write the study's folder (atomically) and its key.

    Args:
        clips: as :func:`d2m.blind.material.complete` returns them.
        key: default: OUT-key.json next to the folder. If it exists, it must be the key of this study, and the folder
            is reproduced to the byte.

    Raises:
        D2MError: an invalid request, before anything is written; or files that cannot be written.
    """
    key = key or out.parent / f"{out.name}-key.json"
    _check_places(out, key)
    _check_page(page, look)
    systems, songs = list(dict.fromkeys(c.system for c in clips)), list(dict.fromkeys(c.song for c in clips))
    at = {(c.system, c.song): c for c in clips}
    genres, guessed = _guessed(clips, systems) if plan.genre_trials else ((), [])
    plan = plan.fitted(len(systems), len(songs), len(guessed))
    asked = asked_genres(clips) if "{genre}" in page.asks and plan.trials else {}
    drawn = _drawn(clips, look)
    parts = _parts(clips, songs, look, drawn)
    sounds = {song: find_sound(song, clips, look.music) for song in songs} if look.sound else {}
    sources = [sha256(p) for c in clips if (p := c.poses if drawn else c.video)] + [sha256(p) for p in sounds.values()]
    told = [(c.system, c.song, c.version, c.genre, c.asked) for c in clips]

    old = Key.read(key) if key.exists() else None
    secret = old.secret if old else new_secret()
    study_id = keyed(secret, "study", seed, plan, page, replace(look, music=None), drawn, sources, told).hex()[:16]
    if old and old.study != study_id:
        raise D2MError(f"key={key}: the key of another study, whose answers need it; give another key= or out=")

    slots = deal(len(systems), len(songs), guessed, len(genres), plan, generator(secret, seed))
    shown = sorted({s for slot in slots for t in slot.trials for s in t.shown})
    clip_of = {s: at[systems[s.system], songs[s.song]] for s in shown}
    names = {s: token(secret, seed, clip_of[s], s.frozen) for s in shown}
    new = Key(
        study_id, secret, seed, page.asks, genres, look.seconds,
        {names[s]: {"system": c.system, "song": c.song, "genre": c.genre, "frozen": s.frozen}
         for s, c in clip_of.items()},
        named(slots, names),
    )  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    temp = Path(tempfile.mkdtemp(prefix=".blind-", suffix=".tmp", dir=out.parent))
    try:
        (temp / "media").mkdir()
        written = []
        heard = {song: sound_of(open_sound(path), parts[song]) for song, path in sounds.items()}
        with bar(len(names), "encoding") as step:
            for s in sorted(shown, key=names.__getitem__):  # so that their order on disk reveals nothing
                clip, target = clip_of[s], temp / "media" / f"{names[s]}.mp4"
                sound = heard.get(clip.song)
                write_clip(target, clip, parts[clip.song], drawn=drawn, frozen=s.frozen, sound=sound)
                written.append(target)
                step()
        level(written, secret)
        _write_page(temp, new, slots, page, {s: asked.get(songs[s.song]) for s in shown}, names)
        stamp(temp)
        temp.chmod(0o755)
        new.write(key)
        if out.exists():
            out.rmdir()
        os.replace(temp, out)
    except OSError as e:
        raise D2MError(f"out={out}: cannot write ({e.strerror}); choose a writable folder with free space") from e
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    return new


def _check_places(out: Path, key: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise D2MError(f"out={out}: exists and is not empty; give a new folder, or remove this one")
    if out.absolute().resolve() in key.absolute().resolve().parents:
        raise D2MError(f"key={key}: lies in the folder that participants get; keep it elsewhere")


def _check_page(page: Page, look: Look) -> None:
    if not page.asks.strip():
        raise D2MError(f"question={page.question}: give {', '.join(QUESTIONS)} or a question of your own")
    if not 0 <= page.watch <= 1:
        raise D2MError(f"watch={page.watch}: give a share from 0 to 1")
    if not 0.5 <= look.seconds <= 120:
        raise D2MError(f"seconds={look.seconds}: give 0.5 to 120")
    if not 64 <= look.size <= 1080 or look.size % 2:
        raise D2MError(f"size={look.size}: give an even number of pixels from 64 to 1080")
    if look.start is not None and look.start < 0:
        raise D2MError(f"start={look.start}: give seconds from the song's beginning, or null for its middle")
    if look.draw not in ("auto", "poses", "video"):
        raise D2MError(f"draw={look.draw}: choose auto, poses or video")


def _guessed(clips: list[Clip], systems: list[str]) -> tuple[tuple[str, ...], list[int]]:
    """Genres to choose from, and the systems whose genre is guessed: all but neutral versions, which have no genre."""
    guessed = []
    for k, system in enumerate(systems):
        own = [c for c in clips if c.system == system]
        unknown = [c for c in own if not c.genre]
        if not unknown:
            guessed.append(k)
        elif any(c.version != "neutral" for c in unknown):
            raise D2MError(
                f"{unknown[0].name}: its genre is not known; give songs=FILE.csv (song,genre), the manifest's column "
                "genre, or genre_trials=0"
            )
    genres = tuple(sorted({c.genre for c in clips if c.genre}))
    if len(genres) < 2:
        raise D2MError(f"all dances are {''.join(genres) or 'of no genre'}: nothing to guess; give genre_trials=0")
    return genres, guessed


def _drawn(clips: list[Clip], look: Look) -> bool:
    """Whether dances are drawn from their poses: all or none, since otherwise their look would reveal the system.

    Raises:
        D2MError: some have no poses and some no video, or a video shows more than one dance.
    """
    no_poses = [c.name for c in clips if c.poses is None]
    no_video = [c.name for c in clips if c.video is None]
    if look.draw == "poses" or (look.draw == "auto" and not no_poses):
        if no_poses:
            raise D2MError(f"draw=poses: {no_poses[0]} has no npz of poses; write it, or give draw=video")
        return True
    if look.draw == "auto" and len(no_poses) < len(clips):
        raise D2MError(f"{no_poses[0]} has no npz of poses and others have one; give poses for all, or draw=video")
    if no_video:
        raise D2MError(f"draw=video: {no_video[0]} has no mp4; write it, or give draw=poses")
    several = [c.name for c in clips if c.several_dances]
    if several:
        raise D2MError(f"draw=video: the video of {several[0]} shows original, neutral and target; give draw=poses")
    return False


def _parts(clips: list[Clip], songs: list[str], look: Look, drawn: bool) -> dict[str, Excerpt]:
    """Song -> the excerpt of it that every system's dance is shown in.

    Raises:
        D2MError: a dance that is too short, or videos of different shapes.
    """
    parts = {}
    for song in songs:
        own = [c for c in clips if c.song == song]
        shortest, name = min((length_s(c, drawn), c.name) for c in own)
        start = float(max(0, (shortest - look.seconds) // 2)) if look.start is None else look.start
        if start + look.seconds > shortest + 0.05:
            raise D2MError(
                f"{name} lasts {shortest:.1f} s: too short for {look.seconds:g} s from second {start:g}; give "
                "fewer seconds= or an earlier start="
            )
        if not drawn:
            shapes = {round(i.width / i.height, 2): c.name for c in own for i in [probe(_video(c))]}
            if len(shapes) > 1:
                raise D2MError(f"{' and '.join(shapes.values())}: pictures of different shapes tell systems apart")
        parts[song] = Excerpt(start, look.seconds, look.size)
    return parts


def _video(clip: Clip) -> Path:
    assert clip.video is not None
    return clip.video


def _write_page(
    folder: Path, key: Key, slots: list[Slot], page: Page, asked: dict[Shown, str | None], names: dict[Shown, str]
) -> None:
    """The page's files. Its data are a script, because a page opened from disk may not read other files."""
    genre_of = {names[s]: genre for s, genre in asked.items()}
    told = []
    for slot in slots:
        trials = []
        for trial in slot.trials:
            shown = [names[s] for s in trial.shown]
            genre = genre_of[shown[0]]
            trials.append({"shown": shown, **({"genre": genre} if genre and len(shown) == 2 else {})})
        told.append({"trials": trials, "options": [key.genres[k] for k in slot.options]})
    intro = [p.strip() for p in (page.intro or INTRO).split("\n\n") if p.strip()]
    study = {
        "study": key.study, "title": page.title, "intro": intro, "question": page.asks,
        "seconds": key.seconds, "watch": page.watch, "slots": told,
    }  # fmt: skip
    text = json.dumps(study, separators=(",", ":"), sort_keys=True)
    (folder / "study.js").write_text(f"const STUDY = {text};\n", encoding="utf-8")
    for name in ("index.html", "app.js", "style.css"):
        (folder / name).write_bytes(files("d2m.blind").joinpath("page", name).read_bytes())
