"""Songs in, dances out: what infer.py does, file by file."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from d2m.cli.command_line import check_types, prepare_overrides
from d2m.core.errors import D2MError
from d2m.core.files import appear_together, check_out
from d2m.core.progress import bar
from d2m.core.seeds import check_seed
from d2m.dance.dancer import Dancer
from d2m.dance.files import read_z_dan
from d2m.edits.request import EditRequest, build_edit
from d2m.music.audio import AUDIO_SUFFIXES

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


def infer(cfg: DictConfig) -> list[Path]:
    """Dance to every song of the request; returns the songs done.

    Raises:
        D2MError: of the request itself, before anything is written; or, after the good songs are done, one line
            that lists the bad ones.
    """
    check_values(cfg)
    dancer = Dancer.load(cfg.bundle, device=str(cfg.device))
    request = EditRequest.of(cfg.edit)
    strength = request.amount()
    edit = build_edit(request, dancer.generator)
    z_dan = None if cfg.z_dan is None else read_z_dan(cfg.z_dan, dancer.generator.net.sizes["z_dan"])
    songs = find_songs(cfg.audio)
    out = Path(cfg.out)
    check_out(out)
    formats = (".npz", ".mp4", ".json") if cfg.video else (".npz", ".json")
    done, bad = [], []
    with bar(len(songs), "dancing") as step:
        for song, name in zip(songs, output_names(songs), strict=True):
            step(0, description=song.name[:40])
            try:
                dance = dancer(song, seed=cfg.seed, edit=edit, strength=strength, warp=cfg.warp, z_dan=z_dan)
                if cfg.z_dan is not None:
                    dance = replace(dance, facts={**dance.facts, "z_dan": Path(cfg.z_dan).name})
                with appear_together(out) as part:
                    for suffix in formats:
                        dance.save(part / f"{name}{suffix}")
                done.append(song)
            except D2MError as e:
                bad.append(str(e))
            step()
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
