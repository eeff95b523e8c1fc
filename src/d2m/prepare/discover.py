"""Finds the recordings of a raw folder, by its manifest, or else by its folders and file names."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from d2m.core.errors import D2MError
from d2m.core.spreadsheets import plain_text
from d2m.core.walk import walk_files
from d2m.data.manifest import MANIFEST, Recording, read_manifest
from d2m.music.audio import AUDIO_SUFFIXES
from d2m.prepare.sources import SOURCES, SUFFIXES
from d2m.prepare.sources.aistpp import AIST_NAME

#: Folders that sort files by kind; the genre is the nearest parent folder that is not one of them.
KIND_FOLDERS = frozenset((
    "audio", "music", "songs", "wav", "mp3", "pose", "poses", "pose2d", "pose3d", "json", "npz", "bvh", "keypoints",
    "keypoints2d", "keypoints3d", "openpose", "motion", "motions", "video", "videos", "raw",
))  # fmt: skip
AIST_IGNORE = "ignore_list.txt"
#: Of AIST++'s folders, the one a source reads.
_AIST_FOLDERS = {"aistpp": "keypoints3d", "coco17": "keypoints2d"}


@dataclass(frozen=True)
class Discovery:
    """recordings: to be prepared. refused: those that cannot be, each with the reason."""

    recordings: list[Recording]
    refused: list[tuple[Recording, str]]


def find_recordings(
    raw: str | Path,
    source: str,
    group_by: str = "music",
    groups: Mapping[str, Sequence[str]] | None = None,
    licence: str = "",
    skip: Path | None = None,
) -> Discovery:
    """The recordings of a raw folder, in the manifest's order or by name.

    Without a manifest the genre is the folder's name (for a file in ``raw`` itself: the genre stated in the file, or
    else the name of ``raw``), the music is the audio file of the same stem, and in AIST++'s layout music and group are
    read from the names; recordings on its ignore list are refused.

    Args:
        source: one of :data:`d2m.prepare.sources.SOURCES`.
        group_by: what a split keeps together, read from AIST++ names: "music" or "dancer".
        groups: group -> names of recordings that must share a split; overrides groups from other sources.
        licence: for recordings that state none.
        skip: a folder inside ``raw`` to skip, because it holds prepared corpora.

    Raises:
        D2MError: no such folder or source, an invalid manifest, no recordings, an unknown recording in a group.
    """
    raw = Path(raw)
    if source not in SOURCES:
        raise D2MError(f"no source '{source}'; choose from {', '.join(SOURCES)}")
    if group_by not in ("music", "dancer"):
        raise D2MError(f"group_by={group_by}: choose music or dancer")
    if not raw.is_dir():
        raise D2MError(f"{raw}: no such folder; give the folder of the raw recordings")
    scanned = Discovery(read_manifest(raw), []) if (raw / MANIFEST).is_file() else _scan(raw, source, group_by, skip)
    _check_genres(scanned.recordings, raw)
    if any(isinstance(names, str) or not isinstance(names, Sequence) for names in _items(groups).values()):
        raise D2MError(f"groups={groups}: give names of recordings, as in groups={{anna:[first,second]}}")
    known = {r.name for r in scanned.recordings}
    group_of = {name: group for group, names in _items(groups).items() for name in names}
    if strangers := sorted(set(group_of) - known):
        raise D2MError(f"groups names '{strangers[0]}', which is not a recording in {raw}; correct groups")
    recordings = [
        replace(r, group=group_of.get(r.name, r.group), licence=r.licence or licence) for r in scanned.recordings
    ]
    return Discovery(recordings, scanned.refused)


def _check_no_other_manifest(raw: Path) -> None:
    """Raises: D2MError: a manifest under another name, which would be ignored."""
    for name in sorted(os.listdir(raw)):
        if name.lower().startswith("manifest.") and not name.endswith(".log"):
            raise D2MError(f"{raw / name}: is not read; save it as {MANIFEST}, or move it elsewhere")


def _check_genres(recordings: Sequence[Recording], raw: Path) -> None:
    """Raises: D2MError: two genres that differ only in case."""
    spelled: dict[str, str] = {}
    for r in recordings:
        if (known := spelled.setdefault(r.genre.casefold(), r.genre)) != r.genre:
            raise D2MError(f"{raw}: the genres '{known}' and '{r.genre}' would be two; spell them alike")


def _items(groups: object) -> Mapping[str, Sequence[str]]:
    if not isinstance(groups, Mapping | None):
        raise D2MError(f"groups={groups}: give names of recordings, as in groups={{anna:[first,second]}}")
    return groups or {}


def _scan(raw: Path, source: str, group_by: str, skip: Path | None) -> Discovery:
    _check_no_other_manifest(raw)
    files = sorted(walk_files(raw, skip))
    poses = _poses(files, raw, source)
    if not poses:
        wanted = " or ".join(f"*{s}" for s in SUFFIXES[source])
        raise D2MError(f"{raw}: neither a {MANIFEST} nor any {wanted}; give the folder of the raw recordings")
    songs: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        if file.suffix.lower() in AUDIO_SUFFIXES:
            songs[_word(file.stem)].append(file)
    ignored = _ignore_list(raw)
    stems = Counter(stem for _, stem in poses)
    recordings: list[Recording] = []
    refused: list[tuple[Recording, str]] = []
    used: set[Path] = set()
    for pose, stem in poses:
        aist = AIST_NAME.match(stem)
        genre = _genre(pose, raw)
        candidates = songs.get(_word(stem)) or (songs.get(_word(aist["music"]), []) if aist else [])
        if exact := [s for s in candidates if s.stem in (stem, aist and aist["music"])]:
            candidates = exact
        same = [s for s in candidates if _genre(s, raw) == genre]
        audio = next(iter(same or candidates), None)
        used.update(candidates)
        if audio is None and source == "video":
            audio = pose
        name = stem if stems[stem] == 1 else pose.relative_to(raw).with_suffix("").as_posix()
        group = os.path.relpath(audio, raw) if audio else name
        if aist:
            group = aist[group_by]
        recording = Recording(name, genre, audio, pose, group)
        if stem in ignored:
            refused.append((recording, f"on AIST++'s {AIST_IGNORE}"))
        elif len(same or candidates) > 1:
            refused.append((recording, f"{len(same or candidates)} audio files are named '{stem}'; keep one"))
        else:
            recordings.append(recording)
    if songs and not used and source != "video":
        raise D2MError(
            f"{raw}: contains {sum(map(len, songs.values()))} songs, but none is named like its poses; name them alike "
            f"({poses[0][1]}.wav for {poses[0][0].name}), pair them in a {MANIFEST}, or move them elsewhere"
        )
    aist_songs = {m["music"] for s in stems if (m := AIST_NAME.match(s))}
    for song in sorted(p for paths in songs.values() for p in paths):
        if song not in used and song.stem not in aist_songs:
            orphan = Recording(song.relative_to(raw).as_posix(), _genre(song, raw), song, song, song.stem)
            refused.append((orphan, f"music without poses: no '{song.stem}' for source={source}"))
    return Discovery(recordings, refused)


def _poses(files: Sequence[Path], raw: Path, source: str) -> list[tuple[Path, str]]:
    """(file or folder of a recording's poses, its stem), by name."""
    suffixes = SUFFIXES[source]
    mine = [f for f in files if f.name.lower().endswith(suffixes)]
    if folder := _AIST_FOLDERS.get(source):
        chosen = [f for f in mine if folder in f.relative_to(raw).parts[:-1]]
        mine = chosen or mine
    if source == "openpose":  # a recording is a folder of one file per frame
        return [(folder, folder.name) for folder in sorted({f.parent for f in mine})]
    return [(f, f.name[: -max(len(s) for s in suffixes if f.name.lower().endswith(s))]) for f in mine]


def _genre(path: Path, raw: Path) -> str:
    """Name of the nearest parent that is not in :data:`KIND_FOLDERS`; "" for a file in ``raw`` itself."""
    for part in reversed(path.relative_to(raw).parts[:-1]):
        if part.lower() not in KIND_FOLDERS:
            return plain_text(part)
    return ""


def _word(stem: str) -> str:
    """Normalised form of a name: macOS decomposes Unicode letters, and Windows ignores case."""
    return plain_text(stem).casefold()


def _ignore_list(raw: Path) -> frozenset[str]:
    try:
        return frozenset((raw / AIST_IGNORE).read_text(encoding="utf-8").split())
    except FileNotFoundError:
        return frozenset()
    except (OSError, UnicodeDecodeError) as e:
        raise D2MError(f"{raw / AIST_IGNORE}: not readable ({e}); correct or remove it") from e
