"""Songs in, dances out: what infer.py does, file by file."""

from __future__ import annotations

import glob
import io
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from d2m.bundle import sha256
from d2m.cli.command_line import check_types, prepare_overrides
from d2m.core.errors import D2MError
from d2m.core.files import appear_together, check_out, write_json
from d2m.core.machine import git_revision, versions
from d2m.core.seeds import check_seed
from d2m.core.skeleton import FPS, JOINTS, SAMPLE_RATE
from d2m.dance.generator import DanceGenerator
from d2m.dance.song_dance import Edit, NoiseEdit, SongDance, dance_to, fit_z_dan, segments_needed
from d2m.draw.video import render_dance
from d2m.edits.request import EditRequest, build_edit, describe
from d2m.music.audio import AUDIO_SUFFIXES, load_song, n_frames
from d2m.music.beats import check_tracker, track
from d2m.music.front_ends import features

HELP = """Dance to songs with a trained bundle.

  python infer.py bundle=DIR audio=FILE|DIR|GLOB out=DIR [seed=0] [warp=true] [video=true]
                  [edit=mean_shift edit.source=GENRE edit.target=GENRE edit.strength=1.0] [z_dan=FILE.npy]
                  [edit=boundary|erasure|transport edit.latents=FILE.npz ...]  fitted on songs (d2m study extract)
                  [edit=optimise edit.steps=100 edit.weights.content=0.5 ...]  held by the original choreography
                  [edit.file=DIR]  a direction fitted before (d2m study fit)
                  [edit.schedule=[[0,0],[30,1]]]  strength over the song: seconds, strength

Writes NAME.npz (poses, beats, z_dan), NAME.mp4 (with the song's sound) and NAME.json for every song.
"""


def find_songs(audio: str) -> list[Path]:
    """The songs that ``audio`` names: a file, a folder's audio files, or a glob; sorted.

    In a glob ``**`` is any depth of folders. The leading folders that exist are taken by their names.

    Raises:
        D2MError: there is none.
    """
    path = Path(audio)
    if path.is_dir():
        songs = sorted(p for p in path.iterdir() if p.is_file() and p.suffix.lower() in AUDIO_SUFFIXES)
        if not songs:
            raise D2MError(f"{audio}: no audio file in this folder; put wav, flac, ogg, mp3 or m4a files there")
        return songs
    if path.exists():
        return [path]
    there = next((p for p in path.parents if p.is_dir()), Path())
    pattern = os.path.join(glob.escape(str(there)), path.relative_to(there))
    found = (Path(p) for p in glob.glob(pattern, recursive=True))
    songs = sorted(p for p in found if p.is_file() and p.suffix.lower() in AUDIO_SUFFIXES)
    if not songs:
        raise D2MError(f"{audio}: no such file, folder or glob; check the path")
    return songs


def output_names(songs: list[Path]) -> list[str]:
    """A name for every song, no two alike: its stem; where two share one, the suffix joins it, then the folders."""
    spelled = [[s.stem, f"{s.stem}_{s.suffix[1:]}"] for s in songs]
    for song, names in zip(songs, spelled, strict=True):
        for folder in reversed(song.absolute().parent.parts[1:]):
            names.append(f"{folder}_{names[-1]}")
    level = [0] * len(songs)
    while True:
        names = [s[k] for s, k in zip(spelled, level, strict=True)]
        counts = Counter(names)
        shared = [i for i, n in enumerate(names) if counts[n] > 1 and level[i] + 1 < len(spelled[i])]
        if not shared:
            return names
        for i in shared:
            level[i] += 1


def read_z_dan(path: str, width: int) -> np.ndarray:
    """A latent from an npy file, (d,) or (n, d).

    Raises:
        D2MError: missing, unreadable, or another shape.
    """
    try:
        z = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        raise D2MError(f"z_dan={path}: not a readable .npy file; save one with numpy.save") from e
    if not isinstance(z, np.ndarray) or z.dtype.kind not in "fiu" or z.ndim not in (1, 2) or z.shape[-1] != width:
        shape = getattr(z, "shape", "?")
        raise D2MError(f"z_dan={path}: shape {shape}; this bundle takes ({width},) or (n,{width}) numbers")
    return z.astype(np.float32)


def check_values(cfg: DictConfig) -> None:
    """See that nothing that has to be said is null, and that the seed is one.

    Raises:
        D2MError: naming the key.
    """
    for key in ("bundle", "audio", "out"):
        if not cfg[key]:
            raise D2MError(f"{key}={cfg[key] or ''}: give {key}=...; python infer.py --help shows all")
    for key in ("seed", "warp", "video", "device"):
        if cfg[key] is None:
            raise D2MError(f"{key}=null: give a value, or leave {key}= away")
    check_seed(cfg.seed, -(2**63), 2**63 - 1)  # torch's


def save_dance(path: Path, dance: SongDance, seed: int, edited: bool) -> None:
    """NAME.npz: with an edit ``poses`` is the target, and ``poses_original`` and ``poses_neutral`` stand beside it."""
    arrays: dict[str, Any] = {
        "poses": dance.poses["target" if edited else "original"],
        "fps": np.int64(FPS),
        "joint_names": np.array(JOINTS),
        "music_beats": dance.music_beats,
        "dance_beats": dance.dance_beats,
        "z_dan": dance.z_dan["target" if edited else "original"],
        "seed": np.int64(seed),
    }
    if edited:
        for name in ("original", "neutral"):
            arrays[f"poses_{name}"], arrays[f"z_dan_{name}"] = dance.poses[name], dance.z_dan[name]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    path.write_bytes(buffer.getvalue())


def captions(edit: Edit | NoiseEdit, request: EditRequest) -> dict[str, str]:
    """Dance -> what stands over its picture."""
    source, target = getattr(edit, "source", None), getattr(edit, "target", None)
    amount = request.amount()
    how = f"x{amount:g}" if isinstance(amount, float) else f"x{amount.strength[0]:g} to x{amount.strength[-1]:g}"
    return {
        "original": f"original ({source})" if source else "original",
        "neutral": "neutral",
        "target": f"target ({target}, {how})" if target else f"edited ({how})",
    }


def dance_file(
    generator: DanceGenerator, song: Path, out: Path, name: str, cfg: DictConfig, request: EditRequest,
    edit: Edit | NoiseEdit | None, z_dan: np.ndarray | None, provenance: dict[str, Any],
) -> None:  # fmt: skip
    """One song to NAME.npz, NAME.mp4 and NAME.json in ``out``, an existing folder."""
    wave = load_song(song)
    t = n_frames(len(wave))
    beats = track(wave, generator.beat_tracker)
    if z_dan is not None:
        z_dan = fit_z_dan(
            z_dan, segments_needed(beats, t, cfg.warp), generator.net.sizes["z_dan"], f"z_dan={cfg.z_dan}"
        )
    dance = dance_to(
        generator, features(wave, generator.front_end, song), beats, t,
        seed=cfg.seed, edit=edit, strength=request.amount(), warp=cfg.warp, z_dan=z_dan,
    )  # fmt: skip
    save_dance(out / f"{name}.npz", dance, cfg.seed, edit is not None)
    if cfg.video:
        titles = {"original": song.stem}
        if edit is not None:
            titles = captions(edit, request)
        render_dance(
            out / f"{name}.mp4",
            [dance.poses[k] for k in titles],
            captions=list(titles.values()),
            audio=song,
            seconds=len(wave) / SAMPLE_RATE,
        )
    write_json(
        out / f"{name}.json",
        {
            **provenance,
            "song": song.name,
            "song_sha256": sha256(song),
            "seconds": len(wave) / SAMPLE_RATE,
            "frames": t,
            "seed": cfg.seed,
            "warp": bool(cfg.warp),
            "edit": None if edit is None else {**describe(edit, request), **dance.edit_facts},
            "z_dan": None if cfg.z_dan is None else Path(cfg.z_dan).name,
            "music_style": generator.genre_probabilities(features(wave, generator.front_end, song)),
            "draws": dance.draws.tolist(),
            "segments_below_motion_threshold": int((~dance.accepted).sum()),
        },
    )


def infer(cfg: DictConfig) -> list[Path]:
    """Dance to every song of the request; returns the songs done.

    Raises:
        D2MError: of the request itself, before anything is written; or, after the good songs are done, one line
            that lists the bad ones.
    """
    check_values(cfg)
    generator = DanceGenerator.load(cfg.bundle, device=str(cfg.device))
    check_tracker(generator.beat_tracker)
    request = EditRequest.of(cfg.edit)
    request.amount()
    edit = build_edit(request, generator)
    z_dan = None if cfg.z_dan is None else read_z_dan(cfg.z_dan, generator.net.sizes["z_dan"])
    songs = find_songs(cfg.audio)
    out = Path(cfg.out)
    check_out(out)
    provenance = {
        "bundle": Path(cfg.bundle).name,
        "bundle_weights_sha256": generator.provenance["files"]["weights.safetensors"],
        "git": git_revision(),
        "versions": versions(),
    }
    console = Console(stderr=True)
    done, bad = [], []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("dancing", total=len(songs))
        for song, name in zip(songs, output_names(songs), strict=True):
            progress.update(task, description=song.name[:40])
            try:
                with appear_together(out) as part:
                    dance_file(generator, song, part, name, cfg, request, edit, z_dan, provenance)
                done.append(song)
            except D2MError as e:
                bad.append(str(e))
            progress.advance(task)
    if bad and len(songs) == 1:
        raise D2MError(bad[0])
    if bad:
        raise D2MError(f"{len(done)} of {len(songs)} songs danced to in {out}; not done: " + " | ".join(bad))
    return done


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(HELP)
        return
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    overrides = prepare_overrides(sys.argv[1:])
    with initialize_config_dir(str(Path(__file__).resolve().parents[3] / "conf"), version_base="1.3"):
        groups = [o for o in overrides if o.startswith("edit=")]
        defaults, cfg = compose("infer", groups), compose("infer", overrides)
    missing = [k for k in ("bundle", "audio", "out") if OmegaConf.is_missing(cfg, k)]
    if missing:
        raise D2MError(f"give {' '.join(f'{k}=...' for k in missing)}; python infer.py --help shows all")
    keys = ("seed", "warp", "video", "edit.strength")
    check_types({k: OmegaConf.select(cfg, k) for k in keys}, {k: OmegaConf.select(defaults, k) for k in keys})

    done = infer(cfg)
    print(f"{len(done)} {'dance' if len(done) == 1 else 'dances'} in {cfg.out}")
